"""How what is believed of a network may differ from the network: links, capacities, ducts, age of state, traffic."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.adapters.network import Network
from karez.plan import Action
from karez.twin import World
from karez.twin.table import Array
from karez.twin.telemetry import Samples, StateRows

Mismatch = Literal[
    "none", "phantom link", "missing link", "wrong capacity", "unknown duct", "old state", "moving traffic"
]
MISMATCHES: tuple[Mismatch, ...] = (
    "phantom link",
    "missing link",
    "wrong capacity",
    "unknown duct",
    "old state",
    "moving traffic",
)
OLD_S = 30.0
# What a fault of a duct is to each of its links.
DUCTS = {"duct_cut": "link_cut", "duct_dim": "link_dim"}
# Of the intended capacity, what wrong links have; how many are wrong.
WRONG_SHARE, WRONG_LINKS = (0.3, 0.7), 3
# Demands that move, by which factor, and when after the fault (s) they do.
MOVING, MOVES_SHARE, MOVES_S = 3, (1.3, 2.5), (1.0, 20.0)


@dataclass(frozen=True)
class Setting:
    """The world, what is believed of it, how the loop sees a network, and what happens to traffic besides."""

    truth: World
    belief: World
    seen: Callable[[EmbeddedNetwork], Network]
    moves: tuple[Fault, ...] = ()

    @property
    def besides(self) -> frozenset[tuple[str, str]]:
        """The pairs of cause and subject that are true of what happens besides."""
        return frozenset((fault.kind, fault.subject) for fault in self.moves)

    def label(self, fault: Fault) -> frozenset[tuple[str, str]]:
        """The pairs of cause and subject that are true: of a duct that nobody knows of, those of its links."""
        support = self.truth["link_support"]
        known = self.belief["link_support"]["duct"].tolist()
        if fault.kind not in DUCTS or fault.subject.encode() in known:
            return frozenset({(fault.kind, fault.subject)})
        links = support["link"][support["duct"] == fault.subject.encode()]
        return frozenset((DUCTS[fault.kind], link.decode()) for link in links.tolist())


def mismatched(world: World, kind: Mismatch, fault: Fault | None, random: np.random.Generator) -> Setting:
    """A setting in which belief and world differ as `kind` says, but never by the very subject of the fault."""
    same = Setting(world, world, lambda network: network)
    if kind == "phantom link":
        return replace(same, belief=_with_phantom(world, random))
    if kind == "missing link":
        return replace(same, belief=_without_link(world, fault, random))
    if kind == "wrong capacity":
        return replace(same, truth=_narrower(world, random), seen=Speechless)
    if kind == "unknown duct":
        return replace(same, belief=_without_duct(world, fault, random))
    if kind == "old state":
        return replace(same, seen=Delayed)
    if kind == "moving traffic" and fault is not None:
        return replace(same, moves=_moves(world, fault, random))
    return same


@dataclass
class Seen:
    """A network as it is; how it is seen otherwise is up to what is derived from this."""

    network: EmbeddedNetwork
    kinds: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Offer what the network offers."""
        self.kinds = self.network.kinds

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What it tells."""
        return self.network.observe(at_s)

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """Its telemetry."""
        return self.network.hear(at_s)

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """Its rows as they are."""
        return self.network.look(table, ids)

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way."""
        return self.network.apply(action, at_s)


@dataclass
class Delayed(Seen):
    """A network whose state is told late; what it measures, and what it is asked for, is of now."""

    told: deque[tuple[float, tuple[StateRows, ...]]] = field(default_factory=deque)

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What was told half a minute ago."""
        self.told.append((at_s, super().observe(at_s)))
        found: tuple[StateRows, ...] = ()
        while self.told and self.told[0][0] <= at_s - OLD_S:
            found = (*found, *self.told.popleft()[1])
        return found


class Speechless(Seen):
    """A network whose interfaces do not tell their speed."""

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What it tells, without speeds."""
        return tuple(map(_speechless, super().observe(at_s)))

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """Its rows, without speeds."""
        return _speechless(super().look(table, ids))


def _speechless(rows: StateRows) -> StateRows:
    columns = {name: values for name, values in rows.columns.items() if name != "capacity_gbps"}
    return StateRows(rows.table, rows.ids, columns)


def _with_phantom(world: World, random: np.random.Generator) -> World:
    """A link that does not exist, between two sites that have none."""
    links, sites = world["links"], world["sites"].ids
    joined = set(zip(links["a"].tolist(), links["b"].tolist(), strict=True))
    for _ in range(100):
        a, b = sorted(random.choice(len(sites), 2, replace=False).tolist())
        ends = (sites[a], sites[b])
        if ends not in joined and ends[::-1] not in joined:
            row = {"id": ["phantom"], "a": [ends[0]], "b": [ends[1]], "kind": ["core"], "length_km": [5.0]}
            row["capacity_gbps"] = [float(links["capacity_gbps"].max())]
            more = links.add({name: np.array(values) for name, values in row.items()})
            states = world["link_states"].add({"id": np.array(["phantom"])})
            return World(world.intended.replace(more), world.actual.replace(states))
    return world


def _without_link(world: World, fault: Fault | None, random: np.random.Generator) -> World:
    """A link that nobody knows of, far from the fault."""
    links, support = world["links"], world["link_support"]
    near = {fault.subject} if fault else set()
    near |= {link.decode() for link in support["link"][support["duct"] == _name(fault)].tolist()}
    near |= {link.decode() for link in world["configs"]["link"][world["configs"].ids == _name(fault)].tolist()}
    free = [link for link in links.ids.tolist() if link.decode() not in near]
    gone = free[int(random.integers(len(free)))]
    intended = world.intended.replace(
        links.take(links.ids != gone),
        support.take(support["link"] != gone),
        world["configs"].take(world["configs"]["link"] != gone),
    )
    kept = world["config_states"].take(np.isin(world["config_states"].ids, intended["configs"].ids))
    states = world["link_states"].take(world["link_states"].ids != gone)
    return World(intended, world.actual.replace(states, kept))


def _narrower(world: World, random: np.random.Generator) -> World:
    links = world["links"]
    rows = random.choice(len(links), min(WRONG_LINKS, len(links)), replace=False)
    narrow = links["capacity_gbps"][rows] * random.uniform(*WRONG_SHARE, len(rows))
    return World(world.intended.replace(links.set(rows, capacity_gbps=narrow)), world.actual)


def _without_duct(world: World, fault: Fault | None, random: np.random.Generator) -> World:
    """A duct that nobody knows of: that of the fault, or another."""
    support = world["link_support"]
    ducts: Array = np.unique(support["duct"][support["duct"] != b""])
    if not len(ducts):
        return world
    duct = _name(fault) if _name(fault) in ducts else ducts[int(random.integers(len(ducts)))]
    return World(world.intended.replace(support.take(support["duct"] != duct)), world.actual)


def _moves(world: World, fault: Fault, random: np.random.Generator) -> tuple[Fault, ...]:
    demands = world["demands"].ids
    picked = random.choice(len(demands), min(MOVING, len(demands)), replace=False)
    return tuple(
        Fault(
            "demand_surge",
            demands[row].decode(),
            fault.at_s + float(random.uniform(*MOVES_S)),
            size_share=float(random.uniform(*MOVES_SHARE)),
        )
        for row in picked.tolist()
        if demands[row].decode() != fault.subject
    )


def _name(fault: Fault | None) -> bytes:
    return fault.subject.encode() if fault else b""
