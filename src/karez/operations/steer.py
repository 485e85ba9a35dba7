"""The model instance that a request goes to, decided as the request path does it, by the compiled table."""

from __future__ import annotations

import math

import msgspec

from karez.errors import InputError, Problem
from karez.operations import Answer, SteerQuestion
from karez.operations.networks import load_living, now_s, provenance, require_new_file, write_new
from karez.operations.policy import packs_of
from karez.plan.steer import compile as compile_table
from karez.steer import MARGIN_SHARE, Decision, Table, decide, dump

DATA_CLASS = "general"
# Source: objective of the reference instance pool-18, the larger of 1 s and a quarter of a millisecond a token.
OBJECTIVE_MS, OBJECTIVE_MS_PER_TOKEN = 1_000.0, 0.25


class PassedOver(msgspec.Struct, frozen=True):
    """A candidate that was not taken, why, and its predicted time to first token (inf where not predicted)."""

    endpoint: str
    why: str
    predicted_ttft_ms: float


class SteerAnswer(Answer, frozen=True, kw_only=True):
    """Where the request goes, what is predicted of it, and which cheaper endpoints were passed over."""

    metro: str
    model: str
    prompt_tokens: int
    data_class: str
    objective_ms: float
    endpoint: str
    site: str
    predicted_ttft_ms: float
    price_cny_per_mtoken: float
    why: str
    excluded: tuple[PassedOver, ...]
    table_bytes: int
    output: str


def run(question: SteerQuestion) -> SteerAnswer:
    """The decision on one request; the table is written to `question.output` where that is given.

    Raises:
        InputError: the network, metro or model is not there, or the file exists or cannot be written.
    """
    if question.output:
        require_new_file(question.output)
    world, revision = load_living(question.network)
    table = compile_table(world, at_s=now_s(), packs=packs_of(question.packs))
    metro, model = _asked(table, question)
    data = dump(table)
    if question.output:
        write_new(question.output, data)
    objective_ms = max(OBJECTIVE_MS, OBJECTIVE_MS_PER_TOKEN * question.prompt_tokens)
    decision = decide(
        table,
        metro=metro,
        model=model,
        prompt_tokens=question.prompt_tokens,
        data_class=DATA_CLASS,
        objective_ms=objective_ms,
    )
    name = str(world["metros"].cell(metro, "name")) or metro
    return SteerAnswer(
        headline=_headline(decision, name, model, synthetic=revision.synthetic),
        citation=(
            f"time to first token = round trip over shortest paths from the main core site, typical figures of the "
            f"latency library, + prompt over prefill speed, nothing waiting; the cheapest within {objective_ms:g} ms "
            f"less {MARGIN_SHARE:.0%} for {DATA_CLASS} data; {provenance(revision)}".replace("%", " %")
        ),
        meets_target=False if math.isinf(decision.predicted_ttft_ms) else None,
        metro=metro,
        model=model,
        prompt_tokens=question.prompt_tokens,
        data_class=DATA_CLASS,
        objective_ms=objective_ms,
        endpoint=decision.endpoint,
        site=decision.site,
        predicted_ttft_ms=decision.predicted_ttft_ms,
        price_cny_per_mtoken=decision.price_cny_per_mtoken,
        why=decision.why,
        excluded=tuple(PassedOver(*other) for other in decision.excluded),
        table_bytes=len(data),
        output=question.output,
    )


def _asked(table: Table, question: SteerQuestion) -> tuple[str, str]:
    """The metro and the model asked for; where none is named, the first that has a candidate."""
    asked = (("metro", question.metro, table.metros), ("model", question.model, table.models))
    problems = [
        Problem(f"{what}s", f"the network has no {what}", f"add one to the table {what}s")
        for what, _, known in asked
        if not known
    ]
    problems += [
        Problem(what, f"there is no {what} {name!r}", f"name one of the {len(known)} in the table {what}s")
        for what, name, known in asked
        if known and name and name not in known
    ]
    if not len(table.columns["endpoint_ids"]):
        problems.append(
            Problem("endpoints", "the network has no endpoint to steer to", "add one to the table endpoints")
        )
    if problems:
        raise InputError(problems)
    pairs = ((metro, model) for metro in table.metros for model in table.models if _is_offered(table, metro, model))
    first = next(
        (pair for pair in pairs if question.metro in ("", pair[0]) and question.model in ("", pair[1])),
        (question.metro or next(iter(table.metros)), question.model or next(iter(table.models))),
    )
    return first


def _is_offered(table: Table, metro: str, model: str) -> bool:
    at = table.metros[metro] * len(table.models) + table.models[model]
    offsets = table.columns["offsets"]
    return bool(offsets[at] < offsets[at + 1])


def _headline(decision: Decision, metro: str, model: str, *, synthetic: bool) -> str:
    note = " (synthetic)" if synthetic else ""
    asked = f"A request for {model} from {metro}"
    if math.isinf(decision.predicted_ttft_ms):
        return f"{asked} can go nowhere: {decision.why}{note}"
    predicted = f"{decision.predicted_ttft_ms:.1f} ms to the first token"
    return f"{asked} goes to {decision.endpoint} at {decision.site}: {predicted}, {decision.why}{note}"
