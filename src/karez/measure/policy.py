"""Where data may be processed, and under which protection: a small table of rules, each with its source.

Engineering, not legal advice. This is the skeleton of a policy: it knows the grade of a data set, whether it is
personal, and whether processing it elsewhere changes the legal entity, the province or the country. What it does not
know it denies, and it says which fact was missing. A recipient of data is taken to be an entrusted processor. Other
roles, counts of persons, evidence that expires and provincial packs are not in it.

Source: Data Security Law (DSL), Personal Information Protection Law (PIPL) and Regulations on Network Data Security
Management (NDR, State Council order 790) of China, as read by engineers; articles stand with each rule.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from karez.twin import Twin
from karez.twin.table import Array

Mode = Literal["plain", "encrypt", "pseudonymise", "deny"]
# From the least to the most protective.
MODES: tuple[Mode, ...] = get_args(Mode)

Crossing = Literal["stays", "province", "neighbour", "verified", "unverified", "unproven", "unnamed", "abroad"]
CROSSINGS: tuple[Crossing, ...] = get_args(Crossing)
TRUSTED: tuple[Crossing, ...] = ("neighbour", "verified")
UNTRUSTED: tuple[Crossing, ...] = ("unverified", "unproven")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for data whose `column` is `value` in some crossings.

    Crossings: `stays` (same entity and province), `province` (same entity, another province), `neighbour` (another
    entity in the province, verified as a recipient), `verified`, `unverified`, `unproven` (another entity in the
    country, by what is known of it), `unnamed` (nobody told which entity), `abroad`. `duties` must be met besides;
    `missing` names facts without which it is no.
    """

    id: str
    column: Literal["grade", "personal"]
    value: str
    crossings: tuple[Crossing, ...]
    mode: Mode
    duties: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    source: str


class Verdict(NamedTuple):
    """Whether data may go, the least protection that suffices, the rules that say so, duties and missing facts."""

    allowed: bool
    mode: Mode
    rules: tuple[str, ...]
    duties: tuple[str, ...]
    missing: tuple[str, ...]


CONTRACT, RECORD = "contract with the recipient", "record kept 3 years"
IMPACT, RISK = "impact assessment", "risk assessment"

