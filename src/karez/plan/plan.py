"""Actions and plans: values that can be read, compared, checked, applied to a twin and undone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from itertools import groupby

import msgspec
import numpy as np

from karez.plan.kinds import KINDS, ORDERS
from karez.plan.reads import Read
from karez.twin import Twin, schema
from karez.twin.schema import Value

ID_DIGITS = 16


# What stands for infinity, which JSON does not know: the end of what is to stay, say.
NEVER = "inf"


class Cell(msgspec.Struct, frozen=True):
    """A cell of the intended twin that an action sets; infinity is written as `NEVER`."""

    table: str
    row: str
    column: str
    before: Value
    after: Value


class NewRow(msgspec.Struct, frozen=True):
    """A row that an action adds to the intended twin; absent columns take the value of the schema."""

    table: str
    row: str
    values: dict[str, Value]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One typed act: what it sets or adds in the intended twin.

    The actual twin must mirror what was set before the act counts as done (`expected`); `expects` holds what must be
    seen besides. `blast_radius` lists every row whose service the act may touch; after `expires_at_s` it may not be
    started; a long action ends at `ends_at_s`.
    """

    kind: str
    subject: str
    sets: tuple[Cell, ...] = ()
    adds: tuple[NewRow, ...] = ()
    expects: tuple[Read, ...] = ()
    blast_radius: tuple[str, ...] = ()
    expires_at_s: float
    ends_at_s: float = 0.0

    @property
    def id(self) -> str:
        """16 hexadecimal digits that name the content: the same act decided twice has one id."""
        return content_id(self)

    @property
    def touched(self) -> tuple[tuple[str, str], ...]:
        """The table and id of every row of the intended twin that the act sets or adds."""
        return (*((c.table, c.row) for c in self.sets), *((n.table, n.row) for n in self.adds))


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """How good a plan is: its value, the best that any plan could reach, and what shows it.

    Both are costs (less is better), so `bound <= value`. `certificate` holds what a checker needs.
    """

    value: float
    bound: float
    unit: str
    how: str
    certificate: dict[str, tuple[float | str, ...] | float | str] = {}

    @property
    def gap_share(self) -> float:
        """How far the plan may be from the best, as a share of its value."""
        return (self.value - self.bound) / self.value if self.value else 0.0


class Alternative(msgspec.Struct, frozen=True):
    """A candidate that was weighed and not taken ("do nothing" among them), its score and the reason."""

    name: str
    score: float
    why_not: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A decision: made by `planner` from the intended twin of digest `revision`, good while its reads hold.

    `because` has the ids of the findings that it answers; `foreseen_us` by how much the delay of which demands will be
    above that of an unhurt network; `asks` says why a person is to decide, whatever the level;
    `summary` says in words what it does.
    """

    planner: str
    question: dict[str, Value]
    revision: str
    made_at_s: float
    reads: tuple[Read, ...]
    actions: tuple[Action, ...]
    price_cny: float
    proof: Proof
    because: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    foreseen_us: dict[str, float] = {}
    asks: str = ""
    summary: str = ""
    citation: str = ""

    @property
    def id(self) -> str:
        """16 hexadecimal digits that name the content."""
        return content_id(self)


def written(value: Value) -> Value:
    """The value of a cell as an action writes it."""
    return NEVER if value == math.inf else value


def content_id(value: msgspec.Struct) -> str:
    """16 hexadecimal digits that name what `value` holds."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:ID_DIGITS]


def applied(actions: Iterable[Action], intended: Twin) -> Twin:
    """The intended twin after the actions; the guard asks whether their reads hold, not this function."""
    for action in actions:
        for name, cells in groupby(sorted(action.sets, key=_column), key=_column):
            intended = _set(intended, *name, list(cells))
        for new in action.adds:
            row = {"id": [new.row]} | {column: [value] for column, value in new.values.items()}
            intended = intended.replace(intended[new.table].add(row))
    return intended


def is_reversible(action: Action) -> bool:
    """Whether the action has an exact inverse, by its kind."""
    return KINDS[action.kind].effect == "reversible"


def inverse(action: Action, *, expires_at_s: float) -> Action:
    """The action that undoes a reversible one exactly.

    Raises:
        ValueError: actions of this kind cannot be undone.
    """
    kind = KINDS[action.kind]
    if not is_reversible(action):
        raise ValueError(f"{action.kind} is {kind.effect}: it has no inverse")
    return msgspec.structs.replace(
        action,
        kind=kind.inverse,
        sets=tuple(msgspec.structs.replace(c, before=c.after, after=c.before) for c in action.sets),
        expects=(),
        expires_at_s=expires_at_s,
    )


def taken(action: Action) -> tuple[Read, ...]:
    """What the actual twin shows of an action that the network took: the cells it set, the order it placed."""
    mirrored = tuple(
        Read(mirror, cell.row, cell.column, "==", cell.after)
        for cell in action.sets
        if (mirror := schema.mirror(cell.table)) and cell.column in schema.tables()[mirror]
    )
    return (*mirrored, Read("order_states", action.id)) if action.kind in ORDERS else mirrored


def expected(action: Action) -> tuple[Read, ...]:
    """What the actual twin must show once the action has taken effect."""
    return (*taken(action), *action.expects)


def _column(cell: Cell) -> tuple[str, str]:
    return cell.table, cell.column


def _set(twin: Twin, table: str, column: str, cells: list[Cell]) -> Twin:
    rows = twin[table].rows([cell.row for cell in cells])
    values = [cell.after for cell in cells]
    return twin.replace(twin[table].set(rows, **{column: _array(values)}))


def _array(values: list[Value]) -> np.ndarray:
    if isinstance(values[0], str):
        return np.array([str(value).encode() for value in values])
    return np.array(values)
