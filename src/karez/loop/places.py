"""Where an act takes place: the sites it is at, the metropolises and domains that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from karez.plan import Action
from karez.plan.kinds import KINDS
from karez.twin import World, schema

# By table, the columns that lead towards a site.
TOWARDS = {
    "links": ("a", "b"),
    "equipment": ("site",),
    "daemons": ("equipment",),
    "configs": ("equipment",),
    "demands": ("a", "b"),
    "servers": ("site",),
    "assignments": ("server",),
}


class Places(NamedTuple):
    """The ids of where it is."""

    sites: frozenset[str]
    metros: frozenset[str]
    domains: frozenset[str]


def places(world: World, actions: Iterable[Action]) -> Places:
    """Where acts take place: at the sites of every row that they set or add."""
    sites = frozenset(site for action in actions for site in _sites(world, action))
    of = world["sites"]
    return Places(
        sites=sites,
        metros=frozenset(str(of.cell(site, "metro")) for site in sites),
        domains=frozenset(str(of.cell(site, "domain")) for site in sites),
    )


def subject_sites(world: World, table: str, row: str) -> frozenset[str]:
    """The sites that a row of a table is at."""
    return frozenset(_of_row(world, table, row))


def _sites(world: World, action: Action) -> Iterator[str]:
    for cell in action.sets:
        yield from _of_row(world, cell.table, cell.row)
    for new in action.adds:
        for column in TOWARDS.get(new.table, ()):
            yield from _towards(world, new.table, column, str(new.values.get(column, "")))
    if not action.sets and not action.adds and KINDS[action.kind].may_set:
        yield from _of_row(world, KINDS[action.kind].may_set[0][0], action.subject)


def _of_row(world: World, table: str, row: str) -> Iterator[str]:
    if table == "sites":
        yield from [row] if world["sites"].has(row) else []
    elif table in TOWARDS and world[table].has(row):
        for column in TOWARDS[table]:
            yield from _towards(world, table, column, str(world[table].cell(row, column)))


def _towards(world: World, table: str, column: str, row: str) -> Iterator[str]:
    """The sites that a reference leads to, step by step."""
    for target in schema.column(table, column).refers_to:
        yield from _of_row(world, target, row)
