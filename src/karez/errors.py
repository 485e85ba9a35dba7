"""What can go wrong where the outside meets Karez, and the exit code each kind has."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

SHOWN_ROWS = 5
LONGEST_ROW = 80


class Problem(msgspec.Struct, frozen=True, order=True):
    """One thing wrong with data: where, in which rows, what, and what to do."""

    where: str
    what: str
    fix: str
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for a person; long lists of rows are cut, and the cut is said."""
        shown = ", ".join(
            row if len(row) <= LONGEST_ROW else f"{row[:LONGEST_ROW]}..." for row in self.rows[:SHOWN_ROWS]
        )
        more = f" and {len(self.rows) - SHOWN_ROWS} more" if len(self.rows) > SHOWN_ROWS else ""
        rows = f" (rows {shown}{more})" if self.rows else ""
        return f"{self.where}: {self.what}{rows}; {self.fix}"


class KarezError(Exception):
    """Anything Karez itself refuses or cannot do."""

    exit_code = 1


class InputError(KarezError):
    """What came from outside is wrong; carries every problem found."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep all problems; the message has a line for each."""
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, where: str, what: str, fix: str, rows: Sequence[str] = ()) -> InputError:
        """An error with a single problem."""
        return cls([Problem(where, what, fix, tuple(rows))])


class TargetMissed(KarezError):
    """The question has an answer, and the answer misses the target that was set."""

    exit_code = 3


class Infeasible(KarezError):
    """No plan can do what was asked."""

    exit_code = 4


class Refused(KarezError):
    """A rule, a missing approval or a changed read forbids the act."""

    exit_code = 5
