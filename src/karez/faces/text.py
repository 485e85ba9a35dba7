"""An answer as text: lines for a person, a table as CSV, or the JSON that the command line and the service share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from unicodedata import east_asian_width

import msgspec
import msgspec.inspect

from karez.operations import Answer

SCHEMA = 1
# A table is shown whole up to the first number of rows; of a longer one people see the second.
WHOLE_ROWS = 40
SHOWN_ROWS = 12
SHOWN_VALUES = 6
WIDEST_CELL = 40
INDENT = "  "
# From here on a person reads thousands, and no longer digits after the point.
LARGE = 1e5
# The last second of the year 9999.
LAST_DATE_S = 253_402_300_799
# What makes a spreadsheet take text for a formula. Source: OWASP, CSV Injection.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def json(operation: str, answer: Answer) -> bytes:
    """One JSON object; numbers that JSON lacks are the texts "inf", "-inf" and "nan"."""
    body = {"schema": SCHEMA, "operation": operation, "answer": finite(msgspec.to_builtins(answer))}
    return msgspec.json.encode(body)


def finite(value: object) -> object:
    """The same value with infinities and nan as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list | tuple) else value


def tables(answer: type[Answer]) -> tuple[str, ...]:
    """The fields of an answer that are tables: sequences of values that have fields themselves."""
    return tuple(field.name for field in msgspec.structs.fields(answer) if _row(field))


def csv(answer: Answer, table: str) -> bytes:
    """One of the answer's `tables` as CSV: RFC 4180 in UTF-8 with lines that end in a line feed, and a header.

    Numbers are whole, infinities and nan are written as in JSON, and what is absent is empty. Parts of a row that have
    parts are JSON. Text that a spreadsheet would take for a formula gets an apostrophe before it.

    Source: RFC 4180, section 2.
    """
    row = next(_row(field) for field in msgspec.structs.fields(answer) if field.name == table)
    assert row is not None
    names = [field.name for field in row.fields]
    rows = msgspec.to_builtins(getattr(answer, table))
    return "".join(map(_csv_line, [names, *([_csv_cell(each[name]) for name in names] for each in rows)])).encode()


def lines(answer: Answer) -> list[str]:
    """The answer for a person: headline, its fields, and how it was got."""
    parts = msgspec.to_builtins(answer)
    head, foot = clean(parts.pop("headline")), clean(parts.pop("citation"))
    for field in msgspec.structs.fields(answer):
        if field.name in parts and (_is_detail(field) or (parts[field.name] is None and field.default is None)):
            parts.pop(field.name)
    body = ["", *_block(parts, "")] if parts else []
    return [head, *body, "", foot]


