"""What operations on rules on data share: the rules at a moment, a job and its data, and what its options cost."""

from __future__ import annotations

import datetime as dt
import math
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from karez.errors import InputError, Problem
from karez.importers import moments
from karez.measure import policy
from karez.measure.policy import costs
from karez.operations.networks import given_rows, load_living, now_s, provenance
from karez.plan.place import chip_costs
from karez.record.ledger import Ledger
from karez.twin import World
from karez.twin.facts import library
from karez.twin.store import LAST_S
from karez.twin.table import Array, text

DAY_FIX = "write it as 2026-01-31 or 2026-01-31T12:00:00"
PER_B = 1e9
# The constant of each cipher.
CIPHERS = {"aes": "encrypt_gb_per_s", "sm4": "sm4_gb_per_s"}


def packs_of(folder: str) -> tuple[policy.Pack, ...]:
    """The packs that come with Karez, with the pack in a folder, or with those in folders within it.

    Raises:
        InputError: there is no pack, or one cannot be used.
    """
    if not folder:
        return policy.shipped()
    path = Path(folder).resolve()
    if not path.is_dir():
        raise InputError.of(folder, "is no folder", "give the folder of a pack, or one that holds packs")
    within = sorted(one.parent for one in path.glob("*/pack.toml"))
    return policy.loaded([path] if (path / "pack.toml").is_file() else within or [path])


def moment_s(at: str) -> float:
    """The moment that a question is about (Unix time): that which is given, or now.

    Raises:
        InputError: what is given is no moment.
    """
    if not at:
        return now_s()
    try:
        at_s = moments.moment_s(at)
    except ValueError as error:
        raise InputError.of("at", f"is {at!r}, {error}", DAY_FIX) from error
    if at_s > LAST_S - 86_400.0:
        raise InputError.of("at", f"is {at!r}, not of the years 1970 to 9999", DAY_FIX)
    return at_s


def existing(path: str) -> str:
    """The path of a file that is there.

    Raises:
        InputError: it is not.
    """
    if not Path(path).is_file():
        raise InputError.of(path, "is not there", "name the file of a ledger, as karez policy ledger makes")
    return path


def day(at_s: float) -> str:
    """A moment as a day, UTC."""
    return dt.datetime.fromtimestamp(at_s, dt.UTC).date().isoformat()


class Situation:
    """A network at a moment, and the rules in force then."""

    def __init__(self, network: str, *, packs: str, at: str, ledger: str, hold: str = "") -> None:
        """Load the network, the packs and what the ledger counts, but for a hold that is of what is asked about.

        Raises:
            InputError: one of them cannot be read, or the moment is none.
        """
        self.at_s = moment_s(at)
        self.packs = packs_of(packs)
        self.law = policy.law(self.packs, self.at_s)
        world, self.revision = load_living(network)
        self.whole = world.intended
        counts = Ledger(existing(ledger)).state() if ledger else world.actual["person_budgets"]
        counts = counts.take(counts.ids != hold.encode())
        self.world = World(world.intended.at(self.at_s), world.actual.replace(counts))

    @property
    def aside(self) -> str:
        """What every headline says in brackets."""
        return f"{policy.NO_ADVICE}{', synthetic' if self.revision.synthetic else ''}"

    def citation(self, *more: str) -> str:
        """How an answer was got."""
        versions = ", ".join(f"{pack.name} {pack.version}" for pack in self.packs)
        parts = (f"packs {versions} as of {day(self.at_s)}", *more, policy.NO_ADVICE, provenance(self.revision))
        return "; ".join(parts)

    def server(self, name: str) -> int:
        """The row of a server.

        Raises:
            InputError: there is none of the name.
        """
        return self._row("servers", name)

    def job(self, name: str) -> JobData:
        """A job and its data; the first where none is named.

        Raises:
            InputError: there is no such job.
        """
        jobs = self.world["jobs"]
        if not name and not len(jobs):
            raise InputError.of("jobs", "the network has no job", "add one to the table jobs")
        row = self._row("jobs", name or text(jobs.ids[0]))
        for table, column in (("datasets", "dataset"), ("models", "model")):
            self._row(table, str(jobs.cell(text(jobs.ids[row]), column)))
        return JobData(self, row)

    def _row(self, table: str, name: str) -> int:
        rows = self.world[table]
        if not rows.has(name):
            some = ", ".join(text(one) for one in rows.ids[:3])
            fix = f"name one of the {len(rows)} ({some} ...)" if some else f"add rows to the table {table}"
            raise InputError.of(table, f"there is no row {name!r}", fix)
        return int(rows.rows([name])[0])


