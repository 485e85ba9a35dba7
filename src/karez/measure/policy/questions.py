"""Questions about data: may these data sets be worked on by those servers, as columns of facts for the rules.

A question is a pair (data, recipient). A server is run by its own domain, or else by that of its site; where it
computes is the province of its site. What nobody told is `unknown` and is never guessed.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from karez.measure.policy.law import ABSENT, Facts, Law
from karez.measure.policy.lineage import coded, countries, lineage, sources
from karez.measure.policy.vocabulary import UNKNOWN, evidence_kinds, facts
from karez.twin import Twin
from karez.twin.table import NONE, Array, Table, strings

# What is known of a country, of which the worst counts where a recipient has to do with two.
COUNTRY_FACTS = ("eea", "adequate", "concern")
# A person is counted in the year that it is in China.
COUNTS_IN = dt.timezone(dt.timedelta(hours=8))
# By fact, the kind of persons that it counts.
QUESTIONS_AT_ONCE = 1 << 20
# Counts beyond are as good as so many.
MOST_PERSONS = 2.0**62
ISO_3166_2 = re.compile(rb"[A-Z]{2}-[A-Z0-9]{1,3}")
_NOTHING = np.zeros(0, np.int64)
# What a verdict stands on, by table.
OF_DATA = (
    "grade", "personal", "domain", "province", "us_bulk", "origin", "mixed", "purposes", "subjects", "made_from",
)  # fmt: skip
OF_DOMAINS = ("entity", "country", "verified", "role", "sector", "critical")
OF_EVIDENCE = ("kind", "owner", "recipient", "dataset", "valid_from_s", "valid_to_s")
# The purpose of data that is only a class.
OWN = "own"
COUNTED = {"personal_abroad": "personal", "sensitive_abroad": "sensitive"}


class Recipients(NamedTuple):
    """Who would compute, and where: domain and province (rows, negative where nobody told), one of each."""

    domain: Array
    province: Array


class Asked(NamedTuple):
    """What is asked besides who and what: the rules, the moment (Unix time), and what the work is for.

    `purposes` has one word for all, or one for each data set; empty where nobody told. `ledger` is the table of the
    persons whose data went abroad. Evidence must hold until `until_s`, too, where that is later.
    """

    law: Law
    at_s: float
    purposes: Sequence[str] = ("",)
    ledger: Table | None = None
    until_s: float = -math.inf


def recipients(twin: Twin, servers: Array | None = None) -> Recipients:
    """Who runs each server (row; default: all of them), and where it stands."""
    rows = np.arange(len(twin["servers"])) if servers is None else servers
    site = twin.resolve("servers", "site")[rows]
    own = twin.resolve("servers", "domain")[rows]
    # One that names a domain that is not there is not its site's.
    domain = np.where(own == NONE, follow(twin, "sites", "domain", site), own)
    return Recipients(domain, follow(twin, "metros", "province", follow(twin, "sites", "metro", site)))


def questions(twin: Twin, asked: Asked, datasets: Array, to: Recipients) -> Facts:
    """The facts of every pair of the data sets (rows) and recipients, data by data."""
    owner, home = (twin.resolve("datasets", name)[datasets] for name in ("domain", "province"))
    names = _Names(twin)
    of_data = _of_data(twin, asked, datasets, names)
    of_recipients = _of_recipients(twin, to, names)
    between = _between(twin, owner, home, to) | _evidence(twin, asked, datasets, to)
    columns = {
        **{fact: np.repeat(values, len(to.domain)) for fact, values in of_data.items()},
        **{fact: np.tile(values, len(datasets)) for fact, values in of_recipients.items()},
        **{fact: np.ascontiguousarray(values).ravel() for fact, values in between.items()},
    }
    return Facts({fact: columns[fact] for fact in facts()}, names.known)


def follow(twin: Twin, table: str, column: str, rows: Array) -> Array:
    """What `column` refers to in each row; negative where the row is, or nothing is named."""
    targets = twin.resolve(table, column)
    return np.where(rows >= 0, targets[rows], ABSENT) if len(targets) else np.full(len(rows), ABSENT)


def look(twin: Twin, table: str, column: str, rows: Array) -> Array:
    """The values of a column (bytes); empty where the row is negative."""
    values = twin[table][column]
    return np.where(rows >= 0, values[rows], b"") if len(values) else np.zeros(len(rows), "S1")


class _Names:
    """The names that facts may have, numbered."""

    def __init__(self, twin: Twin) -> None:
        columns = [
            twin["provinces"].ids,
            twin["provinces"]["iso_3166_2"],
            *(twin[table]["country"] for table in ("provinces", "domains")),
            twin["datasets"]["origin"],
            np.array([UNKNOWN.encode()]),
        ]
        self._values = np.unique(np.concatenate([column[column != b""] for column in columns]))
        self.known = strings(self._values)

    def __call__(self, values: Array) -> Array:
        """The number of each name (int32); `unknown` where it is empty."""
        whole = np.where(values == b"", UNKNOWN.encode(), values)
        return np.searchsorted(self._values, whole).astype(np.int32)


def _of_data(twin: Twin, asked: Asked, datasets: Array, names: _Names) -> dict[str, Array]:
    owner, home = (twin.resolve("datasets", name)[datasets] for name in ("domain", "province"))
    line = lineage(twin["datasets"])
    province = codes_of_provinces(twin, home)
    return {
        **{f"resource.{fact}": codes[datasets] for fact, codes in line.highest.items()},
        "resource.origin": names(line.origin[datasets]),
        "resource.origin_eea": line.origin_eea[datasets],
        "resource.country": names(_country(twin, "provinces", home)),
        "resource.province": names(province),
        **{
            f"resource.{fact}": coded(look(twin, "domains", fact, owner), facts()[f"resource.{fact}"].values)
            for fact in ("sector", "critical")
        },
        "context.purpose": _purpose(twin, datasets, asked.purposes),
        "context.province_pack": np.isin(province, [name.encode() for name in asked.law.provinces]),
        **{f"context.{fact}": _persons(twin, asked, datasets, owner, kind) for fact, kind in COUNTED.items()},
    }


def codes_of_provinces(twin: Twin, rows: Array) -> Array:
    """The ISO 3166-2 code (bytes) of each province (row): its own, or its id where that is one; else empty."""
    code, name = look(twin, "provinces", "iso_3166_2", rows), look(twin, "provinces", "id", rows)
    is_code = np.array([bool(ISO_3166_2.fullmatch(one)) for one in name.tolist()], bool)
    return np.where(code != b"", code, np.where(is_code, name, b""))


def _country(twin: Twin, table: str, rows: Array) -> Array:
    """The country (bytes) of each row of provinces or domains; empty where it is none that the library knows."""
    named = look(twin, table, "country", rows)
    known = np.array([name.encode() for name in countries("eea")])
    return np.where(np.isin(named, known), named, b"")


def _purpose(twin: Twin, datasets: Array, purposes: Sequence[str]) -> Array:
    """Whether the work is for a purpose that was declared for the data."""
    declared, other, unknown = (
        facts()["context.purpose"].values.index(value) for value in ("declared", "other", UNKNOWN)
    )
    told = strings(twin["datasets"]["purposes"][datasets])
    each = purposes if len(purposes) == len(told) else [purposes[0]] * len(told)
    codes = [
        unknown if not purpose or not text else declared if purpose in text.split() else other
        for purpose, text in zip(each, told, strict=True)
    ]
    return np.array(codes, np.uint8)


def _persons(twin: Twin, asked: Asked, datasets: Array, owner: Array, kind: str) -> Array:
    """Persons whose data of a kind went abroad in the year so far, with those of each data set; -1 if not known."""
    subjects = twin["datasets"]["subjects"][datasets]
    before = np.zeros(len(datasets))
    if asked.ledger is not None:
        year = dt.datetime.fromtimestamp(asked.at_s, COUNTS_IN).year
        ledger = asked.ledger
        mine = (ledger["year"] == year) & (ledger["kind"] == kind.encode())
        still = np.where(asked.at_s < ledger["expires_at_s"], ledger["reserved"], 0.0)
        by_entity = dict[bytes, float]()
        for entity, count in zip(ledger["entity"][mine].tolist(), (still + ledger["settled"])[mine], strict=True):
            by_entity[entity] = by_entity.get(entity, 0.0) + float(count)
        entities = look(twin, "domains", "entity", owner).tolist()
        before = np.array([by_entity.get(entity, 0.0) for entity in entities])
    whole = np.ceil(before + subjects)
    return np.where(np.isfinite(whole), np.minimum(whole, MOST_PERSONS), ABSENT).astype(np.int64)


def _of_recipients(twin: Twin, to: Recipients, names: _Names) -> dict[str, Array]:
    place, entity = _country(twin, "provinces", to.province), _country(twin, "domains", to.domain)
    return {
        **{
            f"principal.{fact}": coded(look(twin, "domains", fact, to.domain), facts()[f"principal.{fact}"].values)
            for fact in ("role", "verified")
        },
        "principal.country": names(place),
        "principal.province": names(codes_of_provinces(twin, to.province)),
        **{f"principal.{fact}": _of_countries(fact, f"principal.{fact}", place, entity) for fact in COUNTRY_FACTS},
    }


def _of_countries(column: str, fact: str, *named: Array) -> Array:
    """What is known of countries: the worst of them, and nothing where it is not known of one."""
    listed = {name.encode(): word for name, word in countries(column).items()}
    values = facts()[fact].values
    worst = "yes" if column == "concern" else "no"
    held = [np.array([listed.get(country, UNKNOWN) for country in some.tolist()], dtype=object) for some in named]
    bad = np.logical_or.reduce([some == worst for some in held])
    blank = np.logical_or.reduce([some == UNKNOWN for some in held])
    best = "no" if worst == "yes" else "yes"
    codes = np.full(len(held[0]), values.index(best), np.uint8)
    codes[blank] = values.index(UNKNOWN)
    codes[bad] = values.index(worst)
    return codes


def _between(twin: Twin, owner: Array, home: Array, to: Recipients) -> dict[str, Array]:
    """Whether each recipient (column) is who answers for each data set (row), and is where it lies."""
    owner, home = owner[:, None], home[:, None]
    entities = facts()["context.entity"].values
    numbers = np.unique(twin["domains"]["entity"], return_inverse=True)[1]
    mine, theirs = _taken(numbers, owner), _taken(numbers, to.domain[None, :])
    entity = np.where(mine == theirs, entities.index("same"), entities.index("other")).astype(np.uint8)
    entity[(owner < 0) | (to.domain[None, :] < 0)] = entities.index(UNKNOWN)
    places = facts()["context.place"].values
    here = _country(twin, "provinces", home[:, 0])[:, None]
    there, theirs_too = _country(twin, "provinces", to.province)[None, :], _country(twin, "domains", to.domain)[None, :]
    abroad = (here != there) | (here != theirs_too)
    nowhere = (here == b"") | (there == b"") | (theirs_too == b"")
    place = np.where(home == to.province[None, :], places.index("home"), places.index("province")).astype(np.uint8)
    place[abroad] = places.index("abroad")
    place[nowhere] = places.index(UNKNOWN)
    return {"context.entity": entity, "context.place": place}


def _taken(values: Array, rows: Array) -> Array:
    return values[np.maximum(rows, 0)] if len(values) else np.zeros(rows.shape, np.int64)


def _evidence(twin: Twin, asked: Asked, datasets: Array, to: Recipients) -> dict[str, Array]:
    """By kind of evidence, whether it holds for each data set (row) and recipient (column)."""
    bits = np.zeros((len(datasets), len(to.domain)), np.uint16)
    papers = _Papers(twin, datasets, to)
    for paper, bit in _held(twin, asked):
        bits[papers.about(paper)] |= bit
    return {
        f"context.{kind}": (bits >> np.uint16(at) & np.uint16(1)).astype(bool)
        for at, kind in enumerate(evidence_kinds())
    }


class _Papers:
    """Which of some data sets and recipients evidence is about, found without looking at the others."""

    def __init__(self, twin: Twin, datasets: Array, to: Recipients) -> None:
        self._columns = {name: twin.resolve("evidence", name) for name in ("owner", "dataset", "recipient")}
        self._any = {name: twin["evidence"][name] == b"" for name in ("dataset", "recipient")}
        self._owned = _places(twin.resolve("datasets", "domain")[datasets])
        self._data, self._recipients = _places(datasets), _places(to.domain)
        self._owner, self._all = twin.resolve("datasets", "domain"), np.arange(len(to.domain))

    def about(self, paper: int) -> tuple[Array, ...]:
        """The positions of the data sets and recipients that evidence (row) is about, as an open mesh."""
        owner, dataset, recipient = (int(column[paper]) for column in self._columns.values())
        rows = self._owned.get(owner, _NOTHING)
        if not self._any["dataset"][paper]:
            rows = self._data.get(dataset, _NOTHING) if dataset >= 0 and self._owner[dataset] == owner else _NOTHING
        columns = self._all if self._any["recipient"][paper] else self._recipients.get(recipient, _NOTHING)
        return np.ix_(rows if owner >= 0 else _NOTHING, columns)


def _places(values: Array) -> dict[int, Array]:
    """Where each value that is not negative stands."""
    order = np.argsort(values, kind="stable")
    known, first = np.unique(values[order], return_index=True)
    return {
        value: rows
        for value, rows in zip(known.tolist(), np.split(order, first[1:]) if len(first) else [], strict=True)
        if value >= 0
    }


def _held(twin: Twin, asked: Asked) -> Iterator[tuple[int, np.uint16]]:
    """The evidence (row) that holds for as long as is asked, and the bit of its kind."""
    table, kinds = twin["evidence"], evidence_kinds()
    holds = (table["valid_from_s"] <= asked.at_s) & (max(asked.at_s, asked.until_s) < table["valid_to_s"])
    for row in np.flatnonzero(holds & np.isin(table["kind"], [kind.encode() for kind in kinds])).tolist():
        yield row, np.uint16(1 << kinds.index(table["kind"][row].decode()))


def lawful(twin: Twin, asked: Asked, datasets: Array, to: Recipients) -> Array:
    """The lawful modes (uint8, bits) of each data set (row) at each recipient (column)."""
    masks = np.empty((len(datasets), len(to.domain)), np.uint8)
    # By blocks, for the facts of a question take some 65 bytes.
    rows = max(QUESTIONS_AT_ONCE // max(len(to.domain), 1), 1)
    for start in range(0, len(datasets), rows):
        block = slice(start, start + rows)
        purposes = asked.purposes[block] if len(asked.purposes) == len(datasets) else asked.purposes
        some = questions(twin, asked._replace(purposes=purposes), datasets[block], to)
        masks[block] = asked.law.decide(some).reshape(len(datasets[block]), len(to.domain))
    return masks


def as_classes(twin: Twin, classes: Sequence[tuple[str, str]], homes: Sequence[tuple[int, int]]) -> Twin:
    """The twin with data of each class (grade, personal) at each home (domain, province: rows) and no other.

    Home by home, with the evidence that is about no data in particular. It is taken to have been collected where it
    lies, from nobody in the United States, and to be worked on for the purpose it is there for, which is `OWN`.
    """
    pairs = [(home, kind) for home in homes for kind in classes]
    domain, province = (np.array([home[at] for home, _ in pairs], np.int64) for at in (0, 1))
    columns: dict[str, Array | Sequence[str]] = {
        # Tables go by their ids, and the rows are to be in the order of the pairs.
        "id": [f"{number:09d}" for number in range(len(pairs))],
        "domain": look(twin, "domains", "id", domain),
        "province": look(twin, "provinces", "id", province),
        "grade": [kind[0] for _, kind in pairs],
        "personal": [kind[1] for _, kind in pairs],
        "origin": look(twin, "provinces", "country", province),
        "us_bulk": ["no"] * len(pairs),
        "mixed": ["no"] * len(pairs),
        "purposes": [OWN] * len(pairs),
    }
    evidence = twin["evidence"]
    return twin.replace(Table.of("datasets", columns), evidence.take(evidence["dataset"] == b""))


def stands_on(twin: Twin, asked: Asked, dataset: str, server: int) -> Iterator[tuple[str, str, str]]:
    """The cells (table, id, column) that a verdict on data and a server (row) stands on, but for its site."""
    for source in sources(twin["datasets"], dataset):
        yield from (("datasets", source, column) for column in OF_DATA)
    to = recipients(twin, np.array([server]))
    row = twin["datasets"].rows([dataset])
    parties = np.concatenate([twin.resolve("datasets", "domain")[row], to.domain])
    homes = np.concatenate([twin.resolve("datasets", "province")[row], to.province])
    for province in strings(np.unique(twin["provinces"].ids[homes[homes >= 0]])):
        yield from (("provinces", province, column) for column in ("country", "iso_3166_2"))
    site = twin.resolve("servers", "site")[[server]]
    for metro in strings(look(twin, "metros", "id", follow(twin, "sites", "metro", site))):
        yield ("metros", metro, "province")
    for domain in strings(np.unique(twin["domains"].ids[parties[parties >= 0]])):
        yield from (("domains", domain, column) for column in OF_DOMAINS)
    papers = _Papers(twin, row, to)
    for paper, _ in _held(twin, asked):
        if all(part.size for part in papers.about(paper)):
            name = twin["evidence"].ids[paper].decode()
            yield from (("evidence", name, column) for column in OF_EVIDENCE)
