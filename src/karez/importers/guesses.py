"""Which of our columns the columns of foreign files may be: proposals for a person to look at, and to pass on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from karez.errors import InputError
from karez.importers.sheets import files, sheet
from karez.twin import schema
from karez.twin.schema import ColumnSpec, TableSpec
from karez.units import CONVERSIONS

# Words of others, without case, blanks and a plural s -> our table.
TABLES = {
    "node": "stations",
    "bts": "stations",
    "basestation": "stations",
    "cellsite": "stations",
    "gnodeb": "stations",
    "enodeb": "stations",
    "edge": "links",
    "fiber": "links",
    "fibre": "links",
    "connection": "links",
    "city": "metros",
    "metropolis": "metros",
    "pop": "sites",
    "datacenter": "sites",
    "datacentre": "sites",
    "region": "provinces",
    "poi": "places",
    "gpu": "servers",
    "cluster": "servers",
    "accelerator": "chips",
    "device": "equipment",
    "traffic": "demands",
    "conduit": "ducts",
}
# Words of others for a column, without its unit -> ours.
COLUMNS = {
    word: ours
    for ours, words in {
        "id": "code key uid identifier ref",
        "name": "title label",
        "lon": "longitude lng long x",
        "lat": "latitude y",
        "a": "from source src start aend",
        "b": "to target dst destination end bend z zend",
        "kind": "type role category class",
        "metro": "city metropolis",
        "province": "region state",
        "station": "bts basestation gnodeb enodeb",
        "site": "location pop datacenter datacentre",
        "chip": "gpu accelerator",
        "chips": "gpus accelerators chipcount gpucount",
        "population": "inhabitants residents",
        "length": "distance dist len",
        "capacity": "bandwidth bw speed rate",
        "power": "draw",
        "gbps": "traffic demand volume",
        "up": "active enabled",
    }.items()
    for word in words.split()
}
OUR_UNITS = {ours for ours, _ in CONVERSIONS.values()}
SAME, SPELLING, SYNONYM, UNIT, NONE = range(5)


class Guess(msgspec.Struct, frozen=True):
    """That a column of a file is one of ours, times `factor`; with no target, it is left out; `how` says why."""

    file: str
    column: str
    table: str
    target: str
    factor: float
    how: str


def guess(folder: Path) -> list[Guess]:
    """A guess for each column of each CSV or Parquet file in `folder`, in their order.

    Raises:
        InputError: the folder or some of its files cannot be read: all of them.
    """
    paths, problems = files(folder)
    found: list[Guess] = []
    for path in paths:
        try:
            found += of_columns(path.name, sheet(path).frame.columns, table_like(path.stem))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(sorted(problems, key=lambda problem: problem.where))
    return found


@lru_cache(maxsize=4096)
def table_like(stem: str) -> str:
    """Our table whose name, or a common word for it, is `stem`; empty where there is none."""
    whole = "".join(_words(stem))
    word = _singular(whole)
    ours = {_singular("".join(_words(name))): name for name in schema.tables()}
    return ours.get(word) or TABLES.get(word) or TABLES.get(whole, "")


def plain(column: str) -> str:
    """Our word for what a column of any style is called, without a unit of its own: `Length` and `dist` are length."""
    return _ours("".join(_words(column)))


def _singular(word: str) -> str:
    return f"{word.removesuffix('ies')}y" if word.endswith("ies") else word.removesuffix("s")


def of_columns(file: str, columns: list[str], table: str) -> list[Guess]:
    """A guess for each of the columns of one file or part of it, which holds rows of `table` (empty: of none)."""
    if not table:
        return [Guess(file, column, "", "", 1.0, "no table is called like the file") for column in columns]
    ranked = sorted(
        (rank, position, spec, factor, how)
        for position, column in enumerate(columns)
        for rank, spec, factor, how in _candidates(column, table)
    )
    taken: dict[str, int] = {}
    guesses: dict[int, Guess] = {}
    for _, position, target, factor, how in ranked:
        if target not in taken and position not in guesses:
            taken[target] = position
            guesses[position] = Guess(file, columns[position], table, target, factor, how)
    return [
        guesses.get(position) or Guess(file, column, table, "", 1.0, _why_not(column, table, columns, taken))
        for position, column in enumerate(columns)
    ]


def _candidates(column: str, table: str) -> Iterator[tuple[int, str, float, str]]:
    """Rank, target, factor and reason of each of our columns that `column` may be."""
    words = _words(column)
    joined = "".join(words)
    names_row = joined.endswith("id") and table_like(joined.removesuffix("id")) == table
    for spec in schema.tables()[table].values():
        base, unit = _split(spec)
        if column == spec.name:
            yield SAME, spec.name, 1.0, "same name"
        elif joined == "".join(_words(spec.name)):
            yield SPELLING, spec.name, 1.0, "other spelling"
        elif spec.name == "id" and names_row:
            yield SYNONYM, spec.name, 1.0, f"id of a row of {table}"
        elif spec.refers_to and _ours(joined.removesuffix("id")) == spec.name:
            yield SYNONYM, spec.name, 1.0, f"refers to {' or '.join(spec.refers_to)}"
        elif not unit and _ours(joined) == spec.name:
            yield SYNONYM, spec.name, 1.0, "synonym"
        elif unit and len(words) > 1 and _ours("".join(words[:-1])) == base:
            yield from _with_unit(spec, words[-1], unit)


def _with_unit(spec: ColumnSpec, foreign: str, ours: str) -> Iterator[tuple[int, str, float, str]]:
    if foreign == ours:
        yield SYNONYM, spec.name, 1.0, "synonym"
    elif CONVERSIONS.get(foreign, ("",))[0] == ours:
        factor = CONVERSIONS[foreign][1]
        yield UNIT, spec.name, factor, f"{foreign} to {ours}, times {factor:g}"


def _why_not(column: str, table: str, columns: list[str], taken: dict[str, int]) -> str:
    for _, target, _, _ in _candidates(column, table):
        if target in taken:
            return f"left out: {columns[taken[target]]} is {target} already"
    specs: TableSpec = schema.tables()[table]
    base = plain(column)
    unitless = [spec.name for spec in specs.values() if _split(spec)[1] and _split(spec)[0] == base]
    if unitless:
        return f"left out: its unit is not known; rename it to {unitless[0]}"
    return f"left out: no column of {table} is like it"


def _ours(word: str) -> str:
    return COLUMNS.get(word, word)


def _split(spec: ColumnSpec) -> tuple[str, str]:
    """The name of a column of ours without its unit, and the unit where others may use another one."""
    base, _, unit = spec.name.rpartition("_")
    if spec.name in OUR_UNITS:
        return spec.name, spec.name
    return (base.replace("_", ""), unit) if unit in OUR_UNITS else (spec.name.replace("_", ""), "")


def _words(name: str) -> list[str]:
    """The words of a name in any style: `Length (km)`, `length_km` and `lengthKm` are the same two."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", name)]
