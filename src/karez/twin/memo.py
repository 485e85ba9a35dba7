"""What was once made of tables is kept with them: tables never change, so it holds as long as they are there."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from karez.twin.table import Table
from karez.twin.twin import Twin

A = TypeVarTuple("A")
R = TypeVar("R")


def made_of(*tables: str) -> Callable[[Callable[[Twin, *A], R]], Callable[[Twin, *A], R]]:
    """A decorator for a function of a twin that looks at these tables alone: its answer is kept with the first of them.

    Other arguments are positional and hashable. Whoever asks again gets the same object, and must not write to it.
    """
    first = tables[0]

    def decorated(make: Callable[[Twin, *A], R]) -> Callable[[Twin, *A], R]:
        known: WeakKeyDictionary[Table, dict[tuple[Hashable, ...], R]] = WeakKeyDictionary()

        @wraps(make)
        def kept(twin: Twin, /, *args: *A) -> R:
            answers = known.setdefault(twin[first], {})
            # Tables are told apart by what they are, not by what they hold.
            key: tuple[Any, ...] = (*(twin[name] for name in tables[1:]), *args)
            if key not in answers:
                answers[key] = make(twin, *args)
            return answers[key]

        return kept

    return decorated
