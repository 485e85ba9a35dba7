"""Small worlds with compute in them, made by hand and by chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from karez.twin import Table, Twin, World, store
from karez.twin.schema import Value
from karez.twin.table import Array

Columns = dict[str, Array | Sequence[Value]]

PROVINCES = ("P-east", "P-west")
DOMAINS = {"own": "yes", "friend": "yes", "stranger": "no", "hidden": "unknown", "foreign": "yes"}


def small() -> World:
    """Three metros on a line, east, middle and west, one core site each; servers at all three."""
    links = [("l1", "east", "middle", 100.0), ("l2", "middle", "west", 1_000.0), ("l3", "east", "west", 2_000.0)]
    servers: Columns = {
        "id": ["p-east", "p-middle", "p-west"],
        "site": ["c-east", "c-middle", "c-west"],
        "chip": ["X"] * 3,
        "chips": [64] * 3,
        "domain": ["own", "friend", "own"],
        "price_cny_per_chip_h": [9.0, 6.0, 3.0],
    }
    intended = Twin(
        {
            table.name: table
            for table in (
                *regions(),
                Table.of("metros", metros("m-east", "m-middle", "m-west")),
                Table.of("sites", sites(["east", "middle", "west"])),
                Table.of("links", lines(links)),
                *library(),
                Table.of("servers", servers),
                Table.of("datasets", datasets()),
                Table.of("jobs", job("general")),
                Table.of("endpoints", endpoints()),
            )
        }
    )
    return World(intended, states(intended))


def saved(folder: Path) -> Path:
    """A folder of a network that holds the small world, said to be synthetic."""
    world = small()
    twin = world.intended.replace(*(world.actual[name] for name in ("link_states", "server_states")))
    store.save(twin, folder / "network", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    return folder / "network"


def states(intended: Twin) -> Twin:
    """Everything idle and up, with a state for every link but the last."""
    links, servers = intended["links"], intended["servers"]
    return intended.replace(
        Table.of("link_states", {"id": links.ids[:-1]}),
        Table.of("server_states", {"id": servers.ids, "free_chips": servers["chips"]}),
    )


def regions() -> list[Table]:
    """An eastern province, a western one, one abroad; and domains of every kind."""
    provinces: Columns = {
        "id": [*PROVINCES, "P-abroad"],
        "country": ["CN", "CN", "SG"],
        "iso_3166_2": ["CN-ZJ", "CN-GZ", "SG-01"],
        "price_cny_per_kwh": [0.65, 0.38, 0.5],
        "pue": [1.25, 1.2, 1.1],
    }
    domains: Columns = {
        "id": list(DOMAINS),
        "entity": list(DOMAINS),
        "country": ["CN"] * 4 + ["SG"],
        "verified": list(DOMAINS.values()),
        "role": ["processor"] * len(DOMAINS),
        "sector": ["other"] * len(DOMAINS),
        "critical": ["no"] * len(DOMAINS),
    }
    return [Table.of("provinces", provinces), Table.of("domains", domains), Table.of("evidence", evidence())]


def evidence() -> Columns:
    """What `own` holds on every recipient of its data."""
    kinds = ["contract", "impact_assessment", "risk_assessment"]
    return {"id": [f"paper-{kind}" for kind in kinds], "kind": kinds, "owner": ["own"] * 3, "issuer": ["own"] * 3}


def metros(*ids: str) -> Columns:
    """Metros; those named west lie in the west."""
    provinces = [PROVINCES["west" in name] for name in ids]
    return {"id": list(ids), "province": provinces, "lon": [100.0] * len(ids), "lat": [30.0] * len(ids)}


def sites(names: list[str]) -> Columns:
    """A core site c-NAME in each metro m-NAME, of the domain `own`."""
    return {
        "id": [f"c-{name}" for name in names],
        "kind": ["core"] * len(names),
        "metro": [f"m-{name}" for name in names],
        "domain": ["own"] * len(names),
        "lon": [100.0] * len(names),
        "lat": [30.0] * len(names),
    }


def lines(rows: list[tuple[str, str, str, float]]) -> Columns:
    """Backbone links (id, NAME of one end, NAME of the other, km)."""
    return {
        "id": [row[0] for row in rows],
        "a": [f"c-{row[1]}" for row in rows],
        "b": [f"c-{row[2]}" for row in rows],
        "kind": ["backbone"] * len(rows),
        "length_km": [row[3] for row in rows],
    }


def library() -> list[Table]:
    """One chip with every figure, one without; a small model and one that fills many chips."""
    chips: Columns = {"id": ["X", "bare"], "memory_gb": [64.0, np.nan], "power_w": [400.0, np.nan]}
    models: Columns = {"id": ["large", "small"], "parameters_b": [600.0, 7.0], "context_tokens": [0, 8_192]}
    return [Table.of("chips", chips), Table.of("models", models)]


def datasets() -> Columns:
    """Data of `own` in the east, of each grade and kind."""
    rows = [
        ("general", "general", "no"),
        ("personal", "general", "personal"),
        ("sensitive", "general", "sensitive"),
        ("important", "important", "no"),
        ("core", "core", "no"),
        ("ungraded", "unknown", "no"),
        ("unknown", "unknown", "unknown"),
    ]
    return {
        "id": [row[0] for row in rows],
        "grade": [row[1] for row in rows],
        "personal": [row[2] for row in rows],
        "domain": ["own"] * len(rows),
        "province": [PROVINCES[0]] * len(rows),
        "subjects": [1_000.0] * len(rows),
        "us_bulk": ["no"] * len(rows),
        "origin": ["CN"] * len(rows),
        "mixed": ["no"] * len(rows),
        "purposes": ["work"] * len(rows),
    }


def job(
    dataset: str, *, model: str = "small", chips: int = 8, hours: float = 10.0, oneway_us: float = np.inf
) -> Columns:
    """One job, j1, of a user in the east."""
    return {
        "id": ["j1"],
        "kind": ["batch"],
        "model": [model],
        "metro": ["m-east"],
        "dataset": [dataset],
        "chips": [chips],
        "hours": [hours],
        "oneway_us": [oneway_us],
        "purpose": ["work"],
    }


def endpoints() -> Columns:
    """The small model at all three places, cheaper and slower to the west; the large one in the east."""
    return {
        "id": ["e1", "e2", "e3", "e4"],
        "server": ["p-east", "p-middle", "p-west", "p-east"],
        "model": ["small", "small", "small", "large"],
        "prefill_tokens_per_s": [10_000.0, 8_000.0, 5_000.0, 1_000.0],
        "decode_tokens_per_s": [50.0, 40.0, 30.0, 20.0],
        "price_cny_per_mtoken": [2.0, 1.5, 1.0, 8.0],
    }
