from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.measure import policy
from karez.measure.policy import law, shipped
from karez.record.ledger import TABLE, Ledger, Request, as_events, step
from karez.record.locked import locked
from karez.record.log import Record, read
from karez.record.verify import verify
from karez.twin import Table
from tests import compute

LINE = 99_999.0
NOW_S = 1_780_272_000.0
PROCESSES, RACES, THINNED = 8, 1_000, 60


def reserve(hold: str, amount: float, at_s: float = NOW_S, **more: float | str) -> Request:
    fields = {"entity": "own", "year": 2026, "kind": "personal", "line": LINE} | more
    return Request(what="reserve", hold=hold, amount=amount, at_s=at_s, **fields)  # type: ignore[arg-type]


def granted(requests: list[Request]) -> list[bool]:
    return [bool(one) for one in step(Table.of(TABLE), as_events(requests), 1e12)[1]["granted"]]


def settle(hold: str, at_s: float = NOW_S) -> Request:
    return Request(what="settle", hold=hold, at_s=at_s)


def release(hold: str, at_s: float = NOW_S) -> Request:
    return Request(what="release", hold=hold, at_s=at_s)


def test_a_line_is_reached_and_not_crossed() -> None:
    assert granted([reserve("a", 60_000.0), reserve("b", 39_999.0), reserve("c", 1.0)]) == [True, True, False]


def test_what_is_released_or_has_run_out_is_free_again_and_what_is_settled_is_not() -> None:
    assert granted([reserve("a", LINE), release("a"), reserve("b", LINE)]) == [True] * 3
    assert granted([reserve("a", LINE), settle("a"), release("a"), reserve("b", 1.0)]) == [True, True, False, False]
    soon = reserve("a", LINE, expires_at_s=NOW_S + 10.0)
    assert granted([soon, reserve("b", 1.0, NOW_S + 9.0), reserve("b", 1.0, NOW_S + 10.0)]) == [True, False, True]
    assert granted([soon, settle("a", NOW_S + 10.0)]) == [True, False]


def test_years_owners_and_kinds_are_counted_apart() -> None:
    others = [reserve("b", LINE, year=2027), reserve("c", LINE, entity="other"), reserve("d", LINE, kind="sensitive")]
    assert granted([reserve("a", LINE), *others]) == [True] * 4


def test_who_did_not_hear_the_answer_may_ask_again() -> None:
    first = reserve("a", 60_000.0)
    assert granted([first, first, settle("a"), settle("a"), first]) == [True, True, True, True, False]
    assert granted([first, release("a"), release("a"), settle("a"), settle("z")]) == [True, True, True, False, False]


def test_a_hold_is_not_renewed_with_another_amount_or_account_while_it_counts() -> None:
    first = reserve("a", 60_000.0)
    assert granted([first, reserve("a", 30_000.0), reserve("a", 60_000.0, year=2027)]) == [True, False, False]
    over = reserve("a", 60_000.0, expires_at_s=NOW_S + 1.0)
    assert granted([over, reserve("a", 30_000.0, NOW_S + 2.0, year=2027)]) == [True, True]


def test_a_reservation_that_has_run_out_before_it_is_made_is_none() -> None:
    assert granted([reserve("a", 1.0, expires_at_s=NOW_S)]) == [False]


def test_tenths_are_counted_whatever_their_order() -> None:
    holds = {"g": 0.9, "c": 0.8, "a": 0.1, "b": 0.6}
    asked = [reserve(name, amount, kind="epsilon", line=2.4) for name, amount in holds.items()]
    assert granted(asked) == granted(asked[::-1]) == [True] * 4


def test_a_request_from_the_future_is_refused() -> None:
    with pytest.raises(ValueError, match="future"):
        step(Table.of(TABLE), as_events([reserve("a", 1.0)]), NOW_S - 1.0)


