"""Where data may be worked on, in which mode, on which articles: rules as columns.

`packs` are the rules, `vocabulary` what they may speak of; `law` makes columns of them, and `reference` asks Cedar
itself; `questions` are made from a twin, `verdict` answers one in full. Engineering, not legal advice.
"""

from __future__ import annotations

from typing import get_args

from karez.measure.policy.costs import J_PER_KWH, Costs
from karez.measure.policy.law import Facts, Law, law, named_in
from karez.measure.policy.packs import Pack, loaded, shipped
from karez.measure.policy.questions import (
    OWN,
    Asked,
    Recipients,
    as_classes,
    follow,
    lawful,
    questions,
    recipients,
    stands_on,
)
from karez.measure.policy.verdict import Ground, Verdict, against, located, named, said, told_facts, untold, verdict
from karez.measure.policy.vocabulary import MODES, Mode, groups

__all__ = [
    "COPIED",
    "J_PER_KWH",
    "MODES",
    "NO_ADVICE",
    "OWN",
    "Asked",
    "Costs",
    "Facts",
    "Ground",
    "Law",
    "Mode",
    "Pack",
    "Recipients",
    "Verdict",
    "against",
    "as_classes",
    "bits",
    "copied",
    "follow",
    "law",
    "lawful",
    "loaded",
    "located",
    "named",
    "named_in",
    "questions",
    "recipients",
    "said",
    "shipped",
    "stands_on",
    "told_facts",
    "untold",
    "verdict",
]

NO_ADVICE = "engineering, no legal advice"

# The modes in which a copy of the data is worked on where the computing is; in the others only what was made of it is.
COPIED: tuple[Mode, ...] = get_args(Mode)[:4]


def bits(*modes: Mode) -> int:
    """The mask of modes."""
    return sum(groups()[mode] for mode in modes)


def copied() -> int:
    """The mask of `COPIED`."""
    return bits(*COPIED)
