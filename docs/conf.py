"""How the documentation is built; also writes the reference that the schema determines."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
import sys
import tomllib
from itertools import groupby
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import RESULTS, number
from karez.faces import cli, questions
from karez.measure.policy import named, shipped
from karez.measure.policy.packs import Rule
from karez.measure.policy.vocabulary import ALL_MODES, facts
from karez.operations import OPERATIONS, Operation
from karez.plan.kinds import KINDS

HERE = Path(__file__).parent
ROOT = HERE.parent
SCHEMA = ROOT / "src" / "karez" / "twin" / "schema.csv"
GENERATED = HERE / "reference" / "_generated"
HEADINGS = {
    "name": "Column",
    "dtype": "Type",
    "unit": "Unit",
    "bounds": "Bounds",
    "refers_to": "Refers to",
    "absent": "If absent",
    "description": "Description",
}
# The schema's words for "must be given" and for a reference or text that may be empty.
ABSENT_WORDS = {"": "required", "none": "empty"}

CLI_HEAD = """\
# Operations

Every operation is offered alike on the command line, over HTTP and in Python:

```text
karez circles mynet --budget-us 500 --json
```

```text
karez serve --root . &
curl -H 'Content-Type: application/json' -d '{"network": "mynet", "budget_us": 500}' \\
  http://127.0.0.1:8080/v1/operations/circles
```

```python
import karez

karez.circles("mynet", budget_us=500)
```

The first two give the same JSON: `{"schema": 1, "operation": "circles", "answer": {...}}`, where the texts `"inf"`,
`"-inf"` and `"nan"` stand for the numbers that JSON lacks. The third gives the answer as a value. In Python, a name
that the language or a module of Karez has taken gets an underscore: `karez.import_`, `karez.steer_`.

A command that writes a file or folder takes its name in its place or by `-o`, and `-o` is short for `--output`:
`karez report mynet report.html` and `karez report mynet -o report.html` do the same.

The command line puts answers on stdout and everything else on stderr. It ends with

| code | when |
| --- | --- |
| 0 | done |
| 1 | error |
| 2 | wrong input; a line for each problem |
| 3 | the answer misses the target that was set |
| 4 | infeasible: no plan can do what was asked |
| 5 | refused by a rule, a missing approval or a changed read |
| 130 | interrupted |
| 141 | nobody reads the answer any more |

`karez serve` keeps every path within the folder it serves and refuses what writes files, unless `--allow-writes` is
given. Errors are `application/problem+json`: 400 wrong input, with all problems; 403 not offered; 404 no such
operation; 409 refused; 413 longer than 1 MiB; 415 not `application/json`; 422 infeasible. `GET /v1/operations` lists
the operations with the JSON schema of each question, and `GET /healthz` answers while the service runs. There is no
log-in, and operations run one at a time.
"""

LAB_HEAD = """\
# Measured on real routers

How soon a network of FRR routers on one machine starts, how much a cut costs, how soon faults are found and mended, and
whether the loop does harm: each table with the command that repeats it. [How to use the lab](../../how-to/lab.md).
"""
RULES_HEAD = """\
# Rules on data

What the rules of packs may ask for, and the packs that come with Karez. Engineering, not legal advice: articles are as
engineers read them, and the last column says how sure that is (H high, M medium, L low).
[How to use and write packs](../../how-to/rules.md).

## Facts
"""
LAB_RESULTS = {
    "lab": "Starts, cuts and checks of forwarding",
    "gray": "Faults that routing never sees",
    "drill": "Incidents, one after another",
    "halves": "Killed in the middle of a change",
    "hour": "An hour on which nothing is wrong",
}
# A figure of a kind of fault: which, of how many incidents, and what.
OF_KIND = re.compile(r"(\w+) \((\d+)\): (.+)")

project = "Karez"
author = "The Karez authors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
extensions = ["myst_parser"]
myst_heading_anchors = 3

html_theme = "alabaster"
html_theme_options = {"show_powered_by": "false", "page_width": "1100px"}
html_show_sphinx = False
html_copy_source = False


def row_line(cells: list[str]) -> str:
    """A line of a Markdown table; bars inside cells are escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def cell(column: dict[str, str], key: str) -> str:
    """What the reference shows of one property of a column."""
    text = column[key]
    if key == "absent" and text in ABSENT_WORDS:
        return ABSENT_WORDS[text]
    if not text:
        return ""
    if key == "refers_to":
        return ", ".join(f"[{table}](#table-{table})" for table in text.split("+"))
    return f"`{text}`" if key in {"name", "dtype", "bounds", "absent"} else text


