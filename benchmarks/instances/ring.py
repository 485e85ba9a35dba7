"""A ring of six sites, made by hand: what the loop is tested on, and replayed on; and acts on it."""

from __future__ import annotations

import numpy as np

from karez.plan import Action, Cell, NewRow
from karez.twin import Table, Twin, World

SITES = 6
# Until when the acts may be started: later than any run on the ring goes on.
LATER_S = 1e6
DRAIN = Action(
    kind="drain_link",
    subject="l03",
    sets=(Cell("links", "l03", "drained", False, True),),
    blast_radius=("l03",),
    expires_at_s=LATER_S,
)
RESTART = Action(
    kind="restart_device",
    subject="r2",
    sets=(Cell("equipment", "r2", "boots", 0, 1),),
    blast_radius=("c2",),
    expires_at_s=LATER_S,
)
START = Action(
    kind="start_job",
    subject="j1",
    adds=(NewRow("assignments", "j1", {"server": "s0", "chips": 512}),),
    blast_radius=("s0",),
    expires_at_s=LATER_S,
    ends_at_s=20.0,
)
ORDER = Action(
    kind="order_equipment",
    subject="c1",
    adds=(NewRow("equipment", "e1", {"site": "c1", "kind": "edge_inference"}),),
    blast_radius=("c1",),
    expires_at_s=LATER_S,
    ends_at_s=30.0,
)


def ring(*, chips: int = 512) -> World:
    """Six core sites in a ring with one chord, a router each, two groups of chips, demands all round."""
    sites = [f"c{i}" for i in range(SITES)]
    pairs = [(i, (i + 1) % SITES) for i in range(SITES)] + [(0, 3)]
    links = [f"l{a}{b}" for a, b in pairs]
    demands = [(a, b) for a in range(SITES) for b in (0, 3) if a != b]
    intended = Twin().replace(
        Table.of("provinces", {"id": ["P"], "name": ["Province"], "side": ["east"], "price_cny_per_kwh": [0.6]}),
        Table.of("metros", {"id": ["M"], "province": ["P"], "lon": [110.0], "lat": [30.0]}),
        Table.of("domains", {"id": ["carrier"], "entity": ["Carrier"], "verified": ["yes"]}),
        Table.of(
            "sites",
            {
                "id": sites,
                "kind": ["core"] * SITES,
                "metro": ["M"] * SITES,
                "domain": ["carrier"] * SITES,
                "lon": [110.0 + 0.1 * i for i in range(SITES)],
                "lat": [30.0] * SITES,
            },
        ),
        Table.of(
            "links",
            {
                "id": links,
                "a": [sites[a] for a, _ in pairs],
                "b": [sites[b] for _, b in pairs],
                "kind": ["core"] * len(pairs),
                "length_km": [20.0 + 5.0 * i for i in range(len(pairs))],
                "capacity_gbps": [400.0] * len(pairs),
            },
        ),
        Table.of("equipment", {"id": [f"r{i}" for i in range(SITES)], "site": sites, "kind": ["router"] * SITES}),
        Table.of("chips", {"id": ["H20"], "memory_gb": [96.0], "power_w": [400.0]}),
        Table.of(
            "servers",
            {
                "id": ["s0", "s3"],
                "site": ["c0", "c3"],
                "chip": ["H20", "H20"],
                "chips": [chips, chips],
                "domain": ["carrier", "carrier"],
                "price_cny_per_chip_h": [6.0, 4.0],
            },
        ),
        Table.of(
            "demands",
            {
                "id": [f"d{a}{b}" for a, b in demands],
                "a": [sites[a] for a, _ in demands],
                "b": [sites[b] for _, b in demands],
                "gbps": [10.0 + a for a, _ in demands],
                "protected": [a == 1 for a, _ in demands],
            },
        ),
    )
    actual = Twin().replace(
        Table.of("link_states", {"id": links}),
        Table.of("server_states", {"id": ["s0", "s3"], "free_chips": np.array([chips, chips])}),
        Table.of("equipment_states", {"id": [f"r{i}" for i in range(SITES)]}),
    )
    return World(intended, actual)
