"""The lease: one holder at a time, each with an epoch of its own, and no clock but one's own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.record.lease import Lease, now_s

FOR_S = 10.0
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this run alone, by URL, reached through a UNIX socket."""
    pytest.importorskip("psycopg")
    if not POSTGRES:
        pytest.skip("there is no PostgreSQL on this machine")
    # Not beneath the folder of this run: whoever serves must pass every folder above, and other runs close that one.
    with TemporaryDirectory() as name:
        folder, tools = Path(name), POSTGRES[-1].parent
        data = folder / "data"
        as_other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
        if as_other:
            shutil.chown(folder, 65534, 65534)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*as_other, tools / "initdb", "-D", data, "-U", "karez", "-A", "trust", "-N"], **quiet)  # type: ignore[call-overload]
        settings_ = f"-k {folder} -c listen_addresses="
        subprocess.run([*as_other, tools / "pg_ctl", "-D", data, "-w", "-o", settings_, "start"], **quiet)  # type: ignore[call-overload]
        yield f"postgresql://karez@/postgres?host={folder}"
        subprocess.run([*as_other, tools / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)  # type: ignore[call-overload]


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "leases") if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def make(store: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lease]]:
    """What makes holders of one lease."""
    made: list[Lease] = []

    def holder(holder: str, for_s: float = FOR_S) -> Lease:
        made.append(Lease(store, request.node.name, holder, for_s=for_s))
        return made[-1]

    yield holder
    for lease in made:
        lease.close()


@pytest.fixture
def pair(make: Callable[..., Lease]) -> tuple[Lease, Lease]:
    return make("a"), make("b")


def test_the_first_takes_it_and_the_second_waits_until_it_has_run_out_by_its_own_clock(
    pair: tuple[Lease, Lease],
) -> None:
    a, b = pair
    assert a.take(0.0) == 1
    # The clock of b has nothing to do with that of a.
    assert b.take(1e6) is None
    assert b.take(1e6 + FOR_S) is None
    assert b.take(1e6 + FOR_S + 0.1) == 2
    assert not a.renew(FOR_S - 1.0)


def test_who_renews_keeps_it_and_its_epoch(pair: tuple[Lease, Lease]) -> None:
    a, b = pair
    a.take(0.0)
    for at_s in range(1, 100):
        assert a.renew(float(at_s))
        assert b.take(float(at_s)) is None
    assert a.take(100.0) == 1


def test_one_that_was_away_too_long_has_lost_it_though_nobody_took_it_and_takes_it_anew(
    pair: tuple[Lease, Lease],
) -> None:
    a, _ = pair
    assert a.take(0.0) == 1
    assert not a.renew(FOR_S + 1.0)
    assert a.take(FOR_S + 1.0) == 2


def test_what_was_given_back_is_taken_at_once(pair: tuple[Lease, Lease]) -> None:
    a, b = pair
    a.take(0.0)
    a.give_back()
    assert a.left_s(0.0) == 0
    assert b.take(0.0) == 2
    a.give_back()
    assert b.renew(1.0)


def test_a_holder_that_starts_again_waits_like_any_other(make: Callable[..., Lease]) -> None:
    assert make("a").take(0.0) == 1
    again = make("a")
    assert again.take(0.0) is None
    assert again.take(FOR_S + 0.1) == 2


def test_a_contender_waits_as_long_as_the_holder_was_promised(make: Callable[..., Lease]) -> None:
    make("a").take(0.0)
    hasty = make("b", for_s=0.1)
    assert hasty.take(0.0) is None
    assert hasty.take(FOR_S) is None


def test_a_clock_that_jumps_back_ends_the_lease_and_lets_nobody_take_one_early(pair: tuple[Lease, Lease]) -> None:
    a, b = pair
    assert a.take(1_000.0) == 1
    assert b.take(1_000.0) is None
    assert b.take(500.0) is None
    assert b.take(500.0 + FOR_S) is None
    assert not a.renew(999.0)
    assert a.left_s(1_000.0) == 0