def table_section(table: str, columns: list[dict[str, str]]) -> str:
    """The reference of one table: a heading that can be linked to, and a row for each column."""
    lines = [f"(table-{table})=", f"## {table}", "", row_line(list(HEADINGS.values()))]
    lines.append(row_line(["---"] * len(HEADINGS)))
    lines += [row_line([cell(column, key) for key in HEADINGS]) for column in columns]
    return "\n".join(lines) + "\n"


def twin_page(schema: Path) -> str:
    """The page on all tables of a twin, in the order of the schema."""
    with schema.open(encoding="utf-8", newline="") as file:
        columns = list(csv.DictReader(file))
    by_table = groupby(columns, key=lambda column: column["table"])
    sections = [table_section(table, list(group)) for table, group in by_table]
    head = (
        "# Tables of a twin\n\n"
        "A twin is a set of columns, and these are all of them. A column that a file leaves out takes the\n"
        "value under *If absent*; a column that says *required* there must be given.\n"
    )
    return "\n".join([head, *sections])


def kinds_page() -> str:
    """The page on all kinds of action."""
    lines = [
        "# Kinds of action",
        "",
        "What a plan may consist of. What cannot be undone always waits for a person.",
        "",
        row_line(["Kind", "What it is", "Taken back", "How long", "May set or add"]),
        row_line(["---"] * 5),
    ]
    for kind in KINDS.values():
        price = f" ({kind.remedy_price_cny:,.0f} CNY)" if kind.remedy_price_cny else ""
        back = {
            "reversible": f"exactly, by `{kind.inverse}`",
            "compensable": f"not itself; {kind.remedy}{price}",
            "irrevocable": "never",
        }[kind.effect]
        lasts = f"verified within {kind.within_s:.0f} s" if kind.duration == "instant" else "to its stated end"
        touches = [f"`{table}.{column}`" for table, column in kind.may_set]
        touches += [f"rows of `{kind.may_add}`"] if kind.may_add else []
        lines.append(row_line([f"`{kind.name}`", kind.meaning, back, lasts, ", ".join(touches)]))
    return "\n".join(lines) + "\n"


def field_cells(field: questions.Field) -> list[str]:
    """What the reference shows of one field of a question."""
    default = (
        "required" if field.required else f"`{questions.shown(field.default)}`" if field.default != "" else "empty"
    )
    return [f"`{field.name}`", f"`{cli.flag(field)}`", field.takes, default, field.description]


def operation_section(operation: Operation) -> str:
    """The reference of one operation: what it answers, and a row for each field of its question."""
    fields = questions.fields(operation.question)
    usage = " ".join(["karez", cli.spoken(operation.name), *(field.name.upper() for field in fields if field.required)])
    lines = [f"(operation-{operation.name})=", f"## {operation.name}", "", operation.question.__doc__ or "", ""]
    lines += ["```text", f"{usage} [OPTIONS]", "```", ""]
    lines += ["It writes files." if operation.writes else "It writes nothing.", ""]
    lines += [row_line(["Field", "Command line", "Takes", "Default", "Description"]), row_line(["---"] * 5)]
    return "\n".join([*lines, *(row_line(field_cells(field)) for field in fields)]) + "\n"


def cli_page() -> str:
    """The page on all operations, in the order they are listed."""
    return "\n".join([CLI_HEAD, *map(operation_section, OPERATIONS.values())])


