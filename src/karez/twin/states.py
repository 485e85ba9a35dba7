"""What is true of a network that nobody has observed yet: as intended, idle, and every device up."""

from __future__ import annotations

import numpy as np

from karez.twin.table import Array, Table
from karez.twin.twin import Twin


def initial_states(intended: Twin) -> Twin:
    """The twin with the states of a network's first day: as intended, idle, and every device up.

    Links that end on a station have no state: they are many and nobody steers them. No link has told its speed yet.
    """
    return intended.replace(*_first_day(intended).values())


def completed(twin: Twin) -> tuple[Twin, tuple[str, ...]]:
    """The twin with initial states in the state tables that hold nothing, and the names of those tables.

    A table with any row was observed: what it lacks is unknown, and stays so.
    """
    assumed = {name: table for name, table in _first_day(twin).items() if len(table) and not len(twin[name])}
    return (twin.replace(*assumed.values()), tuple(assumed)) if assumed else (twin, ())


def _first_day(intended: Twin) -> dict[str, Table]:
    links, servers, devices = intended["links"], intended["servers"], intended["equipment"]
    observed = np.flatnonzero(links["kind"] != b"access")
    tables = (
        _mirrored("link_states", links, ("up", "drained", "cost"), observed),
        Table.of("server_states", {"id": servers.ids, "free_chips": servers["chips"]}),
        _mirrored("equipment_states", devices, ("boots", "drained", "backups")),
        _mirrored("daemon_states", intended["daemons"], ("restarts",)),
        _mirrored("config_states", intended["configs"], ("value", "restores")),
        _mirrored("demand_states", intended["demands"], ("limited_share", "via")),
    )
    return {table.name: table for table in tables}


def _mirrored(name: str, table: Table, columns: tuple[str, ...], rows: Array | slice = slice(None)) -> Table:
    return Table.of(name, {column: table[column][rows] for column in ("id", *columns)})
