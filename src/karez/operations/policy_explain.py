"""Everything that decides whether a job's data may go to one server."""

from __future__ import annotations

import msgspec

from karez.measure import policy
from karez.operations import Answer, PolicyExplainQuestion
from karez.operations.policy import Situation, price_of


class ModeVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one set of rules says of one mode: the rule that decides, on which article, and how sure the reading is.

    `rule` is the set alone where it denies only because no rule of it permits.
    """

    mode: policy.Mode
    verdict: str
    rule: str
    article: str
    duty: str
    confidence: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A fact, its value, and where it is held."""

    fact: str
    value: str
    held_in: str


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that would make modes lawful, what it costs and how long it takes."""

    evidence: tuple[str, ...]
    modes: tuple[policy.Mode, ...]
    price_cny: float
    days: float


class PolicyExplainAnswer(Answer, frozen=True, kw_only=True):
    """The lawful modes, what each set of rules says of each mode, the facts, those that are missing, what would do."""

    job: str
    dataset: str
    server: str
    modes: tuple[policy.Mode, ...]
    missing: tuple[str, ...]
    verdicts: tuple[ModeVerdict, ...]
    ways: tuple[Way, ...]
    facts: tuple[Known, ...]


def run(question: PolicyExplainQuestion) -> PolicyExplainAnswer:
    """The verdict on one job and server of the network's newest revision.

    Raises:
        InputError: the network, job, server or packs are not there or cannot be read.
    """
    situation = Situation(question.network, packs=question.packs, at=question.at, ledger=question.ledger)
    job = situation.job(question.job)
    server = situation.server(question.server)
    found = job.verdict(server, policy.bits(*policy.MODES))
    known = policy.told_facts(job.facts, server)
    ways = sorted(
        (Way(evidence=one.evidence, modes=one.modes, price_cny=cny, days=days)
         for one in found.remedies for cny, days in [price_of(one.evidence)]),
        key=lambda way: (way.price_cny, way.evidence),
    )  # fmt: skip
    may = ", ".join(found.modes) or "nothing"
    return PolicyExplainAnswer(
        headline=f"Data {job.dataset} of job {job.id} at {question.server}: lawful is {may} ({situation.aside})",
        citation=situation.citation("prices of evidence are assumptions of the library"),
        meets_target=found.allowed,
        job=job.id,
        dataset=job.dataset,
        server=question.server,
        modes=found.modes,
        missing=policy.located(found.missing, situation.world.intended, **job.ids(question.server)),
        verdicts=tuple(row for mode in policy.MODES for row in _verdicts(found, mode)),
        ways=tuple(ways),
        facts=tuple(Known(fact=name, value=value, held_in=held_in) for name, value, held_in in known),
    )


def _verdicts(found: policy.Verdict, mode: policy.Mode) -> list[ModeVerdict]:
    if mode in found.permits:
        return [_row(mode, one) for one in found.permits[mode]]
    rows = []
    for name, grounds in found.denies[mode].items():
        rows += [_row(mode, one) for one in grounds]
        if not grounds:
            since = f"in force from {found.not_yet[name]} on" if name in found.not_yet else "no rule permits it"
            rows.append(ModeVerdict(mode=mode, verdict="denied", rule=name, article=since, duty="", confidence=""))
    return rows


def _row(mode: policy.Mode, one: policy.Ground) -> ModeVerdict:
    verdict = "permitted" if one.effect == "permit" else "forbidden"
    return ModeVerdict(
        mode=mode, verdict=verdict, rule=one.rule, article=one.article, duty=one.duty, confidence=one.confidence
    )
