"""Who is within the budget of compute, and how sure that is."""

from __future__ import annotations

from karez.errors import InputError, Problem
from karez.measure.circles import Circles, Mover, Region, Shares, Terms, circles, compute_sites, movers
from karez.measure.delay import Layer
from karez.operations import Answer, CirclesQuestion
from karez.operations.networks import ACCESS_WORDS, air, duration, load, nothing_counted, now_s, provenance, share
from karez.twin import Twin
from karez.twin.store import Revision

SHOWN_MOVERS = 3
WORDS = {
    "access_point": "access points",
    "station": "stations by weight",
    "place": "key places by weight",
    "enterprise": "enterprises by weight",
    "population": "residents",
    "area": "area that stations stand in",
}
LAYER_WORDS: dict[Layer, str] = {"optical": "optical layer", "ip": "IP layer"}


class CirclesAnswer(Answer, frozen=True, kw_only=True):
    """Coverage at low, typical and high delays, what moves it most, and its parts at typical delays.

    `total_weight` is what the shares are shares of: in C1 the number of pairs of centres. `down` is the way from
    the server to the terminal (C3, one way); `access` and `service_us` are in C3 only. The share that `pooling` names
    is the headline and held against the target; what `movers` move is the pooled one.
    """

    definition: str
    budget_us: float
    weight: str
    round_trip: bool
    layer: str
    access: str | None = None
    service_us: float | None = None
    least_chips: int
    pooling: str
    total_weight: float
    low: Shares
    typical: Shares
    high: Shares
    down_low: Shares | None = None
    down_typical: Shares | None = None
    down_high: Shares | None = None
    movers: tuple[Mover, ...]
    provinces: tuple[Region, ...]
    metros: tuple[Region, ...]


def run(question: CirclesQuestion) -> CirclesAnswer:
    """Coverage of the network's newest revision, as it is today.

    Raises:
        InputError: the network cannot be read, or has nothing that the weight counts, no links of the layer or no
            compute of the size class; or access or service are given for another definition than C3.
    """
    _require_c3(question)
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    require_layer(twin, question.layer, question.network)
    _require_class(twin, question.least_chips)
    terms = _terms(question)
    found = circles(twin, **terms)
    if question.definition != "C1" and not found.total_weight:
        raise nothing_counted(question.network, question.weight)
    moved = movers(twin, **terms)
    in_c3 = question.definition == "C3"
    return CirclesAnswer(
        headline=_headline(found, question, revision),
        citation=_citation(found, question, revision),
        meets_target=_meets(found, question),
        definition=found.definition,
        budget_us=found.budget_us,
        weight=found.weight,
        round_trip=found.round_trip,
        layer=question.layer,
        access=question.access if in_c3 else None,
        service_us=question.service_us if in_c3 else None,
        least_chips=question.least_chips,
        pooling=question.pooling,
        total_weight=found.total_weight,
        low=found.shares["low"],
        typical=found.shares["typical"],
        high=found.shares["high"],
        down_low=found.down.get("low"),
        down_typical=found.down.get("typical"),
        down_high=found.down.get("high"),
        movers=tuple(mover for mover in moved[:SHOWN_MOVERS] if mover.swing_share),
        provinces=found.provinces,
        metros=found.metros,
    )


def require_layer(twin: Twin, layer: Layer, network: str) -> None:
    """Return only if the twin has links of the layer.

    Raises:
        InputError: the IP layer was asked for, and there are no IP links.
    """
    if layer == "ip" and not (twin["links"]["layer"] == b"ip").any():
        what = "has no links of the IP layer"
        raise InputError.of(network, what, "ask for the optical layer, or add links whose layer is ip")


def _require_c3(question: CirclesQuestion) -> None:
    """Return only if what only C3 knows is left alone elsewhere, so that nothing is asked in vain."""
    if question.definition == "C3":
        return
    given = {"access": question.access != "5g", "service-us": question.service_us > 0}
    what, fix = f"has no part in {question.definition}", "leave it out, or ask for C3"
    if problems := [Problem(name, what, fix) for name, there in given.items() if there]:
        raise InputError(problems)


