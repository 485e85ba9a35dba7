"""A model served by chips at two sites: prompts at one and answers at the other, or its layers at both, in a pipeline.

All is at full load: as many requests come as can be answered. What chips take is the calibrated roofline of
`compute`; the wide area adds its delay, and what passes over it takes its time on the link.

* *Prompts apart.* The first site works through prompts, makes the first token of each answer, and sends the prompt's
  key-value cache, layer by layer while it is made; the second makes the other tokens.
* *Layers apart.* Each token passes the layers at the first site, then those at the second, and goes back to begin the
  next one. As many batches are on their way at once as leave no chip waiting, if memory holds their caches.

Source: Y. Zhong et al., "DistServe" (2024), for prompts apart; Y. Huang et al., "GPipe" (2019), for batches in a
pipeline.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from karez.measure import compute
from karez.measure.chips import GB, KB, Load, needed_gb, served_on, serving
from karez.measure.policy.costs import BITS_PER_BYTE
from karez.twin import Twin

Mode = Literal["prompts apart", "layers apart", "whole at each"]
US_PER_S = 1e6
# Batches that are on their way at once in a pipeline, at most.
MOST_BATCHES = 4_096


class Side(NamedTuple):
    """Chips at a site: their kind (row of the twin), how many make a group that holds the model, and the groups."""

    chip: int
    chips: int
    groups: int


class Link(NamedTuple):
    """What lies between two sites: what is free of it in each direction (Gbit/s), and its delay one way (us)."""

    gbps: float
    oneway_us: float


class Served(NamedTuple):
    """What comes of a way to serve: requests a second, ms to the first token, to the second, and for each later one.

    Nobody waits for a turn, and the way to the user is not counted. `groups` are those of either side that have work;
    `chips_share` is the share of time that their chips work, and `link_share` that the link does. `batches` are on
    their way at once in each pipeline, `layers` of the model at the first site. `held_by` says what stands against
    more.
    """

    mode: Mode
    requests_per_s: float
    first_token_ms: float
    second_token_ms: float
    token_ms: float
    groups: tuple[int, int]
    chips_share: float
    link_share: float
    batches: int
    layers: int
    held_by: str


class _Times(NamedTuple):
    """Seconds that a group takes: for a prompt, for a token of all its requests, and for one with prompts between."""

    prompt_s: float
    answer_s: float
    token_s: float


def apart(twin: Twin, model: int, sides: tuple[Side, Side], link: Link, load: Load) -> tuple[Served, ...]:
    """The ways to serve a model (row) at two sites; `load` says what requests are, and how many a group has at once.

    What figures leave unknown is nan.
    """
    times = tuple(_times(twin, model, side, load) for side in sides)
    return (
        _whole(sides, times, load),
        _prompts_apart(twin, model, sides, times, link, load),
        _layers_apart(twin, model, sides, times, link, load),
    )


def _times(twin: Twin, model: int, side: Side, load: Load) -> _Times:
    factors = np.array([serving()["factor"][part] for part in compute.PARTS])

    def parts(requests: int, tokens_out: int) -> dict[str, float]:
        asked = Load(side.chips, requests, load.tokens_in, tokens_out)
        served = served_on(twin, np.array([model]), np.array([side.chip]), asked)
        return dict(zip(compute.PARTS, (compute.parts(served)[0] * factors).tolist(), strict=True))

    answering = parts(load.requests, load.tokens_out)
    of_prompts = answering["prompts"] + answering["attention"]
    # A prompt asks for as many experts, and moves as much between chips, as so many requests at once.
    prompt, alone = parts(load.tokens_in, 1), parts(1, 1)
    shared = sum(prompt[part] for part in ("weights", "steps", "volume", "layers", "token"))
    token_s = sum(answering.values())
    return _Times(shared + alone["prompts"] + alone["attention"], token_s - of_prompts, token_s)


def _whole(sides: tuple[Side, Side], times: tuple[_Times, ...], load: Load) -> Served:
    """Each group serves by itself."""
    rate = sum(
        side.groups * load.requests / (load.tokens_out * time.token_s) for side, time in zip(sides, times, strict=True)
    )
    first_s, token_s = max(time.prompt_s for time in times), max(time.token_s for time in times)
    return Served(
        mode="whole at each",
        requests_per_s=rate,
        first_token_ms=first_s * 1e3,
        second_token_ms=(first_s + token_s) * 1e3,
        token_ms=token_s * 1e3,
        groups=(sides[0].groups, sides[1].groups),
        chips_share=1.0,
        link_share=0.0,
        batches=1,
        layers=0,
        held_by="chips",
    )


def _prompts_apart(
    twin: Twin, model: int, sides: tuple[Side, Side], times: tuple[_Times, ...], link: Link, load: Load
) -> Served:
    table = twin["models"]
    cache_bytes = load.tokens_in * float(np.nan_to_num(table["kv_kb_per_token"][model])) * KB
    layers = max(int(table["layers"][model]), 1)
    over_s = cache_bytes * BITS_PER_BYTE / (link.gbps * GB) if link.gbps > 0 else math.inf
    prompt_s, answer_s = times[0].prompt_s, times[1].answer_s * load.tokens_out / load.requests
    rates = {
        "chips for prompts": sides[0].groups / prompt_s,
        "chips for answers": sides[1].groups / answer_s,
        "the link": 1.0 / over_s if over_s else math.inf,
    }
    unknown = [name for name, rate in rates.items() if math.isnan(rate)]
    held_by = min(unknown or rates, key=lambda name: (rates[name], name))
    rate = rates[held_by]
    groups = _groups(rate * prompt_s), _groups(rate * answer_s)
    work, there = _weighed(sides, (rate * prompt_s, rate * answer_s)), _weighed(sides, groups)
    # The cache of the last layer leaves when the prompt is done, or when those of the others have.
    second_s = max(prompt_s, over_s) + over_s / layers + link.oneway_us / US_PER_S + times[1].answer_s
    return Served(
        mode="prompts apart",
        requests_per_s=rate,
        first_token_ms=prompt_s * 1e3,
        second_token_ms=second_s * 1e3,
        token_ms=times[1].answer_s * 1e3,
        groups=groups,
        chips_share=work / there if there else math.nan,
        link_share=rate * over_s if rate else 0.0,
        batches=1,
        layers=layers,
        held_by=held_by,
    )


def _layers_apart(
    twin: Twin, model: int, sides: tuple[Side, Side], times: tuple[_Times, ...], link: Link, load: Load
) -> Served:
    table = twin["models"]
    layers, width = max(int(table["layers"][model]), 1), float(table["width"][model] or 0)
    pipelines = min(side.groups for side in sides)
    # As many layers at either site as keep both busy.
    share = times[1].token_s / (times[0].token_s + times[1].token_s)
    here = min(max(round(share * layers), 1), max(layers - 1, 1)) if math.isfinite(share) else 0
    part = here / layers
    stages_s = times[0].token_s * part, times[1].token_s * (1.0 - part)
    # The hidden state of each token of answers, and of prompts as they come, passes once; what comes back is a word.
    tokens = load.requests * (1.0 + load.tokens_in / load.tokens_out)
    each = tokens * width * compute.VALUE_BYTES * BITS_PER_BYTE / (link.gbps * GB) if link.gbps > 0 else math.inf
    over_s = each * pipelines
    cycle_s = sum(stages_s) + 2.0 * link.oneway_us / US_PER_S + each
    slowest_s = max(*stages_s, over_s)
    most = _most_batches(twin, model, sides, load, part)
    wanted = max(math.ceil(cycle_s / slowest_s), 1) if math.isfinite(cycle_s) else 1
    batches = min(wanted, most)
    turn_s = max(cycle_s, batches * slowest_s)
    rate = pipelines * batches * load.requests / (turn_s * load.tokens_out) if batches else 0.0
    prompt_over_s = each / tokens * load.tokens_in + link.oneway_us / US_PER_S
    first_s = times[0].prompt_s * part + times[1].prompt_s * (1.0 - part) + prompt_over_s
    held_by = "memory" if most < wanted else "the link" if over_s >= slowest_s else "chips"
    work = _weighed(sides, tuple(batches * stage_s / turn_s for stage_s in stages_s))
    return Served(
        mode="layers apart",
        requests_per_s=rate,
        first_token_ms=first_s * 1e3,
        second_token_ms=(first_s + turn_s) * 1e3,
        token_ms=turn_s * 1e3,
        groups=(pipelines, pipelines),
        chips_share=work / _weighed(sides, (1, 1)) if math.isfinite(turn_s) else 0.0,
        link_share=batches * over_s / turn_s if math.isfinite(turn_s) else 1.0,
        batches=batches,
        layers=here,
        held_by=held_by,
    )


def _groups(busy: float) -> int:
    """Whole groups for so many that would be busy all the time."""
    return math.ceil(busy - 1e-9) if math.isfinite(busy) else 0


def _weighed(sides: tuple[Side, Side], groups: tuple[float, ...]) -> float:
    return sum(side.chips * number for side, number in zip(sides, groups, strict=True))


def _most_batches(twin: Twin, model: int, sides: tuple[Side, Side], load: Load, share: float) -> int:
    """The batches whose caches the chips of both sides hold beside their share of the model."""
    models, memory = np.array([model]), twin["chips"]["memory_gb"]
    alone = float(needed_gb(twin, models, "online", load._replace(requests=0))[0])
    each = float(needed_gb(twin, models, "online", load)[0]) - alone
    room = min(
        (float(memory[side.chip]) * side.chips - alone * part) / max(each * part, 1.0 / GB)
        for side, part in zip(sides, (share, 1.0 - share), strict=True)
    )
    return int(min(max(math.floor(room), 0), MOST_BATCHES)) if math.isfinite(room) else 0
