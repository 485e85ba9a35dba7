PYTHON ?= python3
BIN := .venv/bin
UV ?= $(BIN)/uv
STAMP := .venv/.stamp
SPHINX := $(BIN)/sphinx-build -E -W --keep-going -q docs build/docs
SYSTEM_PACKAGES := chromium frr iproute2 nftables postgresql

.DEFAULT_GOAL := help
.PHONY: help demo demo-lab test check proof bench system lock docs hooks clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## Run the demonstration
	$(BIN)/karez demo

demo-lab: $(STAMP)  ## Break and mend real routers on this machine; needs root, and `make system` once
	rm -rf out/lab && mkdir -p out/lab
	$(BIN)/karez import topohub:sndlib/polska -o out/lab/polska
	$(BIN)/karez lab up out/lab/polska --name demo
	@trap '$(BIN)/karez lab down out/lab/polska --name demo' EXIT; set -e; \
	$(BIN)/karez lab heal out/lab/polska out/lab/run.record --name demo --level act --fault link_slow --for-s 20; \
	$(BIN)/karez lab status out/lab/polska --name demo

test: $(STAMP)  ## Run the tests; ARGS="-k word" picks some
	$(BIN)/pytest $(ARGS)

check: $(STAMP)  ## Check format, lint, types, layers and docs; report all that fail
	@failed=0; \
	step() { \
		name=$$1; shift; \
		if "$$@"; then echo "ok      $$name"; else echo "FAILED  $$name"; failed=1; fi; \
	}; \
	step format $(BIN)/ruff format --check --quiet .; \
	step lint $(BIN)/ruff check --quiet .; \
	step types $(BIN)/mypy --no-error-summary; \
	step layers $(BIN)/lint-imports --no-logo; \
	step docs $(SPHINX); \
	exit $$failed

proof: $(STAMP)  ## Run the full campaigns, then the benchmarks
	KAREZ_PROOF=1 $(BIN)/pytest $(ARGS)
	$(MAKE) bench

bench: $(STAMP)  ## Run the benchmarks and write their results; ONLY=name runs one
	$(BIN)/python -m benchmarks $(ONLY)

system:  ## Install the Debian packages that tests in the real lab and of the console need
	@if dpkg -s $(SYSTEM_PACKAGES) >/dev/null 2>&1; then echo "system: nothing to install"; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
		echo "system: there is no apt-get here; install these yourself: $(SYSTEM_PACKAGES)" >&2; exit 1; \
	elif [ "$$(id -u)" -eq 0 ]; then as_root=; \
	elif command -v sudo >/dev/null; then as_root=sudo; \
	else echo "system: neither root nor sudo; ask someone to install: $(SYSTEM_PACKAGES)" >&2; exit 1; fi; \
	$$as_root apt-get update -qq && \
	$$as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES)

# Does not wait for the environment, which is made from the file this writes.
lock:  ## Write requirements.lock anew (UV=path where .venv has no uv, ARGS=--upgrade for newer versions)
	$(UV) pip compile pyproject.toml --python-version 3.11 --all-extras --group dev --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet $(ARGS) \
		-o requirements.lock

docs: $(STAMP)  ## Build the documentation into build/docs
	$(SPHINX)

hooks: $(STAMP)  ## Run the quick checks before each commit
	$(BIN)/pre-commit install

clean:  ## Remove what was built; .venv stays
	rm -rf build dist docs/reference/_generated \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +
