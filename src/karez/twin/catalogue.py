"""The chips and models of the library as a twin."""

from __future__ import annotations

from functools import cache

from karez.twin import schema
from karez.twin.facts import library
from karez.twin.table import Table
from karez.twin.twin import Twin


@cache
def catalogue() -> Twin:
    """The chips and models of the library, and nothing else."""
    tables = []
    for name in ("chips", "models"):
        specs, rows = schema.tables()[name].values(), library(name)
        tables.append(Table.of(name, {spec.name: [spec.parse(row[spec.name]) for row in rows] for spec in specs}))
    return Twin({table.name: table for table in tables})
