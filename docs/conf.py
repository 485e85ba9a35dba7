"""How the documentation is built; also writes the reference that the schema determines."""

from __future__ import annotations

import csv
import tomllib
from itertools import groupby
from pathlib import Path

from sphinx.application import Sphinx

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


def write_reference(_app: Sphinx) -> None:
    """Write the generated pages, touching only those that changed."""
    GENERATED.mkdir(exist_ok=True)
    page, text = GENERATED / "twin.md", twin_page(SCHEMA)
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


def setup(app: Sphinx) -> None:
    """Generate the reference before Sphinx looks for pages."""
    app.connect("builder-inited", write_reference)
