from collections.abc import Sequence

import numpy as np
import pytest

from karez.measure.delay import ACCESS, AIR, FIGURES, LINK_KINDS, constants, link_oneway_us, link_parts
from karez.twin import Table, Twin
from karez.twin.schema import Value
from karez.twin.table import Array


def links(length_km: float) -> Twin:
    """One link of each kind, all of one length."""
    sites = Table.of(
        "sites",
        {"id": ["x", "y"], "kind": ["core", "core"], "metro": ["m", "m"], "lon": [0.0, 0.0], "lat": [0.0, 0.0]},
    )
    count = len(LINK_KINDS)
    columns: dict[str, Sequence[Value]] = {
        "id": list(LINK_KINDS),
        "a": ["x"] * count,
        "b": ["y"] * count,
        "kind": list(LINK_KINDS),
        "length_km": [length_km] * count,
    }
    return Twin().replace(sites, Table.of("links", columns))


def test_a_link_costs_its_fibre_and_one_hop_of_its_kind() -> None:
    twin = links(100.0)
    found = dict(zip(twin["links"].ids.tolist(), link_oneway_us(twin, figures="typical"), strict=True))
    assert found == pytest.approx({b"access": 510.0, b"aggregation": 510.0, b"core": 540.0, b"backbone": 540.0})


def test_a_link_without_length_costs_its_hop() -> None:
    assert link_oneway_us(links(0.0), figures="high").tolist() == [50.0, 50.0, 100.0, 100.0]


def test_low_figures_are_never_above_typical_ones_nor_those_above_high_ones() -> None:
    low, typical, high = (np.array(list(constants(figures).values())) for figures in FIGURES)
    assert (low <= typical).all()
    assert (typical <= high).all()


def test_the_air_takes_longer_up_than_down_and_is_in_microseconds() -> None:
    typical = constants("typical")
    assert (typical["access up"], typical["access down"]) == (18_000.0, 7_000.0)


def test_each_kind_of_access_has_its_own_rows_of_the_library() -> None:
    found = {access: tuple(constants("typical", access)[way] for way in AIR) for access in ACCESS}
    assert found == {
        "5g": (18_000.0, 7_000.0),
        "pon": (1_000.0, 100.0),
        "pon-cooperative": (200.0, 100.0),
        "50g-pon": (300.0, 100.0),
        "wlan": (5_000.0, 5_000.0),
        "leased-line": (100.0, 100.0),
    }


def test_delays_in_whole_nanoseconds_are_those_in_microseconds_rounded() -> None:
    chance = np.random.default_rng(0)
    kinds = np.array(LINK_KINDS)[chance.integers(0, len(LINK_KINDS), 1_000)].tolist()
    columns: dict[str, Array | Sequence[Value]] = {
        "id": [f"l{number:04d}" for number in range(1_000)],
        "a": ["x"] * 1_000,
        "b": ["y"] * 1_000,
        "kind": kinds,
        "length_km": chance.uniform(0.0, 20_000.0, 1_000),
    }
    own = chance.uniform(0.0, 60.0, 1_000) * chance.integers(0, 2, 1_000)
    for more in ({}, {"hop_us": own}, {"hop_us": own, "fibre_us_per_km": own[::-1] / 10}):
        parts, values = link_parts(links(1.0).replace(Table.of("links", columns | more))), constants("typical")
        assert parts.oneway_ns(values, 10**9).tolist() == np.rint(parts.oneway_us(values) * 1_000).tolist()
        assert parts.oneway_ns(values, 50_000).max() == 50_000


def saying(twin: Twin, **columns: Sequence[Value]) -> Twin:
    """The links of a twin, in the order of their ids, with what they say of themselves."""
    table = twin["links"]
    return twin.replace(table.set(np.arange(len(table)), **columns))


def test_what_a_link_says_of_its_fibre_or_hop_stands_in_for_the_library_at_every_figure() -> None:
    # In the order of their ids: access, aggregation, backbone, core.
    twin = saying(links(100.0), hop_us=[3.0, 0.0, 7.0, 0.0], fibre_us_per_km=[0.0, 3.4, 3.5, 0.0])
    found = {figures: link_oneway_us(twin, figures=figures).tolist() for figures in FIGURES}
    assert found["low"] == pytest.approx([489.0 + 3.0, 340.0 + 2.0, 350.0 + 7.0, 489.0 + 20.0])
    assert found["typical"] == pytest.approx([490.0 + 3.0, 340.0 + 20.0, 350.0 + 7.0, 490.0 + 50.0])
    assert found["high"] == pytest.approx([500.0 + 3.0, 340.0 + 50.0, 350.0 + 7.0, 500.0 + 100.0])
    assert link_parts(twin).length_km.tolist() == [100.0] * 4


def test_a_link_of_the_ip_layer_takes_over_what_the_links_below_it_say() -> None:
    twin = links(100.0)
    ip: dict[str, Sequence[Value]] = {
        "id": ["ip1", "ip2"],
        "a": ["x"] * 2,
        "b": ["y"] * 2,
        "kind": ["core"] * 2,
        "layer": ["ip"] * 2,
        "length_km": [7.0, 10.0],
    }
    support = Table.of("link_support", {"id": ["u1", "u2"], "link": ["ip1", "ip1"], "supported_by": ["core", "access"]})
    # In the order of their ids: access, aggregation, backbone, core, ip1, which rests on two, and ip2 on nothing.
    said = saying(
        twin.replace(twin["links"].add(ip), support),
        hop_us=[3.0, 0.0, 0.0, 0.0, 99.0, 4.0],
        fibre_us_per_km=[0.0, 0.0, 0.0, 3.4, 9.0, 0.0],
    )
    found = link_oneway_us(said, figures="typical")
    assert found[4:] == pytest.approx([490.0 + 3.0 + 340.0 + 50.0 + 20.0, 49.0 + 4.0 + 20.0])
    assert link_parts(said).length_km.tolist() == [100.0] * 4 + [200.0, 10.0]


def test_a_link_of_the_ip_layer_costs_what_it_rests_on_and_a_router() -> None:
    twin = links(100.0)
    table = twin["links"].add(
        {
            "id": ["ip1", "ip2", "ip3"],
            "a": ["x"] * 3,
            "b": ["y"] * 3,
            "kind": ["core"] * 3,
            "layer": ["ip"] * 3,
            "length_km": [7.0, 7.0, 10.0],
        }
    )
    # ip1 rests on core and backbone, ip2 on ip1; ip3 on nothing.
    support = Table.of(
        "link_support",
        {"id": ["u1", "u2", "u3"], "link": ["ip1", "ip1", "ip2"], "supported_by": ["core", "backbone", "ip1"]},
    )
    found = dict(zip(table.ids.tolist(), link_oneway_us(twin.replace(table, support), figures="typical"), strict=True))
    # 200 km of fibre at 4.9, two hops of 50, a router of 20; and 10 km, the hop of a core link, a router.
    assert [found[name] for name in (b"ip1", b"ip2", b"ip3")] == pytest.approx([1_100.0, 1_100.0, 119.0])
    assert found[b"core"] == pytest.approx(540.0)
