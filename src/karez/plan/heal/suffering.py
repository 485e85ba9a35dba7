"""The network as it suffers: what the open findings, with the signals that speak for them, say of links and sites."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np

from karez.measure.routes import Case, case_of, meant_up
from karez.twin import World

# Large packets' share of traffic, where only they are lost.
LARGE_SHARE = 0.3
GRAY = (
    "link_slow", "link_slow_one_way", "link_loss", "link_loss_one_way", "link_errors", "link_dim", "link_large_loss",
    "link_jitter", "link_flapping", "link_narrow", "queue_small",
)  # fmt: skip
SICK = ("router_fabric_loss", "router_slow", "router_hot", "router_fib_stale")
Evidence = list[dict[str, object]]


def suffering(world: World) -> Case:
    """The network as it is now, with what the open findings say is lost and late."""
    case = case_of(world)
    findings = world["findings"]
    for record in findings.records(np.flatnonzero(findings["open"])):
        hurt = HURTS.get(str(record["kind"]))
        if hurt is not None:
            case = hurt(world, case, str(record["subject"]), evidence_of(world, str(record["id"])))
    return case


def unhurt(world: World, case: Case) -> Case:
    """The network with nothing drained, lost or late."""
    nothing = {
        name: np.zeros_like(getattr(case, name))
        for name in ("lost_share", "extra_us", "site_lost_share", "site_extra_us")
    }
    links = world["links"]
    return replace(
        case, up=meant_up(world), drained=np.zeros(len(links), bool), cost=links["cost"],
        site_drained=np.zeros(len(case.site_drained), bool), hole=(-1, -1), **nothing,
    )  # fmt: skip


def links_in(world: World, duct: str) -> list[str]:
    """The links that lie in a duct."""
    support = world["link_support"]
    return [link.decode() for link in np.unique(support["link"][support["duct"] == duct.encode()]).tolist()]


def evidence_of(world: World, finding: str) -> Evidence:
    """The signals that speak for a finding, as they are now.

    Raises:
        KeyError: there is no such finding.
    """
    text, signals = str(world["findings"].cell(finding, "evidence")), world["signals"]
    ids = [row for row in msgspec.json.decode(text or "[]", type=list[str]) if signals.has(row)]
    return [dict(record) for record in signals.records(signals.rows(ids))]


def _link(world: World, case: Case, link: str, evidence: Evidence) -> Case:
    if not world["links"].has(link):
        return case
    row = world["links"].rows([link])[0]
    lost, extra = case.lost_share.copy(), case.extra_us.copy()
    felt = max((_size(one) for one in evidence if one["source"] == "user" and one["kind"] == "loss"), default=0.0)
    for one in evidence:
        ways = {"ab": [0], "ba": [1]}.get(str(one["way"]), [0, 1])
        if one["subject"] != link:
            continue
        if one["kind"] in ("loss", "errors", "drops"):
            lost[row, ways] = np.maximum(lost[row, ways], _size(one))
        elif one["kind"] == "large_loss":
            lost[row, ways] = np.maximum(lost[row, ways], max(felt, LARGE_SHARE * _size(one)))
        elif one["kind"] in ("delay", "jitter"):
            extra[row, ways] = np.maximum(extra[row, ways], _size(one))
        elif one["kind"] in ("power", "flapping"):
            lost[row, ways] = np.maximum(lost[row, ways], felt)
    return replace(case, lost_share=np.minimum(lost, 1.0), extra_us=extra)


def _duct(world: World, case: Case, duct: str, evidence: Evidence) -> Case:
    for link in links_in(world, duct):
        mine = [one for one in evidence if one["subject"] == link or one["source"] == "user"]
        case = _link(world, case, link, mine)
    return case


def _site(world: World, case: Case, device: str, evidence: Evidence) -> Case:
    site = _site_of(world, device)
    if site < 0:
        return case
    lost, extra = case.site_lost_share.copy(), case.site_extra_us.copy()
    losses = [_size(one) for one in evidence if one["kind"] in ("loss", "imbalance")]
    delays = [_size(one) for one in evidence if one["kind"] == "delay"]
    lost[site] = max([lost[site], *losses[:1], *(np.median(losses),)] if losses else [lost[site]])
    extra[site] = max([extra[site], *([float(np.median(delays))] if delays else [])])
    return replace(case, site_lost_share=np.minimum(lost, 1.0), site_extra_us=extra)


def _hole(world: World, case: Case, device: str, evidence: Evidence) -> Case:
    """A router that lets nothing through to one site: the one to which those who lose go.

    Of several such routers the network as a case holds one; and where no user tells of it, none.
    """
    demands, site = world["demands"], _site_of(world, device)
    lost = [str(one["subject"]) for one in evidence if one["source"] == "user" and one["kind"] == "loss"]
    goals = Counter(str(demands.cell(demand, "b")) for demand in lost if demands.has(demand))
    if site < 0 or not goals:
        return case
    goal = max(goals, key=lambda name: (goals[name], name))
    return replace(case, hole=(site, int(world["sites"].rows([goal])[0])))


def _surge(world: World, case: Case, subject: str, evidence: Evidence) -> Case:
    """Demands that offer more than they are meant to: a surge is told as the binary logarithm of how many times."""
    demands, offered = world["demands"], case.offered_gbps.copy()
    for one in evidence:
        if one["kind"] == "surge" and demands.has(str(one["subject"])):
            row = demands.rows([str(one["subject"])])[0]
            offered[row] = float(demands.cell(str(one["subject"]), "gbps")) * 2.0 ** _size(one)
    return replace(case, offered_gbps=offered)


def _site_of(world: World, device: str) -> int:
    """The row of the site at which a device stands; -1 where nobody knows of it."""
    devices = world["equipment"]
    return int(world["sites"].rows([str(devices.cell(device, "site"))])[0]) if devices.has(device) else -1


def _size(signal: dict[str, object]) -> float:
    size = float(signal["size"])  # type: ignore[arg-type]
    return size if math.isfinite(size) and size > 0 else 0.0


HURTS: dict[str, Callable[[World, Case, str, Evidence], Case]] = {
    **dict.fromkeys(GRAY, _link),
    "duct_dim": _duct,
    **dict.fromkeys(SICK, _site),
    "router_fib_stale": _hole,
    **dict.fromkeys(("demand_surge", "site_flood"), _surge),
}
