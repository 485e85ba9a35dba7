"""What all tests share: how long a campaign is, and a seed that turns with the commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def proof() -> bool:
    """Whether campaigns run at full length (make proof), and not thinned."""
    return os.environ.get("KAREZ_PROOF") == "1"


@pytest.fixture(scope="session")
def turning_seed() -> int:
    """A seed that every commit changes, so that thinned campaigns cover more and more; a failure names it."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return int(done.stdout.strip()[:6] or "1", 16)
