"""The kernel of this thread's network, told and asked by iproute2: many lines at once, answers as JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from karez.lab.spaces import SpaceError


def tell(lines: Sequence[str], what: str) -> None:
    """Have the kernel do what these lines say, one after the other.

    Raises:
        SpaceError: it refused one (`what` they are about); those before it are done.
    """
    if lines:
        _ip("-batch", "-", said="\n".join(lines), what=what)


def told(*words: str, what: str) -> Iterator[dict[str, Any]]:
    """What the kernel says to a question.

    Raises:
        SpaceError: it does not answer.
    """
    return iter(json.loads(_ip("-j", "-N", *words, what=what) or "[]"))


def _ip(*words: str, said: str = "", what: str) -> str:
    done = subprocess.run(["ip", *words], input=said, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SpaceError(f"the kernel refused {what}: {done.stderr.strip()[:200]}")
    return done.stdout
