"""The command line, as `python -m karez`."""

from __future__ import annotations

import sys

from karez.faces.cli import main

if __name__ == "__main__":
    sys.exit(main())
