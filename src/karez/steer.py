"""The request path: which endpoint a request goes to, read from a table that a planner compiled before.

In the words of CATS (RFC 10053): a model is what a CS-ID names, an endpoint is a service contact instance (CSCI-ID),
the table holds what the service and network metric agents (C-SMA, C-NMA) know, and `decide` is the path selector
(C-PS). `karez.plan.steer` compiles the table and has the same decision for many requests at once; a test holds the
two to the same answers. Only the standard library and numpy are imported here.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

Array = np.ndarray

DATA_CLASSES = {"general": 1, "personal": 2, "important": 4}
# An endpoint is taken to meet an objective only if its prediction leaves this share of it free.
MARGIN_SHARE = 0.1
NO_TOKENS_LIMIT = 0
MS_PER_S = 1_000.0
MAGIC = b"karez steering table 1 crc32 "

# Column -> numpy dtype. `offsets` cuts the candidates: those of (metro, model) stand at
# offsets[metro * models + model] up to the next, the cheapest first, equal prices in the order of endpoint ids.
LAYOUT = {
    "digest": "S",
    "metro_ids": "S",
    "model_ids": "S",
    "context_tokens": "<i8",
    "endpoint_ids": "S",
    "site_ids": "S",
    "prefill_tokens_per_s": "<f8",
    "decode_tokens_per_s": "<f8",
    "price_cny_per_mtoken": "<f8",
    "offsets": "<i8",
    "endpoint": "<i4",
    "rtt_ms": "<f8",
    "lawful": "|u1",
}

CHEAPEST = "the cheapest that meets the objective with margin"
FASTEST = "the fastest, because none meets the objective with margin"
NO_CANDIDATE = "no endpoint of this model can be reached from there"
NO_CONTEXT = "the prompt is longer than the model's context"
NO_LAWFUL = "data of this class may go to none of the endpoints"
UNLAWFUL = "data of this class may not go there"
TOO_SLOW = "misses the objective with margin"


class BadTable(ValueError):
    """Bytes that are no whole steering table; the message says what is wrong."""


class Excluded(NamedTuple):
    """A candidate that was passed over, why, and its predicted time to first token (inf where not predicted)."""

    endpoint: str
    why: str
    predicted_ttft_ms: float


class Decision(NamedTuple):
    """Where a request goes; `endpoint` and `site` are empty and the rest is inf where it may go nowhere."""

    endpoint: str
    site: str
    predicted_ttft_ms: float
    price_cny_per_mtoken: float
    why: str
    excluded: list[Excluded]


class Table:
    """A steering table: the columns of `LAYOUT`, and what finds its way in them quickly."""

    __slots__ = ("columns", "context_tokens", "digest", "endpoints", "metros", "models", "sites")

    def __init__(self, columns: Mapping[str, Array]) -> None:
        """Take over `columns`.

        Raises:
            BadTable: they are not laid out as `LAYOUT` says.
        """
        faults = _faults(columns)
        if faults:
            raise BadTable("; ".join(faults))
        self.columns = dict(columns)
        self.digest = _texts(columns["digest"])[0]
        self.metros = {name: row for row, name in enumerate(_texts(columns["metro_ids"]))}
        self.models = {name: row for row, name in enumerate(_texts(columns["model_ids"]))}
        self.endpoints = _texts(columns["endpoint_ids"])
        self.sites = _texts(columns["site_ids"])
        self.context_tokens = columns["context_tokens"].tolist()


def decide(
    table: Table,
    *,
    metro: str,
    model: str,
    prompt_tokens: int,
    data_class: str,
    objective_ms: float = math.inf,
    backlog_tokens: Sequence[float] | Array | None = None,
) -> Decision:
    """The endpoint that a request goes to, with its predicted time to first token (ms); the C-PS of CATS.

    What must hold comes first: the model, its context, where the data may go. Of the rest the cheapest whose time to
    first token (network round trip, prompt tokens waiting before it, reading its own) meets the objective with
    margin, else the fastest. `backlog_tokens` has the prompt tokens that wait at each endpoint of the table.

    Raises:
        KeyError: a metro, model or class of data that the table does not know.
    """
    bit, row = DATA_CLASSES[data_class], table.models[model]
    at = table.metros[metro] * len(table.models) + row
    limit = table.context_tokens[row]
    if limit != NO_TOKENS_LIMIT and prompt_tokens > limit:
        return _nowhere(NO_CONTEXT, [])
    candidates = _candidates(table, at)
    within_ms = objective_ms * (1.0 - MARGIN_SHARE)
    excluded, best_ms, best = [], math.inf, -1
    for endpoint, rtt_ms, speed, lawful in candidates:
        if not lawful & bit:
            excluded.append(Excluded(table.endpoints[endpoint], UNLAWFUL, math.inf))
            continue
        waiting = 0.0 if backlog_tokens is None else float(backlog_tokens[endpoint])
        ttft_ms = rtt_ms + waiting * MS_PER_S / speed + prompt_tokens * MS_PER_S / speed
        if ttft_ms <= within_ms:
            return _chosen(table, endpoint, ttft_ms, CHEAPEST, excluded)
        excluded.append(Excluded(table.endpoints[endpoint], TOO_SLOW, ttft_ms))
        if ttft_ms < best_ms:
            best_ms, best = ttft_ms, endpoint
    if best < 0:
        return _nowhere(NO_LAWFUL if excluded else NO_CANDIDATE, excluded)
    name = table.endpoints[best]
    return _chosen(table, best, best_ms, FASTEST, [other for other in excluded if other.endpoint != name])


def dump(table: Table) -> bytes:
    """The table as bytes: a line with a checksum, then each column in numpy's format; equal tables, equal bytes."""
    parts = io.BytesIO()
    for name in LAYOUT:
        np.lib.format.write_array(parts, table.columns[name], allow_pickle=False)
    payload = parts.getvalue()
    return b"%b%08x\n%b" % (MAGIC, zlib.crc32(payload), payload)


