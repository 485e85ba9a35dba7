"""What is true of a network that nobody has observed yet: as intended, idle, and every device up."""

from __future__ import annotations

import numpy as np

from karez.twin.table import Table
from karez.twin.twin import Twin


def initial_states(intended: Twin) -> Twin:
    """The twin with the states of a network's first day: as intended, idle, and every device up.

    Links that end on a station have no state: they are many and nobody steers them.
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
    up, drained = links["up"][observed], links["drained"][observed]
    tables = (
        Table.of("link_states", {"id": links.ids[observed], "up": up, "drained": drained}),
        Table.of("server_states", {"id": servers.ids, "free_chips": servers["chips"]}),
        Table.of("equipment_states", {"id": devices.ids, "boots": devices["boots"]}),
    )
    return {table.name: table for table in tables}
