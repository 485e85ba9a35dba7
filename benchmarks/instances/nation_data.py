"""A nation's data: many data sets of every grade and owner, servers of many entities, and the papers between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from karez.measure.policy.vocabulary import evidence_kinds
from karez.twin import Table, Twin
from karez.twin.facts import library
from karez.twin.schema import Value
from karez.twin.table import Array

DOMAINS, ABROAD = 40, ("DE", "US")
SEED = 1


def nation(datasets: int, servers: int, papers: int) -> Twin:
    """Data sets (a job each), servers, and evidence, by chance; a tenth of what can be unknown is."""
    chance = np.random.default_rng(SEED)
    home = [row["id"] for row in library("provinces_cn")]
    places = [*home, *ABROAD]
    names = np.array([f"d{number:02d}" for number in range(DOMAINS)])

    def some(values: list[str], count: int) -> list[str]:
        return [str(value) for value in chance.choice(np.array(values), count)]

    def told(values: list[str], count: int) -> list[str]:
        return [value if chance.random() > 0.1 else "unknown" for value in some(values, count)]

    sites: dict[str, Array | Sequence[Value]] = {
        "id": [f"c{number:03d}" for number in range(servers)],
        "kind": ["core"] * servers,
        "metro": [f"m-{place}" for place in some(places, servers)],
        "domain": some(names.tolist(), servers),
        "lon": np.full(servers, 100.0),
        "lat": np.full(servers, 30.0),
    }
    tables = [
        Table.of("provinces", {"id": places, "country": ["CN"] * len(home) + list(ABROAD)}),
        Table.of(
            "metros",
            {
                "id": [f"m-{place}" for place in places],
                "province": places,
                "lon": np.full(len(places), 100.0),
                "lat": np.full(len(places), 30.0),
            },
        ),
        Table.of(
            "domains",
            {
                "id": names.tolist(),
                "entity": names.tolist(),
                "country": ["CN"] * (DOMAINS - 4) + ["DE", "DE", "US", "US"],
                "verified": told(["yes", "no"], DOMAINS),
                "role": told(["processor", "controller"], DOMAINS),
                "sector": told(["telecom", "other"], DOMAINS),
                "critical": told(["yes", "no"], DOMAINS),
            },
        ),
        Table.of("sites", sites),
        Table.of("chips", {"id": ["X"]}),
        Table.of(
            "servers",
            {
                "id": [f"p{number:03d}" for number in range(servers)],
                "site": sites["id"],
                "chip": ["X"] * servers,
                "chips": [1_000] * servers,
                "price_cny_per_chip_h": chance.uniform(2.0, 12.0, servers),
            },
        ),
        Table.of(
            "datasets",
            {
                "id": [f"t{number:05d}" for number in range(datasets)],
                "domain": some(names.tolist(), datasets),
                "province": some(home, datasets),
                "grade": told(["general", "general", "important", "core"], datasets),
                "personal": told(["no", "personal", "sensitive"], datasets),
                "size_gb": chance.uniform(1.0, 10_000.0, datasets),
                "subjects": np.round(10.0 ** chance.uniform(2.0, 7.0, datasets)),
                "us_bulk": told(["no", "no", "no", "yes"], datasets),
                "origin": some(["CN", "CN", "CN", "DE"], datasets),
                "mixed": told(["no", "yes"], datasets),
                "purposes": ["work"] * datasets,
            },
        ),
        Table.of(
            "evidence",
            {
                "id": [f"e{number:05d}" for number in range(papers)],
                "kind": some(list(evidence_kinds()), papers),
                "owner": some(names.tolist(), papers),
                "recipient": some([*names.tolist(), ""], papers),
                "issuer": ["someone"] * papers,
            },
        ),
    ]
    return Twin({table.name: table for table in tables})