def clean(text: str) -> str:
    """The text with everything escaped that could steer a terminal or break the line."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _is_detail(field: msgspec.structs.FieldInfo) -> bool:
    """Whether the field is for programs only."""
    info = msgspec.inspect.type_info(field.type)
    return isinstance(info, msgspec.inspect.Metadata) and bool((info.extra or {}).get("detail"))


def _row(field: msgspec.structs.FieldInfo) -> msgspec.inspect.StructType | msgspec.inspect.DataclassType | None:
    """What a row of a table is; None where the field is no table."""
    info = msgspec.inspect.type_info(field.type)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    item = info.item_type if isinstance(info, msgspec.inspect.CollectionType) else None
    return item if isinstance(item, msgspec.inspect.StructType | msgspec.inspect.DataclassType) else None


def _csv_line(cells: Sequence[str]) -> str:
    # A line with nothing on it would be no row at all.
    line = ",".join(map(_quoted, cells)) or '""'
    return f"{line}\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(letter in cell for letter in ',"\r\n') else cell


def _csv_cell(value: object) -> str:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(finite(value)).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _block(parts: dict[str, object], indent: str) -> list[str]:
    """Single values first, aligned; then what is a table or has parts of its own."""
    nested = {name: value for name, value in parts.items() if _is_nested(value)}
    simple = {clean(name): _named(name, value) for name, value in parts.items() if name not in nested}
    wide = max(map(_width, simple), default=0)
    found = [f"{indent}{_padded(name, wide)}  {shown}" for name, shown in simple.items()]
    for name, value in _grouped(nested):
        found += [*([""] if found else []), *([f"{indent}{clean(name)}"] if name else [])]
        found += _nested(value, indent + INDENT if name else indent)
    return found


def _grouped(nested: dict[str, object]) -> Iterator[tuple[str, object]]:
    """Neighbours that have the same simple fields become one table, which has no name."""
    for alike, group in groupby(nested.items(), key=lambda item: _shape(item[1])):
        items = list(group)
        if alike and len(items) > 1:
            yield "", [{"": name, **value} for name, value in items if isinstance(value, dict)]
        else:
            yield from items


def _shape(value: object) -> tuple[str, ...]:
    """The fields of a value that has only simple ones; else nothing."""
    flat = isinstance(value, dict) and not any(isinstance(part, dict | list | tuple) for part in value.values())
    return tuple(value) if flat and isinstance(value, dict) else ()


def _is_nested(value: object) -> bool:
    return bool(value) and (isinstance(value, dict) or (isinstance(value, list | tuple) and isinstance(value[0], dict)))


def _nested(value: object, indent: str) -> list[str]:
    if isinstance(value, dict):
        return _block(value, indent)
    assert isinstance(value, list | tuple)
    return _table(value, indent)


def _table(rows: Sequence[dict[str, object]], indent: str) -> list[str]:
    """Aligned columns; numbers to the right."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if _says(rows, name)]
    shown = rows if len(rows) <= WHOLE_ROWS else rows[:SHOWN_ROWS]
    cells = [names, *([_cut(_named(name, row.get(name))) for name in names] for row in shown)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    right = [all(isinstance(row.get(name), int | float | None) for row in shown) for name in names]
    found = [
        (indent + INDENT.join(_padded(*cell) for cell in zip(line, widths, right, strict=True))).rstrip()
        for line in cells
    ]
    more = len(rows) - len(shown)
    return [*found, f"{indent}... and {more:,} more (--json shows all)"] if more else found


def _says(rows: Sequence[dict[str, object]], name: str) -> bool:
    """Whether a column holds anything at all."""
    return any(row.get(name) is not None for row in rows)


def _named(name: str, value: object) -> str:
    """A value on one line; a moment is shown as its date, in UTC, a share in per cent, a price in whole fen.

    A year has no thousands.
    """
    if isinstance(value, float) and math.isfinite(value):
        if name.endswith("_share"):
            return f"{value * 100:.1f} %"
        if name.endswith("_cny"):
            return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"
    if name.endswith("at_s") and isinstance(value, int | float) and 0 < value < LAST_DATE_S:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    if name.endswith("year") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _inline(value)


def _cut(shown: str) -> str:
    return shown if len(shown) <= WIDEST_CELL else f"{shown[: WIDEST_CELL - 3]}..."


def _inline(value: object) -> str:
    """A value on one line; of a long sequence only its length and its ends."""
    if isinstance(value, dict):
        return _listed([f"{clean(name)} {_inline(part)}" for name, part in value.items()])
    if isinstance(value, list | tuple):
        return _sequence(value)
    return _scalar(value)


def _sequence(values: Sequence[object]) -> str:
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(values) > SHOWN_VALUES and len(numbers) == len(values):
        return f"{len(values):,} values from {_scalar(min(numbers))} to {_scalar(max(numbers))}"
    return _listed([_inline(value) for value in values[:SHOWN_VALUES]], of=len(values))


def _listed(parts: Sequence[str], *, of: int = 0) -> str:
    more = max(of, len(parts)) - SHOWN_VALUES
    return ", ".join(parts[:SHOWN_VALUES]) + (f" and {more:,} more" if more > 0 else "") or "none"


def _scalar(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        whole = value == round(value) if math.isfinite(value) else False
        return f"{value:,.0f}" if whole or LARGE <= abs(value) < math.inf else f"{value:,.6g}"
    return clean(str(value)) or "-"


def _width(text: str) -> int:
    """Columns on a terminal; Chinese characters take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _padded(text: str, width: int, right: bool = False) -> str:
    blank = " " * (width - _width(text))
    return blank + text if right else text + blank