RULES = (
    Rule(
        id="grade-unknown",
        column="grade",
        value="unknown",
        crossings=CROSSINGS,
        mode="deny",
        missing=("datasets.grade",),
        source="DSL art. 21: data are protected by grade; engineering: unknown is no",
    ),
    Rule(
        id="personal-unknown",
        column="personal",
        value="unknown",
        crossings=CROSSINGS,
        mode="deny",
        missing=("datasets.personal",),
        source="PIPL art. 4 and 51; engineering: unknown is no",
    ),
    Rule(
        id="general-stays",
        column="grade",
        value="general",
        crossings=("stays",),
        mode="plain",
        source="DSL art. 27",
    ),
    Rule(
        id="general-province",
        column="grade",
        value="general",
        crossings=("province", "abroad"),
        mode="encrypt",
        source="DSL art. 27; NDR art. 9: encryption among the technical measures",
    ),
    Rule(
        id="general-entity",
        column="grade",
        value="general",
        crossings=(*TRUSTED, *UNTRUSTED),
        mode="encrypt",
        duties=(CONTRACT,),
        source="DSL art. 27; NDR art. 9; the contract is good practice",
    ),
    Rule(
        id="general-unnamed",
        column="grade",
        value="general",
        crossings=("unnamed",),
        mode="deny",
        missing=("servers.domain",),
        source="engineering: unknown is no",
    ),
    Rule(
        id="important-stays",
        column="grade",
        value="important",
        crossings=("stays",),
        mode="plain",
        source="DSL art. 27 and 30",
    ),
    Rule(
        id="important-neighbour",
        column="grade",
        value="important",
        crossings=("neighbour",),
        mode="encrypt",
        duties=(CONTRACT, RECORD, RISK),
        source="DSL art. 30; NDR art. 12 and 31",
    ),
    Rule(
        id="important-away",
        column="grade",
        value="important",
        crossings=("province", "verified", "unverified", "abroad"),
        mode="deny",
        source="DSL art. 21 and 31; NDR art. 31; engineering: in its province until a provincial pack permits more",
    ),
    Rule(
        id="important-unproven",
        column="grade",
        value="important",
        crossings=("unproven",),
        mode="deny",
        missing=("domains.verified",),
        source="NDR art. 31: the recipient is part of the risk assessment; engineering: unknown is no",
    ),
    Rule(
        id="important-unnamed",
        column="grade",
        value="important",
        crossings=("unnamed",),
        mode="deny",
        missing=("servers.domain",),
        source="DSL art. 21; engineering: unknown is no",
    ),
    Rule(
        id="core-stays",
        column="grade",
        value="core",
        crossings=("stays",),
        mode="plain",
        source="DSL art. 21: core data under a stricter regime",
    ),
    Rule(
        id="core-away",
        column="grade",
        value="core",
        crossings=tuple(crossing for crossing in CROSSINGS if crossing != "stays"),
        mode="deny",
        source="DSL art. 21: core data under a stricter regime",
    ),
    Rule(
        id="personal-stays",
        column="personal",
        value="personal",
        crossings=("stays",),
        mode="plain",
        source="PIPL art. 51",
    ),
    Rule(
        id="personal-province",
        column="personal",
        value="personal",
        crossings=("province",),
        mode="encrypt",
        source="PIPL art. 51: encryption or de-identification",
    ),
    Rule(
        id="personal-verified",
        column="personal",
        value="personal",
        crossings=TRUSTED,
        mode="pseudonymise",
        duties=(CONTRACT, RECORD, IMPACT),
        source="PIPL art. 21, 51, 55 and 56; NDR art. 12",
    ),
    Rule(
        id="personal-unverified",
        column="personal",
        value="personal",
        crossings=("unverified",),
        mode="deny",
        source="PIPL art. 21: the processor is supervised; engineering: verified recipients only",
    ),
    Rule(
        id="personal-unproven",
        column="personal",
        value="personal",
        crossings=("unproven",),
        mode="deny",
        missing=("domains.verified",),
        source="PIPL art. 21; engineering: unknown is no",
    ),
    Rule(
        id="personal-unnamed",
        column="personal",
        value="personal",
        crossings=("unnamed",),
        mode="deny",
        missing=("servers.domain",),
        source="PIPL art. 21; engineering: unknown is no",
    ),
    Rule(
        id="personal-abroad",
        column="personal",
        value="personal",
        crossings=("abroad",),
        mode="deny",
        source="PIPL art. 38 to 40; engineering: denied until counts and filings are known",
    ),
    Rule(
        id="sensitive-stays",
        column="personal",
        value="sensitive",
        crossings=("stays",),
        mode="plain",
        source="PIPL art. 28 and 51",
    ),
    Rule(
        id="sensitive-away",
        column="personal",
        value="sensitive",
        crossings=tuple(crossing for crossing in CROSSINGS if crossing != "stays"),
        mode="deny",
        source="PIPL art. 28 to 30 and 38; engineering: needs a trusted environment or own keys, which no fact shows",
    ),
)


@cache
def verdict(*, grade: str, personal: str, crossing: Crossing) -> Verdict:
    """What the rules say of data of this grade and kind in one crossing: the strictest wins."""
    facts = {"grade": grade, "personal": personal}
    rules = [rule for rule in RULES if facts[rule.column] == rule.value and crossing in rule.crossings]
    mode: Mode = max((rule.mode for rule in rules), key=MODES.index, default="deny")
    if mode == "deny":
        rules = [rule for rule in rules if rule.mode == "deny"]
    return Verdict(
        allowed=mode != "deny",
        mode=mode,
        rules=tuple(rule.id for rule in rules),
        duties=tuple(dict.fromkeys(duty for rule in rules for duty in rule.duties)),
        missing=tuple(dict.fromkeys(fact for rule in rules for fact in rule.missing)),
    )


