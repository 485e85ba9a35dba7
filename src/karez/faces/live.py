"""The live view: what the loop finds, does and asks while it runs, in the terminal.

It goes to the standard error, so that the answer is all that is on the standard output, and is off where that is no
terminal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from karez.faces.text import clean
from karez.loop.state import Decisions, State
from karez.operations import HealRunQuestion
from karez.operations.heal import Event, acts_of, timeline
from karez.operations.heal_run import HealRunAnswer, followed
from karez.operations.render.healing import cause
from karez.operations.story import sure_of
from karez.twin.table import text

# How long a turn is shown at least (s): runs of small networks are over in a moment otherwise.
TURN_SHOWN_S = 0.05
# How much of what has happened is shown, and how many rows of a table.
LATEST, MOST_ROWS = 8, 10
WORDS = {"found": "red", "gone": "green", "verified": "green", "undone": "yellow", "refused": "yellow"}
SURE_SHARE = 0.8


def run(question: HealRunQuestion) -> HealRunAnswer:
    """The answer of `karez heal run`, after it was shown as it came about.

    Raises:
        InputError: the network cannot be read or has nothing to break, or the record cannot be written.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        return followed(question, lambda state, decisions: None)
    with Live(console=console, auto_refresh=False) as shown:
        view = View(question, lambda frame: shown.update(frame, refresh=True), time.sleep)
        return followed(question, view.told)


class View:
    """A picture of each turn, with what has happened until then; `draw` shows it, `wait` holds it a while."""

    def __init__(
        self, question: HealRunQuestion, draw: Callable[[RenderableType], None], wait: Callable[[float], None]
    ) -> None:
        """Nothing has happened yet."""
        self._question, self._draw, self._wait = question, draw, wait
        self._turns, self._start_s = 0, 0.0
        self._latest: deque[Event] = deque(maxlen=LATEST)
        self._acts: dict[str, str] = {}

    def told(self, state: State, decisions: Decisions) -> None:
        """Show a turn."""
        self._turns += 1
        if self._turns == 1:
            # The first turn is a second after the start.
            self._start_s = decisions.at_s - 1.0
        self._latest.extend(self._named(timeline([decisions], self._start_s), decisions))
        self._draw(self._frame(state, decisions))
        self._wait(TURN_SHOWN_S)

    def _named(self, events: Iterable[Event], decisions: Decisions) -> Iterable[Event]:
        """The events, with plans of earlier turns named by what they do."""
        self._acts |= {f"plan {plan.id}": acts_of(plan.actions) for plan in decisions.plans}
        for event in events:
            yield Event(event.after_s, event.what, self._acts.get(event.subject, event.subject), event.why)

    def _frame(self, state: State, decisions: Decisions) -> RenderableType:
        question = self._question
        of = f"turn {self._turns:,} of {question.turns:,}, {decisions.at_s - self._start_s:,.0f} s"
        title = f"{question.network}: {of}, level {question.level}, fault {question.fault}"
        parts = [
            _findings(state, decisions.at_s),
            _under_way(state, decisions.at_s),
            _waiting(state),
            _happened(self._latest),
        ]
        return Panel(Group(*parts), title=Text(clean(title)), title_align="left")


def _findings(state: State, at_s: float) -> Table:
    table = _table("open findings", "what", "sure", "sources", "for")
    findings = state.findings
    names = [text(name) for name in findings.ids[np.flatnonzero(findings["open"])].tolist()]
    for name in names[:MOST_ROWS]:
        sure = sure_of(state.actual, name)
        kind, subject, since_s = (findings.cell(name, column) for column in ("kind", "subject", "since_s"))
        style = "bold" if sure.confidence >= SURE_SHARE else ""
        cells = (cause(str(kind), str(subject)), f"{sure.confidence:.0%}", f"{sure.sources}")
        _row(table, *cells, f"{at_s - float(since_s):.0f} s", style=style)
    return _ended(table, len(names))


def _under_way(state: State, at_s: float) -> Table:
    table = _table("under way", "what", "phase", "given up in")
    for one in state.running[:MOST_ROWS]:
        left = f"{one.limit_s - at_s:.0f} s" if one.phase in ("sent", "verifying") else "-"
        _row(table, f"{'take back ' if one.command.undoes else ''}{acts_of(one.command.actions)}", one.phase, left)
    return _ended(table, len(state.running))


def _waiting(state: State) -> Table:
    table = _table("waits for a person", "plan", "what", "because")
    for plan in state.waiting[:MOST_ROWS]:
        _row(table, plan.id, acts_of(plan.actions), ", ".join(plan.because) or "a person brought it")
    return _ended(table, len(state.waiting))


def _happened(latest: Iterable[Event]) -> Table:
    table = _table("latest", "s", "word", "what", "why")
    events = list(latest)
    for event in events:
        cells = (f"{event.after_s:,.0f}", event.what, event.subject, event.why)
        _row(table, *cells, style=WORDS.get(event.what, ""))
    return _ended(table, len(events))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, header_style="dim", overflow="fold")
    return table


def _row(table: Table, *cells: str, style: str = "") -> None:
    # As text, so that nothing that a network tells is taken for markup or steers the terminal.
    table.add_row(*(Text(clean(cell), style=style) for cell in cells))


def _ended(table: Table, count: int) -> Table:
    """The table, saying so where it has no row or more than are shown."""
    if not count:
        table.add_row(Text("none", style="dim"))
    elif count > MOST_ROWS and table.row_count == MOST_ROWS:
        table.add_row(Text(f"... and {count - MOST_ROWS:,} more", style="dim"))
    return table
