"""A record that many threads append to: those that wait at the same time share one commit."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition

from karez.errors import InputError
from karez.record.log import Entry, Record


@dataclass(eq=False)
class _Waiting:
    """An entry that is to be recorded, and what became of it."""

    entry: Entry
    receipt: bytes = b""
    failed: Exception | None = None

    @property
    def settled(self) -> bool:
        return bool(self.receipt) or self.failed is not None


class Shared:
    """One record for many threads; nothing else may append to it meanwhile."""

    def __init__(self, record: Record) -> None:
        """Share a record."""
        self._record = record
        self._waiting: list[_Waiting] = []
        self._committing = False
        self._changed = Condition()

    def append(self, kind: str, at_s: float, body: bytes) -> bytes:
        """The receipt of an event that is now on the disk.

        Raises:
            InputError: the disk took no more, or the entry cannot be recorded; nothing of it was kept.
        """
        mine = _Waiting((kind, at_s, body))
        if group := self._led(mine):
            try:
                self._commit(group)
            finally:
                with self._changed:
                    self._give_up(group)
                    self._committing = False
                    self._changed.notify_all()
        if mine.failed is not None:
            raise mine.failed
        return mine.receipt

    def _led(self, mine: _Waiting) -> list[_Waiting]:
        """All that wait, for this thread to commit; nothing if another thread has taken `mine` along."""
        with self._changed:
            self._waiting.append(mine)
            self._changed.wait_for(lambda: mine.settled or not self._committing)
            if mine.settled:
                return []
            self._committing = True
            group, self._waiting = self._waiting, []
            return group

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            self._settle(group)
        except Exception:  # noqa: BLE001  One entry that cannot be recorded shall not take the others with it.
            for waiting in group:
                self._alone(waiting)

    def _settle(self, group: list[_Waiting]) -> None:
        receipts = self._record.append_all(waiting.entry for waiting in group)
        for waiting, receipt in zip(group, receipts, strict=True):
            waiting.receipt = receipt

    def _give_up(self, group: list[_Waiting]) -> None:
        """Where the committing thread was stopped in the midst of it, nobody is to wait or to take it for done."""
        for waiting in group:
            if not waiting.settled:
                what = "was not told whether an event was kept: the thread that recorded it was stopped"
                waiting.failed = InputError.of(self._record.store.where, what, "look for it in the record")

    def _alone(self, waiting: _Waiting) -> None:
        try:
            self._settle([waiting])
        except Exception as error:  # noqa: BLE001  Told to the thread whose entry it is.
            waiting.failed = error
