"""The vty of an FRR daemon: commands over a UNIX socket, as FRR's own shell sends them.

A command ends with NUL. A reply ends with three NULs and a status. Source: FRR, lib/vty.c and vtysh/vtysh.c.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from karez.errors import KarezError

END = b"\0\0\0"
READ_BYTES = 1 << 16
# How long a daemon may take to answer, and how often it is tried where others wait before (s).
PATIENCE_S, LEAST_S, CROWDED_S = 2.0, 1e-3, 0.01
SHOWN = 120


class VtyError(KarezError):
    """A daemon cannot be asked, or refused a command."""


class VtyRefused(VtyError):
    """A daemon understood, and said no."""


class Vty:
    """A session with one daemon; commands are asked one after the other."""

    def __init__(self, path: Path, *, patience_s: float = PATIENCE_S) -> None:
        """Open it.

        Raises:
            VtyError: nobody answers at `path`.
        """
        self._name = f"{path.parent.name}/{path.stem}"
        self._patience_s = patience_s
        try:
            self._socket = _connected(path, patience_s)
        except OSError as error:
            raise VtyError(f"{self._name} cannot be asked: {error.strerror or error}") from error
        try:
            self.ask("enable")
        except VtyError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the session."""
        self._socket.close()

    def ask(self, command: str) -> str:
        """The reply to a command.

        Raises:
            VtyError: the daemon does not answer in time, cuts its reply short, or refuses the command.
        """
        status, reply = self._asked(command)
        if status:
            said = " ".join(reply.split())[:SHOWN]
            raise VtyRefused(f"{self._name} refused `{command}` (status {status}){': ' if said else ''}{said}")
        return reply

    def show(self, command: str) -> Any:
        """The reply to a command that answers in JSON.

        Raises:
            VtyError: as `ask`, or the reply is no JSON.
        """
        reply = self.ask(command)
        try:
            return msgspec.json.decode(reply or "{}")
        except msgspec.DecodeError as error:
            self.close()
            raise VtyError(f"{self._name} answered `{command}` with what is no JSON: {error}") from error

    def configure(self, lines: Iterable[str]) -> None:
        """Change the running configuration by lines as a file would have them.

        What stands before a line that is refused stays, so whoever calls this reads back.

        Raises:
            VtyError: as `ask`.
        """
        self.ask("configure terminal")
        refused = None
        for line in lines:
            try:
                self.ask(line)
            except VtyRefused as error:
                refused = error
                break
        self.ask("end")
        if refused:
            raise refused

    def _asked(self, command: str) -> tuple[int, str]:
        reply, until_s = bytearray(), time.monotonic() + self._patience_s
        try:
            self._socket.sendall(command.encode() + b"\0")
            while len(reply) < len(END) + 1 or reply[-4:-1] != END:
                self._socket.settimeout(max(until_s - time.monotonic(), LEAST_S))
                heard = self._socket.recv(READ_BYTES)
                if not heard:
                    self.close()
                    raise VtyError(f"{self._name} cut its reply to `{command}` short after {len(reply)} bytes")
                reply += heard
        except OSError as error:
            # A late reply would be taken for that of the next command.
            self.close()
            why = "did not answer in time" if isinstance(error, TimeoutError) else f"is gone: {error.strerror or error}"
            raise VtyError(f"{self._name} {why} (`{command}`)") from error
        return reply[-1], reply[:-4].decode(errors="replace")


def _connected(path: Path, patience_s: float) -> socket.socket:
    """A socket that is connected to a daemon; one that was asked in vain for long has others to turn to first.

    Raises:
        OSError: nobody listens there, or too many wait there for too long.
    """
    made, until_s = socket.socket(socket.AF_UNIX), time.monotonic() + patience_s
    made.settimeout(patience_s)
    try:
        while True:
            try:
                made.connect(str(path))
                return made
            except BlockingIOError:
                # As many as it takes wait for it already, which it has not looked at yet.
                if time.monotonic() > until_s:
                    raise
                time.sleep(CROWDED_S)
    except OSError:
        made.close()
        raise
