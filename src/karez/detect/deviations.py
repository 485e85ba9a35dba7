"""Where what is differs from what should be: rows of state against the intended twin, as signals of the control plane.

A deviation is read off the two twins in each turn, so that it makes no difference when a loop began to look.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from karez.twin import Table, World
from karez.twin.table import Array, resolve, texts

SOURCE = "control"
# A link counts as flapping once it went down so often within a minute.
FLAPS = 3
# A program counts as behind once what it knows is so old (s).
BEHIND_S = 15.0
# Told speed below this share of the intended counts as narrow.
NARROW_SHARE = 0.99


class Deviation(NamedTuple):
    """Rows of one table that differ in one respect: what it is called, their ids, and how much each."""

    kind: str
    ids: Array
    size: Array


def deviating(world: World, at_s: float) -> Table:
    """The table `signals` with what deviates now opened, and what no longer does closed."""
    signals = world["signals"]
    found = list(_deviations(world))
    names = texts(f"{one.kind}/{SOURCE}/{subject.decode()}" for one in found for subject in one.ids.tolist())
    mine = np.flatnonzero(signals["source"] == SOURCE.encode())
    gone = mine[signals["open"][mine] & ~np.isin(signals.ids[mine], names)]
    if len(gone):
        signals = signals.set(gone, open=False)
    if not len(names):
        return signals
    rows = resolve(names, (signals.columns["id"],))
    shut = np.flatnonzero(rows >= 0)
    shut = rows[shut[~signals["open"][rows[shut]]]]
    if len(shut):
        signals = signals.set(shut, open=True, since_s=at_s)
    return _added(signals, found, rows < 0, names, at_s)


def _added(signals: Table, found: list[Deviation], new: Array, names: Array, at_s: float) -> Table:
    if not new.any():
        return signals
    kinds = texts(one.kind for one in found for _ in range(len(one.ids)))
    subjects = np.concatenate([one.ids for one in found])
    count = int(new.sum())
    more = {
        "id": names[new],
        "kind": kinds[new],
        "source": [SOURCE] * count,
        "subject": subjects[new],
        "since_s": np.full(count, at_s),
        "size": np.concatenate([one.size for one in found])[new],
    }
    return signals.add(more)


def _deviations(world: World) -> Iterator[Deviation]:
    yield from _of_links(world)
    yield from _of_devices(world)
    yield from _of_programs(world)


def _of_links(world: World) -> Iterator[Deviation]:
    links, (rows, states) = world["links"], world.observed("links")
    ids = states.ids
    meant = links["up"][rows]
    yield _where("down", ids, meant & ~states["up"])
    yield _where("unadjacent", ids, meant & ~states["adjacent"])
    yield _where("flapping", ids, states["flaps"] >= FLAPS, states["flaps"])
    yield _where("cost", ids, states["cost"] != links["cost"][rows])
    yield _where("drained", ids, states["drained"] != links["drained"][rows])
    with np.errstate(divide="ignore", invalid="ignore"):
        told = states["capacity_gbps"] / links["capacity_gbps"][rows]
    yield _where("narrow", ids, told < NARROW_SHARE, told)


def _of_devices(world: World) -> Iterator[Deviation]:
    devices, (rows, states) = world["equipment"], world.observed("equipment")
    ids = states.ids
    yield _where("silence", ids, ~states["up"])
    yield _where("drained_router", ids, states["drained"] != devices["drained"][rows])
    yield _where("booted", ids, states["up"] & (states["boots"] > devices["boots"][rows]))


def _of_programs(world: World) -> Iterator[Deviation]:
    _, states = world.observed("daemons")
    yield _where("dead", states.ids, ~states["up"])
    yield _where("behind", states.ids, states["up"] & (states["behind_s"] >= BEHIND_S), states["behind_s"])
    rows, states = world.observed("configs")
    yield _where("differs", states.ids, states["value"] != world["configs"]["value"][rows])


def _where(kind: str, ids: Array, deviates: Array, size: Array | None = None) -> Deviation:
    picked = np.flatnonzero(deviates)
    sizes = np.full(len(picked), np.nan) if size is None else np.asarray(size, np.float64)[picked]
    return Deviation(kind, ids[picked], sizes)
