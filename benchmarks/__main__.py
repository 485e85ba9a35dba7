"""Run benchmarks by name, or all of them, and write their results."""

from __future__ import annotations

import sys

from benchmarks import HERE, find, lacks, provenance, put_table, write

README = HERE.parent / "README.md"


def main(names: list[str]) -> int:
    """The exit code: 0 when all that were asked for ran, 2 when one of them does not exist.

    `--table` runs nothing: it puts the figures of the results that are there into the README.
    """
    if names == ["--table"]:
        put_table(README)
        return 0
    benchmarks = find()
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        known = ", ".join(benchmarks) or "none"
        print(f"no benchmark named {', '.join(unknown)}; there are: {known}", file=sys.stderr)
        return 2
    # Taken once, before a run can change the tree.
    origin = provenance()
    for name in names or benchmarks:
        if missing := lacks(benchmarks[name]):
            print(f"{name}: skipped, there is no {missing} beside this clone", file=sys.stderr, flush=True)
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures = benchmarks[name].run()
        path = write(benchmarks[name], figures, origin=origin)
        print(name, *(f"  {figure}" for figure in figures), f"  written to {path.name}", sep="\n", flush=True)
    put_table(README)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
