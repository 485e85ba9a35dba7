"""What is left of coverage after the loss of any one duct, link or site: exact, each failure on its own.

A failure is a cut of links, and for a site also the loss of the compute at it. After each, only what hung below is
searched anew; nothing is estimated or left out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from karez.measure.reach import Reach
from karez.measure.support import below, joined
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
    itself, lower = np.arange(len(twin["links"])), below(twin)
    return np.concatenate([itself, lower[0]]), np.concatenate([itself, lower[1]])


def _links_in_ducts(twin: Twin) -> tuple[Array, Array]:
    """Pairs (rows) of a link and a duct that its fibre runs through, its own or that of a link it rests on."""
    link, duct = twin.resolve("link_support", "link"), twin.resolve("link_support", "duct")
    known = (link >= 0) & (duct >= 0)
    own = np.stack([link[known], duct[known]])
    pairs = np.unique(np.concatenate([own, joined(below(twin), *own)], axis=1), axis=1)
    return pairs[0], pairs[1]
