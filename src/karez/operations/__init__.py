"""Every operation of Karez, once: its name, what it is asked and what it answers. Every face offers them from here.

An operation lives in the module of this package that bears its name, as `run(question) -> answer`. It is the border to
files and clocks: it loads twins, calls pure functions and stores what they return. The questions stand here, so that a
face can list and describe them without importing what answers them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Literal, cast

import msgspec
from msgspec import Meta

# A service keeps every path within the folder that it serves.
PathName = Annotated[str, Meta(extra={"path": True}, extra_json_schema={"format": "path"})]
Network = Annotated[PathName, Meta(description="folder of a network")]
Output = Annotated[PathName, Meta(description="where to write; must not exist yet")]
Budget = Annotated[
    float, Meta(description="longest one-way delay that counts as covered, microseconds", gt=0, le=1_000_000)
]
Definition = Annotated[
    Literal["C1", "C2", "C3"],
    Meta(description="C1 centre to centre in a metro, C2 place to compute, C3 terminal to server"),
]
Weight = Annotated[
    Literal["access_point", "station", "place", "enterprise", "population", "area"],
    Meta(description="what a share is a share of"),
]
Layer = Annotated[Literal["optical", "ip"], Meta(description="layer whose links count; ip adds a router a link")]
Access = Annotated[
    Literal["5g", "pon", "pon-cooperative", "50g-pon", "wlan", "leased-line"],
    Meta(description="how a terminal reaches the network in C3"),
]
Share = Annotated[float, Meta(ge=0, le=1)]
Seed = Annotated[int, Meta(description="seed of all chance", ge=0)]
Figures = Annotated[Literal["low", "typical", "high"], Meta(description="which end of the latency library")]
Effort = Annotated[Literal["greedy", "relaxed", "searched", "exact"], Meta(description="how high to climb the ladder")]
TimeLimit = Annotated[float, Meta(description="seconds after which the best by then is the answer", gt=0)]
Packs = Annotated[PathName, Meta(description="folder of a pack of rules of your own, or of several; none when empty")]
Reader = Annotated[
    str, Meta(description="id of the domain that it is for, which must be allowed to; for this machine when empty")
]
PlanOutput = Annotated[PathName, Meta(description="file for the plan, JSON; none when empty")]
RunRecord = Annotated[PathName, Meta(description="file of the record of a run")]
RecordedNetwork = Annotated[
    PathName, Meta(description="folder of the network of the run; the one that the record names when empty")
]
SitePrices = Annotated[
    PathName, Meta(description="CSV of the sites that may be built: site, price_cny; the library's when empty")
]


ItemPrices = Annotated[
    PathName, Meta(description="CSV of your prices: item, price_cny, lead_time_days; library rows when empty")
]
Recipes = Annotated[
    PathName, Meta(description="CSV of what work takes: act, item, quantity, per; library rows when empty")
]
Upkeep = Annotated[
    PathName, Meta(description="CSV of power and upkeep: item, power_kw, maintenance_share; library when empty")
]
Ageing = Annotated[
    PathName, Meta(description="CSV of kind, life_years, new_w_per_gbps, new_w_per_tflops; library rows when empty")
]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer has: a headline for a person, how it was got in one line, and whether a target was met."""

    headline: str
    citation: str
    meets_target: bool | None = None


class Operation(msgspec.Struct, frozen=True):
    """One operation: `question` is the type of what it is asked; `writes` says whether it leaves files behind."""

    name: str
    summary: str
    question: type[msgspec.Struct]
    writes: bool = False


class GenerateQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A synthetic network on real places."""

    output: Output
    stations: Annotated[int, Meta(description="base stations in all", ge=20_000, le=20_000_000)] = 200_000
    sites: Annotated[int, Meta(description="compute sites, at the core sites of the largest places", ge=1)] = 60
    jobs: Annotated[int, Meta(description="jobs of a day, besides five examples", ge=0, le=5_000_000)] = 0
    seed: Seed = 1


class TemplateQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Empty tables to fill in, with the meaning and unit of every column."""

    output: Output


class ImportQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A network out of files of many formats; what had to be dropped or assumed is told."""

    source: Annotated[
        PathName,
        Meta(description="folder of TABLE.csv or TABLE.parquet files, one file, or topohub:GROUP/NAME"),
    ]
    output: Annotated[PathName, Meta(description="folder of the network; a new revision where it exists")]
    format: Annotated[
        Literal["auto", "tables", "xlsx", "geojson", "graphml", "sndlib", "rfc8345", "gnpy", "topohub"],
        Meta(description="format of the source; auto goes by its name and content"),
    ] = "auto"
    guess: Annotated[bool, Meta(description="map foreign names and units by guessing; the mapping is shown")] = False
    crs: Annotated[
        Literal["wgs84", "gcj02", "bd09"], Meta(description="what the positions are in; they are moved to WGS 84")
    ] = "wgs84"
    route_factor: Annotated[
        float, Meta(description="length of a link that nobody told, as a multiple of the straight line", ge=1, le=5)
    ] = 1.4
    strict: Annotated[bool, Meta(description="refuse the source where a row would be dropped")] = False
    caida: Annotated[bool, Meta(description="allow networks of CAIDA, whose terms of use apply")] = False
    dry_run: Annotated[bool, Meta(description="check and show, write nothing")] = False


class ExportQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Sites, stations and links of a network as RFC 8345 JSON, which other systems read."""

    network: Network
    output: Annotated[PathName, Meta(description="JSON file to write; must not exist yet")]
    revision: Annotated[int, Meta(description="revision to read; 0 is the newest", ge=0)] = 0
    reader: Reader = ""


class InfoQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What a network holds, its revisions and every problem in it."""

    network: Network
    revision: Annotated[int, Meta(description="revision to read; 0 is the newest", ge=0)] = 0


class DiffQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What changed between two revisions of a network."""

    network: Network
    before: Annotated[int, Meta(description="older revision", ge=1)]
    after: Annotated[int, Meta(description="newer revision; 0 is the newest", ge=0)] = 0


class CirclesQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Who is within the budget of compute, by which definition, over the range of the latency library."""

    network: Network
    definition: Definition = "C2"
    budget_us: Budget = 1_000.0
    weight: Weight = "access_point"
    round_trip: Annotated[bool, Meta(description="budget for there and back instead of one way")] = False
    layer: Layer = "optical"
    access: Access = "5g"
    service_us: Annotated[float, Meta(description="what the server of C3 takes, microseconds", ge=0)] = 0.0
    least_chips: Annotated[int, Meta(description="size class: chips from which a site counts as a centre", ge=1)] = 1
    pooling: Annotated[
        Literal["pooled", "mean_of_metros"], Meta(description="which share is the headline and held against the target")
    ] = "pooled"
    target_share: Annotated[Share | None, Meta(description="exit code 3 where typical coverage is below it")] = None


class CurveQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Coverage for every budget at once: C2, one way, at typical delays."""

    network: Network
    upto_us: Annotated[float, Meta(description="largest budget, microseconds", gt=0, le=1_000_000)] = 2_000.0
    steps: Annotated[int, Meta(description="number of budgets, evenly spaced", ge=1, le=1_000)] = 20
    weight: Weight = "access_point"


class WhatIfQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What coverage would be with sites more or less and links changed: C2, one way, at typical delays."""

    network: Network
    add: Annotated[str, Meta(description="ids of sites to open, with commas between")] = ""
    remove: Annotated[str, Meta(description="ids of compute sites to shut, with commas between")] = ""
    close: Annotated[str, Meta(description="ids of sites to take away with all links that end there")] = ""
    cut: Annotated[str, Meta(description="ids of links to cut, with commas between")] = ""
    restore: Annotated[str, Meta(description="ids of links that are down to bring up, with commas between")] = ""
    upgrade: Annotated[str, Meta(description="LINK=DELAY, with commas between: one-way delays in microseconds")] = ""
    budget_us: Budget = 1_000.0
    weight: Weight = "access_point"


class LatencyQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Where the microseconds go from one station or site to its best compute: a stack of named parts."""

    network: Network
    start: Annotated[str, Meta(description="id of a station or site")]
    access: Annotated[
        Literal["none", "5g", "pon", "pon-cooperative", "50g-pon", "wlan", "leased-line"],
        Meta(description="how a terminal reaches the start; none leaves that part out"),
    ] = "none"
    layer: Layer = "optical"
    service_us: Annotated[float, Meta(description="what the server takes, microseconds", ge=0)] = 0.0
    budget_us: Budget = 1_000.0


class DelaysQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The typical delay of every station or site and its nearest compute, as a table in a file."""

    network: Network
    output: Annotated[PathName, Meta(description="file to write, .csv or .parquet; must not exist yet")]
    of: Annotated[Literal["station", "site"], Meta(description="what the rows are")] = "station"
    layer: Layer = "optical"


class SurviveQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of coverage after the loss of any one duct, link or site: C2, one way, at typical delays."""

    network: Network
    budget_us: Budget = 1_000.0
    weight: Weight = "access_point"
    worst: Annotated[int, Meta(description="failures shown of each kind", ge=1, le=1_000)] = 10


class TiersQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The tiers of 1, 5 and 20 ms, and how the backbone compares with what was measured between China's hubs."""

    network: Network
    fit: Annotated[bool, Meta(description="scale the length of fibre so that the mean between hubs is as measured")] = (
        False
    )


class MapQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of the typical delay of every station (PNG), or its cells for other systems (GeoJSON, H3)."""

    network: Network
    output: Annotated[PathName, Meta(description="file to write, .png or .geojson; must not exist yet")]
    budget_us: Budget = 1_000.0
    metro: Annotated[str, Meta(description="id of the metropolis to show; all of the network when empty")] = ""
    width: Annotated[int, Meta(description="width of the PNG in pixels", ge=200, le=8_000)] = 1_600
    resolution: Annotated[int, Meta(description="resolution of the H3 cells in GeoJSON", ge=0, le=12)] = 7


class CompareQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """How coverage differs between two networks, or two revisions of one, metropolis by metropolis."""

    before: Annotated[PathName, Meta(description="folder of the network compared with")]
    after: Annotated[PathName, Meta(description="folder of the network compared; may be the same one")]
    before_revision: Annotated[int, Meta(description="revision of the first; 0 is the newest", ge=0)] = 0
    after_revision: Annotated[int, Meta(description="revision of the second; 0 is the newest", ge=0)] = 0
    definition: Definition = "C2"
    budget_us: Budget = 1_000.0
    weight: Weight = "access_point"


class PlanCoverageQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest sites that bring coverage to a target, or the most coverage for a sum, with a proven bound.

    Candidates are the sites of a price list, or the core sites without compute at the library's price.
    """

    network: Network
    target_share: Share = 0.75
    budget_us: Budget = 1_000.0
    also: Annotated[str, Meta(description="further targets to meet at once, BUDGET_US=SHARE, with commas between")] = ""
    weight: Weight = "access_point"
    of: Annotated[
        Literal["all", "each", "some"],
        Meta(description="what the target is of: all weight, each metropolis, or some of them (--metros-share)"),
    ] = "all"
    metros_share: Annotated[Share, Meta(description="share of metropolises that must meet the target")] = 0.75
    money_cny: Annotated[
        Annotated[float, Meta(ge=0, le=1e15)] | None, Meta(description="cover the most for so much money instead, CNY")
    ] = None
    spare: Annotated[
        int, Meta(description="sites that may be lost, any of them, and all is covered still", ge=0, le=5)
    ] = 0
    phases: Annotated[str, Meta(description="targets by the end of years, YEAR=SHARE, with commas between")] = ""
    discount_share: Annotated[
        float, Meta(description="what a price counts less for each year later, with phases", ge=0, le=1)
    ] = 0.0
    existing: Annotated[
        Literal["kept", "closable"],
        Meta(description="whether sites with compute stay, or those of the price list may be closed"),
    ] = "kept"
    lock: Annotated[str, Meta(description="ids of candidates that are built in any case, with commas between")] = ""
    forbid: Annotated[str, Meta(description="ids of sites that are not built, with commas between")] = ""
    prices: SitePrices = ""
    rack_serves: Annotated[
        Annotated[float, Meta(gt=0, le=1e9)] | None,
        Meta(description="weight that a rack serves: sites serve what racks and power_kw of the price list allow"),
    ] = None
    rack_kw: Annotated[
        Annotated[float, Meta(gt=0, le=1e6)] | None,
        Meta(description="power that a rack takes, kW; the library's when not given"),
    ] = None
    figures: Figures = "typical"
    effort: Effort = "exact"
    time_limit_s: TimeLimit = 60.0
    output: PlanOutput = ""


class PlanUpgradesQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest sites and upgrades of links together that bring coverage to a target, with a proven bound.

    An upgrade saves what its row says, or by its kind: bypass, straighter duct or hollow-core fibre.
    """

    network: Network
    upgrades: Annotated[
        PathName,
        Meta(description="CSV of what may be done to links: link, kind, price_cny, and saving_us where you know it"),
    ]
    target_share: Share = 0.75
    budget_us: Budget = 1_000.0
    weight: Weight = "access_point"
    prices: SitePrices = ""
    figures: Figures = "typical"
    effort: Effort = "exact"
    time_limit_s: TimeLimit = 60.0
    output: PlanOutput = ""


class PlanChipsQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which machines of chips to add where, so that a day of jobs and the machines together cost least, with a proof.

    Sites that have chips may get more. They are owned: their price over their life is paid, and no rent.
    """

    network: Network
    kinds: Annotated[str, Meta(description="kinds of chips, with commas between; those that a site has when empty")] = (
        ""
    )
    machine_chips: Annotated[int, Meta(description="chips of a machine", ge=1, le=1_000_000)] = 8
    most_chips: Annotated[int, Meta(description="most chips of a kind that a site gets", ge=0, le=1_000_000)] = 1_024
    at: Annotated[
        str,
        Meta(description="moment that the day begins; when empty, when the first job may begin, or now"),
    ] = ""
    hours: Annotated[int, Meta(description="hours that are planned", ge=1, le=168)] = 24
    carbon_cny_per_kg: Annotated[float, Meta(description="price of carbon dioxide, CNY a kilogram", ge=0, le=1e3)] = 0.0
    prices: ItemPrices = ""
    recipes: Recipes = ""
    upkeep: Upkeep = ""
    ageing: Ageing = ""
    figures: Figures = "typical"
    packs: Packs = ""
    time_limit_s: TimeLimit = 60.0
    output: PlanOutput = ""
    seed: Seed = 1


class OrderQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What to order for a plan: quantities by phase, when at the latest, and what ages out meanwhile."""

    plan: Annotated[PathName, Meta(description="file of a plan of coverage, of upgrades or of chips")]
    network: Network
    prices: ItemPrices = ""
    recipes: Recipes = ""
    upkeep: Upkeep = ""
    ageing: Ageing = ""
    output: Annotated[PathName, Meta(description="file for the order, .xlsx or .csv; none when empty")] = ""


class DiscoverQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which edge zones would serve an application in an area, built or only planned, after CAMARA's edge discovery."""

    network: Network
    metro: Annotated[str, Meta(description="id of the metropolis where the users are; lon and lat when empty")] = ""
    lon: Annotated[
        Annotated[float, Meta(ge=-180, le=180)] | None, Meta(description="longitude of the users, degrees of WGS 84")
    ] = None
    lat: Annotated[
        Annotated[float, Meta(ge=-90, le=90)] | None, Meta(description="latitude of the users, degrees of WGS 84")
    ] = None
    radius_km: Annotated[float, Meta(description="how far around lon and lat users are, km", gt=0, le=200)] = 10.0
    budget_us: Annotated[
        float,
        Meta(description="longest one-way delay from station to zone, microseconds", gt=0, le=1_000_000),
    ] = 1_000.0
    served_share: Annotated[
        float, Meta(description="share of the area's stations that a zone must reach in budget", gt=0, le=1)
    ] = 0.95
    chips: Annotated[int, Meta(description="free chips that the application takes", ge=0)] = 0
    data_class: Annotated[
        Literal["none", "general", "personal", "sensitive", "important", "core"],
        Meta(description="class of the data that would travel; none leaves the law out"),
    ] = "general"
    domain: Annotated[
        str, Meta(description="id of the domain that answers for the data; that of the area's sites when empty")
    ] = ""
    plan: Annotated[PathName, Meta(description="coverage plan whose sites count as planned zones; none when empty")] = (
        ""
    )
    shown: Annotated[
        int, Meta(description="zones listed of those that are feasible, and of the others; all count", ge=1, le=100)
    ] = 10
    packs: Packs = ""


class PlanCheckQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a plan still holds on a network: its reads, its actions and its certificate."""

    plan: Annotated[PathName, Meta(description="file of the plan")]
    network: Network


class PlanDiffQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What one plan does that another does not, what moves to another year, and how price and proof differ."""

    before: Annotated[PathName, Meta(description="file of the plan compared with")]
    after: Annotated[PathName, Meta(description="file of the plan compared; may be the same one")]


class SubmitQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs added to a network, out of tasks in YAML close to those of SkyPilot."""

    network: Network
    tasks: Annotated[PathName, Meta(description="file of tasks, YAML")]
    dry_run: Annotated[bool, Meta(description="check and show, write nothing")] = False


class LearnQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """How fast jobs turned out to be, learned from a list of finished ones; plans go by it from then on."""

    network: Network
    finished: Annotated[
        PathName, Meta(description="CSV of finished jobs with columns job, server, hours and finished_at")
    ]
    dry_run: Annotated[bool, Meta(description="show what would be learned, write nothing")] = False


class PlaceQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when every job of a day should run, near the least that any plan can cost, with a proof.

    Jobs that have a place already stay there, unless they may move. What keeps whom waiting is asked with prices and
    explain.
    """

    network: Network
    at: Annotated[
        str,
        Meta(description="moment that the hours begin; when empty, when the first job may begin, or now"),
    ] = ""
    hours: Annotated[int, Meta(description="hours that are planned", ge=1, le=168)] = 24
    carbon_cny_per_kg: Annotated[float, Meta(description="price of carbon dioxide, CNY a kilogram", ge=0, le=1e3)] = 0.0
    delay_cny_per_ms: Annotated[
        float, Meta(description="what a millisecond of delay one way counts for each chip, CNY", ge=0, le=1e6)
    ] = 0.0
    weights: Annotated[
        str, Meta(description="DOMAIN=WEIGHT, with commas between: how much more the work of owners counts")
    ] = ""
    moves: Annotated[bool, Meta(description="let jobs that run go on elsewhere, or stop, where that is worth it")] = (
        False
    )
    figures: Figures = "typical"
    packs: Packs = ""
    time_limit_s: TimeLimit = 60.0
    output: PlanOutput = ""
    seed: Seed = 1


DayPlan = Annotated[PathName, Meta(description="file of a plan that place wrote")]


class PricesQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What chips, power, links and quotas are worth by the hour in a plan of a day, and so what to build."""

    plan: DayPlan
    network: Network
    packs: Packs = ""
    top: Annotated[int, Meta(description="rows of each table", ge=1, le=100_000)] = 12


class ExplainQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job of a planned day is where it is, or nowhere; and what would start it sooner or make it fit."""

    plan: DayPlan
    network: Network
    job: Annotated[str, Meta(description="id of the job; the dearest that does not run when empty")] = ""
    packs: Packs = ""


class ChipsQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The chips of the library or of a network: dense peaks, memory, links, power, each with its source."""

    network: Annotated[PathName, Meta(description="folder of a network; the library's chips when empty")] = ""
    least_confidence: Annotated[
        Literal["S", "S2", "R", "C", "M", "D"], Meta(description="leave out rows that are more doubtful")
    ] = "D"


class EstimateQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes on chips: memory, time of a token, tokens a second, energy; and how it is known."""

    model: Annotated[str, Meta(description="name of the model")]
    chip: Annotated[str, Meta(description="name of the chip; all of them when empty")] = ""
    kind: Annotated[Literal["online", "batch", "training"], Meta(description="what is done with it")] = "online"
    chips: Annotated[int, Meta(description="chips that run it; as few as hold it when 0", ge=0, le=100_000)] = 0
    requests: Annotated[int, Meta(description="requests at once; as usual when 0", ge=0, le=10_000_000)] = 0
    tokens_in: Annotated[int, Meta(description="tokens of a prompt", ge=1, le=10_000_000)] = 1024
    tokens_out: Annotated[int, Meta(description="tokens of an answer", ge=1, le=10_000_000)] = 256
    measured: Annotated[
        PathName,
        Meta(description="CSV of what was measured: model, chip, chips, requests, tokens_in, tokens_out, token_ms"),
    ] = ""
    network: Annotated[PathName, Meta(description="folder of a network; the library when empty")] = ""


class SplitQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A model served by chips at two sites: prompts at one and answers at the other, layers at both, or whole at each.

    At full load: as many requests come as can be answered.
    """

    network: Network
    model: Annotated[str, Meta(description="name of the model")]
    first: Annotated[str, Meta(description="id of the server that works through prompts, or has the first layers")]
    second: Annotated[str, Meta(description="id of the server that makes answers, or has the other layers")]
    tokens_in: Annotated[int, Meta(description="tokens of a prompt", ge=1, le=10_000_000)] = 1024
    tokens_out: Annotated[int, Meta(description="tokens of an answer", ge=1, le=10_000_000)] = 256
    requests: Annotated[
        int, Meta(description="requests that a group of chips answers at once; as usual when 0", ge=0, le=10_000_000)
    ] = 0
    link_gbps: Annotated[
        float,
        Meta(description="capacity for it between the sites, Gbit/s; what is free on the way when 0", ge=0, le=1e6),
    ] = 0.0
    figures: Figures = "typical"


class AssignQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest lawful place for one job within its longest delay, now: a plan that starts it there."""

    network: Network
    job: Annotated[str, Meta(description="id of the job; the first when empty")] = ""
    output: PlanOutput = ""
    packs: Packs = ""


