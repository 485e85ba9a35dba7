"""What a lab counts of its routers, without a lab."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from benchmarks.instances.mesh import mesh
from karez.adapters.frr.config import Protocols
from karez.lab.asked import PORT_COUNTS, Counted
from karez.lab.keeper import _passed
from karez.lab.plan import plan
from karez.lab.telemetry import Telemetry
from karez.twin.table import Array

OLD = b"Ip: Forwarding InReceives ForwDatagrams InDelivers OutRequests OutNoRoutes\nIp: 1 100 60 30 80 7\n"
NEW = OLD.replace(b"OutNoRoutes", b"OutNoRoutes OutTransmits").replace(b" 80 7", b" 20 7 80")
WAYLESS = b"TcpExt: Some\nTcpExt: 5\nIpExt: InNoRoutes InTruncatedPkts\nIpExt: 10 0\n"


@pytest.mark.parametrize("packets", [OLD, NEW], ids=["until Linux 6.7", "since"])
def test_what_passes_a_router_is_counted_alike_by_old_kernels_and_new(packets: bytes) -> None:
    udp = b"Udp: InDatagrams\nUdp: 3\n"
    # 100 by interfaces and 20 of its own; 30 for itself, and 10 of which it did not know where to.
    assert _passed(packets + udp, WAYLESS) == (120, 40)


def test_tests_of_links_are_no_part_of_what_passes_routers() -> None:
    world = mesh(5, sites=6)
    made = plan(world, name="made", protocols=Protocols())
    lines, routers = made.fabric.lines, len(made.fabric.routers)
    tests, legs = 4 * len(lines), 2 * len(made.streams)
    settled, lost = np.zeros(legs), np.zeros(legs)
    # Both ways of each test of each line; of those from the end a of the first one nothing arrives.
    settled[:tests], lost[0] = 50.0, 50.0
    ends = np.array([line.routers for line in lines])
    sent = 100.0 * np.bincount(ends.ravel(), minlength=routers)
    arrived = sent.copy()
    arrived[ends[0, 1]] -= 50.0
    users = np.arange(routers) * 10.0
    before = _counted(legs, len(lines), np.zeros((routers, 2)), np.zeros(legs), np.zeros(legs))
    passed = np.stack([sent + arrived + users, sent + arrived + users - 3.0], axis=1)
    after = _counted(legs, len(lines), passed, settled, lost)
    told = iter([before, after])
    telemetry = Telemetry(world, made, lambda whole: next(told))
    transit = {samples.channel: samples for samples in telemetry.heard(10.0)}["transit"].columns
    quiet = after.quiet
    np.testing.assert_allclose(transit["came"][~quiet], users[~quiet])
    np.testing.assert_allclose(transit["left"][~quiet], np.maximum(users - 3.0, 0.0)[~quiet])
    assert np.isnan(transit["came"][quiet]).all()


def test_channels_tell_when_a_span_is_full_and_never_twice_within_half_of_one() -> None:
    world = mesh(5, sites=6)
    made = plan(world, name="made", protocols=Protocols())
    routers, legs = len(made.fabric.routers), 2 * len(made.streams)
    none = np.zeros(legs)

    telling = (_counted(legs, len(made.fabric.lines), np.full((routers, 2), turn), none, none) for turn in count(1.0))
    telemetry = Telemetry(world, made, lambda whole: next(telling))
    times_s = (100.99, 101.0, 101.2, 101.4995, 101.7, 101.9995, 102.1, 102.6, 104.3, 104.4)
    told = {at_s: {samples.channel for samples in telemetry.heard(at_s)} for at_s in times_s}
    # A full second that comes just after something was told, or just before it is full, and one that was slept over.
    assert [at_s for at_s in times_s if "counter" in told[at_s]] == [100.99, 101.9995, 104.3]
    assert [at_s for at_s in times_s if "user" in told[at_s]] == [101.4995, 101.9995, 102.6, 104.3]
    assert all("probe" in told[at_s] for at_s in times_s)


def _counted(legs: int, lines: int, passed: Array, settled: Array, lost: Array) -> Counted:
    routers = len(passed)
    none, ports = np.zeros(legs), 2 * lines
    return Counted(
        at_s=float(passed.sum()),
        stalled_ago_s=np.inf,
        settled=settled,
        lost=lost,
        settled_large=none,
        lost_large=none,
        arrived=settled - lost,
        delay_ns=none,
        gap_ns=none,
        ports=np.zeros((ports, len(PORT_COUNTS)), np.int64),
        drops=np.zeros(ports, np.int64),
        power_dbm=np.zeros(ports),
        answers=np.ones(routers, bool),
        quiet=np.arange(routers) == 1,
        read_at_s=np.full(routers, float(passed.sum())),
        taken_at_s=np.full(routers, float(passed.sum())),
        passed=passed,
    )
