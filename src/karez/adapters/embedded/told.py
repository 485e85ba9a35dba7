"""State as a control plane tells it: rows of links, devices, programs, sections, demands, chips and orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from karez.adapters.embedded.living import Living
from karez.adapters.embedded.plant import rows
from karez.adapters.embedded.stock import ORDER_COLUMNS
from karez.twin import World
from karez.twin.schema import Value
from karez.twin.table import Array, strings, texts
from karez.twin.telemetry import StateRows

Columns = dict[str, tuple[Value, ...]]


def looked(living: Living, table: str, ids: tuple[str, ...]) -> StateRows:
    """These rows of a table as they are now; those that do not exist or cannot be asked are left out."""
    if table == "order_states":
        return _orders(living, ids)
    own, columns = TOLD[table]
    known = own(living)
    at = rows(known, texts(ids))
    at = np.unique(at[at >= 0])
    if table == "daemon_states":
        # Nobody knows of programs on a device that does not answer.
        at = at[~np.append(living.effects.given_up, False)[living.plant.programs.device[at]]]
    return StateRows(table, strings(known[at]), columns(living, at))


def differing(living: Living, world: World) -> Iterator[tuple[str, Array]]:
    """By table, the ids of the rows that are not as the actual twin has them; loads are measured all the time."""
    for table in TOLD:
        was = world[table]
        told = looked(living, table, strings(was.ids))
        differs = np.zeros(len(told.ids), bool)
        for column, values_ in told.columns.items():
            if column != "load_gbps":
                before = was[column][was.rows(told.ids)]
                now = texts(map(str, values_)) if before.dtype.kind == "S" else np.array(values_, before.dtype)
                differs |= before != now
        yield table, texts(told.ids)[differs]


def shown(living: Living) -> tuple[Array, ...]:
    """What is told of all links and changes by itself: what differs later must be told."""
    effects = living.effects
    arrays = effects.carrier, living.sessions.adjacent, effects.narrow, effects.lies, living.flaps
    return tuple(array.copy() for array in arrays)


def load_gbps(living: Living) -> Array:
    """What each link carries in its busier direction (Gbit/s)."""
    return np.asarray(living.meter.rates.tx.reshape(-1, 2).max(axis=1, initial=0.0))


def values(array: Array) -> tuple[Value, ...]:
    """An array as Python has it."""
    return tuple(array.tolist())


def _links(living: Living, at: Array) -> Columns:
    effects, gear, honest = living.effects, living.gear, ~living.effects.lies[at]
    return {
        "up": values(effects.carrier[at] & honest),
        "drained": values(gear.drained[at]),
        "cost": values(gear.cost[at]),
        "adjacent": values(living.sessions.adjacent[at] & honest),
        "capacity_gbps": values(living.plant.links.capacity_gbps[at] * effects.narrow[at]),
        "flaps": values(living.flaps[at]),
        "load_gbps": values(np.round(load_gbps(living)[at], 3)),
    }


def _servers(living: Living, at: Array) -> Columns:
    return {"free_chips": values(living.stock.free[at])}


def _devices(living: Living, at: Array) -> Columns:
    gear = living.gear
    return {
        "up": values(~living.effects.given_up[at]),
        "boots": values(gear.boots[at]),
        "drained": values(gear.router_drained[at]),
    }


def _programs(living: Living, at: Array) -> Columns:
    effects = living.effects
    behind_s = np.floor(living.at_s) - np.floor(effects.behind_since_s[at])
    return {
        "up": values(effects.program_up[at]),
        "restarts": values(living.gear.restarts[at]),
        "behind_s": values(np.nan_to_num(behind_s)),
    }


def _sections(living: Living, at: Array) -> Columns:
    said = tuple(living.gear.values[section] for section in at.tolist())
    return {"value": said, "restores": values(living.gear.restores[at])}


def _demands(living: Living, at: Array) -> Columns:
    sites = living.plant.sites
    over = [sites.ids[sites.vertex == vertex] if vertex >= 0 else [] for vertex in living.gear.via[at].tolist()]
    via = tuple(site[0].decode() if len(site) else "" for site in over)
    return {"limited_share": values(living.gear.limited[at]), "via": via}


def _orders(living: Living, ids: tuple[str, ...]) -> StateRows:
    orders = living.stock.orders
    known = tuple(order for order in ids if order in orders)
    return StateRows("order_states", known, {n: tuple(orders[order][n] for order in known) for n in ORDER_COLUMNS})


# By table: the ids that there are, and what is told of rows.
TOLD: dict[str, tuple[Callable[[Living], Array], Callable[[Living, Array], Columns]]] = {
    "link_states": (lambda living: living.plant.links.ids, _links),
    "server_states": (lambda living: living.stock.ids, _servers),
    "equipment_states": (lambda living: living.plant.devices.ids, _devices),
    "daemon_states": (lambda living: living.plant.programs.ids, _programs),
    "config_states": (lambda living: living.plant.sections.ids, _sections),
    "demand_states": (lambda living: living.plant.demands.ids, _demands),
}