At = Annotated[str, Meta(description="moment asked about, as 2026-01-31 or 2026-01-31T12:00:00 (UTC); now when empty")]
LedgerFile = Annotated[PathName, Meta(description="file of the ledger of yearly counts; nothing counted when empty")]
ModeCosts = Annotated[
    PathName, Meta(description="CSV of constants as karez policy calibrate writes; the library's when empty")
]
CipherName = Annotated[Literal["aes", "sm4"], Meta(description="cipher that data is moved under")]
Gbps = Annotated[float, Meta(description="bandwidth that data is moved with, Gbit/s", gt=0, le=1e6)]


class PolicyAskQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job's data may be worked on, in which mode, on which articles and at what price, over all servers."""

    network: Network
    job: Annotated[str, Meta(description="id of the job; the first when empty")] = ""
    at: At = ""
    packs: Packs = ""
    ledger: LedgerFile = ""
    costs: ModeCosts = ""
    cipher: CipherName = "aes"
    gbps: Gbps = 10.0


class PolicyExplainQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides whether a job's data may go to one server: facts, rules, what is missing, what would do."""

    network: Network
    job: Annotated[str, Meta(description="id of the job")]
    server: Annotated[str, Meta(description="id of the server")]
    at: At = ""
    packs: Packs = ""
    ledger: LedgerFile = ""


class PolicyTestQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The tests of all packs, rules that no test is about, and packs that contradict each other."""

    packs: Packs = ""
    at: At = ""
    seed: Seed = 1


class PolicyAuditQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Of all data: what is not known, what may go nowhere, work that runs unlawfully, and evidence that runs out."""

    network: Network
    at: At = ""
    packs: Packs = ""
    ledger: LedgerFile = ""
    days: Annotated[int, Meta(description="evidence that runs out within so many days is told", ge=0, le=36_500)] = 90


class PolicyFrontierQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What each degree of protection takes in energy and money for a job, at the best server, as table and picture."""

    network: Network
    job: Annotated[str, Meta(description="id of the job; the first when empty")] = ""
    at: At = ""
    packs: Packs = ""
    ledger: LedgerFile = ""
    costs: ModeCosts = ""
    cipher: CipherName = "aes"
    gbps: Gbps = 10.0
    output: Annotated[PathName, Meta(description="SVG file of the picture; none when empty")] = ""


class PolicyLedgerQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What counts by the year: persons whose data goes abroad, privacy budget; reserved, settled or released."""

    ledger: Annotated[PathName, Meta(description="file of the ledger; made with the first reservation")]
    what: Annotated[Literal["show", "reserve", "settle", "release"], Meta(description="what to do with the hold")] = (
        "show"
    )
    hold: Annotated[str, Meta(description="name of the hold; who repeats it is heard as the same")] = ""
    entity: Annotated[str, Meta(description="legal entity that answers for the data, as in domains.entity")] = ""
    kind: Annotated[Literal["personal", "sensitive", "epsilon"], Meta(description="what is counted")] = "personal"
    amount: Annotated[float, Meta(description="persons, or epsilon", ge=0, le=1e10)] = 0.0
    line: Annotated[
        Annotated[float, Meta(ge=0, le=1e10)] | None,
        Meta(description="what the year may come to in all; 99,999 persons or 9,999 sensitive ones when not given"),
    ] = None
    hours: Annotated[
        float, Meta(description="after how long a reservation that is not settled is void", gt=0, le=1e5)
    ] = 24.0


class PolicyRecordQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Write the verdict on a hand-over of a job's data into the evidence log, lawful or not; refuse what is not."""

    network: Network
    log: Annotated[PathName, Meta(description="folder of the evidence log; made with the first entry")]
    job: Annotated[str, Meta(description="id of the job")]
    server: Annotated[str, Meta(description="id of the server")]
    key: Annotated[PathName, Meta(description="file of the private key that signs heads; karez key makes one")]
    mode: Annotated[
        Literal["plain", "encrypt", "pseudonymise", "tee", "aggregate", "federate", "stay"],
        Meta(description="mode in which the data is handed over"),
    ] = "encrypt"
    packs: Packs = ""
    ledger: LedgerFile = ""
    hold: Annotated[
        str, Meta(description="hold of the ledger that was reserved for this; it is settled, and not counted twice")
    ] = ""
    head: Annotated[PathName, Meta(description="file for the signed head after the entry; none when empty")] = ""


class PolicyProveQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of an entry of the evidence log, as a file that is checked without Karez."""

    log: Annotated[PathName, Meta(description="folder of the evidence log")]
    entry: Annotated[int, Meta(description="number of the entry", ge=0)]
    key: Annotated[PathName, Meta(description="file of the private key that signs the head; karez key makes one")]
    output: Annotated[PathName, Meta(description="JSON file for the proof; must not exist yet")]


class PolicyVerifyQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a proof holds, or nothing in a log was changed since heads that were kept elsewhere."""

    proof: Annotated[PathName, Meta(description="file of a proof, or folder of a log")]
    heads: Annotated[PathName, Meta(description="file of a head, or folder of such files; for a log")] = ""
    public_key: Annotated[str, Meta(description="the log's public key as you know it; not compared when empty")] = ""
    gone: Annotated[int, Meta(description="so many of a log's first entries may have been let go of", ge=0)] = 0


class PolicyCalibrateQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What ciphers, keys and compression take on this machine, as constants for the price of a mode."""

    output: Annotated[PathName, Meta(description="CSV file to write; must not exist yet")]
    seconds: Annotated[float, Meta(description="how long each is measured", gt=0, le=60)] = 0.5


class SteerQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The model instance that a request goes to, decided by the compiled table."""

    network: Network
    metro: Annotated[str, Meta(description="metropolis of the user; the first when empty")] = ""
    model: Annotated[str, Meta(description="model asked for; the first when empty")] = ""
    prompt_tokens: Annotated[int, Meta(ge=1)] = 1_000
    output: Annotated[PathName, Meta(description="file for the compiled table; none when empty")] = ""
    packs: Packs = ""


class HealRunQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A fault injected into the embedded network, and what the loop does about it, recorded."""

    network: Network
    record: Annotated[PathName, Meta(description="file of the record; must not exist yet")]
    level: Annotated[Literal["observe", "advise", "act"], Meta(description="what the loop may do without a person")] = (
        "observe"
    )
    fault: Annotated[str, Meta(description="kind of fault, such as link_slow or router_dead; none for none")] = (
        "link_slow"
    )
    subject: Annotated[
        str, Meta(description="id of what it befalls; the busiest link with a way around it, or drawn, when empty")
    ] = ""
    turns: Annotated[int, Meta(description="turns of one second", ge=1, le=1_000_000)] = 120
    plan: Annotated[PathName, Meta(description="file of a plan that a person brings in the first turn")] = ""
    approve: Annotated[str, Meta(description="name of the person who approves it in the next turn")] = ""
    works: Annotated[PathName, Meta(description="planned work, CSV or iCalendar; that of the network when empty")] = ""
    freezes: Annotated[
        PathName, Meta(description="CSV of times in which nothing may be changed; the network's when empty")
    ] = ""
    zone: Annotated[str, Meta(description="IANA name of the zone of their times that name none")] = ""
    seed: Seed = 1


LabName = Annotated[str, Meta(description="name of the lab; that of the network's folder when empty")]
LabFault = Annotated[str, Meta(description="kind of fault, such as link_slow or router_dead")]
SizeUs = Annotated[float, Meta(description="delay that the fault adds, microseconds; drawn when 0", ge=0)]
SizeShare = Annotated[
    float, Meta(description="share of packets, or factor, that the fault is of; drawn when 0", ge=0, le=100)
]


class LabUpQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A lab of a network: a real FRR router a site, in namespaces of this machine; needs root."""

    network: Network
    name: LabName = ""
    igp: Annotated[Literal["ospf", "isis"], Meta(description="interior protocol that routers speak")] = "ospf"
    segments: Annotated[bool, Meta(description="lead demands over others by SRv6; needs isis")] = False
    bfd: Annotated[str, Meta(description="interval (ms) x how many may be missed, or off")] = "50x3"
    tests_per_s: Annotated[float, Meta(description="test packets a second on each way of a link", ge=0, le=1_000)] = 100
    users_per_s: Annotated[float, Meta(description="packets of all users a second", ge=0, le=50_000)] = 2_000
    seed: Seed = 1


class LabStatusQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """How the lab of a network is."""

    network: Network
    name: LabName = ""


class LabFailQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Something broken in a lab on purpose, for a time or until it is ended."""

    network: Network
    fault: LabFault
    subject: Annotated[str, Meta(description="id of what it befalls; drawn when empty")] = ""
    for_s: Annotated[float, Meta(description="seconds after which it is over; 0 is until it is ended", ge=0)] = 0
    end: Annotated[bool, Meta(description="end it; all that was broken, where no subject is named")] = False
    size_us: SizeUs = 0
    size_share: SizeShare = 0
    way: Annotated[Literal["", "ab", "ba"], Meta(description="direction of what goes one way; drawn when empty")] = ""
    name: LabName = ""
    seed: Seed = 1


class LabHealQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The loop on a lab that runs, in real time, and a fault that it has to find."""

    network: Network
    record: Annotated[PathName, Meta(description="file of the record; must not exist yet")]
    level: Annotated[Literal["observe", "advise", "act"], Meta(description="what the loop may do without a person")] = (
        "observe"
    )
    fault: Annotated[str, Meta(description="kind of fault, begun once what is normal is learned; none for none")] = (
        "link_slow"
    )
    subject: Annotated[str, Meta(description="id of what it befalls; drawn when empty")] = ""
    for_s: Annotated[float, Meta(description="seconds that the loop runs", gt=0)] = 30
    size_us: SizeUs = 0
    size_share: SizeShare = 0
    name: LabName = ""
    seed: Seed = 1


class LabProtectQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Ways round every cut, kept ready in the routers of a lab, so that nothing waits for routing."""

    network: Network
    record: Annotated[PathName, Meta(description="file of the record; must not exist yet")]
    by: Annotated[str, Meta(description="who approves it", min_length=1)]
    name: LabName = ""


class LabScoreQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """How well the loop finds and mends drawn incidents on a lab that runs, beside the embedded network.

    An incident takes some 25 s: real routers learn, break and heal in real time.
    """

    network: Network
    incidents: Annotated[int, Meta(description="how many incidents are played", ge=1, le=10_000)] = 10
    kinds: Annotated[
        str, Meta(description="kinds of fault to draw from, with commas between; all of a lab when empty")
    ] = ""
    level: Annotated[Literal["observe", "advise", "act"], Meta(description="what the loop may do alone")] = "act"
    name: LabName = ""
    seed: Seed = 1


class LabRecordQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A data set of what a lab that runs tells for a while, with the faults of a schedule in it."""

    network: Network
    output: Annotated[PathName, Meta(description="folder of the data set; must not exist yet")]
    schedule: Annotated[
        PathName, Meta(description="CSV of faults: at_s, lasts_s, kind, subject, sizes, way, goal; none when empty")
    ] = ""
    for_s: Annotated[float, Meta(description="seconds that are recorded", gt=0, le=604_800)] = 60
    name: LabName = ""
    seed: Seed = 1


class LabReplayQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop finds in a recorded lab, at level advise, beside what was truly wrong; the same each time."""

    folder: Annotated[PathName, Meta(description="folder of a data set that lab record wrote")]
    record: Annotated[PathName, Meta(description="file for the record of this run; not kept when empty")] = ""


class LabDownQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a lab; nothing of it is left."""

    network: Network
    name: LabName = ""


class HealVerifyQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Whether nothing in a record was altered or left out, by code that shares nothing with what wrote it."""

    record: RunRecord
    segments: Annotated[
        PathName, Meta(description="folder of the closed files of a record in segments; none when empty")
    ] = ""
    holds: Annotated[str, Meta(description="a receipt or hash that must be in it: so newer events cannot be gone")] = ""


class HealExplainQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Why the loop did what it did: a plan or a turn of a recorded run, or which plans there are to ask about."""

    record: RunRecord
    plan: Annotated[str, Meta(description="id of a plan of the run, or how it begins")] = ""
    turn: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="seconds after the start of the run, or Unix time")
    ] = None
    network: RecordedNetwork = ""


class HealReportQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop did or would have done, when, how sure, and who turned out right: the shadow report."""

    record: RunRecord
    kind: Annotated[str, Meta(description="kind of finding to list alone; all when empty")] = ""
    network: RecordedNetwork = ""


class HealScoreQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """How well the loop finds and mends drawn incidents on a network, and what harm it does; or one of them in detail.

    Each incident is one fault in an embedded network that lives twice: with the loop, and left alone.
    """

    network: Network
    incidents: Annotated[int, Meta(description="how many incidents are played", ge=1, le=1_000_000)] = 100
    seed: Seed = 1
    kinds: Annotated[str, Meta(description="kinds of fault to draw from, with commas between; all when empty")] = ""
    matched_share: Annotated[Share, Meta(description="share in which what is believed of the network is true")] = 0.5
    level: Annotated[Literal["observe", "advise", "act"], Meta(description="what the loop may do alone")] = "act"
    jobs: Annotated[int, Meta(description="processes that play at once", ge=1, le=1_024)] = 1
    token: Annotated[str, Meta(description="token of one incident, to play it again in detail")] = ""


class HealMaturityQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A fractional level of autonomy, L0 to L5, for each scenario and task, from what a recorded run shows."""

    record: RunRecord
    network: RecordedNetwork = ""


class HealAlarmsQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of a recorded run as TMF642 alarms, written to a file or sent to an address."""

    record: RunRecord
    output: Annotated[PathName, Meta(description="file for the alarms, JSON; none when empty")] = ""
    to: Annotated[str, Meta(description="http or https address that each alarm is sent to; none when empty")] = ""
    open_only: Annotated[bool, Meta(description="leave out what was gone by the end of the run")] = False
    network: RecordedNetwork = ""


class KeyQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A new pair of keys for a principal: FILE is its private key, FILE.pub what goes into the table principals."""

    output: Annotated[PathName, Meta(description="file for the private key; must not exist yet")]


class ApproveQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for people in a box of approvals; one plan of it in words; or a word for or against that plan.

    An approval is signed with your private key and acts once. Whose key it is, and what they may approve, is in the
    table principals of the network.
    """

    network: Network
    box: Annotated[PathName, Meta(description="box of approvals: its file, or postgresql://HOST/DATABASE")]
    plan: Annotated[str, Meta(description="id of a plan that waits, or how it begins; lists them all when empty")] = ""
    say: Annotated[Literal["show", "approve", "refuse"], Meta(description="what to do about the plan")] = "show"
    key: Annotated[PathName, Meta(description="file of your private key, to approve or refuse")] = ""
    why: Annotated[str, Meta(description="why you refuse it, for the others")] = ""
    lasts_s: Annotated[float, Meta(description="how long your approval is good for, seconds", gt=0, le=604_800)] = (
        3_600.0
    )


class HealReplayQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a record is whole, and whether deciding everything again gives the same bytes."""

    network: Network
    record: RunRecord


class ReportQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One HTML file with map, figures, definitions and provenance, that needs no network to open."""

    network: Network
    output: Annotated[PathName, Meta(description="HTML file to write")]
    record: Annotated[PathName, Meta(description="record of a run of the loop to tell of; none when empty")] = ""
    day: Annotated[PathName, Meta(description="plan of a day, as place wrote it, to tell of; none when empty")] = ""
    budget_us: Budget = 1_000.0
    target_share: Share = 0.75
    redact: Annotated[bool, Meta(description="tell sums only: no map, no site, metropolis, job or run by name")] = False
    reader: Reader = ""


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("template", "write empty tables to fill in", TemplateQuestion, writes=True),
        Operation("import", "read a network from files of many formats", ImportQuestion, writes=True),
        Operation("export", "write a network as RFC 8345 JSON", ExportQuestion, writes=True),
        Operation("generate", "make a synthetic network on real places", GenerateQuestion, writes=True),
        Operation("info", "what a network holds, and every problem in it", InfoQuestion),
        Operation("diff", "what changed between two revisions", DiffQuestion),
        Operation("circles", "who is within a millisecond of compute", CirclesQuestion),
        Operation("curve", "coverage for every budget at once", CurveQuestion),
        Operation("whatif", "coverage with sites more or less and links changed", WhatIfQuestion),
        Operation("latency", "where the microseconds go, part by part", LatencyQuestion),
        Operation("delays", "write the delay of every station and its nearest compute", DelaysQuestion, writes=True),
        Operation("survive", "coverage after the worst loss of a duct, link or site", SurviveQuestion),
        Operation("tiers", "1, 5 and 20 ms between hubs and cities, calibrated", TiersQuestion),
        Operation("map", "write a picture or GeoJSON of every station's delay", MapQuestion, writes=True),
        Operation("compare", "how coverage differs between two networks", CompareQuestion),
        Operation("plan_coverage", "what to build to reach a target, with a bound", PlanCoverageQuestion, writes=True),
        Operation("discover", "which edge zones would serve an application", DiscoverQuestion),
        Operation("plan_upgrades", "which sites and upgrades of links together", PlanUpgradesQuestion, writes=True),
        Operation("plan_chips", "which chips to add where, for a day of jobs", PlanChipsQuestion, writes=True),
        Operation("plan_check", "whether a plan still holds, and its proof", PlanCheckQuestion),
        Operation("plan_diff", "what one plan does that another does not", PlanDiffQuestion),
        Operation("order", "what to order for a plan, and by when", OrderQuestion, writes=True),
        Operation("submit", "add jobs to a network, from tasks in YAML", SubmitQuestion, writes=True),
        Operation("place", "where and when a day of jobs should run, proven", PlaceQuestion, writes=True),
        Operation("prices", "what is scarce in a planned day, and what to build", PricesQuestion),
        Operation("explain", "why a job runs there, and what would start it sooner", ExplainQuestion),
        Operation("learn", "how fast jobs turned out to be, from finished ones", LearnQuestion, writes=True),
        Operation("assign", "where one job should run, now", AssignQuestion, writes=True),
        Operation("chips", "chips that are known, with their sources", ChipsQuestion),
        Operation("estimate", "what a model takes on chips, and how sure", EstimateQuestion),
        Operation("split", "a model served by chips at two sites", SplitQuestion),
        Operation("policy_ask", "where a job's data may go, how, at what price", PolicyAskQuestion),
        Operation("policy_explain", "what decides whether data may go to a server", PolicyExplainQuestion),
        Operation("policy_test", "the tests of the rules on data", PolicyTestQuestion),
        Operation("policy_audit", "what is unknown, unlawful, or runs out", PolicyAuditQuestion),
        Operation("policy_frontier", "energy against protection", PolicyFrontierQuestion, writes=True),
        Operation("policy_ledger", "reserve and settle what counts by the year", PolicyLedgerQuestion, writes=True),
        Operation("policy_record", "write a hand-over into the evidence log", PolicyRecordQuestion, writes=True),
        Operation("policy_prove", "the proof of an entry of the evidence log", PolicyProveQuestion, writes=True),
        Operation("policy_verify", "whether a proof or a log holds", PolicyVerifyQuestion),
        Operation("policy_calibrate", "measure what ciphers take here", PolicyCalibrateQuestion, writes=True),
        Operation("steer", "which model instance a request goes to", SteerQuestion, writes=True),
        Operation("heal_run", "break the embedded network and watch the loop", HealRunQuestion, writes=True),
        Operation("heal_replay", "decide a recorded run again and compare", HealReplayQuestion),
        Operation("heal_verify", "whether nothing in a record was altered", HealVerifyQuestion),
        Operation("heal_explain", "why the loop did what it did", HealExplainQuestion),
        Operation("heal_report", "what it did or would have done, and who was right", HealReportQuestion),
        Operation("heal_score", "how well the loop finds and mends, over incidents", HealScoreQuestion),
        Operation("heal_maturity", "a level of autonomy for each scenario and task", HealMaturityQuestion),
        Operation("heal_alarms", "findings as TMF642 alarms, to a file or address", HealAlarmsQuestion, writes=True),
        Operation("lab_up", "start real routers of a network on this machine", LabUpQuestion, writes=True),
        Operation("lab_status", "how a lab is, and what was lost", LabStatusQuestion),
        Operation("lab_fail", "break something in a lab, or end that", LabFailQuestion, writes=True),
        Operation("lab_heal", "the loop on real routers, and a fault", LabHealQuestion, writes=True),
        Operation("lab_protect", "ways round every cut, kept ready in routers", LabProtectQuestion, writes=True),
        Operation("lab_score", "drawn incidents on real routers, scored", LabScoreQuestion, writes=True),
        Operation("lab_record", "record a lab and its faults as a data set", LabRecordQuestion, writes=True),
        Operation("lab_replay", "what the loop finds in a data set", LabReplayQuestion, writes=True),
        Operation("lab_down", "end a lab, and all of it", LabDownQuestion, writes=True),
        Operation("key", "make a pair of keys for a person, service or agent", KeyQuestion, writes=True),
        Operation("approve", "see, approve or refuse what waits for people", ApproveQuestion, writes=True),
        Operation("report", "write an offline HTML report", ReportQuestion, writes=True),
    )
}


def run(name: str, question: msgspec.Struct) -> Answer:
    """The answer of operation `name` to `question`.

    Raises:
        KarezError: what the operation refuses or cannot do; see each module.
    """
    module = import_module(f"{__name__}.{name.replace('import', 'import_')}")
    return cast(Answer, module.run(question))
