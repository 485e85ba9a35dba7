"""Eight approvers and four takers race for each of ten thousand plans: an approval may act once at most.

The yardstick is a box that looks and then writes, as one does who does not think of others, raced in the same run.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import MEMORY, Figure
from benchmarks.instances.ring import DRAIN, ring
from karez.plan import Plan, Proof
from karez.record.approvals import COUNTED, Box
from karez.record.principals import Approval, Judge, approval_of, judged, key_of, public_key, signed
from karez.twin import Table, Twin

NAME = "approvals"
SEEDS = (1,)
RUNS = 10_000
# What the yardstick does wrong shows in fewer plans.
NAIVE_RUNS = 1_000
PERSONS, APPROVERS, TAKERS = 5, 8, 4
LONGEST_PAUSE_S = 1e-3
NOW_S = 1_000.0


class Trial(NamedTuple):
    """What came of `runs` plans: acts, approvals that acted more than once, and promises that were not kept."""

    runs: int
    acts: int
    counted: int
    acted_twice: int
    short: int
    lost: int
    cpu_s: float


class Boxlike(Protocol):
    """What is raced."""

    def approve(self, approval: Approval, *, at_s: float) -> str: ...

    def take(self, plan: str, epoch: int, *, at_s: float) -> tuple[Approval, ...] | None: ...

    def close(self) -> None: ...


class NaiveBox:
    """The same box by one who looks first and writes then."""

    def __init__(self, where: str, judge: Judge) -> None:
        self._judge = judge
        self._base = sqlite3.connect(where, isolation_level=None, timeout=30.0)
        self._base.execute("PRAGMA synchronous=OFF")

    def approve(self, approval: Approval, *, at_s: float) -> str:
        given = self._given(approval.plan)
        if self._state(approval.plan)[0] != "waiting" or approval in given:
            return "late"
        body = msgspec.msgpack.encode(approval)
        self._base.execute(
            "INSERT OR REPLACE INTO karez_approvals VALUES (?, ?, ?, 1, ?)",
            (approval.principal, approval.nonce, approval.plan, body),
        )
        return COUNTED

    def take(self, plan: str, epoch: int, *, at_s: float) -> tuple[Approval, ...] | None:
        state, needs = self._state(plan)
        persons = {approval.principal: approval for approval in self._given(plan)}
        if state != "waiting" or len(persons) < needs:
            return None
        self._base.execute("UPDATE karez_proposals SET state = 'taken' WHERE plan = ?", (plan,))
        return tuple(persons.values())

    def close(self) -> None:
        self._base.close()

    def _state(self, plan: str) -> tuple[str, int]:
        found: tuple[str, int] = self._base.execute(
            "SELECT state, needs FROM karez_proposals WHERE plan = ?", (plan,)
        ).fetchone()
        return found

    def _given(self, plan: str) -> list[Approval]:
        rows = self._base.execute("SELECT body FROM karez_approvals WHERE plan = ?", (plan,)).fetchall()
        return [msgspec.msgpack.decode(body, type=Approval) for (body,) in rows]


class Race:
    """All that takes part in the races of one trial."""

    def __init__(self, seed: int, runs: int, where: str, *, naive: bool = False) -> None:
        self.where, self.naive, self.seed = where, naive, seed
        self.judge = judged(principals())
        chance = random.Random(seed)
        self.plans = [_plan(float(run)) for run in range(runs)]
        self.needs = [chance.randint(1, 2) for _ in self.plans]
        self.words = [[_approval(plan, who, chance) for who in range(PERSONS)] for plan in self.plans]
        self.barrier = threading.Barrier(APPROVERS + TAKERS)
        self.said = [0] * APPROVERS
        self.counted: list[list[Approval]] = [[] for _ in range(APPROVERS)]
        self.taken: list[list[tuple[int, tuple[Approval, ...]]]] = [[] for _ in range(TAKERS)]
        self.failed: list[BaseException] = []

    def trial(self) -> Trial:
        """What came of it."""
        with Box(self.where, self.judge, make=True) as box:
            for plan, needs in zip(self.plans, self.needs, strict=True):
                box.propose(plan, needs, at_s=NOW_S)
        began_s = time.process_time()
        jobs = [(self._approve, number) for number in range(APPROVERS)] + [(self._take, n) for n in range(TAKERS)]
        threads = [threading.Thread(target=self._guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]
        return self._judged(time.process_time() - began_s)

    def _guarded(self, job: Callable[[int], None], number: int) -> None:
        try:
            job(number)
        except BaseException as error:  # noqa: BLE001  The others would wait for ever.
            self.failed.append(error)
            self.barrier.abort()

    def _opened(self) -> Boxlike:
        return NaiveBox(self.where, self.judge) if self.naive else Box(self.where, self.judge)

    def _approve(self, number: int) -> None:
        with closing(self._opened()) as box:
            for words in self.words:
                self.barrier.wait()
                # Some hand in what another has handed in already, as one does who presses the button twice.
                approval = words[number % PERSONS]
                if box.approve(approval, at_s=NOW_S) == COUNTED:
                    self.counted[number].append(approval)
                self.said[number] += 1

    def _take(self, number: int) -> None:
        chance = random.Random(self.seed * 100 + number)
        with closing(self._opened()) as box:
            for run in range(len(self.plans)):
                self.barrier.wait()
                taken = self._tried(box, run, chance)
                if taken is not None:
                    self.taken[number].append((run, taken))

    def _tried(self, box: Boxlike, run: int, chance: random.Random) -> tuple[Approval, ...] | None:
        """What a taker got that tries until all approvers have had their say, and once more."""
        last = False
        while True:
            taken = box.take(self.plans[run].id, 1, at_s=NOW_S)
            if taken is not None or last:
                return taken
            last = min(self.said) > run
            time.sleep(chance.random() * LONGEST_PAUSE_S)

    def _judged(self, cpu_s: float) -> Trial:
        acts = [act for taken in self.taken for act in taken]
        uses = Counter(approval.nonce for _, approvals in acts for approval in approvals)
        counted = [approval for some in self.counted for approval in some]
        taken_plans = {run for run, _ in acts}
        acted_on = {self.plans[run].id for run in taken_plans}
        return Trial(
            runs=len(self.plans),
            acts=len(acts),
            counted=len(counted),
            acted_twice=sum(count > 1 for count in uses.values()),
            short=sum(len({a.principal for a in approvals}) < self.needs[run] for run, approvals in acts),
            lost=sum(approval.plan in acted_on and approval.nonce not in uses for approval in counted),
            cpu_s=cpu_s,
        )


def run() -> list[Figure]:
    """Approvals that acted more than once, over all plans, and how the yardstick did."""
    ours, naive = trial(SEEDS[0], RUNS), trial(SEEDS[0], NAIVE_RUNS, naive=True)
    return [
        Figure(
            what="approvals that acted twice: 10,000 plans, 8 approvers and 4 takers race (yardstick: 1,000 plans)",
            value=ours.acted_twice,
            unit="approvals",
            better="lower",
            bar=0,
            yardstick=naive.acted_twice,
        ),
        Figure(what="plans among them that were acted on", value=ours.acts, unit="plans", better="higher"),
        Figure(what="acts with too few approvals", value=ours.short, unit="acts", better="lower", bar=0),
        Figure(
            what="approvals said to count of plans that were acted on, and not among those acted on",
            value=ours.lost,
            unit="approvals",
            better="lower",
            bar=0,
        ),
        Figure(what="a plan approved and taken", value=1e3 * ours.cpu_s / RUNS, unit="CPU ms", better="lower"),
    ]


def trial(seed: int, runs: int, *, naive: bool = False) -> Trial:
    """The outcome of `runs` races, in a new file."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        return Race(seed, runs, str(Path(folder) / "box"), naive=naive).trial()


def principals(persons: int = PERSONS) -> Twin:
    """The ring with persons who may approve anything."""
    names = [f"p{number}" for number in range(persons)]
    table = Table.of(
        "principals",
        {
            "id": names,
            "kind": ["person"] * persons,
            "public_key": [public_key(_key(number)) for number in range(persons)],
            "scopes": ["approve:*/*"] * persons,
        },
    )
    return ring().intended.replace(table)


def _key(number: int) -> Ed25519PrivateKey:
    return key_of(bytes([number + 1]) * 32)


def _approval(plan: Plan, who: int, chance: random.Random) -> Approval:
    nonce = f"{chance.getrandbits(128):032x}"
    return signed(approval_of(plan, f"p{who}", at_s=NOW_S, lasts_s=60.0, nonce=nonce), _key(who))


def _plan(made_at_s: float) -> Plan:
    return Plan(
        planner="person",
        question={},
        revision="",
        made_at_s=made_at_s,
        reads=(),
        actions=(DRAIN,),
        price_cny=0.0,
        proof=Proof(value=0.0, bound=0.0, unit="CNY", how="benchmark"),
    )
