"""An order as a file for a buyer: a workbook (XLSX) of several sheets, or one table (CSV).

No text becomes a formula: in CSV an apostrophe stands before what a spreadsheet would take for one, in XLSX the cell
says that it is text. The same order gives the same bytes.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import msgspec

from karez.errors import KarezError

# What makes a spreadsheet take text for a formula. Source: OWASP, CSV Injection.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
# Characters that XML 1.0 cannot hold, and the most that a cell of a spreadsheet can. Source: ECMA-376.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
LONGEST_TEXT = 32_767
NARROWEST, WIDEST = 8, 60
WHOLE, MONEY, DATE, YEAR = "#,##0", "#,##0.00", "yyyy-mm-dd", "0"
EARLIEST_ZIP = (1980, 1, 1, 0, 0, 0)
_CHANGED = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*")

Cell = str | int | float | datetime.datetime | None


class Sheet(msgspec.Struct, frozen=True):
    """A sheet: its title, the names of its columns, and its rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def as_csv(sheet: Sheet) -> bytes:
    """One sheet as CSV (RFC 4180) in UTF-8 with a mark, by which spreadsheets tell the encoding.

    Source: RFC 4180, section 2.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(sheet.columns)
    writer.writerows([_csv_cell(cell) for cell in row] for row in sheet.rows)
    return out.getvalue().encode("utf-8-sig", "backslashreplace")


def as_xlsx(sheets: Sequence[Sheet], *, title: str, made_at: datetime.datetime) -> bytes:
    """A workbook with these sheets, whose first rows stay in sight.

    Raises:
        KarezError: the library that writes workbooks is not installed.
    """
    try:
        openpyxl = import_module("openpyxl")
    except ModuleNotFoundError as error:
        raise KarezError("an order as .xlsx needs openpyxl; install karez[io], or ask for .csv") from error
    book = openpyxl.Workbook()
    book.remove(book.active)
    for sheet in sheets:
        _fill(book.create_sheet(sheet.title), sheet)
    book.properties.title, book.properties.creator = _writable(title), "Karez"
    book.properties.created = made_at
    data = io.BytesIO()
    book.save(data)
    return _same_bytes(data, made_at)


def _csv_cell(cell: Cell) -> str:
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat()
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA) else cell
    if isinstance(cell, float):
        return f"{cell:.2f}" if cell == round(cell, 2) else str(cell)
    return "" if cell is None else str(cell)


def _fill(page: Any, sheet: Sheet) -> None:
    bold = import_module("openpyxl.styles").Font(bold=True)
    for row, cells in enumerate([sheet.columns, *sheet.rows], 1):
        for column, value in enumerate(cells, 1):
            if value is not None:
                _write(page.cell(row, column), value)
                if sheet.columns[column - 1] == "year" and isinstance(value, int):
                    page.cell(row, column).number_format = YEAR
    for cell in page[1]:
        cell.font = bold
    page.freeze_panes = "A2"
    if sheet.rows:
        page.auto_filter.ref = page.dimensions
    for column, name in enumerate(sheet.columns):
        widest = max([len(name), *(_width(row[column]) for row in sheet.rows)])
        letter = page.cell(1, column + 1).column_letter
        page.column_dimensions[letter].width = min(max(widest + 2, NARROWEST), WIDEST)


def _write(cell: Any, value: str | int | float | datetime.datetime) -> None:
    if isinstance(value, str):
        cell.value = _writable(value)[:LONGEST_TEXT]
        # Else text that begins with an equals sign would be a formula, and one that is edited could become one.
        cell.data_type = "s"
        cell.quotePrefix = value.startswith(FORMULA)
        return
    cell.value = value
    cell.number_format = DATE if isinstance(value, datetime.datetime) else WHOLE if isinstance(value, int) else MONEY


def _writable(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", text)


def _width(cell: Cell) -> int:
    return len(DATE) if isinstance(cell, datetime.datetime) else len(_csv_cell(cell)) + 2


def _same_bytes(data: io.BytesIO, made_at: datetime.datetime) -> bytes:
    """The workbook without the time at which it was packed."""
    stamp = rb"\g<1>" + made_at.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            content = old.read(part)
            if part.filename == "docProps/core.xml":
                content = _CHANGED.sub(stamp, content)
            new.writestr(zipfile.ZipInfo(part.filename, EARLIEST_ZIP), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
