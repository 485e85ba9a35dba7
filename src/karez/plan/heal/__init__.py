"""What to do about a finding: candidates ranked by what the users would feel, "do nothing" among them."""

from karez.plan.heal.against import FULL_SHARE, GROWS
from karez.plan.heal.candidates import PLANNERS
from karez.plan.heal.choice import WORTH_US_PER_GBPS, heal, release
from karez.plan.heal.suffering import GRAY, LARGE_SHARE, SICK, evidence_of, suffering
from karez.plan.heal.trouble import LOST_US

__all__ = [
    "FULL_SHARE",
    "GRAY",
    "GROWS",
    "LARGE_SHARE",
    "LOST_US",
    "PLANNERS",
    "SICK",
    "WORTH_US_PER_GBPS",
    "evidence_of",
    "heal",
    "release",
    "suffering",
]