def parse(data: bytes) -> Table:
    """The table that `dump` made the bytes of.

    Raises:
        BadTable: the bytes are cut short, damaged or something else.
    """
    head, _, payload = data.partition(b"\n")
    if not head.startswith(MAGIC):
        raise BadTable("this is no steering table; compile one with `karez steer --output`")
    if head != b"%b%08x" % (MAGIC, zlib.crc32(payload)):
        raise BadTable("the steering table is cut short or damaged; compile it again")
    parts = io.BytesIO(payload)
    try:
        return Table({name: np.lib.format.read_array(parts, allow_pickle=False) for name in LAYOUT})
    except BadTable:
        raise
    except ValueError as error:
        raise BadTable(f"the steering table cannot be read ({error}); compile it again") from error


def load(path: str | Path) -> Table:
    """The table in a file.

    Raises:
        BadTable: the file holds no whole table.
        OSError: the file cannot be read.
    """
    return parse(Path(path).read_bytes())


def _candidates(table: Table, at: int) -> list[tuple[int, float, float, int]]:
    """Endpoint, round trip (ms), prefill speed and mask of each candidate, the cheapest first."""
    columns = table.columns
    first, last = columns["offsets"][at : at + 2].tolist()
    endpoints = columns["endpoint"][first:last]
    speeds = columns["prefill_tokens_per_s"][endpoints]
    rtt_ms, lawful = columns["rtt_ms"][first:last], columns["lawful"][first:last]
    return list(zip(endpoints.tolist(), rtt_ms.tolist(), speeds.tolist(), lawful.tolist(), strict=True))


def _chosen(table: Table, endpoint: int, ttft_ms: float, why: str, excluded: list[Excluded]) -> Decision:
    price = float(table.columns["price_cny_per_mtoken"][endpoint])
    return Decision(table.endpoints[endpoint], table.sites[endpoint], ttft_ms, price, why, excluded)


def _nowhere(why: str, excluded: list[Excluded]) -> Decision:
    return Decision("", "", math.inf, math.inf, why, excluded)


def _texts(values: Array) -> list[str]:
    return [value.decode("utf-8") for value in values.tolist()]


def _faults(columns: Mapping[str, Array]) -> list[str]:
    faults = [f"column {name} is missing" for name in LAYOUT if name not in columns]
    if not faults:
        faults = [
            f"column {name} is {columns[name].dtype.str} in {columns[name].ndim} dimensions, not {dtype} in one"
            for name, dtype in LAYOUT.items()
            if columns[name].ndim != 1 or not columns[name].dtype.str.removeprefix("|").startswith(dtype.lstrip("|"))
        ]
    return faults or _wrong_lengths(columns) or _wrong_values(columns)


def _wrong_lengths(columns: Mapping[str, Array]) -> list[str]:
    pairs = len(columns["metro_ids"]) * len(columns["model_ids"])
    lengths = {
        "digest": 1,
        "context_tokens": len(columns["model_ids"]),
        **dict.fromkeys(("site_ids", "prefill_tokens_per_s"), len(columns["endpoint_ids"])),
        **dict.fromkeys(("decode_tokens_per_s", "price_cny_per_mtoken"), len(columns["endpoint_ids"])),
        "offsets": pairs + 1,
        **dict.fromkeys(("rtt_ms", "lawful"), len(columns["endpoint"])),
    }
    return [
        f"column {name} has {len(columns[name])} values, not {length}"
        for name, length in lengths.items()
        if len(columns[name]) != length
    ]


def _wrong_values(columns: Mapping[str, Array]) -> list[str]:
    offsets, endpoint, endpoints = columns["offsets"], columns["endpoint"], len(columns["endpoint_ids"])
    cuts = offsets[0] == 0 and offsets[-1] == len(endpoint) and bool((np.diff(offsets) >= 0).all())
    if not cuts or (len(endpoint) and (endpoint.min() < 0 or endpoint.max() >= endpoints)):
        return ["offsets or endpoints point outside the table"]
    # An endpoint that is nobody's candidate may have figures that are not known.
    speed, price = columns["prefill_tokens_per_s"][endpoint], columns["price_cny_per_mtoken"][endpoint]
    numbers = (columns["rtt_ms"], price, speed)
    if not all(np.isfinite(values).all() and (values >= 0).all() for values in numbers) or (speed == 0).any():
        return ["a round trip, price or speed is not a positive number"]
    # numpy.isin would import masked arrays, and a worker's memory is counted.
    falls, starts = np.diff(price) < 0, np.zeros(len(endpoint) + 1, bool)
    starts[offsets] = True
    return ["candidates are not in the order of their prices"] if (falls & ~starts[1:-1]).any() else []
