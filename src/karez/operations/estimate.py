"""What a model takes on chips: memory, the time of a token, tokens a second, energy; and how it is known."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from karez.errors import InputError, Problem
from karez.measure.chips import (
    REQUESTS_A_CHIP,
    TIERS,
    Load,
    estimates,
    learned_from,
    on_fewest,
)
from karez.measure.compute import Learned
from karez.operations import Answer, EstimateQuestion
from karez.operations.networks import given_rows, load, provenance
from karez.twin import Twin
from karez.twin.catalogue import catalogue
from karez.twin.table import strings, text

MS = 1e3
MOST_NAMED = 60
COLUMNS = ("model", "chip", "chips", "requests", "tokens_in", "tokens_out", "token_ms")


class OnChip(msgspec.Struct, frozen=True, kw_only=True):
    """A chip: how many run the model, the time of a token of a request (training: of all), tokens a second of all.

    The time lies between low and high nine times in ten, as far as its tier goes.
    """

    chip: str
    chips: int
    fits: bool
    needed_gb: float
    memory_gb: float
    token_ms: float
    token_ms_low: float
    token_ms_high: float
    tokens_per_s: float
    j_per_token: float
    known_by: str


class EstimateAnswer(Answer, frozen=True, kw_only=True):
    """The chips that were asked about, the one with most tokens a second and chip first."""

    model: str
    kind: str
    estimates: tuple[OnChip, ...]


def run(question: EstimateQuestion) -> EstimateAnswer:
    """What the model takes on each chip.

    Raises:
        InputError: there is no such model or chip, or the network or the measurements cannot be read.
    """
    twin, where, aside = catalogue(), "library chips.csv and models.csv", ""
    if question.network:
        world, revision = load(question.network)
        twin, where, aside = world.intended, provenance(revision), " (synthetic network)" if revision.synthetic else ""
    model = row_of(twin, "models", question.model)
    chips = [row_of(twin, "chips", question.chip)] if question.chip else list(range(len(twin["chips"])))
    known = _measured(twin, question.measured) if question.measured else None
    rows = [_on_chip(twin, model, chip, question, known) for chip in chips]
    rows.sort(key=lambda one: (not one.fits, -_or_zero(one.tokens_per_s) / one.chips, one.chip))
    return EstimateAnswer(
        headline=f"{_headline(question, rows)}{aside}",
        citation=(
            f"{where}; calibrated roofline (library serving.csv) and shares of the peak (running.csv); 16 bits; "
            f"intervals hold nine in ten; power as rated"
        ),
        model=question.model,
        kind=question.kind,
        estimates=tuple(rows),
    )


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _headline(question: EstimateQuestion, rows: list[OnChip]) -> str:
    best = next((one for one in rows if one.fits and math.isfinite(one.tokens_per_s)), None)
    if best is None:
        which = question.chip or f"any of {len(rows)} chips"
        why = "does not fit" if any(math.isfinite(one.tokens_per_s) for one in rows) else "has no figures"
        return f"{question.model} on {which}: nothing can be told, for it {why}"
    sure = f"{best.token_ms_low:.3g} to {best.token_ms_high:.3g} ms a token ({best.known_by})"
    first = "" if question.chip else f"of {len(rows)} chips those with most tokens each: "
    each = "training" if question.kind == "training" else f"{question.kind} service"
    return (
        f"{question.model}, {each}: {first}{best.chips} x {best.chip} do {best.tokens_per_s:,.0f} tokens/s, {sure}, "
        f"{best.j_per_token:.3g} J a token"
    )


def row_of(twin: Twin, table: str, name: str) -> int:
    """The row of a model, chip or server.

    Raises:
        InputError: there is none of the name.
    """
    if not twin[table].has(name):
        names = strings(twin[table].ids[:MOST_NAMED])
        more = " ..." if len(twin[table]) > MOST_NAMED else ""
        fix = f"name one of {', '.join(names) or 'none there is'}{more}"
        raise InputError.of(table[:-1], f"{name!r} is not known", fix)
    return int(twin[table].rows([name])[0])


def _on_chip(twin: Twin, model: int, chip: int, question: EstimateQuestion, known: Learned | None) -> OnChip:
    load_ = _load(twin, model, chip, question)
    models, of = np.array([model]), np.array([chip])
    said = estimates(twin, models, of, question.kind, load_, known)
    return OnChip(
        chip=text(twin["chips"].ids[chip]),
        chips=load_.chips,
        fits=bool(said.fits[0]),
        needed_gb=float(said.needed_gb[0]),
        memory_gb=float(said.memory_gb[0]),
        token_ms=float(said.s[0]) * MS,
        token_ms_low=float(said.low_s[0]) * MS,
        token_ms_high=float(said.high_s[0]) * MS,
        tokens_per_s=float(said.tokens_per_s[0]),
        j_per_token=float(said.j_per_token[0]),
        known_by=TIERS[int(said.tier[0])],
    )


def _load(twin: Twin, model: int, chip: int, question: EstimateQuestion) -> Load:
    """The load that is asked about; as few chips (a power of two) as hold the model where none are given."""
    asked = Load(question.chips, question.requests, question.tokens_in, question.tokens_out)
    if not question.chips:
        return on_fewest(twin, model, chip, question.kind, asked)
    return asked._replace(requests=question.requests or max(REQUESTS_A_CHIP[question.kind] * question.chips, 1))


def _measured(twin: Twin, path: str) -> Learned:
    """What a file of measurements teaches.

    Raises:
        InputError: it cannot be read, or a row names what is not known or holds no numbers.
    """
    models, chips, loads, seconds, problems = [], [], list[Load](), [], list[Problem]()
    for where, row in given_rows(path):
        try:
            models.append(row_of(twin, "models", row.get("model") or ""))
            chips.append(row_of(twin, "chips", row.get("chip") or ""))
            loads.append(Load(*(_whole(row.get(name)) for name in COLUMNS[2:6])))
            seconds.append(_positive(row.get("token_ms")) / MS)
        except InputError as error:
            problems += [msgspec.structs.replace(one, rows=(where,)) for one in error.problems]
        except ValueError as error:
            problems.append(Problem(path, str(error), f"give the columns {', '.join(COLUMNS)}", (where,)))
    if problems:
        raise InputError(problems)
    if not seconds:
        raise InputError.of(path, "has no measurement", f"give rows with the columns {', '.join(COLUMNS)}")
    return learned_from(twin, np.array(models), np.array(chips), loads, np.array(seconds))


def _whole(value: str | None) -> int:
    number = _positive(value)
    if not number.is_integer():
        raise ValueError(f"{value!r} is no whole number")
    return int(number)


def _positive(value: str | None) -> float:
    try:
        number = float(value or "")
    except ValueError as error:
        raise ValueError(f"{value!r} is no number") from error
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(f"{value!r} is no number above zero")
    return number
