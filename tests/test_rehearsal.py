"""A rehearsal compiles what a controller needs, so it must come as far as a plan."""

from __future__ import annotations

from karez.measure import spread
from karez.scenario.rehearsal import rehearse


def test_a_rehearsal_ends_in_a_plan_and_so_has_weighed_what_users_would_feel() -> None:
    assert rehearse()
    assert spread.feel.signatures
    assert spread.shares.signatures
