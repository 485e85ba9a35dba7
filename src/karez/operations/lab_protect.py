"""Ways round every cut, kept ready in the routers of a lab by a plan that a person approves."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec

from karez.adapters.network import Network
from karez.errors import InputError, Refused
from karez.lab.network import network_of
from karez.lab.recording import require_whole
from karez.loop.runner import Runner
from karez.loop.state import Approval, Decisions, Policy, State
from karez.operations import Answer, LabProtectQuestion
from karez.operations.lab import opened, require_alike
from karez.operations.networks import counted, load_living, provenance, require_new_file, share
from karez.plan import Plan
from karez.plan.protect import Protected, protect, read
from karez.record.log import Record
from karez.record.verify import verify
from karez.scenario.real import TURN_S
from karez.twin import World
from karez.twin.table import strings, texts

# How long routers may take to keep what they are told, all together (s).
WITHIN_S = 60.0
# Verdicts after which a plan still goes on.
UNDER_WAY = frozenset({"commanded", "proposed", "applied"})


class Covered(msgspec.Struct, frozen=True):
    """A failure: the pairs of routers whose traffic meets it and that are still joined, and how many go on at once."""

    failure: str
    pairs: int
    at_once: int
    at_once_share: float


class LabProtectAnswer(Answer, frozen=True, kw_only=True):
    """What was kept ready, and what becomes of traffic in each failure before routing has heard of it."""

    plan: str
    ways: int
    routers: int
    pairs: int
    at_once: int
    failures: tuple[Covered, ...]
    record: str
    events: int
    last_hash: str


def run(question: LabProtectQuestion) -> LabProtectAnswer:
    """What the routers of a lab keep ready from now on; the plan and what became of it are in the record.

    Raises:
        InputError: the network cannot be protected, no such lab runs, or the record cannot be written.
        Refused: a router did not keep what it was told.
        LabError: the lab does not answer.
    """
    require_new_file(question.record)
    world, revision = load_living(question.network)
    # What cannot be protected is refused before there is a record of it.
    protect(world, at_s=time.time())
    with opened(question.network, question.name) as lab:
        require_alike(lab, world, question.network)
        if lab.plan().fabric.bgp:
            what = "where users are is told by BGP: what it withdraws would go in circles on the ways kept ready"
            raise InputError.of(question.network, what, "take a network whose routers run no BGP")
        require_whole(lab)
        with closing(network_of(lab, world)) as network, Record(Path(question.record)) as record:
            policy = Policy(level="advise", budgets={})
            runner = Runner.start(
                _as_kept(world, network), network, record, policy, at_s=time.time(), revision=revision.number
            )
            runner.turn(time.time())
            made = protect(runner.state.world, at_s=time.time())
            if made.plan.actions:
                _carry_out(runner, made.plan, question.by)
            runner.end(time.time())
    events, last_hash = verify(Path(question.record))
    return _answer(question, made, events, last_hash, provenance(revision))


def _as_kept(world: World, network: Network) -> World:
    """The world in which routers are meant to keep what they do keep: that is what a plan changes, and goes back to."""
    devices = world["equipment"]
    told = network.look("equipment_states", strings(world["equipment_states"].ids))
    kept = texts(str(said) for said in told.columns["backups"])
    return World(world.intended.replace(devices.set(devices.rows(texts(told.ids)), backups=kept)), world.actual)


def _carry_out(runner: Runner, plan: Plan, by: str) -> None:
    """Return once all routers have been seen to keep what the plan says.

    Raises:
        Refused: they have not.
    """

    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        brought = () if any(one.id == plan.id for one in state.waiting) or begun else (plan,)
        return brought, tuple(Approval(one.id, by) for one in state.waiting if one.id == plan.id)

    begun, until_s, told = False, time.monotonic() + WITHIN_S, list[Decisions]()
    while time.monotonic() < until_s:
        told.append(runner.turn(time.time(), people))
        begun |= bool(told[-1].plans)
        for word in told[-1].verdicts:
            if word.plan == plan.id and word.verdict == "verified":
                return
            if word.plan == plan.id and word.verdict not in UNDER_WAY:
                raise Refused(f"the routers do not keep what they were told: {word.verdict}, {word.why}")
        time.sleep(TURN_S)
    raise Refused(f"the routers have not been seen to keep what they were told within {WITHIN_S:g} s")


def _answer(
    question: LabProtectQuestion, made: Protected, events: int, last_hash: str, source: str
) -> LabProtectAnswer:
    seen = made.coverage
    pairs, at_once = int(seen.pairs.sum()), int(seen.at_once.sum())
    rows = zip(made.failures, seen.pairs.tolist(), seen.at_once.tolist(), strict=True)
    cells = [str(cell.after) for action in made.plan.actions for cell in action.sets]
    return LabProtectAnswer(
        headline=f"{counted(len(cells), 'router')} keep ways ready: of the pairs that a cut meets "
        f"{share(at_once / pairs if pairs else 1.0)} go on at once",
        citation=f"every link and duct played through on the routing tables; approved by {question.by}; "
        f"record {last_hash[:12]}; {source}",
        plan=made.plan.id,
        ways=sum(len(read(cell)) for cell in cells),
        routers=len(cells),
        pairs=pairs,
        at_once=at_once,
        failures=tuple(Covered(name, of, kept, kept / of if of else 1.0) for name, of, kept in rows),
        record=question.record,
        events=events,
        last_hash=last_hash,
    )
