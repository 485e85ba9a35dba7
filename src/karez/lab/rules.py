"""What netfilter of a router's kernel holds packets against: tables of a name each, and whether any has changed.

Source: nft(8), linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import errno
import re
import socket
import subprocess
from collections.abc import Sequence

from karez.lab.spaces import SpaceError

NETLINK_NETFILTER, CHANGES_OF_NFTABLES = 12, 1 << 6
ROOM_BYTES = 1 << 16
# How much of a table is told (characters).
LONGEST = 200


class Rules:
    """The tables of netfilter in the network that this was made in."""

    def __init__(self) -> None:
        """Hear of changes from now on; there is no table yet."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.bind((0, CHANGES_OF_NFTABLES))
        self._socket.setblocking(False)

    def changed(self) -> bool:
        """Whether any table has changed since last time."""
        changed = False
        while True:
            try:
                self._socket.recv(ROOM_BYTES)
            except BlockingIOError:
                return changed
            except OSError as error:
                # There was more to say than there was room for.
                if error.errno != errno.ENOBUFS:
                    raise
            changed = True


def set_rule(table: str, hooks: Sequence[str], rule: str) -> None:
    """Have this thread's network hold what passes these hooks against a rule; against none where it is empty.

    Raises:
        SpaceError: the kernel refused it.
    """
    lines = [f"table ip {table}", f"delete table ip {table}"]
    for hook in hooks if rule else ():
        chain = f"type filter hook {hook} priority 0\npolicy accept\n{rule}"
        lines.append(f"table ip {table} {{\nchain {hook} {{\n{chain}\n}}\n}}")
    _nft("-f", "-", said="\n".join(lines))


def tables() -> dict[str, str]:
    """The tables of this thread's network, and what each says."""
    ruleset = _nft("-s", "list", "ruleset")
    parts = re.split(r"^table ip (\S+) \{$", ruleset, flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split())[:LONGEST] for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _nft(*words: str, said: str = "") -> str:
    done = subprocess.run(["nft", *words], input=said, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SpaceError(f"nftables refused a rule: {done.stderr.strip()[:200]}")
    return done.stdout