def results(name: str) -> dict[str, Any]:
    """The result file of a benchmark; no figures where it was never run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {"figures": []}


def told(value: float | None) -> str:
    """A measured value as a page shows it; empty where there is none."""
    return "" if value is None else number(value)


def measured_lines(figures: list[dict[str, Any]]) -> list[str]:
    """The lines of the table of some figures."""
    lines = [row_line(["What", "Measured", "Bar", "Yardstick in the same run"]), row_line(["---"] * 4)]
    for one in figures:
        sign = "" if one["bar"] is None else "at most " if one["better"] == "lower" else "at least "
        values = f"{told(one['value'])} {one['unit']}".rstrip(), sign + told(one["bar"]), told(one["yardstick"])
        lines.append(row_line([one["what"], *values]))
    return lines


def kind_lines(figures: list[dict[str, Any]]) -> list[str]:
    """The lines of the table of kinds of fault, real routers beside the embedded network."""
    asked = ("cause and subject right", "median time to find", "median time to heal")
    kinds: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for one in figures:
        if said := OF_KIND.fullmatch(one["what"]):
            kinds.setdefault((said[1], said[2]), {})[said[3]] = one
    lines = [row_line(["Kind", "Incidents", *(f"{name} (embedded)" for name in asked)]), row_line(["---"] * 5)]
    for (kind, times), figures_of in sorted(kinds.items()):
        cells = []
        for name in asked:
            value, other, unit = (figures_of.get(name, {}).get(key) for key in ("value", "yardstick", "unit"))
            seconds = f" {unit}" if unit == "s" else ""
            cells.append(f"{told(value)}{seconds}{f' ({told(other)})' if other is not None else ''}")
        lines.append(row_line([f"`{kind}`", times, *cells]))
    return lines


def lab_page() -> str:
    """The page on what was measured on real routers."""
    lines = [LAB_HEAD]
    for name, title in LAB_RESULTS.items():
        found = results(name)
        if not found["figures"]:
            continue
        machine = found["machine"]
        lines += [f"## {title}", "", f"`make bench ONLY={name}`, commit {found['commit'][:12]}, "]
        lines += [f"{machine['cpu']}, {machine['cores']} cores.", ""]
        of_kinds = [one for one in found["figures"] if OF_KIND.fullmatch(one["what"])]
        lines += [*measured_lines([one for one in found["figures"] if one not in of_kinds]), ""]
        if of_kinds:
            lines += ["Kind by kind, and the same incidents in the embedded network:", "", *kind_lines(of_kinds), ""]
    return "\n".join(lines) + "\n"


def rules_page() -> str:
    """The page on what rules on data may ask for, and on the packs that come with Karez."""
    lines = [RULES_HEAD, row_line(["Fact", "Values", "Held in", "What it is"]), row_line(["---"] * 4)]
    for fact in facts().values():
        values = (
            ", ".join(fact.values)
            if fact.values
            else {"flag": "true, false", "number": "a number or unknown"}.get(fact.kind, "a text")
        )
        lines.append(
            row_line([f"`{fact.id}`", values, " or ".join(f"`{where}`" for where in fact.held_in), fact.description])
        )
    for pack in shipped():
        lines += ["", f"## {pack.name} {pack.version}", "", f"{pack.title}.", "", *(f"* {one}" for one in pack.sources)]
        lines += ["", row_line(["Rule", "Says", "Modes", "Article", "In force", "Sure"]), row_line(["---"] * 6)]
        for rules in pack.sets:
            lines += [rule_line(rules.name, rule) for rule in rules.rules]
    return "\n".join(lines) + "\n"


def rule_line(within: str, rule: Rule) -> str:
    """The line of a rule."""
    modes = ", ".join(named(rule.modes)) if rule.modes != ALL_MODES else "all"
    days = [dt.datetime.fromtimestamp(at_s, dt.UTC).date().isoformat() for at_s in (rule.from_s, rule.until_s)
            if at_s < float("inf")]  # fmt: skip
    force = f"from {days[0]}" + (f" until {days[1]}" if len(days) > 1 else "")
    effect = "leaves it to others" if rule.outside else rule.effect
    return row_line([f"`{within.partition('/')[2]}/{rule.id}`", effect, modes, rule.article, force, rule.confidence])


def write_page(name: str, text: str) -> None:
    """Write a generated page where it differs."""
    page = GENERATED / name
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


def write_reference(_app: Sphinx) -> None:
    """Write the generated pages, touching only those that changed."""
    GENERATED.mkdir(exist_ok=True)
    write_page("twin.md", twin_page(SCHEMA))
    write_page("cli.md", cli_page())
    write_page("kinds.md", kinds_page())
    write_page("lab.md", lab_page())
    write_page("rules.md", rules_page())


def setup(app: Sphinx) -> None:
    """Generate the reference before Sphinx looks for pages."""
    app.connect("builder-inited", write_reference)