def modes(twin: Twin, dataset: str, *, servers: Array | None = None) -> tuple[Array, tuple[Verdict, ...]]:
    """For each server (row; default: all) the number of its verdict (int8), and the verdict of each crossing.

    Raises:
        KeyError: there is no such data set.
    """
    table = twin["datasets"]
    grade, personal = str(table.cell(dataset, "grade")), str(table.cell(dataset, "personal"))
    verdicts = tuple(verdict(grade=grade, personal=personal, crossing=crossing) for crossing in CROSSINGS)
    domain = table.rows([dataset])
    domain, province = (twin.resolve("datasets", name)[domain] for name in ("domain", "province"))
    codes = crossings(twin, domain=domain, province=province, servers=servers)
    return codes, verdicts


def crossings(twin: Twin, *, domain: Array, province: Array, servers: Array | None = None) -> Array:
    """What data crosses from a domain and province (rows) to be processed by each server: position in `CROSSINGS`.

    `domain` and `province` have one value, or one for each of `servers` (rows of servers; default: all). A server is
    run by its own domain or else by that of its site. An owner who is not known (-1) makes the crossing `unnamed`.
    """
    rows = np.arange(len(twin["servers"])) if servers is None else servers
    to_domain, to_province = _recipient(twin, rows)
    named = (domain >= 0) & (to_domain >= 0) & (province >= 0) & (to_province >= 0)
    same_entity = _look(twin, "domains", "entity", domain) == _look(twin, "domains", "entity", to_domain)
    home = _look(twin, "provinces", "country", province)
    abroad = (home != _look(twin, "provinces", "country", to_province)) | (
        home != _look(twin, "domains", "country", to_domain)
    )
    proof = _look(twin, "domains", "verified", to_domain)
    same_province, verified = province == to_province, proof == b"yes"
    # The first that is so, in this order.
    cases: dict[Crossing, Array] = {
        "unnamed": ~named,
        "abroad": abroad,
        "stays": same_entity & same_province,
        "province": same_entity,
        "neighbour": verified & same_province,
        "verified": verified,
        "unverified": proof == b"no",
    }
    codes = [CROSSINGS.index(crossing) for crossing in cases]
    return np.select(list(cases.values()), codes, CROSSINGS.index("unproven")).astype(np.int8)


def _recipient(twin: Twin, servers: Array) -> tuple[Array, Array]:
    """Domain and province (rows, negative where not known) of each server."""
    site = twin.resolve("servers", "site")[servers]
    own = twin.resolve("servers", "domain")[servers]
    domain = np.where(own >= 0, own, _follow(twin, "sites", "domain", site))
    metro = _follow(twin, "sites", "metro", site)
    return domain, _follow(twin, "metros", "province", metro)


def _follow(twin: Twin, table: str, column: str, rows: Array) -> Array:
    """What `column` refers to in each row; negative where the row is, or nothing is named."""
    targets = twin.resolve(table, column)
    return np.where(rows >= 0, targets[rows], -1) if len(targets) else np.full(len(rows), -1)


def _look(twin: Twin, table: str, column: str, rows: Array) -> Array:
    values = twin[table][column]
    return values[np.maximum(rows, 0)] if len(values) else np.zeros(len(rows), "S1")


def facts(verdict: Verdict, **ids: str) -> tuple[str, ...]:
    """The missing facts of a verdict with the rows they are missing in: `datasets[D1].grade`."""
    pairs = (fact.partition(".")[::2] for fact in verdict.missing)
    return tuple(f"{table}[{ids[table]}].{column}" if table in ids else f"{table}.{column}" for table, column in pairs)


def owner(twin: Twin, server: str) -> str:
    """The id of the domain that runs a server: its own, or else that of its site; empty where nobody told."""
    servers = twin["servers"]
    own = str(servers.cell(server, "domain"))
    return own or str(twin["sites"].cell(str(servers.cell(server, "site")), "domain"))


def explain(verdict: Verdict) -> str:
    """One line for a person: the mode and the rules it comes from, duties and missing facts."""
    parts = [f"{verdict.mode} ({', '.join(verdict.rules)})"]
    parts += [f"duties: {', '.join(verdict.duties)}"] * bool(verdict.duties)
    parts += [f"not known: {', '.join(verdict.missing)}"] * bool(verdict.missing)
    return "; ".join(parts)
