"""What an act that moves traffic reaches, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from karez.measure.routes import Case, Crossing, Flows, Routes, flows, routes
from karez.plan.heal.trouble import Trouble, late_us
from karez.plan.reads import Read
from karez.twin.table import Array

# Above this share of its capacity a link queues; a detour must stay below it.
FULL_SHARE = 0.9
# By how much one demand may grow without warning: a detour must hold the largest of its demands, grown so.
GROWS = 2.5
# Where nobody tells how fast a link is, it may be as slow as the next lower speed of its kind, a quarter or less.
UNTOLD_SHARE = 0.2
# The load below which traffic counts as having left a link: what a counter rounds to.
LEFT_GBPS = 0.01
# How many links are tried as one more loss, and how far a demand may lose before it counts as without a path.
MORE_LOSSES, PATHLESS_SHARE = 32, 0.01


@dataclass(frozen=True)
class After:
    """The network after an act: its routes, what then flows, and, where that is asked, which demand passes where."""

    routes: Routes

    @classmethod
    def of(cls, trouble: Trouble, case: Case) -> After:
        """The network once it is as in `case`."""
        return cls(routes(trouble.world, case))

    @property
    def case(self) -> Case:
        """What is so then."""
        return self.routes.case

    @cached_property
    def flows(self) -> Flows:
        """What all demands do then."""
        return self.routes.flows()

    @cached_property
    def crossing(self) -> Crossing:
        """What share of each demand passes where."""
        return self.routes.crossing()


def against(trouble: Trouble, after: After, left: Array) -> str:
    """Why an act that moves traffic may not be: links it cannot leave, a full detour, a protected demand cut off."""
    if (after.flows.load_gbps[left] > LEFT_GBPS).any():
        return "there is no way around it"
    links, detour = trouble.world["links"].ids, _detour(trouble, after.flows)
    full = detour & (after.flows.used_share > FULL_SHARE)
    if full.any():
        return f"{links[int(np.argmax(full))].decode()} would be full"
    tight = detour & (after.flows.load_gbps + _growth_gbps(trouble, after) > after.case.capacity_gbps)
    if tight.any():
        return f"{links[int(np.argmax(tight))].decode()} would be full if its largest demand grew"
    protected = trouble.world["demands"]["protected"]
    if (protected & _pathless(after.flows) & ~_pathless(trouble.stay)).any():
        return "a protected demand would have no path"
    if _unsafe(trouble, after):
        return "a protected demand would have no path after one more loss"
    return ""


def reach(trouble: Trouble, after: After) -> tuple[str, ...]:
    """The links that take over traffic, and every demand that passes them then or would feel another delay."""
    links, demands = trouble.world["links"].ids, trouble.world["demands"].ids
    detour = _detour(trouble, after.flows)
    touched = _moved(trouble, after.flows)
    touched[after.crossing.demand[detour[after.crossing.link]]] = True
    return tuple(row.decode() for row in (*links[detour].tolist(), *demands[touched].tolist()))


def detour_reads(trouble: Trouble, after: After) -> tuple[Read, ...]:
    """That the links which take over the traffic are up and have the room for it."""
    world = trouble.world
    links, states = world["links"], world["link_states"]
    reads = []
    for row in np.flatnonzero(_detour(trouble, after.flows)):
        link = links.ids[row].decode()
        reads.append(Read("links", link, "up", "==", True))
        reads.append(Read("links", link, "drained", "==", bool(links["drained"][row])))
        if not states.has(link):
            continue
        more = float(after.flows.load_gbps[row] - trouble.stay.load_gbps[row])
        room = FULL_SHARE * float(trouble.case.capacity_gbps[row]) - more
        reads.append(Read("link_states", link, "up", "==", True))
        # A detour that is full already stays the better way; then only its state is relied on.
        if float(states.cell(link, "load_gbps")) <= room:
            reads.append(Read("link_states", link, "load_gbps", "<=", room))
    return tuple(reads)


def untold(trouble: Trouble, after: After) -> str:
    """Why a person is asked before traffic is moved: it is much for a link of which nobody tells how fast it is."""
    return _untold(trouble, after.flows, _detour(trouble, after.flows))


def coming_back(trouble: Trouble) -> str:
    """The same, where an act brings back what is meant to be: all that links do not carry now and are meant to."""
    now = trouble.stay.load_gbps.copy()
    rows, states = trouble.world.observed("links")
    now[rows] = np.minimum(now[rows], states["load_gbps"])
    return _untold(trouble, trouble.unhurt, trouble.unhurt.load_gbps - now > LEFT_GBPS)


def _untold(trouble: Trouble, then: Flows, more: Array) -> str:
    links = trouble.world["links"]
    rows, states = trouble.world.observed("links")
    told = np.zeros(len(links), bool)
    told[rows] = np.isfinite(states["capacity_gbps"])
    doubtful = more & ~told & (then.used_share > UNTOLD_SHARE)
    if not doubtful.any():
        return ""
    return f"{links.ids[int(np.argmax(doubtful))].decode()} would take over traffic, and does not tell how fast it is"


def while_dark(trouble: Trouble, site: str) -> str:
    """Why a person is asked before a site forwards nothing for a while; empty where nobody would feel it."""
    rows = [trouble.world.intended.resolve("links", end) for end in ("a", "b")]
    at = trouble.world["sites"].rows([site])[0]
    dark = flows(trouble.world, replace(trouble.case, up=trouble.case.up & (rows[0] != at) & (rows[1] != at)))
    feel = dark.delivered_share < trouble.stay.delivered_share - PATHLESS_SHARE
    slower = trouble.loss(dark) > 1.001 * trouble.loss(trouble.stay) + 1.0
    return "users go over it, who would lose it while it starts" if feel.any() or slower else ""


def _detour(trouble: Trouble, leave: Flows) -> Array:
    """Which links take over traffic."""
    more: Array = leave.load_gbps - trouble.stay.load_gbps > LEFT_GBPS
    return more


def _growth_gbps(trouble: Trouble, after: After) -> Array:
    """By how much the load of each link may grow at most, if one demand on it does."""
    case, crossing, most = after.case, after.crossing, np.zeros(len(after.case.up))
    # What surges already has grown.
    more = np.maximum(GROWS * trouble.world["demands"]["gbps"] - case.offered_gbps, 0.0) * case.limited_share
    np.maximum.at(most, crossing.link, more[crossing.demand] * crossing.share)
    return most


def _moved(trouble: Trouble, leave: Flows) -> Array:
    """Which demands would feel another delay."""
    moved: Array = np.abs(late_us(leave) - late_us(trouble.stay)) > 1.0
    return moved


def _unsafe(trouble: Trouble, after: After) -> bool:
    """Whether one more loss of a link would leave a protected demand without a path, and would not have before.

    Only those that are moved can lose by the act, and only by the loss of a link that they then pass.
    """
    world = trouble.world
    moved = world["demands"]["protected"] & _moved(trouble, after.flows)
    if not moved.any():
        return False
    case, crossing = after.case, after.crossing
    for row in np.unique(crossing.link[moved[crossing.demand]])[:MORE_LOSSES]:
        up = case.up.copy()
        up[row] = False
        then = moved & _pathless(flows(world, replace(case, up=up)))
        if then.any() and (then & ~_pathless(flows(world, replace(trouble.case, up=up)))).any():
            return True
    return False


def _pathless(then: Flows) -> Array:
    found: Array = then.delivered_share < PATHLESS_SHARE
    return found
