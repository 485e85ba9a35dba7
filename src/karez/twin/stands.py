"""What stands where: the devices of sites."""

from __future__ import annotations

import numpy as np

from karez.twin.table import Array, strings
from karez.twin.twin import Twin


def routers_at(twin: Twin, sites: Array) -> list[str]:
    """The router at each of these sites (rows): the first device that routes; empty where there is none."""
    devices = twin["equipment"]
    routes = np.flatnonzero(devices["kind"] == b"router")[::-1]
    at = dict(zip(twin.resolve("equipment", "site")[routes].tolist(), strings(devices.ids[routes]), strict=True))
    return [at.get(site, "") for site in sites.tolist()]
