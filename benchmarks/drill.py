"""Two hundred incidents on real routers: what the loop finds and mends, whether it does harm, and how the same goes
in the embedded network, which is the yardstick of the simulator's honesty.

Meshes of ten routers, each with its own lab; some routers speak OSPF, some IS-IS, most BGP besides. Every incident is a
loop that has just begun, learns what is normal, and then has one fault of the kinds that a lab can show, healthy days
and lying probes among them. What it tells is judged ten seconds after the fault began.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from benchmarks import Figure, figure
from benchmarks.instances.mesh import mesh
from karez.adapters.frr.config import Igp, Protocols
from karez.lab.asked import LabError
from karez.lab.faults import shown
from karez.lab.plan import plan
from karez.lab.start import lasting
from karez.loop.state import Policy
from karez.operations.lab_score import Beside, beside
from karez.scenario.incidents import Outcome
from karez.scenario.real import LAB_KINDS, as_drilled, drawn, drilled
from karez.scenario.score import f1, failures

NAME = "drill"
SEEDS = tuple(range(1, 9))
ROUTERS = 10
# Incidents of each mesh, and how many labs run at once.
INCIDENTS = int(os.environ.get("KAREZ_INCIDENTS", "25"))
LABS = int(os.environ.get("KAREZ_LABS", "2"))
F1_BAR, HONEST_BAR = 0.9, 1.5
# Kinds of fault by what they befall, of which the causes are to be told apart.
FAMILIES = {
    "links": "link_cut link_silent link_silent_one_way link_slow link_slow_one_way link_loss link_loss_one_way "
    "link_large_loss link_jitter link_flapping link_narrow link_errors link_cut_one_way duct_cut",
    "routers": "router_dead router_booted router_hung router_fabric_loss router_fib_stale router_clock_wrong",
    "routing": "routing_dead routing_stuck bfd_dead cost_wrong drain_left router_drain_left",
    "access lists and policers": "filter_wrong policer_left",
    "MTU": "mtu_wrong",
    "static routes and others": "static_wrong other_wrong",
    "areas": "area_wrong",
    "BGP": "bgp_dead bgp_wrong",
    "probes, counters and telemetry": "telemetry_dead probe_dead probe_slow counter_stuck counter_wild",
    "traffic": "demand_surge site_flood",
}
Pair = tuple[Outcome, Outcome]


class Speaks(NamedTuple):
    """What the routers of a mesh speak."""

    igp: Igp = "ospf"
    bgp: bool = True

    def __str__(self) -> str:
        """In words."""
        return {"ospf": "OSPF", "isis": "IS-IS"}[self.igp] + (" and BGP" if self.bgp else "")


# By seed; those that are not here speak OSPF and BGP.
SPEAK = {1: Speaks(bgp=False), 2: Speaks(bgp=False), 7: Speaks("isis"), 8: Speaks("isis")}


def run() -> list[Figure]:
    """Harm, localisation by what was befallen, and how far the embedded network is from real routers."""
    pairs, broken = list[Pair](), 0
    with ProcessPoolExecutor(LABS, mp_context=get_context("spawn")) as pool:
        for seed, made in {seed: pool.submit(_of_mesh, seed) for seed in SEEDS}.items():
            try:
                pairs += made.result()
            except LabError as error:
                broken += 1
                print(f"  mesh {seed} was broken off: {error}", flush=True)
    return [figure("meshes that were broken off because their lab did not answer", broken, "", 0.0), *figures(pairs)]


def figures(pairs: Sequence[Pair]) -> list[Figure]:
    """What the outcomes on real routers and in the embedded network add up to."""
    real, embedded = [one for one, _ in pairs], [other for _, other in pairs]
    return [
        figure("incidents on real routers", len(real), "", better="higher"),
        figure("incidents in which the loop acted", sum(bool(one.acts) for one in real), "", better="higher"),
        figure("incidents on real routers with harm", sum(one.harmed for one in real), "", 0.0),
        figure("incidents in which an act was undone", sum(one.undone > 0 for one in real), ""),
        figure("acts neither verified nor undone at the end", sum(one.unsettled for one in real), "", 0.0),
        figure(
            "localisation, F1 of (cause, subject), 10 s after the fault (yardstick: embedded, 30 s after it)",
            f1(real) or 0.0,
            "",
            F1_BAR,
            better="higher",
            yardstick=f1(embedded) or 0.0,
        ),
        *(
            one
            for name, kinds in FAMILIES.items()
            for one in _of_some(name, [other for other in real if other.kind in kinds.split()])
        ),
        *(
            one
            for spoken in dict.fromkeys(map(_spoken, real))
            for one in _of_some(f"routers that speak {spoken}", [other for other in real if _spoken(other) == spoken])
        ),
        *_honesty(kinds := beside(real, embedded)),
        *(one for kind in kinds for one in _of_kind(kind)),
    ]


def _spoken(one: Outcome) -> str:
    """What the routers spoke in an incident, whose token begins with the seed of their mesh."""
    return str(SPEAK.get(int(one.token.partition("/")[0]), Speaks()))


def _of_some(name: str, mine: Sequence[Outcome]) -> Iterator[Figure]:
    """How well the causes of these were told, where there are any."""
    if mine:
        yield figure(f"F1, {name} ({len(mine)} incidents)", f1(mine) or 0.0, "", F1_BAR, better="higher")


def _of_kind(kind: Beside) -> Iterator[Figure]:
    """What both networks showed of one kind."""
    name = f"{kind.kind} ({kind.incidents})"
    theirs = kind.embedded_right_share
    yield figure(f"{name}: cause and subject right", kind.right_share, "share", better="higher", yardstick=theirs)
    if kind.found_s is not None:
        yield figure(f"{name}: median time to find", kind.found_s, "s", yardstick=kind.embedded_found_s)
    if kind.healed_s is not None:
        yield figure(f"{name}: median time to heal", kind.healed_s, "s", yardstick=kind.embedded_healed_s)


def _honesty(kinds: Sequence[Beside]) -> Iterator[Figure]:
    """Of kinds found and healed in both networks, the share in which times differ by no more than the bar."""
    for what, ratios in {
        "find": [one.found_ratio for one in kinds],
        "heal": [one.healed_ratio for one in kinds],
    }.items():
        known = [ratio for ratio in ratios if ratio is not None]
        near = sum(1.0 / HONEST_BAR <= ratio <= HONEST_BAR for ratio in known)
        of = f"kinds whose median time to {what} is within a factor of {HONEST_BAR:g} of the embedded network's"
        yield figure(f"{of} ({near} of {len(known)})", near / max(len(known), 1), "share", 1.0, better="higher")


def _of_mesh(seed: int) -> list[Pair]:
    """The incidents of a mesh on real routers, and in the embedded network."""
    speaks = SPEAK.get(seed, Speaks())
    world, policy = mesh(seed, sites=ROUTERS, bgp=speaks.bgp), Policy(level="act")
    made = plan(world, name=f"bench-drill-{seed}", protocols=Protocols(igp=speaks.igp, bfd_ms=100))
    kinds = [kind for kind in shown(made) if kind in LAB_KINDS]
    ones = [drawn(world, str(seed), seed * INCIDENTS + number, kinds) for number in range(INCIDENTS)]
    real = []
    with lasting(made) as lab:
        for one in ones:
            real.append(drilled(world, lab, one, policy))
            _tell(real[-1])
    return list(zip(real, (as_drilled(world, made, one, policy) for one in ones), strict=True))


def _tell(one: Outcome) -> None:
    """Print what did not go well, as soon as it was played."""
    for failure in failures(one):
        acts = f"; acts {', '.join(one.acts)}" if one.acts else ""
        print(
            f"  {failure.token} {failure.kind} {failure.subject}: {failure.what}; told {failure.told}{acts}", flush=True
        )
