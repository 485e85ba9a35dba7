"""The guard believes nobody."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.instances.ring import DRAIN, ORDER, ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.adapters.guard import GRACE_S, Command, Guard
from karez.plan import Action, Read
from karez.plan.kinds import KINDS

RECEIPT = b"receipt"
COMMAND = Command(plan="p", actions=(DRAIN,), reads=(Read("link_states", "l03", "up", "==", True),), epoch=1)


@pytest.fixture
def guard() -> Guard:
    return Guard(EmbeddedNetwork(ring(), seed=1, start_s=0.0), lambda receipt, command: receipt == RECEIPT)


def _drained(guard: Guard) -> bool:
    return bool(guard.network.look("link_states", ["l03"]).columns["drained"][0])


def test_a_recorded_command_whose_reads_hold_is_done_and_read_back(guard: Guard) -> None:
    reply = guard.execute(COMMAND, RECEIPT, ring(), at_s=1.0)
    assert reply.done
    assert reply.read_back[0].columns["drained"] == (True,)


@pytest.mark.parametrize(
    ("command", "receipt", "why"),
    [
        (COMMAND, b"other", "holds no such decision"),
        (
            msgspec.structs.replace(COMMAND, actions=(msgspec.structs.replace(DRAIN, expires_at_s=0.5),)),
            RECEIPT,
            "expired",
        ),
        (msgspec.structs.replace(COMMAND, actions=(msgspec.structs.replace(DRAIN, kind="x"),)), RECEIPT, "nobody here"),
        (Command(plan="p", actions=(ORDER,), reads=(), epoch=1), RECEIPT, "no person approved"),
    ],
)
def test_what_speaks_against_a_command_is_said_and_nothing_is_done(
    guard: Guard, command: Command, receipt: bytes, why: str
) -> None:
    reply = guard.execute(command, receipt, ring(), at_s=1.0)
    assert not reply.done
    assert why in reply.why
    assert not _drained(guard)


def test_a_read_that_changed_since_the_loop_looked_stops_the_act(guard: Guard) -> None:
    assert isinstance(guard.network, EmbeddedNetwork)
    guard.network.inject(Fault("link_cut", "l03", 0.5))
    guard.network.observe(1.0)
    reply = guard.execute(COMMAND, RECEIPT, ring(), at_s=1.0)
    assert reply.changed == COMMAND.reads
    assert not _drained(guard)


def test_an_older_leader_is_refused_once_a_newer_one_has_acted(guard: Guard) -> None:
    assert guard.execute(msgspec.structs.replace(COMMAND, epoch=2), RECEIPT, ring(), at_s=1.0).done
    assert "newer leader" in guard.execute(COMMAND, RECEIPT, ring(), at_s=1.0).why


def test_what_nobody_confirms_is_undone_by_the_guard_alone(guard: Guard) -> None:
    guard.execute(COMMAND, RECEIPT, ring(), at_s=1.0)
    limit_s = 1.0 + KINDS["drain_link"].within_s + GRACE_S
    assert guard.tick(limit_s) == ()
    assert [reply.undone_alone for reply in guard.tick(limit_s + 1.0)] == [True]
    assert not _drained(guard)
    assert guard.tick(limit_s + 2.0) == ()


def test_what_was_confirmed_stays(guard: Guard) -> None:
    guard.execute(COMMAND, RECEIPT, ring(), at_s=1.0)
    guard.confirm(COMMAND.id)
    assert guard.tick(1e6) == ()
    assert _drained(guard)


def test_the_kill_switch_stops_commands_and_timers(guard: Guard) -> None:
    guard.execute(COMMAND, RECEIPT, ring(), at_s=1.0)
    guard.killed = True
    assert guard.tick(1e6) == ()
    assert "kill switch" in guard.execute(COMMAND, RECEIPT, ring(), at_s=2.0).why


def test_every_kind_of_action_says_how_it_is_taken_back_or_that_it_cannot_be() -> None:
    for kind in KINDS.values():
        if kind.effect == "reversible":
            assert KINDS[kind.inverse].inverse == kind.name
        assert bool(kind.remedy) == (kind.effect == "compensable")
        assert (kind.within_s > 0) == (kind.duration == "instant")


def test_an_action_has_one_id_whoever_decides_it() -> None:
    assert DRAIN.id == Action(**{name: getattr(DRAIN, name) for name in DRAIN.__struct_fields__}).id