requests = st.builds(
    Request,
    what=st.sampled_from(["reserve", "settle", "release"]),
    hold=st.sampled_from(["a", "b", "c", "d", "é"]),
    at_s=st.just(0.0),
    entity=st.sampled_from(["own", "other"]),
    year=st.just(2026),
    kind=st.sampled_from(["personal", "sensitive"]),
    amount=st.sampled_from([0.1, 0.7, 1.0, 2.0, 5.0]),
    line=st.just(6.0),
    expires_at_s=st.sampled_from([3.0, 8.0, 1e9]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(requests, max_size=25))
def test_at_no_moment_is_more_counted_than_the_line_allows(asked: list[Request]) -> None:
    state = Table.of(TABLE)
    for at, request in enumerate(asked):
        timed = Request(**{name: getattr(request, name) for name in request.__struct_fields__} | {"at_s": float(at)})
        state, _ = step(state, as_events([timed]), float(at))
        live = np.where(at < state["expires_at_s"], state["reserved"], 0.0) + state["settled"]
        for entity in (b"own", b"other"):
            for kind in (b"personal", b"sensitive"):
                mine = live[(state["entity"] == entity) & (state["kind"] == kind)]
                assert math.fsum(mine.tolist()) <= 6.0


# In a file.


def test_a_ledger_is_kept_and_counts_in_the_verdict(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.ask(reserve("a", 60_000.0))
    assert not Ledger(tmp_path / "ledger").ask(reserve("b", 40_000.0))
    assert ledger.ask(settle("a"))
    assert verify(tmp_path / "ledger")[0] == 2
    world = compute.small().intended
    sizes = world["datasets"].set(np.arange(len(world["datasets"])), subjects=40_000.0)
    twin = world.replace(sizes)
    servers = twin["servers"].set(twin["servers"].rows(["p-middle"]), domain="foreign")
    twin = twin.replace(servers)
    data, to = twin["datasets"].rows(["personal"]), policy.recipients(twin, servers.rows(["p-middle"]))
    rules = law(shipped(), NOW_S)
    none = policy.lawful(twin, policy.Asked(rules, NOW_S, ("work",)), data, to)
    full = policy.lawful(twin, policy.Asked(rules, NOW_S, ("work",), ledger.state()), data, to)
    next_year = policy.lawful(twin, policy.Asked(rules, NOW_S + 3.2e7, ("work",), ledger.state()), data, to)
    assert "encrypt" in policy.named(int(none[0, 0]))
    assert policy.named(int(full[0, 0])) == ("aggregate", "stay")
    assert next_year[0, 0] == none[0, 0]


def test_a_clock_that_goes_back_does_not_free_what_has_run_out_elsewhere(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.ask(reserve("a", LINE, expires_at_s=NOW_S + 10.0))
    assert ledger.ask(reserve("b", LINE, NOW_S + 20.0))
    # By its own clock `a` still holds; by that of the ledger it has run out, and `b` has all.
    assert not ledger.ask(settle("a", NOW_S + 5.0))


@pytest.mark.parametrize(
    "fields", [{"amount": math.nan}, {"amount": -1.0}, {"line": math.inf}, {"expires_at_s": math.inf}]
)
def test_what_is_no_amount_is_refused_and_spoils_nothing(tmp_path: Path, fields: dict[str, float]) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with pytest.raises(InputError, match="no amount"):
        ledger.ask(msgspec.structs.replace(reserve("a", 1.0), **fields))
    assert ledger.ask(reserve("b", 1.0))
    assert len(Ledger(tmp_path / "ledger").state()) == 1


def test_what_was_granted_is_there_for_whoever_reads_it_after(tmp_path: Path) -> None:
    asked = [reserve(name, amount, kind="epsilon", line=2.4) for name, amount in
             (("g", 0.9), ("c", 0.8), ("a", 0.1), ("b", 0.6))]  # fmt: skip
    assert all(Ledger(tmp_path / "ledger").ask(one) for one in asked)
    assert len(Ledger(tmp_path / "ledger").state()) == 4
    assert Ledger(tmp_path / "ledger").ask(settle("b"))


def test_a_ledger_that_nobody_made_is_empty_and_stays_so(tmp_path: Path) -> None:
    assert len(Ledger(tmp_path / "ledger").state()) == 0
    assert not list(tmp_path.iterdir())


def test_who_holds_it_for_ever_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with locked(path), pytest.raises(InputError, match="held by another process"), locked(path, 0.05):
        pass


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with Record(tmp_path / "record") as record:
        record.append("turn", NOW_S, b"{}")
    with pytest.raises(InputError, match="no ledger's"):
        Ledger(tmp_path / "record").ask(reserve("a", 1.0))
    with pytest.raises(InputError):
        Ledger(tmp_path / "nowhere" / "ledger").ask(reserve("a", 1.0))


def _racer(path: Path, told: Path, seed: int) -> None:
    """Ask at random for ever, and write down what was answered only once it was."""
    chance, ledger = np.random.default_rng(seed), Ledger(path)
    with told.open("a", buffering=1) as file:
        for number in range(10**9):
            hold = f"{os.getpid()}-{number}"
            kind = str(chance.choice(["personal", "sensitive"]))
            more: dict[str, float | str] = {
                "kind": kind,
                "line": 100.0,
                "expires_at_s": time.time() + float(chance.choice([0.02, 60.0])),
            }
            if ledger.ask(reserve(hold, float(chance.integers(1, 9)), time.time(), **more)):
                print(json.dumps(["reserve", hold]), file=file)
                what = str(chance.choice(["settle", "release", "leave"], p=[0.2, 0.7, 0.1]))
                if what != "leave" and ledger.ask(Request(what=what, hold=hold, at_s=time.time())):  # type: ignore[arg-type]
                    print(json.dumps([what, hold]), file=file)


def test_of_many_processes_that_are_killed_none_crosses_the_line_and_nothing_told_is_lost(
    tmp_path: Path, proof: bool, turning_seed: int
) -> None:
    path, chance = tmp_path / "ledger", np.random.default_rng(turning_seed)
    context = multiprocessing.get_context("fork")
    files = [tmp_path / f"told-{at}" for at in range(PROCESSES)]
    seeds = iter(range(turning_seed, turning_seed + 10**6))

    def started(at: int) -> multiprocessing.process.BaseProcess:
        racer = context.Process(target=_racer, args=(path, files[at], next(seeds)))
        racer.start()
        return racer

    racers = [started(at) for at in range(PROCESSES)]
    try:
        for _ in range(RACES if proof else THINNED):
            time.sleep(float(chance.uniform(0.0, 0.05)))
            at = int(chance.integers(PROCESSES))
            os.kill(racers[at].pid or 0, signal.SIGKILL)
            racers[at].join()
            racers[at] = started(at)
    finally:
        for racer in racers:
            racer.kill()
            racer.join()
    # Whoever was killed left it in two files.
    Ledger(path).state()
    assert verify(path)[0] == len(list(read(path)))
    assert _told(files) <= _kept(path)
    _require_below(path, 100.0)


def _told(files: list[Path]) -> set[tuple[str, str]]:
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    # A line that was cut off by the kill was not told.
    found = set[tuple[str, str]]()
    for line in lines:
        try:
            what, hold = json.loads(line)
        except ValueError:
            continue
        found.add((what, hold))
    assert found
    return found


def _kept(path: Path) -> set[tuple[str, str]]:
    bodies = [json.loads(event.body) for event in read(path)]
    return {(body["what"], body["hold"]) for body in bodies}


def _require_below(path: Path, line: float) -> None:
    """Count again, without the ledger's own code, that at no moment more was held than the line allows."""
    holds = dict[str, list[float | str]]()
    for event in read(path):
        body = json.loads(event.body)
        if body["what"] == "reserve":
            holds[body["hold"]] = [body["kind"], body["amount"], body["expires_at_s"], 0.0]
        elif body["what"] == "settle":
            holds[body["hold"]][3], holds[body["hold"]][1] = holds[body["hold"]][1] or holds[body["hold"]][3], 0.0
        else:
            holds[body["hold"]][1] = 0.0
        for kind in ("personal", "sensitive"):
            mine = [hold for hold in holds.values() if hold[0] == kind]
            live = sum(float(hold[1]) for hold in mine if event.at_s < float(hold[2] or "inf"))
            assert live + sum(float(hold[3]) for hold in mine) <= line
