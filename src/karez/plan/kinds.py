"""Every kind of action: whether it can be undone, how long it takes, and what it needs before it may be taken."""

from __future__ import annotations

from typing import Literal

import msgspec


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every action of one kind.

    It may set only cells of the columns in `may_set` (table, column), on the row that it is about, to the value `to`
    where there is but one and by one more where it `rises`, and add rows only to the table `may_add`: what is harmless
    by its kind cannot do anything else.
    `reversible`: `inverse` names the kind that undoes it exactly. `compensable`: `remedy` names what is done instead,
    at `remedy_price_cny`. `irrevocable`: never on autonomy; a person approves it first.
    An `instant` action is verified within `within_s`, or else undone; a `long` one is observed each turn until
    its own stated end.
    """

    name: str
    meaning: str
    may_set: tuple[tuple[str, str], ...] = ()
    to: bool | None = None
    rises: bool = False
    may_add: str = ""
    effect: Literal["reversible", "compensable", "irrevocable"]
    duration: Literal["instant", "long"]
    within_s: float = 0.0
    inverse: str = ""
    remedy: str = ""
    remedy_price_cny: float = 0.0


# Kinds of action that order something for a site: it is to be seen among orders until it is there.
ORDERS = frozenset({"order_equipment", "order_servers"})
# The tables whose rows can be taken out of service, and the kinds of action that do so: nothing is ordered for them.
RETIRABLE = ("equipment", "servers")
TAKES_OUT = frozenset(f"retire_{table}" for table in RETIRABLE)

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="drain_link",
            meaning="keep traffic off a link by a high cost, at both ends",
            may_set=(("links", "drained"),),
            to=True,
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="undrain_link",
        ),
        Kind(
            name="undrain_link",
            meaning="let traffic back onto a link",
            may_set=(("links", "drained"),),
            to=False,
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="drain_link",
        ),
        Kind(
            name="drain_router",
            meaning="lead traffic around a device by the highest cost of all its links",
            may_set=(("equipment", "drained"),),
            to=True,
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="undrain_router",
        ),
        Kind(
            name="undrain_router",
            meaning="let traffic pass a device again",
            may_set=(("equipment", "drained"),),
            to=False,
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="drain_router",
        ),
        Kind(
            name="set_cost",
            meaning="give a link another cost in routing, at both ends",
            may_set=(("links", "cost"),),
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="set_cost",
        ),
        Kind(
            name="set_backups",
            meaning="have a router keep ways ready for when its own links go dark",
            may_set=(("equipment", "backups"),),
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="set_backups",
        ),
        Kind(
            name="steer_demand",
            meaning="lead a demand over a site that routing would not choose, as by a segment",
            may_set=(("demands", "via"),),
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="steer_demand",
        ),
        Kind(
            name="limit_demand",
            meaning="let in a share of what a demand offers",
            may_set=(("demands", "limited_share"),),
            effect="reversible",
            duration="instant",
            within_s=10.0,
            inverse="limit_demand",
        ),
        Kind(
            name="restart_daemon",
            meaning="restart a program of a device",
            may_set=(("daemons", "restarts"),),
            rises=True,
            effect="compensable",
            duration="instant",
            within_s=15.0,
            remedy="restart the device at a quiet hour",
        ),
        Kind(
            name="restore_config",
            meaning="put a section of a device's configuration back to what it should say",
            may_set=(("configs", "restores"),),
            rises=True,
            effect="compensable",
            duration="instant",
            within_s=10.0,
            remedy="put back what it said before, which the record holds",
        ),
        Kind(
            name="restore_link",
            meaning="put cost and drain of a link back to what they should be, at both ends",
            may_set=(("links", "restores"),),
            rises=True,
            effect="compensable",
            duration="instant",
            within_s=10.0,
            remedy="set again what was set before, which the record holds",
        ),
        Kind(
            name="restore_router",
            meaning="put the drain of a device back to what it should be",
            may_set=(("equipment", "restores"),),
            rises=True,
            effect="compensable",
            duration="instant",
            within_s=10.0,
            remedy="set again what was set before, which the record holds",
        ),
        Kind(
            name="restart_device",
            meaning="restart a device that no longer answers",
            may_set=(("equipment", "boots"),),
            rises=True,
            effect="compensable",
            duration="instant",
            within_s=60.0,
            remedy="send a technician",
            remedy_price_cny=2_000.0,
        ),
        Kind(
            name="start_job",
            meaning="hold chips for a job and start it there",
            may_add="assignments",
            effect="compensable",
            duration="long",
            remedy="stop the job; what it has done since its last checkpoint is lost",
        ),
        Kind(
            name="order_equipment",
            meaning="order equipment for a site",
            may_add="equipment",
            effect="irrevocable",
            duration="long",
        ),
        Kind(
            name="order_servers",
            meaning="order chips for a site",
            may_add="servers",
            effect="irrevocable",
            duration="long",
        ),
        *(
            Kind(
                name=f"retire_{table}",
                meaning=f"take {table} out of service from a day on",
                may_set=((table, "valid_to_s"),),
                effect="irrevocable",
                duration="long",
            )
            for table in RETIRABLE
        ),
        Kind(
            name="straighter_duct",
            meaning="lay a link anew in a straighter duct, which makes it shorter",
            may_set=(("links", "length_km"),),
            effect="irrevocable",
            duration="long",
        ),
        Kind(
            name="bypass",
            meaning="let the light of a link pass an optical cross-connect in place of an electrical hop",
            may_set=(("links", "hop_us"),),
            may_add="equipment",
            effect="irrevocable",
            duration="long",
        ),
        Kind(
            name="hollow-core_fibre",
            meaning="lay a link anew in hollow-core fibre, in which light is faster",
            may_set=(("links", "fibre_us_per_km"),),
            may_add="equipment",
            effect="irrevocable",
            duration="long",
        ),
        Kind(
            name="faster_access",
            meaning="equip the head end of a link for faster access",
            may_set=(("links", "hop_us"),),
            may_add="equipment",
            effect="irrevocable",
            duration="long",
        ),
    )
}
