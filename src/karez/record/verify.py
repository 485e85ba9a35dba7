"""Whether a record is whole, by code that shares nothing with what wrote it.

Standard library only, so that it can be copied to another machine and read in one sitting:
`python verify.py RECORD` prints the number of events and the hash of the last.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path


def verify(path: Path) -> tuple[int, str]:
    """The number of events and the hash (64 hexadecimal digits) of the last one.

    Raises:
        ValueError: an event is missing, altered or out of order; the message names the first.
    """
    if not path.is_file():
        raise ValueError(f"not a record: there is no file {path}")
    before, count = bytes(32), 0
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            for seq, at_s, kind, body, digest in base.execute("SELECT * FROM events ORDER BY seq"):
                if seq != count:
                    raise ValueError(f"event {count} is missing")
                event = struct.pack(">Qd", seq, at_s) + kind.encode() + b"\x00" + body
                before = hashlib.sha256(before + event).digest()
                if before != digest:
                    raise ValueError(f"event {seq} was altered")
                count += 1
    except sqlite3.Error as error:
        raise ValueError(f"not a record: {error}") from error
    return count, before.hex()


if __name__ == "__main__":
    try:
        print(*verify(Path(sys.argv[1])))
    except ValueError as error:
        sys.exit(str(error))
