"""What networks tell: rows of state as they change, and samples of telemetry, which no twin keeps."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from karez.twin.schema import Value
from karez.twin.table import Array


class StateRows(msgspec.Struct, frozen=True):
    """Rows of a state table as observed: ids and, by column, a value for each of them."""

    table: str
    ids: tuple[str, ...]
    columns: dict[str, tuple[Value, ...]]


class Samples(NamedTuple):
    """What one channel of telemetry tells of its series at `at_s`, since it last told of them.

    `ids` (S) names the series: the same array as before where they are the same, so that nobody looks them up twice.
    `columns` have a value for each; what was not measured is nan, or a count of 0. `CHANNELS` says what there is.
    """

    channel: str
    at_s: float
    ids: Array
    columns: dict[str, Array]


# By channel: what its series are, and its columns.
#
# probe: test packets between the ends of a link (STAMP, RFC 8762), received at its end: `link>` is from a to b,
#   `link<` from b to a. `sent`, `lost` (small packets), `sent_large`, `lost_large` (1,400 bytes), `oneway_us` (mean of
#   the small ones received, by the clocks of both ends).
# counter: an interface, `link@a` or `link@b`: cumulated `tx_packets`, `rx_packets`, `rx_errors`, `tx_drops`;
#   `tx_gbps` since it last told; `host_at_s`, when it read them by its own clock.
# user: a demand, by the hosts at its ends: `sent`, `lost` (packets), `oneway_us` (mean), `gbps` (offered).
# optical: a receiver, `link@a` or `link@b`: `power_dbm`.
# ping: a device, by the management network: `answers` (share of requests), `cpu_share`.
# transit: a device: packets that `came` in on any interface or from its site, and that `left` or had no way on, since
# it last told.
# observer: who measures all this, where it is one process: `stalled_ago_s`, how long ago it last did not keep time
#   itself (inf: never). What it measured then says nothing of the network.
CHANNELS: dict[str, tuple[str, ...]] = {
    "probe": ("sent", "lost", "sent_large", "lost_large", "oneway_us"),
    "counter": ("tx_packets", "rx_packets", "rx_errors", "tx_drops", "tx_gbps", "host_at_s"),
    "user": ("sent", "lost", "oneway_us", "gbps"),
    "optical": ("power_dbm",),
    "ping": ("answers", "cpu_share"),
    "transit": ("came", "left"),
    "observer": ("stalled_ago_s",),
}
