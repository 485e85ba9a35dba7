"""What is left of coverage after the loss of any one duct, link or site: exact, each failure on its own.

A failure is a cut of links, and for a site also the loss of the compute at it. After each, only what hung below is
searched anew; nothing is estimated or left out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from karez.measure.reach import Reach
from karez.measure.whatif import WhatIf
from karez.twin import Twin
from karez.twin.table import Array

FailureKind = Literal["duct", "link", "site"]
FAILURE_KINDS: tuple[FailureKind, ...] = ("duct", "link", "site")


class Failures(NamedTuple):
    """Failures of one kind: the rows of what fails, and the weight (int64, in millionths) that each would lose."""

    rows: Array
    lost: Array


def survival(twin: Twin, reach: Reach, targets: Array, limit_ns: int) -> dict[FailureKind, Failures]:
    """The loss of coverage that each failure of each kind would bring, with `targets` (rows of `sites`) open.

    `reach` is the network prepared from `twin`.
    """
    whatif = WhatIf(reach, targets, limit_ns)
    return {kind: _failed(twin, whatif, kind) for kind in FAILURE_KINDS}


def _failed(twin: Twin, whatif: WhatIf, kind: FailureKind) -> Failures:
    if kind == "site":
        rows = np.arange(len(twin["sites"]))
        bounds, links = whatif.links_of_sites(rows)
        return Failures(rows, whatif.losses(bounds, links, rows))
    rows = np.arange(len(twin["ducts" if kind == "duct" else "links"]))
    bounds, links = _by_carrier(*(_links_in_ducts(twin) if kind == "duct" else _links_on_links(twin)), len(rows))
    return Failures(rows, whatif.losses(bounds, links, np.full(len(rows), -1)))


def _by_carrier(link: Array, carrier: Array, carriers: int) -> tuple[Array, Array]:
    """Where the links of each carrier start in the second array, which has them."""
    order = np.argsort(carrier, kind="stable")
    return np.concatenate([[0], np.cumsum(np.bincount(carrier, minlength=carriers))]), link[order]


def _links_on_links(twin: Twin) -> tuple[Array, Array]:
    """Pairs (rows) of a link and a link without which it is not: itself, and all that it rests on."""
    itself, below = np.arange(len(twin["links"])), _below(twin)
    return np.concatenate([itself, below[0]]), np.concatenate([itself, below[1]])


def _links_in_ducts(twin: Twin) -> tuple[Array, Array]:
    """Pairs (rows) of a link and a duct that its fibre runs through, its own or that of a link it rests on."""
    link, duct = twin.resolve("link_support", "link"), twin.resolve("link_support", "duct")
    own = np.stack([link[duct >= 0], duct[duct >= 0]])
    pairs = np.unique(np.concatenate([own, _joined(_below(twin), *own)], axis=1), axis=1)
    return pairs[0], pairs[1]


def _below(twin: Twin) -> Array:
    """Pairs (2 x n) of a link and a link that it rests on, directly or by others in between."""
    rests = np.stack([twin.resolve("link_support", end) for end in ("link", "supported_by")])
    rests = np.unique(rests[:, rests[1] >= 0], axis=1)
    found, more = rests, rests
    # Each round goes one layer further down; what is known already adds nothing.
    while more.size:
        longer = np.unique(np.concatenate([found, _joined(more, *rests)], axis=1), axis=1)
        more = longer if longer.shape[1] > found.shape[1] else longer[:, :0]
        found = longer
    return found


def _joined(pairs: Array, upper: Array, lower: Array) -> Array:
    """(x, z) for each pair (x, y) and each (y, z) of `upper` and `lower`."""
    order = np.argsort(upper, kind="stable")
    starts, stops = (np.searchsorted(upper[order], pairs[1], side) for side in ("left", "right"))
    count = stops - starts
    which = np.repeat(np.arange(len(count)), count)
    at = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + starts[which]
    return np.stack([pairs[0][which], lower[order][at]])
