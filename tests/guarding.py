"""What the tests of guards in a process of their own share: a line to one without the process."""

from __future__ import annotations

from pathlib import Path

import msgspec

from karez.adapters import wire
from karez.adapters.guarding import Server
from karez.adapters.remote import Line
from karez.twin.table import Array


class Direct(Line):
    """A line without a socket: all is said in the same bytes."""

    def __init__(self, server: Server) -> None:
        super().__init__(Path())
        self._server, self._theirs = server, dict[str, Array]()

    def _exchanged(self, question: wire.Question, until_s: float) -> wire.Answer:
        asked = msgspec.msgpack.decode(msgspec.msgpack.encode(question), type=wire.Question)
        return msgspec.msgpack.decode(self._server.answer(asked, self._theirs), type=wire.Answer)
