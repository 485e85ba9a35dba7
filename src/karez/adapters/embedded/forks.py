"""Copies that live on by themselves."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np


class Forks:
    """Something whose arrays, lists and dictionaries change; `fork` gives a copy that shares nothing that does."""

    def fork(self) -> Self:
        """The copy; arrays that nobody may write to are shared."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            setattr(twin, name, _copied(value))
        return twin


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy() if value.flags.writeable else value
    if isinstance(value, Forks):
        return value.fork()
    if isinstance(value, dict):
        return {key: _copied(held) for key, held in value.items()}
    return list(value) if isinstance(value, list) else value
