"""A network into a file that other systems read."""

from __future__ import annotations

import msgspec

from karez.importers import rfc8345
from karez.operations import Answer, ExportQuestion
from karez.operations.leaving import require_reader_may_know
from karez.operations.networks import counted, load, now_s, provenance, require_new_file, write_new


class Part(msgspec.Struct, frozen=True):
    """A table of the network, and whether it is in the file: the format has no words for some."""

    table: str
    rows: int
    written: bool


class ExportAnswer(Answer, frozen=True, kw_only=True):
    """The file, and what of the network is in it."""

    file: str
    tables: tuple[Part, ...]


def run(question: ExportQuestion) -> ExportAnswer:
    """The path of the file, after it was written; the same revision gives the same bytes.

    Raises:
        InputError: the network cannot be read, or the file exists already or cannot be written, or there is no such
            reader.
        Refused: the reader may not know the network.
    """
    require_new_file(question.output)
    world, revision = load(question.network, question.revision)
    twin = world.intended
    require_reader_may_know(twin, revision, question.reader, redacted=False, at_s=now_s())
    write_new(question.output, msgspec.json.format(msgspec.json.encode(rfc8345.write(twin)), indent=1) + b"\n")
    parts = tuple(Part(t.name, len(t), t.name in rfc8345.WRITTEN) for t in twin.tables.values() if len(t))
    left = sum(not part.written for part in parts)
    places = f"{counted(len(twin['sites']), 'site')}, {counted(len(twin['stations']), 'station')}"
    synthetic = " (synthetic)" if revision.synthetic else ""
    return ExportAnswer(
        headline=f"{places} and {counted(len(twin['links']), 'link')} written as RFC 8345 JSON{synthetic}"
        + (f"; {counted(left, 'table')} left out, for which it has no words" if left else ""),
        citation=provenance(revision),
        file=question.output,
        tables=parts,
    )