def test_a_store_that_is_gone_lets_the_lease_run_to_its_end_and_says_why(tmp_path: Path) -> None:
    link = tmp_path / "link"
    a, b = (Lease(tmp_path / "leases", "n", "a", for_s=FOR_S), Lease(tmp_path / "leases", "n", "b", for_s=FOR_S))
    link.symlink_to(tmp_path / "leases")
    cut_off = Lease(link, "n", "c", for_s=FOR_S)
    assert cut_off.take(0.0) == 1
    link.unlink()
    (tmp_path / "leases").rename(tmp_path / "moved")
    assert cut_off.renew(1.0)
    assert cut_off.left_s(1.0) == FOR_S - 1.0
    assert "unable to open" in cut_off.why
    assert not cut_off.renew(FOR_S)
    assert a.take(0.0) is None
    (tmp_path / "moved").rename(tmp_path / "leases")
    assert b.take(0.0) is None
    assert b.take(FOR_S + 0.1) == 2


def test_what_is_no_store_or_no_lease_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no leases"):
        Lease(tmp_path / "none" / "leases", "n", "a", for_s=1.0)
    (tmp_path / "text").write_text("hello " * 1_000)
    with pytest.raises(InputError, match="holds no leases"):
        Lease(tmp_path / "text", "n", "a", for_s=1.0)
    for for_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="is no lease"):
            Lease(tmp_path / "leases", "n", "a", for_s=for_s)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["take", "renew", "back", "sleep"]), st.floats(0.01, 25.0)),
        max_size=40,
    ),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_whatever_three_do_no_two_believe_to_hold_it_and_no_epoch_has_two_holders(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, float]], offsets_s: list[float]
) -> None:
    """Each has a clock of its own; the true time is `at_s`."""
    path = tmp_path_factory.mktemp("leases") / "leases"
    leases = [Lease(path, "n", holder, for_s=FOR_S) for holder in "abc"]
    epochs: dict[int, int] = {}
    at_s = 0.0
    for who, what, length_s in steps:
        lease, own_s = leases[who], at_s + offsets_s[who]
        if what == "take" and (epoch := lease.take(own_s)) is not None:
            assert epochs.setdefault(epoch, who) == who
            assert epoch == max(epochs)
        elif what == "renew":
            lease.renew(own_s)
        elif what == "back":
            lease.give_back()
        elif what == "sleep":
            at_s += length_s
        holding = [n for n, one in enumerate(leases) if one.left_s(at_s + offsets_s[n]) > 1e-6]
        assert len(holding) <= 1, (who, what)


def _race(path: str, holder: str, until_s: float, told: multiprocessing.queues.Queue[tuple[str, int]]) -> None:
    lease = Lease(path, "n", holder, for_s=0.02)
    while now_s() < until_s:
        epoch = lease.take(now_s())
        if epoch is not None:
            told.put((holder, epoch))
            lease.give_back()


def test_processes_that_race_for_it_never_share_an_epoch(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.queues.Queue[tuple[str, int]] = context.Queue()
    Lease(tmp_path / "leases", "n", "first", for_s=1.0)
    racers = [
        context.Process(target=_race, args=(str(tmp_path / "leases"), holder, now_s() + 4.0, told)) for holder in "abcd"
    ]
    for racer in racers:
        racer.start()
    won: list[tuple[str, int]] = []
    while any(racer.is_alive() for racer in racers) or not told.empty():
        while not told.empty():
            won.append(told.get())
        time.sleep(0.01)
    epochs = [epoch for _, epoch in won]
    assert len({holder for holder, _ in won}) > 1
    assert sorted(epochs) == list(range(1, len(epochs) + 1))


def test_a_beat_costs_no_wait_for_the_disk(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "leases", "n", "a", for_s=FOR_S)
    lease.take(0.0)
    begun_s = time.process_time()
    for _ in range(200):
        assert lease.renew(1.0)
    assert (time.process_time() - begun_s) / 200 < 0.005