class JobData:
    """A job, its data, and what the law says of it at every server."""

    def __init__(self, situation: Situation, row: int) -> None:
        """Ask for a job (row)."""
        self.situation, self.row = situation, row
        record = situation.world["jobs"].records(np.array([row]))[0]
        self.id, self.dataset, self.model = (str(record[name]) for name in ("id", "dataset", "model"))
        self.chips, self.hours, self.purpose = int(record["chips"]), float(record["hours"]), str(record["purpose"])
        twin = situation.world.intended
        self.to = policy.recipients(twin)
        asked = policy.Asked(situation.law, situation.at_s, (self.purpose,), situation.world.actual["person_budgets"])
        self.facts = policy.questions(twin, asked, situation.world["datasets"].rows([self.dataset]), self.to)

    @cached_property
    def lawful(self) -> Array:
        """The lawful modes (uint8, bits) at each server."""
        return self.situation.law.decide(self.facts)

    def verdict(self, server: int, wanted: int) -> policy.Verdict:
        """The verdict on one server (row), with remedies for the wanted modes (bits)."""
        return policy.verdict(self.situation.law, self.facts.rows(np.array([server])), wanted)

    def ids(self, server: str) -> dict[str, str]:
        """The rows that a verdict is about, table by table."""
        return {"jobs": self.id, "datasets": self.dataset, "servers": server}

    def kinds(self, servers: Array) -> list[Array]:
        """The servers (rows) by what the law can tell them apart by, in the order of the first of each."""
        return [servers[alike] for alike in self.facts.rows(servers).alike()]

    def sizes_gb(self) -> tuple[float, float]:
        """How large the data and the model are (GB); nan where nobody told."""
        world = self.situation.world
        billions = float(world["models"].cell(self.model, "parameters_b"))
        model_gb = billions * PER_B * costs.BYTES_PER_PARAMETER / costs.GB
        return float(world["datasets"].cell(self.dataset, "size_gb")), model_gb

    def costs(self, known: costs.Constants, gbps: float, *, cipher: Literal["aes", "sm4"]) -> costs.Costs:
        """What each option costs: arrays of 1 by servers by modes; inf where nothing at home can do the work."""
        world = self.situation.world
        large = world["servers"]["chips"] >= self.chips
        cny, kw = (np.where(large, values, np.inf) for values in chip_costs(world))
        size_gb, model_gb = self.sizes_gb()
        work = costs.Work(*(np.array([value]) for value in (size_gb, float(self.chips), self.hours, model_gb)))
        away = costs.Places(cny[None, :], kw[None, :], np.full((1, len(cny)), gbps))
        there = (cny[self.home], kw[self.home]) if self.home >= 0 else (math.inf, math.inf)
        home = costs.Places(*(np.array([[value]]) for value in (*there, gbps)))
        return costs.costs(work, away, home, known, cipher=CIPHERS[cipher])

    @cached_property
    def home(self) -> int:
        """The cheapest server (row) where the data lies that it may be on and that is large enough; -1 if none is."""
        world = self.situation.world
        province = world.intended.resolve("datasets", "province")[world["datasets"].rows([self.dataset])]
        may = (self.to.province == province) & ((self.lawful & policy.copied()) != 0)
        cny = np.where(may & (world["servers"]["chips"] >= self.chips), chip_costs(world)[0], np.inf)
        return int(np.argmin(cny)) if np.isfinite(cny).any() else -1

    def works_at(self, server: int, mode: policy.Mode) -> str:
        """The server where the work is done in a mode; empty where there is none."""
        row = self.home if mode in costs.AT_HOME else server
        return text(self.situation.world["servers"].ids[row]) if row >= 0 else ""


def constants(path: str) -> dict[str, float]:
    """The constants of costs, with those of a file in their place.

    Raises:
        InputError: the file cannot be read, or holds what is no constant.
    """
    if not path:
        return costs.constants()
    given, problems, known = dict[str, float](), list[Problem](), costs.constants()
    for where, row in given_rows(path):
        name, value = row.get("id") or "", row.get("value") or ""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name not in known:
            problems.append(Problem(path, f"there is no constant {name!r}", f"they are {', '.join(known)}", (where,)))
        elif not number > 0 or math.isinf(number):
            problems.append(Problem(path, f"{name} is {value!r}", "give a number above zero", (where,)))
        given[name] = number
    if problems:
        raise InputError(problems)
    return costs.constants(given)


def price_of(evidence: tuple[str, ...]) -> tuple[float, float]:
    """What evidence costs (CNY) and how long the slowest piece takes (days), by the library's assumptions."""
    rows = {row["id"]: row for row in library("evidence_prices")}
    return (
        sum(float(rows[kind]["price_cny"]) for kind in evidence),
        max((float(rows[kind]["lead_time_days"]) for kind in evidence), default=0.0),
    )
