"""The library: facts that come with Karez, each row with its source and how far it can be trusted."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources


@cache
def library(name: str) -> list[dict[str, str]]:
    """The rows of the library's table `name` (for example `chips` or `latency`), as written; not to be changed.

    Raises:
        KeyError: the library has no such table.
    """
    file = resources.files("karez.twin") / "library" / f"{name}.csv"
    if not file.is_file():
        raise KeyError(f"the library has no table {name!r}")
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))
