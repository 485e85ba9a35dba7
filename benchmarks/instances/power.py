"""A disk that loses its power: SQLite runs on it, and what was not synced is kept or forgotten by chance.

Each 512-byte sector of each write since the last sync of its file is kept or not, each by itself; so are truncations,
and files made or deleted whose folder was not synced. What lies beside a sector that was written stays as it was, as
SQLite takes for granted of any disk (SQLITE_IOCAP_POWERSAFE_OVERWRITE).
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import apsw

from benchmarks import MEMORY
from karez.errors import InputError
from karez.record.log import Record, read
from karez.record.seal import seal
from karez.record.sqlite import Connect
from karez.record.verify import verify

SECTOR_BYTES = 512
POWERSAFE_OVERWRITE = 0x1000
# Files whose first sync brings the folder to the disk too, as SQLite's own layer for Unix does it.
WITH_FOLDER = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
# A checkpoint every so many pages, so that many fall into a life of some dozen commits.
CHECKPOINT_PAGES = 12
# Longest life, in operations of the disk; lives are drawn evenly on a logarithmic scale, as the first ones differ most.
LONGEST_LIFE = 1_200.0
LONGEST_BODY_BYTES = 4_000.0
MOST_ENTRIES = 12.0
CLOSED_SHARE, SEALED_SHARE = 0.05, 0.03

Result = TypeVar("Result")


class Blackout(apsw.IOError):
    """The power is off: nothing works any more."""


@dataclass(eq=False)
class Content:
    """What a file holds, what of it is on the disk for sure, and what came since."""

    now: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, data: bytes, offset: int) -> None:
        """Write."""
        _put(self.now, data, offset)
        self.pending.append((offset, data))

    def cut(self, size: int) -> None:
        """Cut the file."""
        del self.now[size:]
        self.pending.append((size, None))

    def sync(self) -> None:
        """Bring all of it to the disk."""
        self.synced, self.pending = bytearray(self.now), []

    def after_blackout(self, chance: random.Random) -> Content:
        """What is left of it."""
        left = bytearray(self.synced)
        for offset, data in self.pending:
            if data is None:
                if chance.random() < 0.5:
                    del left[offset:]
                continue
            for start, end in _sectors(offset, len(data)):
                if chance.random() < 0.5:
                    _put(left, data[start:end], offset + start)
        return Content(bytearray(left), left)


@dataclass
class Disk:
    """Files by name: as they are, and as a blackout would leave them."""

    chance: random.Random
    files: dict[str, Content] = field(default_factory=dict)
    synced: dict[str, Content] = field(default_factory=dict)
    pending: list[tuple[str, Content | None]] = field(default_factory=list)
    life: float = float("inf")
    room_bytes: float = float("inf")

    def spend(self) -> None:
        """One operation less to live."""
        if self.life <= 0:
            raise Blackout
        self.life -= 1

    def link(self, name: str, content: Content | None) -> None:
        """Make a name stand for a content, or for nothing any more."""
        if content is None:
            del self.files[name]
        else:
            self.files[name] = content
        self.pending.append((name, content))

    def sync_folder(self) -> None:
        """Bring all names to the disk."""
        self.synced, self.pending = dict(self.files), []

    def write(self, content: Content, data: bytes, offset: int) -> None:
        """Write where there is room."""
        used = sum(len(other.now) for other in self.files.values())
        if used + max(0, offset + len(data) - len(content.now)) > self.room_bytes:
            raise apsw.FullError("database or disk is full")
        content.write(data, offset)

    def after_blackout(self) -> Disk:
        """The disk as it is when the power comes back."""
        names = dict(self.synced)
        for name, content in self.pending:
            if self.chance.random() < 0.5:
                if content is None:
                    names.pop(name, None)
                else:
                    names[name] = content
        files = {name: content.after_blackout(self.chance) for name, content in names.items()}
        return Disk(self.chance, dict(files), files)


class File(apsw.VFSFile):
    """An open file."""

    def __init__(self, disk: Disk, content: Content, *, with_folder: bool) -> None:
        self.disk, self.content, self.with_folder = disk, content, with_folder

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self.disk.spend()
        return bytes(self.content.now[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.spend()
        self.disk.write(self.content, bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self.disk.spend()
        self.content.cut(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.disk.spend()
        self.content.sync()
        if self.with_folder:
            self.disk.sync_folder()
            self.with_folder = False

    def xFileSize(self) -> int:  # noqa: N802
        return len(self.content.now)

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None:  # noqa: N802
        pass

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return POWERSAFE_OVERWRITE

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802
        return False


class Layer(apsw.VFS):
    """What SQLite takes for the operating system."""

    def __init__(self, name: str, disk: Disk) -> None:
        self.disk = disk
        # SQLite draws from the default layer, and is told to draw anew, so that a seed gives the same course again.
        super().__init__(name, "unix", makedefault=True)
        apsw.randomness(0)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        self.disk.spend()
        name = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        content = self.disk.files.get(name or "", Content())
        new = name is not None and name not in self.disk.files
        if name is not None and new:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError
            self.disk.link(name, content)
        return File(self.disk, content, with_folder=new and bool(flags[0] & WITH_FOLDER))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.disk.spend()
        if filename in self.disk.files:
            self.disk.link(filename, None)
        if syncdir:
            self.disk.sync_folder()

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802
        return pathname in self.disk.files

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xRandomness(self, numbytes: int) -> bytes:  # noqa: N802
        return self.disk.chance.randbytes(numbytes)


class Translated:
    """A connection of apsw whose errors are those of the standard library, which the record knows."""

    def __init__(self, base: apsw.Connection, synchronous: str) -> None:
        self.base, self.synchronous = base, synchronous

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Iterator[Any]:
        if sql == "PRAGMA synchronous=FULL":
            sql = f"PRAGMA synchronous={self.synchronous}"
        return iter(_translated(lambda: list(self.base.execute(sql, values))))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        return _translated(lambda: list(self.base.executemany(sql, rows)))

    def close(self) -> None:
        # The standard library's says nothing either.
        with suppress(apsw.Error):
            self.base.close()


def connecting(layer: str, *, synchronous: str = "FULL") -> Connect:
    """How to open databases on a disk; with `synchronous` NORMAL they are as the record must not have them."""
    modes = {"ro": apsw.SQLITE_OPEN_READONLY, "rw": apsw.SQLITE_OPEN_READWRITE}
    modes["rwc"] = modes["rw"] | apsw.SQLITE_OPEN_CREATE

    def connect(path: Path, mode: str) -> Translated:
        base = _translated(lambda: apsw.Connection(str(path), flags=modes[mode], vfs=layer))
        base.set_wal_hook(_checkpoint)
        translated = Translated(base, synchronous)
        # Without shared memory, WAL needs the file for itself.
        translated.execute("PRAGMA locking_mode=EXCLUSIVE")
        return translated

    return connect


def _checkpoint(base: apsw.Connection, name: str, pages: int) -> int:
    """Checkpoint as SQLite does: where it fails, the commit before it stands. Left to itself, apsw would raise."""
    if pages >= CHECKPOINT_PAGES:
        with suppress(apsw.Error):
            base.wal_checkpoint(name)
    return apsw.SQLITE_OK


@dataclass
class Toll:
    """What blackouts cost: acknowledged events lost, blackouts that lost any, records that came back unsound."""

    blackouts: int = 0
    acknowledged: int = 0
    lost: int = 0
    lossy: int = 0
    unsound: int = 0
    why: str = ""

    def add(self, other: Toll) -> None:
        """Add up."""
        self.blackouts += other.blackouts
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.lossy += other.lossy
        self.unsound += other.unsound
        self.why = self.why or other.why


@dataclass
class Lived:
    """A record on a disk that loses its power again and again; it is opened anew after each time and goes on."""

    seed: int
    folder: Path
    synchronous: str = "FULL"
    toll: Toll = field(default_factory=Toll)
    acknowledged: set[bytes] = field(default_factory=set)
    in_flight: int = 0
    layers: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.disk = Disk(self.chance)

    @property
    def path(self) -> Path:
        return self.folder / "run.record"

    @property
    def sealed(self) -> Path:
        return self.folder / "sealed"

    def run(self, blackouts: int) -> Toll:
        """What so many blackouts cost."""
        for _ in range(blackouts):
            self.disk.life = LONGEST_LIFE ** self.chance.random()
            self._on(self.disk, self._live)
            self.disk = self.disk.after_blackout()
            self._reckon()
        return self.toll

    def _on(self, disk: Disk, work: Callable[[Connect], None]) -> None:
        """Do something with databases on a disk."""
        self.layers += 1
        name = f"power-{id(self)}-{self.layers}"
        layer = Layer(name, disk)
        try:
            work(connecting(name, synchronous=self.synchronous))
        finally:
            layer.unregister()

    def _live(self, connect: Connect) -> None:
        """Append, seal, close and open again until the power goes; what is acknowledged is noted at once."""
        while self.disk.life > 0:
            with suppress(InputError), self._opened(self.disk, connect) as record:
                while self.disk.life > 0 and self.chance.random() > CLOSED_SHARE:
                    self._step(record, connect)

    def _opened(self, disk: Disk, connect: Connect) -> Record:
        return Record(self.path, resume=str(self.path) in disk.files, connect=connect)

    def _step(self, record: Record, connect: Connect) -> None:
        if self.chance.random() < SEALED_SHARE:
            seal(record, self.sealed, 0.0, connect=connect)
        entries = [("turn", 0.0, self._body()) for _ in range(int(MOST_ENTRIES ** self.chance.random()))]
        self.in_flight = len(entries)
        receipts = record.append_all(entries)
        self.in_flight = 0
        self.acknowledged.update(receipts)
        self.toll.acknowledged += len(receipts)

    def _body(self) -> bytes:
        return self.chance.randbytes(int(LONGEST_BODY_BYTES ** self.chance.random()))

    def _reckon(self) -> None:
        """Count what is gone. Recovery runs on a copy, so that the next blackout may come in the midst of it."""
        self.toll.blackouts += 1
        found, why = set[bytes](), ""
        try:
            found = self._recovered()
        except (InputError, ValueError) as error:
            why = str(error)
        gone, more = self.acknowledged - found, found - self.acknowledged
        if not gone and not why and len(more) not in (0, self.in_flight):
            why = f"{len(more)} events of {self.in_flight} that share a commit"
        self.toll.lost += len(gone)
        self.toll.lossy += bool(gone)
        self.toll.unsound += bool(why)
        self.toll.why = self.toll.why or why
        # What came back unasked may have been read, so it has to stay; what is lost is counted once.
        self.acknowledged, self.in_flight = found, 0
        if gone or why:
            self.acknowledged, self.disk = set(), Disk(self.chance)

    def _recovered(self) -> set[bytes]:
        """The receipts of the turns in the record once it was opened again, verified by the code that stands alone."""
        if str(self.path) not in self.disk.files:
            return set()
        disk = self.disk.after_blackout()
        self._on(disk, lambda connect: self._mend(disk, connect))
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            files = [Path(folder) / Path(name).name for name in disk.files]
            for file, content in zip(files, disk.files.values(), strict=True):
                file.write_bytes(content.now)
            order = sorted(file for file in files if file.suffix == ".record")
            verify(*order)
            return {event.receipt for file in order for event in read(file) if event.kind == "turn"}

    def _mend(self, disk: Disk, connect: Connect) -> None:
        """Open and close the record; finish a seal that was cut off."""
        with self._opened(disk, connect) as record:
            segment = record.store.last("segment")
            if segment is not None and record.store.page(0, 1)[0].seq < segment.seq:
                seal(record, self.sealed, 0.0, connect=connect)


def _put(content: bytearray, data: bytes, offset: int) -> None:
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Start and end, within a write, of each sector that it touches."""
    start = 0
    while start < length:
        end = min(length, start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES)
        yield start, end
        start = end


def _translated(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except apsw.ConstraintError as error:
        raise sqlite3.IntegrityError(str(error)) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise sqlite3.DatabaseError(str(error)) from error
    except apsw.Error as error:
        raise sqlite3.OperationalError(str(error)) from error
