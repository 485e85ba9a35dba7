"""The twin: columns with a schema, digests that name their content, checks, revisions on disk."""

from karez.twin.table import Column, Table
from karez.twin.twin import Conflict, TableDiff, Twin, World, diff, merge

__all__ = ["Column", "Conflict", "Table", "TableDiff", "Twin", "World", "diff", "merge"]
