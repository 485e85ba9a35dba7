"""What can go wrong, as data: what each kind is about, how large it is drawn, what mends it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

About = Literal["link", "duct", "router", "site", "daemon", "config", "demand", "any", "nothing"]
FOREVER_S = 1e18


class Fault(msgspec.Struct, frozen=True):
    """Something that goes wrong at `at_s` and stays until `until_s`, or until somebody mends it.

    `FAULTS` says what each kind is about and which sizes it has: a delay (`size_us`), a share of packets or of
    capacity or a factor (`size_share`), a loss of light (`size_db`), a time (`size_s`). `way` is the direction of what
    goes one way (ab or ba) or the end that it befalls; `goal` is the site that traffic is lost to.
    """

    kind: str
    subject: str
    at_s: float
    until_s: float = FOREVER_S
    size_us: float = 2_000.0
    size_share: float = 0.05
    size_db: float = 8.0
    size_s: float = 5.0
    way: Literal["ab", "ba"] = "ab"
    goal: str = ""


class Kind(NamedTuple):
    """What holds for all faults of a kind; sizes are drawn evenly between two values.

    `lasts_s` is how long it lasts where it passes by itself. `mended` names the kinds of action on its subject that
    end it; a restart of the device ends what concerns the programs on it, too. `program` and `section` say which
    kind of program or section it is about.
    """

    about: About
    us: tuple[float, float] | None = None
    share: tuple[float, float] | None = None
    db: tuple[float, float] | None = None
    s: tuple[float, float] | None = None
    lasts_s: tuple[float, float] | None = None
    mended: tuple[str, ...] = ()
    program: str = ""
    section: str = ""


DELAY_US = (2_000.0, 10_000.0)
LOSS_SHARE = (0.01, 0.1)
FAINT_DB = (6.0, 10.0)
FAINT_SHARE = (0.01, 0.05)
WORK_S = (60.0, 300.0)
RESTART = ("restart_device",)
AGAIN = ("restart_daemon", "restart_device")
RESTORE = ("restore_config",)

FAULTS: dict[str, Kind] = {
    "link_cut": Kind("link"),
    "link_cut_one_way": Kind("link"),
    "link_silent": Kind("link"),
    "link_silent_one_way": Kind("link"),
    "link_slow": Kind("link", us=DELAY_US),
    "link_slow_one_way": Kind("link", us=DELAY_US),
    "link_loss": Kind("link", share=LOSS_SHARE),
    "link_loss_one_way": Kind("link", share=LOSS_SHARE),
    "link_errors": Kind("link", share=LOSS_SHARE),
    "link_dim": Kind("link", db=FAINT_DB, share=FAINT_SHARE),
    "link_large_loss": Kind("link"),
    "link_jitter": Kind("link", us=(1_000.0, 2_000.0)),
    "link_flapping": Kind("link", s=(3.0, 10.0)),
    "link_narrow": Kind("link", share=(0.2, 0.6)),
    "duct_cut": Kind("duct"),
    "duct_dim": Kind("duct", db=FAINT_DB, share=FAINT_SHARE),
    "router_dead": Kind("router", mended=RESTART),
    "router_booted": Kind("router", lasts_s=(20.0, 40.0), mended=RESTART),
    "router_hung": Kind("router", mended=RESTART),
    "router_fabric_loss": Kind("router", share=LOSS_SHARE),
    "router_slow": Kind("router", us=DELAY_US, mended=RESTART),
    "router_hot": Kind("router", us=(1_000.0, 3_000.0), mended=RESTART),
    "router_fib_stale": Kind("router", mended=RESTART),
    "router_clock_wrong": Kind("router", us=(2_000.0, 20_000.0), mended=RESTART),
    "telemetry_late": Kind("router", mended=RESTART),
    "site_power_lost": Kind("site"),
    "routing_dead": Kind("daemon", mended=AGAIN, program="routing"),
    "routing_stuck": Kind("daemon", mended=AGAIN, program="routing"),
    "bfd_dead": Kind("daemon", mended=AGAIN, program="bfd"),
    "telemetry_dead": Kind("daemon", mended=AGAIN, program="telemetry"),
    "probe_dead": Kind("daemon", mended=AGAIN, program="probe"),
    "probe_slow": Kind("daemon", us=(2_000.0, 5_000.0), share=(0.01, 0.03), mended=AGAIN, program="probe"),
    "cost_wrong": Kind("link", share=(3.0, 20.0), mended=("set_cost", "restore_link")),
    "drain_left": Kind("link", mended=("undrain_link", "drain_link", "restore_link")),
    "router_drain_left": Kind("router", mended=("undrain_router", "drain_router", "restore_router")),
    "filter_wrong": Kind("config", share=(0.1, 0.5), mended=RESTORE, section="filter"),
    "mtu_wrong": Kind("config", mended=RESTORE, section="mtu"),
    "area_wrong": Kind("config", mended=RESTORE, section="area"),
    "policer_left": Kind("config", share=(0.3, 0.7), mended=RESTORE, section="policer"),
    "static_wrong": Kind("config", mended=RESTORE, section="static"),
    "other_wrong": Kind("config", mended=RESTORE, section="other"),
    "demand_surge": Kind("demand", share=(3.0, 8.0)),
    "site_flood": Kind("site", share=(3.0, 6.0)),
    "queue_small": Kind("link", share=FAINT_SHARE),
    "counter_stuck": Kind("link"),
    "counter_wild": Kind("link", share=(1.2, 2.0)),
    "state_lies": Kind("link"),
    "work_link": Kind("link", lasts_s=WORK_S),
    "work_router": Kind("router", lasts_s=WORK_S),
    "none": Kind("nothing"),
    "noise": Kind("link", us=(0.0, 3_000.0), lasts_s=(0.15, 0.2)),
    "bgp_dead": Kind("daemon", mended=AGAIN, program="bgp"),
    "bgp_wrong": Kind("config", mended=RESTORE, section="bgp"),
    # Not of the catalogue: what a test asks for. A command to its subject is acknowledged and not done.
    "deaf": Kind("any"),
}
# Shortest spike that `noise` makes; below, it eats probes instead.
SPIKE_US = 1_000.0
