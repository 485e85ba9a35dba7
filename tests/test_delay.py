from collections.abc import Sequence

import numpy as np
import pytest

from karez.measure.delay import FIGURES, LINK_KINDS, access_oneway_us, constants, link_oneway_us
from karez.twin import Table, Twin
from karez.twin.schema import Value


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
    assert access_oneway_us(figures="typical", direction="up") == 18_000.0
    assert access_oneway_us(figures="typical", direction="down") == 7_000.0