def _require_class(twin: Twin, least_chips: int) -> None:
    """Return only if some site is of the size class."""
    if least_chips > 1 and not len(compute_sites(twin, least_chips)):
        raise InputError.of("least-chips", f"no site has {least_chips:,} chips in all", "give a smaller size class")


def _terms(question: CirclesQuestion) -> Terms:
    return {
        "definition": question.definition,
        "budget_us": question.budget_us,
        "weight": question.weight,
        "round_trip": question.round_trip,
        "layer": question.layer,
        "access": question.access,
        "service_us": question.service_us,
        "least_chips": question.least_chips,
    }


def _chosen(shares: Shares, question: CirclesQuestion) -> float | None:
    return shares.pooled_share if question.pooling == "pooled" else shares.mean_of_metros_share


def _meets(found: Circles, question: CirclesQuestion) -> bool | None:
    chosen = _chosen(found.shares["typical"], question)
    return None if question.target_share is None else chosen is not None and chosen >= question.target_share


def _headline(found: Circles, question: CirclesQuestion, revision: Revision) -> str:
    synthetic = "; synthetic" if revision.synthetic else ""
    typical = found.shares["typical"]
    chosen = _chosen(typical, question)
    if chosen is None:
        note = " (synthetic)" if revision.synthetic else ""
        of_class = f" of at least {question.least_chips:,} chips" if question.least_chips > 1 else ""
        return f"No metro has two compute centres{of_class}, so C1 has nothing to measure{note}"
    mean = "" if question.pooling == "pooled" else ", as the mean of the metros,"
    layer = "" if question.layer == "optical" else " on the IP layer"
    within = f"within {duration(found.budget_us)} {'there and back' if found.round_trip else 'one way'}{layer}"
    span = f"({_span(found, question)}{synthetic})"
    if found.definition == "C1":
        whole = f"in {share(typical.whole_metros_share)} of those metros all are"
        return f"{share(chosen)} of pairs of compute centres in one metro{mean} are {within}; {whole} {span}"
    covered = f"{share(chosen)} of {WORDS[found.weight]}{mean}"
    if found.definition == "C2":
        return f"{covered} are {within} of compute {span}"
    why = air(found, question.access, question.service_us)
    because = f", {why}" if why else ""
    down = found.down.get("typical")
    way = "up to the server" if down else "from terminal to server"
    over = f"over {ACCESS_WORDS[question.access]}"
    back = f"; {share(_chosen(down, question))} down to the terminal" if down else ""
    return f"{covered} are {within} {way} {over}{because}{back} {span}"


def _span(found: Circles, question: CirclesQuestion) -> str:
    low, high = (share(_chosen(found.shares[figures], question)) for figures in ("high", "low"))
    return f"{low} to {high} over the latency library" if low != high else "the same over all of the latency library"


def _citation(found: Circles, question: CirclesQuestion, revision: Revision) -> str:
    way = "round trip, least over the sites of there and back" if found.round_trip else "one way"
    counted = "unordered pairs of centres in a metro" if found.definition == "C1" else f"weight {found.weight}"
    towards = {
        "C1": "slower direction",
        "C2": "towards the best compute site",
        "C3": f"terminal to the best server over {ACCESS_WORDS[question.access]}, service {question.service_us:g} us",
    }[found.definition]
    of_class = f", sites of at least {question.least_chips:,} chips" if question.least_chips > 1 else ""
    return (
        f"{found.definition} < {found.budget_us:g} us, {way}, {towards}{of_class}, {LAYER_WORDS[question.layer]}; "
        f"{counted} ({found.total_weight:g} in all), {question.pooling.replace('_', ' ')}; low, typical and high "
        f"figures of the latency library; {provenance(revision)}"
    )
