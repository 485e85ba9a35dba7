"""Who is within the budget of compute, and how sure that is."""

from __future__ import annotations

from karez.measure.circles import Circles, Mover, Region, Shares, circles, movers
from karez.operations import Answer, CirclesQuestion
from karez.operations.networks import air, duration, load, nothing_counted, now_s, provenance, share
from karez.twin.store import Revision

SHOWN_MOVERS = 3
WORDS = {
    "access_point": "access points",
    "station": "stations by weight",
    "place": "key places by weight",
    "population": "residents",
}


class CirclesAnswer(Answer, frozen=True, kw_only=True):
    """Coverage at low, typical and high delays, what moves it most, and its parts at typical delays.

    `total_weight` is what the shares are shares of: in C1 the number of pairs of centres. `down` is the way from
    the server to the terminal (C3, one way).
    """

    definition: str
    budget_us: float
    weight: str
    round_trip: bool
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
        InputError: the network cannot be read, or has nothing that the weight counts.
    """
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    found = circles(
        twin,
        definition=question.definition,
        budget_us=question.budget_us,
        weight=question.weight,
        round_trip=question.round_trip,
    )
    if question.definition != "C1" and not found.total_weight:
        raise nothing_counted(question.network, question.weight)
    moved = movers(
        twin,
        definition=question.definition,
        budget_us=question.budget_us,
        weight=question.weight,
        round_trip=question.round_trip,
    )
    return CirclesAnswer(
        headline=_headline(found, revision),
        citation=_citation(found, revision),
        meets_target=_meets(found, question.target_share),
        definition=found.definition,
        budget_us=found.budget_us,
        weight=found.weight,
        round_trip=found.round_trip,
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


def _meets(found: Circles, target_share: float | None) -> bool | None:
    pooled = found.shares["typical"].pooled_share
    return None if target_share is None else pooled is not None and pooled >= target_share


def _headline(found: Circles, revision: Revision) -> str:
    synthetic = "; synthetic" if revision.synthetic else ""
    typical = found.shares["typical"]
    if typical.pooled_share is None:
        note = " (synthetic)" if revision.synthetic else ""
        return f"No metro has two compute centres, so C1 has nothing to measure{note}"
    within = f"within {duration(found.budget_us)} {'there and back' if found.round_trip else 'one way'}"
    span = f"({_span(found)}{synthetic})"
    if found.definition == "C1":
        whole = f"in {share(typical.whole_metros_share)} of those metros all are"
        return f"{share(typical.pooled_share)} of pairs of compute centres in one metro are {within}; {whole} {span}"
    covered = f"{share(typical.pooled_share)} of {WORDS[found.weight]}"
    if found.definition == "C2":
        return f"{covered} are {within} of compute {span}"
    because = f", {air(found)}" if air(found) else ""
    down = found.down.get("typical")
    way = "up to the server" if down else "from terminal to server"
    back = f"; {share(down.pooled_share)} down to the terminal" if down else ""
    return f"{covered} are {within} {way}{because}{back} {span}"


def _span(found: Circles) -> str:
    low, high = (share(found.shares[figures].pooled_share) for figures in ("high", "low"))
    return f"{low} to {high} over the latency library" if low != high else "the same over all of the latency library"


def _citation(found: Circles, revision: Revision) -> str:
    way = "round trip, least over the sites of there and back" if found.round_trip else "one way"
    counted = "unordered pairs of centres in a metro" if found.definition == "C1" else f"weight {found.weight}"
    towards = {
        "C1": "slower direction",
        "C2": "towards the best compute site",
        "C3": "terminal to the best server over 5G",
    }[found.definition]
    return (
        f"{found.definition} < {found.budget_us:g} us, {way}, {towards}, optical layer; {counted} "
        f"({found.total_weight:g} in all), pooled; low, typical and high figures of the latency library; "
        f"{provenance(revision)}"
    )
