"""The chapter of a report on a planned day of jobs: flows on the map, provinces, prices by the hour."""

from __future__ import annotations

import numpy as np

from karez.operations.day import Planned
from karez.operations.networks import at_most, counted, share
from karez.operations.render.day import FlowsData, HoursData
from karez.operations.render.html import Note, Section, TableData
from karez.operations.render.sections import columns_of
from karez.plan.day.decide import runs, unserved
from karez.plan.day.regions import between, flow_of, regions, work
from karez.plan.day.scarce import chip_worth, mean_over_chips
from karez.twin.table import Array, strings, text


def day_section(asked: Planned) -> Section:
    """The chapter on a plan of a day."""
    day = asked.day
    posed, rows = day.posed, runs(day)
    done = work(day, rows)
    flow, places = flow_of(day, done), regions(day, done)
    running, left = sum(one.number for one in rows), int(unserved(day)[1].sum())
    by_hour = mean_over_chips(posed, np.add(*chip_worth(posed, day.prices)))
    moved = "" if flow.share is None else f", and {share(flow.share)} of the work of the east runs in the west"
    return Section(
        title="A day of jobs",
        lead=(
            f"{running:,} of {counted(running + left, 'job')} run within {counted(posed.ask.hours, 'hour')} at a cost "
            f"of {day.cny:,.0f} CNY, at most {at_most(day.gap_share)} above the least possible{moved}."
        ),
        flows=(_flows(asked, between(day, done)),),
        hours=(
            HoursData(
                label="What one more chip would save in each hour, its power included",
                unit="CNY, mean of all chips",
                hours=[posed.ask.clock(at) for at in range(posed.ask.hours)],
                values=by_hour.tolist(),
            ),
        ),
        tables=(
            TableData(
                caption="Work, energy and money by province",
                columns=columns_of(
                    ("province", "text"), ("side", "text"), ("asked for, chip h", "number"), ("done, chip h", "number"),
                    ("energy, MWh", "number"), ("carbon, t", "number"), ("money, CNY", "number"),
                    ("one more chip, CNY/h", "number"),
                ),
                rows=[
                    [
                        one.province, one.side, one.asked_chip_h, one.done_chip_h, one.energy_mwh, one.carbon_t,
                        one.money_cny, one.price_cny_per_chip_h,
                    ]
                    for one in places
                ],
                sortable=True,
            ),
        ),
        notes=(
            Note("work that runs", f"{flow.chip_h:,.0f} chip-hours"),
            Note("energy, with cooling", f"{flow.kwh / 1e3:,.1f} MWh"),
            Note("carbon dioxide", f"{flow.kg / 1e3:,.1f} t"),
            Note("the least that any plan can cost", f"{day.bound:,.0f} CNY, proven by prices of all that is shared"),
        ),
        citation=asked.plan.citation,
    )  # fmt: skip


def _flows(asked: Planned, chip_h: Array) -> FlowsData:
    """Provinces where their largest metropolis lies, and what goes between them."""
    world = asked.said.posed.world
    table, metros = world["provinces"], world["metros"]
    province = world.intended.resolve("metros", "province")
    order = np.lexsort((np.arange(len(province)), -metros["population"]))
    known, first = np.unique(province[order], return_index=True)
    at = np.zeros(len(table), int)
    at[known[known >= 0]] = order[first[known >= 0]]
    shown = np.flatnonzero((chip_h.sum(axis=0) + chip_h.sum(axis=1) > 0) & np.isin(np.arange(len(table)), known))
    part = chip_h[np.ix_(shown, shown)]
    a, b = np.nonzero(part * (1 - np.eye(len(shown))))
    side = np.array(strings(table["side"][shown]))
    return FlowsData(
        label="Work from the province of its users to that of its chips",
        lon=metros["lon"][at[shown]].tolist(),
        lat=metros["lat"][at[shown]].tolist(),
        name=[text(table["name"][row]) or text(table.ids[row]) for row in shown.tolist()],
        done=part.sum(axis=0).tolist(),
        begins=a.tolist(),
        ends=b.tolist(),
        chip_h=part[a, b].tolist(),
        westward=((side[a] == "east") & (side[b] == "west")).tolist() if len(a) else [],
    )
