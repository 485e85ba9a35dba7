"""Where a job's data may be worked on, in which mode, on which articles and at what price."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from karez.measure import policy
from karez.operations import Answer, PolicyAskQuestion
from karez.operations.policy import JobData, Situation, constants, price_of
from karez.twin.table import Array, text

MOST_SHOWN = 12


class ModeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One mode: at how many servers it is lawful, and the cheapest of these with what the job takes there in all.

    `server` is empty where it is lawful nowhere, or the place where the data lies cannot do the work.
    """

    mode: policy.Mode
    servers: int
    server: str
    price_cny: float | None
    energy_kwh: float | None
    moved_gb: float | None
    delay_s: float | None


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that the data may not be copied to, alike to the law: why, and what would do."""

    servers: int
    such_as: str
    why: str
    missing: tuple[str, ...]
    would_do: tuple[str, ...]
    would_do_cny: float | None
    would_do_days: float | None


class PolicyAskAnswer(Answer, frozen=True, kw_only=True):
    """What is lawful for a job's data, mode by mode, with the articles of the cheapest option; and what is not.

    Of the `denied_kinds` of servers that the data may not be copied to, the first are in `denied`.
    """

    job: str
    dataset: str
    servers: int
    lawful: int
    best_mode: str
    best_server: str
    rules: tuple[str, ...]
    articles: tuple[str, ...]
    duties: tuple[str, ...]
    modes: tuple[ModeRow, ...]
    denied_kinds: int
    denied: tuple[Denied, ...]


def run(question: PolicyAskQuestion) -> PolicyAskAnswer:
    """The verdict on a job of the network's newest revision at each of its servers.

    Raises:
        InputError: the network, job, packs or constants are not there or cannot be read.
    """
    situation = Situation(question.network, packs=question.packs, at=question.at, ledger=question.ledger)
    job = situation.job(question.job)
    known = constants(question.costs)
    cny = job.costs(known, question.gbps, cipher=question.cipher)
    is_lawful = _by_mode(job.lawful)
    price = np.where(is_lawful & np.isfinite(cny.cny[0]), cny.cny[0], np.inf)
    best = np.unravel_index(np.argmin(price), price.shape) if price.size else (0, 0)
    found = bool(price.size) and bool(np.isfinite(price[best]))
    server, mode = (int(best[0]), policy.MODES[best[1]]) if found else (-1, policy.MODES[0])
    best_words = f"{mode} on {job.works_at(server, mode)}" if found else ""
    grounds = job.verdict(server, 0).permits[mode] if found else ()
    copied = (job.lawful & policy.copied()) != 0
    denied = _all_denied(situation, job, np.flatnonzero(~copied))
    return PolicyAskAnswer(
        headline=_headline(job, copied, best_words, float(np.min(price, initial=np.inf))),
        citation=situation.citation("rent, electricity, transfer and cipher as of the library or your file"),
        meets_target=bool(job.lawful.any()),
        job=job.id,
        dataset=job.dataset,
        servers=len(copied),
        lawful=int(np.count_nonzero(copied)),
        best_mode=mode if found else "",
        best_server=job.works_at(server, mode) if found else "",
        rules=tuple(one.rule for one in grounds),
        articles=tuple(dict.fromkeys(one.article for one in grounds)),
        duties=tuple(dict.fromkeys(one.duty for one in grounds if one.duty)),
        modes=tuple(_row(job, at, is_lawful[:, at], cny) for at in range(len(policy.MODES))),
        denied_kinds=len(denied),
        denied=denied[:MOST_SHOWN],
    )


def _by_mode(lawful: Array) -> Array:
    """Whether each mode (column) is lawful at each server (row)."""
    return (lawful[:, None] >> np.arange(len(policy.MODES), dtype=np.uint8) & 1).astype(bool)


def _row(job: JobData, at: int, is_lawful: Array, cost: policy.Costs) -> ModeRow:
    price = np.where(is_lawful & np.isfinite(cost.cny[0, :, at]), cost.cny[0, :, at], np.inf)
    best = int(np.argmin(price)) if len(price) else -1
    there = best >= 0 and bool(np.isfinite(price[best]))

    def told(values: Array) -> float | None:
        value = float(values[0, best, at]) if there else math.nan
        return value if math.isfinite(value) else None

    joules = told(cost.joules)
    return ModeRow(
        mode=policy.MODES[at],
        servers=int(np.count_nonzero(is_lawful)),
        server=job.works_at(best, policy.MODES[at]) if there else "",
        price_cny=told(cost.cny),
        energy_kwh=None if joules is None else joules / policy.J_PER_KWH,
        moved_gb=told(cost.moved_gb),
        delay_s=told(cost.delay_s),
    )


def _all_denied(situation: Situation, job: JobData, servers: Array) -> tuple[Denied, ...]:
    """What stands against servers (rows); those against which the same stands are told of together."""
    found = dict[Denied, Denied]()
    for alike in job.kinds(servers):
        one = _denied(situation, job, alike)
        same = msgspec.structs.replace(one, servers=0, such_as="")
        known = found.get(same)
        found[same] = one if known is None else msgspec.structs.replace(known, servers=known.servers + one.servers)
    return tuple(found.values())


def _denied(situation: Situation, job: JobData, servers: Array) -> Denied:
    """What stands against servers (rows) that the law makes no difference between."""
    verdict = job.verdict(int(servers[0]), policy.copied())
    name = _name(situation, int(servers[0]))
    helps = [remedy for remedy in verdict.remedies if set(remedy.modes) & set(policy.COPIED)]
    cheapest = min(helps, key=lambda remedy: price_of(remedy.evidence), default=None)
    cny, days = price_of(cheapest.evidence) if cheapest else (None, None)
    return Denied(
        servers=len(servers),
        such_as=name,
        why=policy.against(verdict, policy.COPIED),
        missing=policy.located(verdict.missing, situation.world.intended, **job.ids(name)),
        would_do=cheapest.evidence if cheapest else (),
        would_do_cny=cny,
        would_do_days=days,
    )


def _headline(job: JobData, copied: Array, best: str, price_cny: float) -> str:
    may = f"Data {job.dataset} of job {job.id} may be copied to {np.count_nonzero(copied)} of {len(copied)} servers"
    if not best:
        return f"{may}, and no lawful option can be priced ({job.situation.aside})"
    return f"{may}; cheapest: {best}, {price_cny:,.0f} CNY in all ({job.situation.aside})"


def _name(situation: Situation, server: int) -> str:
    return text(situation.world["servers"].ids[server]) if server >= 0 else ""
