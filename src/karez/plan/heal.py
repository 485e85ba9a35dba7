"""What to do about a finding: candidates ranked by what the users would feel, "do nothing" among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from karez.measure.delay import link_oneway_us
from karez.measure.routes import Flows, flows, observed, ways
from karez.plan.plan import Action, Alternative, Cell, Plan, Proof, inverse
from karez.plan.reads import Read
from karez.twin import World
from karez.twin.table import Array

GOOD_FOR_S = 60.0
# What a demand that is cut off counts as, in the users' loss: a second of delay.
CUT_OFF_US = 1e6
# Above this share of its capacity a link queues; what lies above counts as lost traffic.
FULL_SHARE = 0.9
# The load below which traffic counts as having left a link: what a counter rounds to.
LEFT_GBPS = 0.01


@dataclass(frozen=True)
class _Candidate:
    name: str
    actions: tuple[Action, ...]
    reads: tuple[Read, ...]
    loss: float
    refused: str = ""


def heal(world: World, finding: str, *, at_s: float) -> Plan | None:
    """The plan that lessens the users' loss most, or None where doing nothing is best.

    The loss is traffic times added delay (Gbit/s x us): a demand that is cut off counts as a second, and so does
    traffic above 90 % of a link's capacity.

    Raises:
        KeyError: there is no such finding.
    """
    revision, world = world.intended.digest, World(world.intended.at(at_s), world.actual)
    kind = str(world["findings"].cell(finding, "kind"))
    planner = PLANNERS.get(kind)
    if planner is None:
        return None
    candidates = planner(world, str(world["findings"].cell(finding, "subject")), at_s)
    allowed = [candidate for candidate in candidates if not candidate.refused]
    best = min(allowed, key=lambda candidate: (candidate.loss, candidate.name))
    return _plan(revision, finding, best, candidates, at_s) if best.actions else None


def release(world: World, finding: str, held: Sequence[Action], *, at_s: float) -> Plan:
    """The plan that takes back what `heal` did, the last act first, once the finding is gone."""
    actions = tuple(inverse(action, expires_at_s=at_s + GOOD_FOR_S) for action in reversed(held))
    reads = (
        Read("findings", finding, "open", "==", False),
        *(Read(c.table, c.row, c.column, "==", c.before) for action in actions for c in action.sets),
    )
    best = _Candidate("release", actions, reads, 0.0)
    return msgspec.structs.replace(_plan(world.intended.digest, finding, best, (), at_s), planner="release", because=())


def felt_us(world: World) -> Array:
    """The delay of each link now (us): as measured where it was, as the library has it elsewhere."""
    felt = link_oneway_us(world.intended, figures="typical").copy()
    rows, states = observed(world)
    measured = ~np.isnan(states["oneway_us"])
    felt[rows[measured]] = states["oneway_us"][measured]
    return felt


def _link_candidates(world: World, link: str, at_s: float) -> tuple[_Candidate, ...]:
    if not world["links"].has(link):
        return (_Candidate("do nothing", (), (), 0.0),)
    planned, felt = link_oneway_us(world.intended, figures="typical"), felt_us(world)
    # Unhurt users: the delays as learned before, by the routes of now.
    before = flows(world, ways(world, planned), planned)
    stay = flows(world, ways(world, planned), felt)
    leave = flows(world, ways(world, planned, drained=[link]), felt)
    drain = Action(
        kind="drain_link",
        subject=link,
        sets=(Cell("links", link, "drained", False, True),),
        expects=(Read("link_states", link, "load_gbps", "<=", LEFT_GBPS),),
        blast_radius=_carried(world, link, stay, leave),
        expires_at_s=at_s + GOOD_FOR_S,
    )
    reads = (
        Read("links", link, "up", "==", True),
        Read("links", link, "drained", "==", False),
        Read("link_states", link, "up", "==", True),
        *_detour_reads(world, stay, leave),
    )
    refused = ""
    if leave.load_gbps[world["links"].rows([link])[0]] > LEFT_GBPS:
        refused = "there is no way around it"
    if bool(world["links"].cell(link, "drained")):
        refused = "is drained already"
    return (
        _Candidate("do nothing", (), (), _loss(world, before, stay)),
        _Candidate("drain_link", (drain,), reads, _loss(world, before, leave), refused),
    )


def _device_candidates(world: World, device: str, at_s: float) -> tuple[_Candidate, ...]:
    if not world["equipment"].has(device):
        return (_Candidate("do nothing", (), (), 0.0),)
    boots = int(world["equipment"].cell(device, "boots"))
    # A device may have booted by itself, more often than anyone asked for.
    booted = int(world["equipment_states"].cell(device, "boots"))
    site = str(world["equipment"].cell(device, "site"))
    restart = Action(
        kind="restart_device",
        subject=device,
        sets=(Cell("equipment", device, "boots", boots, max(boots, booted) + 1),),
        expects=(Read("equipment_states", device, "up", "==", True),),
        blast_radius=(site,),
        expires_at_s=at_s + GOOD_FOR_S,
    )
    reads = (
        Read("equipment", device, "boots", "==", boots),
        Read("equipment_states", device, "up", "==", False),
    )
    # A silent device forwards nothing: all that its site offers is lost until it answers.
    offered = _offered_gbps(world, site) * CUT_OFF_US
    return (_Candidate("do nothing", (), (), offered + 1.0), _Candidate("restart_device", (restart,), reads, offered))


PLANNERS: dict[str, Callable[[World, str, float], tuple[_Candidate, ...]]] = {
    "delay_drift": _link_candidates,
    "device_silent": _device_candidates,
}


def _loss(world: World, before: Flows, after: Flows) -> float:
    gbps = world["demands"]["gbps"]
    # What was cut off before cannot be hurt; what is cut off now counts as a second.
    added = np.minimum(after.oneway_us, CUT_OFF_US) - np.minimum(before.oneway_us, CUT_OFF_US)
    above = np.maximum(after.load_gbps - FULL_SHARE * world["links"]["capacity_gbps"], 0.0)
    return float((gbps * np.maximum(added, 0.0)).sum() + above.sum() * CUT_OFF_US)


def _carried(world: World, link: str, stay: Flows, leave: Flows) -> tuple[str, ...]:
    """The link itself, and every demand that would feel another delay."""
    moved = world["demands"].ids[stay.oneway_us != leave.oneway_us]
    return (link, *(demand.decode() for demand in moved))


def _detour_reads(world: World, stay: Flows, leave: Flows) -> tuple[Read, ...]:
    """That the links which take over the traffic are up and have the room for it."""
    links, states = world["links"], world["link_states"]
    more = leave.load_gbps - stay.load_gbps
    reads = []
    for row in np.flatnonzero(more > LEFT_GBPS):
        link = links.ids[row].decode()
        reads.append(Read("links", link, "up", "==", True))
        reads.append(Read("links", link, "drained", "==", bool(links["drained"][row])))
        if not states.has(link):
            continue
        room = FULL_SHARE * float(links["capacity_gbps"][row]) - float(more[row])
        now = float(states.cell(link, "load_gbps"))
        reads.append(Read("link_states", link, "up", "==", True))
        # A detour that is full already stays the better way; then only its state is relied on.
        if now <= room:
            reads.append(Read("link_states", link, "load_gbps", "<=", room))
    return tuple(reads)


def _offered_gbps(world: World, site: str) -> float:
    demands, name = world["demands"], site.encode()
    return float(demands["gbps"][(demands["a"] == name) | (demands["b"] == name)].sum())


def _plan(revision: str, finding: str, best: _Candidate, candidates: tuple[_Candidate, ...], at_s: float) -> Plan:
    others = (candidate for candidate in candidates if candidate is not best)
    return Plan(
        planner="heal",
        question={"finding": finding},
        revision=revision,
        made_at_s=at_s,
        reads=best.reads,
        actions=best.actions,
        price_cny=0.0,
        proof=Proof(
            value=best.loss,
            bound=best.loss,
            unit="Gbit/s x us",
            how="the best of these candidates, each evaluated on the twin",
        ),
        because=(finding,),
        alternatives=tuple(
            Alternative(other.name, other.loss, other.refused or "the users would lose more") for other in others
        ),
    )
