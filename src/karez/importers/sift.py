"""Which rows of a table cannot be used: all that a check finds of each, told apart from what only follows from others.

Tables are sifted in the order of the schema, so that a table is looked at when all that it refers to is sound already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from karez.importers.report import FOLLOWS
from karez.twin import schema
from karez.twin.check import NOWHERE, SWAPPED, check_rows
from karez.twin.schema import ColumnSpec
from karez.twin.table import MISSING, Array, Column, Table, resolve
from karez.twin.twin import Twin

# No degree is as large, nor is any position of a projection as near to its origin, save by chance.
METRES_FROM = 1000.0
METRES = "is no degree: metres of a projection?"
_LONGITUDES = "convert all positions to longitude and latitude in WGS 84"


@dataclass(frozen=True)
class Fault:
    """What is wrong with some rows of a table (their numbers), and what to do."""

    column: str
    what: str
    fix: str
    rows: Array


def faults(table: Table, sound: Twin, came: Mapping[str, Table], unread: Collection[str] = ()) -> list[Fault]:
    """Every fault of every row but a repeated id.

    References are looked up in `sound`; those to a row that `came` but is not there any more follow from its loss.
    Those to a table that is `unread` may be right.
    """
    rows = np.arange(len(table))
    if not check_rows(sound.replace(table), table.name, rows):
        return []
    numbered = Table(table.name, table.columns | {"id": Column.of(np.strings.zfill(rows.astype("S"), 12))})
    others = [name for name in table.columns if name != "id"]
    checked = [
        Fault(problem.where.partition(".")[2], problem.what, problem.fix, np.array(problem.rows, dtype=np.int64))
        for problem in check_rows(sound.replace(numbered), table.name, rows, others)
        if problem.what != NOWHERE
    ]
    found = [fault for fault in checked if fault.column not in ("lon", "lat")]
    if "lon" in table.columns:
        found += _misplaced(table, [fault for fault in checked if fault.column in ("lon", "lat")])
    for spec in schema.tables()[table.name].values():
        if spec.refers_to and not set(unread) & set(spec.refers_to):
            found += _lost(table, spec, sound, came)
    return found


def _misplaced(table: Table, checked: Sequence[Fault]) -> list[Fault]:
    """What is wrong with positions, each told once: as metres, else as exchanged, else as out of bounds."""
    lon, lat = table["lon"], table["lat"]
    metres = np.maximum(np.abs(lon), np.abs(lat)) >= METRES_FROM
    # What lies beyond any longitude is none in the wrong place.
    swapped = _mask(table, [fault for fault in checked if fault.what == SWAPPED]) & (np.abs(lat) <= 180)
    found = [Fault("lon", METRES, _LONGITUDES, np.flatnonzero(metres))]
    for fault in checked:
        here = swapped & ~metres if fault.what == SWAPPED else ~swapped & ~metres
        found.append(replace(fault, rows=fault.rows[here[fault.rows]]))
    return [fault for fault in found if len(fault.rows)]


def _mask(table: Table, faults: Sequence[Fault]) -> Array:
    found = np.zeros(len(table), bool)
    for fault in faults:
        found[fault.rows] = True
    return found


def _lost(table: Table, spec: ColumnSpec, sound: Twin, came: Mapping[str, Table]) -> list[Fault]:
    """References that lead nowhere, and those to rows that are lost."""
    values = table[spec.name]
    missing = _missing(values, [sound[name] for name in spec.refers_to])
    follows = missing & ~_missing(values, [came[name] for name in spec.refers_to if name in came])
    known = f"add the row to {' or '.join(spec.refers_to)}, or correct the reference"
    found = [
        Fault(spec.name, NOWHERE, known, np.flatnonzero(missing & ~follows)),
        Fault(spec.name, FOLLOWS, f"correct that row of {' or '.join(spec.refers_to)}", np.flatnonzero(follows)),
    ]
    return [fault for fault in found if len(fault.rows)]


def _missing(values: Array, targets: Sequence[Table]) -> Array:
    missing: Array = resolve(values, tuple(target.columns["id"] for target in targets)) == MISSING
    return missing


def repeats(table: Table, faulty: Array, told: Array) -> Array:
    """The rows (numbers) whose id another row has, which is kept: one without fault, that tells most.

    `faulty` is one bool a row, `told` the number of its cells that are filled. Where two rows say the same, either is
    kept, else the first by its values, so that the order of rows in a file does not matter.
    """
    same = table.ids[1:] == table.ids[:-1]
    rows = np.flatnonzero(np.append(same, False) | np.append(False, same))
    keys = [table[name][rows] for name in reversed(table.columns)]
    rows = rows[np.lexsort([*keys, -told[rows], faulty[rows], table.ids[rows]])]
    return np.sort(rows[1:][table.ids[rows[1:]] == table.ids[rows[:-1]]])
