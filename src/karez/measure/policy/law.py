"""Rules as columns: what the packs in force say of many questions at once, mode by mode, with reasons.

The syntax trees that Cedar makes of the rules become steps over columns, each done once however many rules share it.
Cedar itself (`reference.py`) is the oracle: the two are compared without end.

Cedar's errors have no place here: its checker refuses a rule that asks for a number that may be unknown without
`has`, and arithmetic, which could overflow, is not compiled. So `&&` and `||` are what they are on columns.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from cedarpy import pst

from karez.errors import InputError, Problem
from karez.measure.policy.packs import FACTS_FIX, Pack, Rule, RuleSet, shipped
from karez.measure.policy.vocabulary import ALL_MODES, MODES, Fact, facts
from karez.twin.table import Array

# Rows that are worked on at once, so that what a step leaves is still in the cache for the next (measured).
BLOCK = 16_384
ABSENT = -1
COMPARES: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "not_eq": np.not_equal,
    "less": np.less,
    "less_eq": np.less_equal,
    "greater": np.greater,
    "greater_eq": np.greater_equal,
}
JOINS: dict[str, Callable[[Array, Array], Array]] = {"and": np.logical_and, "or": np.logical_or}


@dataclass(frozen=True)
class Facts:
    """The facts of questions, as columns by their ids, all of one length.

    A choice is the position of its value (uint8), a name its position in `names` (int32), a flag bool, a number int64
    with -1 where it is not known.
    """

    columns: Mapping[str, Array]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """How many questions."""
        return len(next(iter(self.columns.values())))

    def rows(self, which: Array | slice) -> Facts:
        """The facts of some of the questions."""
        return Facts({name: column[which] for name, column in self.columns.items()}, self.names)

    def value(self, name: str, row: int) -> str | bool | int | None:
        """What a fact is in one question; None where a number is not known."""
        fact, value = facts()[name], int(self.columns[name][row])
        if fact.kind == "choice":
            return fact.values[value]
        if fact.kind == "name":
            return self.names[value]
        if fact.kind == "flag":
            return bool(value)
        return None if value == ABSENT else value

    def alike(self) -> list[Array]:
        """The questions (rows) by what tells them apart, in the order of the first of each."""
        if not len(self):
            return []
        columns = np.stack([column.astype(np.int64) for column in self.columns.values()])
        _, first, which = np.unique(columns, axis=1, return_index=True, return_inverse=True)
        return [np.flatnonzero(which.ravel() == kind) for kind in np.argsort(first)]


class Decided(NamedTuple):
    """What was decided: the lawful modes of each question (uint8, bits), and what each set of rules had to say.

    `matched` (uint64, sets by questions) has a bit for each rule of a set that applied, whatever its modes.
    """

    lawful: Array
    matched: Array


Values = list[Array]
Step = Callable[[Values, Facts], Array]


class Law(NamedTuple):
    """Rules in force at a moment, made into steps; the columns of a rule are what `rules` has at its place."""

    sets: tuple[RuleSet, ...]
    steps: tuple[Step, ...]
    # By set: rules (position among the set's) and the step that says whether each applies.
    applies: tuple[tuple[int, ...], ...]
    provinces: frozenset[str]
    # By set, the facts (ids) that its rules ask for.
    asks: tuple[frozenset[str], ...]
    # By set that says nothing yet, the day (UTC) from which on it does.
    not_yet: Mapping[str, str]

    def decide(self, asked: Facts) -> Array:
        """The lawful modes of each question (uint8, a bit for each of `MODES`)."""
        lawful = np.empty(len(asked), np.uint8)
        for block in _blocks(len(asked)):
            lawful[block] = self._lawful(self._values(asked.rows(block)), block.stop - block.start)
        return lawful

    def each(self, asked: Facts) -> Array:
        """The modes of each question that each set of rules lets pass (uint8, sets by questions)."""
        found = np.empty((len(self.sets), len(asked)), np.uint8)
        for block in _blocks(len(asked)):
            values = self._values(asked.rows(block))
            for at in range(len(self.sets)):
                found[at, block] = self._passed(at, values, block.stop - block.start)
        return found

    def explain(self, asked: Facts) -> Decided:
        """What is lawful, and which rules of each set applied."""
        lawful = np.empty(len(asked), np.uint8)
        matched = np.zeros((len(self.sets), len(asked)), np.uint64)
        for block in _blocks(len(asked)):
            values = self._values(asked.rows(block))
            lawful[block] = self._lawful(values, block.stop - block.start)
            for said, applies in zip(matched, self.applies, strict=True):
                for bit, step in enumerate(applies):
                    said[block] |= values[step].astype(np.uint64) << np.uint64(bit)
        return Decided(lawful, matched)

    def reasons(self, matched: Array) -> Array:
        """By set, mode and question the rules (uint64, bits) that decide: what permits, or else what forbids.

        Nothing where a set denies only because no rule of it permits.
        """
        found = np.empty((len(self.sets), len(MODES), matched.shape[1]), np.uint64)
        for of_set, said, rules in zip(found, matched, self.sets, strict=True):
            for mode, out in enumerate(of_set):
                permits, forbids = (np.uint64(_bits(rules, effect, mode)) for effect in ("permit", "forbid"))
                np.bitwise_and(said, forbids, out=out)
                np.copyto(out, said & permits, where=out == 0)
        return found

    def _values(self, asked: Facts) -> Values:
        values: Values = []
        for step in self.steps:
            values.append(step(values, asked))
        return values

    def _lawful(self, values: Values, rows: int) -> Array:
        lawful = np.full(rows, ALL_MODES, np.uint8)
        for at in range(len(self.sets)):
            lawful &= self._passed(at, values, rows)
        return lawful

    def _passed(self, at: int, values: Values, rows: int) -> Array:
        """The modes that a set of rules lets pass."""
        permitted, forbidden = np.zeros(rows, np.uint8), np.zeros(rows, np.uint8)
        for rule, step in zip(self.sets[at].rules, self.applies[at], strict=True):
            held = permitted if rule.effect == "permit" else forbidden
            np.bitwise_or(held, values[step].view(np.uint8) * np.uint8(rule.modes), out=held)
        return permitted & ~forbidden


def law(packs: Sequence[Pack] | None, at_s: float) -> Law:
    """The rules of packs that are in force at a moment; of those that come with Karez, where none are given.

    A pack that says nothing yet denies everything: its sets have no rules.

    Raises:
        InputError: a rule asks what cannot be answered here; names every one.
    """
    packs = shipped() if packs is None else packs
    sets = tuple(rules.at(at_s) for pack in packs for rules in pack.sets)
    compiler, problems, applies, asks = _Compiler(), list[Problem](), list[tuple[int, ...]](), list[frozenset[str]]()
    for rules in sets:
        steps = list[int]()
        asks.append(frozenset().union(*map(_asked_for, rules.rules)))
        for rule in rules.rules:
            try:
                steps.append(compiler.rule(rule))
            except ValueError as error:
                problems.append(Problem(rules.name, str(error), FACTS_FIX, (rule.id,)))
        applies.append(tuple(steps))
    if problems:
        raise InputError(problems)
    provinces = frozenset(pack.province for pack in packs if pack.province and pack.from_s <= at_s)
    not_yet = {
        rules.name: dt.datetime.fromtimestamp(first_s, dt.UTC).date().isoformat()
        for pack in packs
        for rules in pack.sets
        if at_s < (first_s := min(rule.from_s for rule in rules.rules))
    }
    return Law(sets, tuple(compiler.steps), tuple(applies), provinces, tuple(asks), not_yet)


def _bits(rules: RuleSet, effect: str, mode: int) -> int:
    """The rules of a set (bits) that have an effect on a mode."""
    return sum(1 << at for at, rule in enumerate(rules.rules) if rule.effect == effect and rule.modes >> mode & 1)


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK))


class _Compiler:
    """Makes steps of expressions; an expression that was met before is the step that it was."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._known: dict[pst.Expr, int] = {}

    def rule(self, rule: Rule) -> int:
        """The step that says whether a rule applies."""
        clauses = [
            clause.expr if isinstance(clause, pst.When) else pst.UnaryOp("not", clause.expr)
            for clause in rule.template.clauses
        ]
        whole = reduce(lambda left, right: pst.BinaryOp("and", left, right), clauses or [pst.BoolLit(True)])
        return self.truth(whole)

    def truth(self, expr: pst.Expr) -> int:
        """The step whose value is whether an expression holds (bool, a value a row)."""
        if expr not in self._known:
            step = self._step(expr)
            self._known[expr] = len(self.steps)
            self.steps.append(step)
        return self._known[expr]

    def _step(self, expr: pst.Expr) -> Step:
        match expr:
            case pst.BoolLit(value):
                return lambda values, asked: np.full(len(asked), value)
            case pst.UnaryOp("not", arg):
                inner = self.truth(arg)
                return lambda values, asked: ~values[inner]
            case pst.BinaryOp(op, left, right) if op in JOINS:
                join, one, other = JOINS[op], self.truth(left), self.truth(right)
                return lambda values, asked: join(values[one], values[other])
            case pst.BinaryOp("contains", pst.Set(elements), held):
                return self._one_of(elements, held)
            case pst.BinaryOp(op, left, right) if op in COMPARES:
                return self._compared(op, left, right)
            case pst.IfThenElse(cond, then, other_wise):
                asks, yes, no = self.truth(cond), self.truth(then), self.truth(other_wise)
                return lambda values, asked: np.where(values[asks], values[yes], values[no])
            case pst.GetAttr():
                fact = _fact(expr)
                if fact.kind == "flag":
                    return lambda values, asked: asked.columns[fact.id]
            case pst.HasAttr(pst.Var(holder), (name,)):
                fact = _fact(pst.GetAttr(pst.Var(holder), name))
                if fact.kind == "number":
                    return lambda values, asked: asked.columns[fact.id] != ABSENT
                return lambda values, asked: np.full(len(asked), True)
        raise ValueError(f"asks what only Cedar can answer: {_brief(expr)}")

    def _one_of(self, elements: Sequence[pst.Expr], held: pst.Expr) -> Step:
        """Whether what is held is one of the elements."""
        equals = [pst.BinaryOp("eq", held, element) for element in elements]
        if not equals:
            return lambda values, asked: np.full(len(asked), False)
        steps = [self.truth(expr) for expr in equals]
        return lambda values, asked: reduce(np.logical_or, (values[step] for step in steps))

    def _compared(self, op: str, left: pst.Expr, right: pst.Expr) -> Step:
        compare = COMPARES[op]
        if _is_literal(left) and not _is_literal(right):
            mirrored = {"less": "greater", "less_eq": "greater_eq", "greater": "less", "greater_eq": "less_eq"}
            return self._compared(mirrored.get(op, op), right, left)
        if not isinstance(left, pst.GetAttr) or _fact(left).kind == "flag":
            one, other = self.truth(left), self.truth(right)
            return lambda values, asked: compare(values[one], values[other])
        fact = _fact(left)
        if isinstance(right, pst.GetAttr):
            with_what = _fact(right)
            if (with_what.kind, with_what.values) != (fact.kind, fact.values):
                raise ValueError(f"compares {fact.id} with {with_what.id}, which is of another kind")
            return lambda values, asked: compare(asked.columns[fact.id], asked.columns[with_what.id])
        if isinstance(right, pst.LongLit) and fact.kind == "number":
            number = np.asarray(right.value, np.int64)
            return lambda values, asked: compare(asked.columns[fact.id], number)
        if isinstance(right, pst.StringLit) and fact.kind in ("choice", "name"):
            return self._is(fact, right.value, compare)
        raise ValueError(f"asks what only Cedar can answer: {_brief(pst.BinaryOp('eq', left, right))}")

    def _is(self, fact: Fact, value: str, compare: Callable[[Array, Array], Array]) -> Step:
        """Whether a choice or a name is a value."""
        if fact.kind == "name":
            return lambda values, asked: compare(asked.columns[fact.id], _place(asked.names, value))
        if value not in fact.values:
            raise ValueError(f"compares {fact.id} with {value!r}, which is none of {', '.join(fact.values)}")
        code = np.asarray(fact.values.index(value), np.uint8)
        return lambda values, asked: compare(asked.columns[fact.id], code)


def named_in(rule: Rule) -> frozenset[str]:
    """All texts that a rule compares anything with."""
    return frozenset(node.value for node in _nodes(rule.template.clauses) if isinstance(node, pst.StringLit))


def _asked_for(rule: Rule) -> frozenset[str]:
    """The facts (ids) that a rule asks for."""
    held = (node for node in _nodes(rule.template.clauses) if isinstance(node, pst.GetAttr))
    return frozenset(f"{node.base.name}.{node.attr}" for node in held if isinstance(node.base, pst.Var))


def _nodes(node: object) -> Iterator[object]:
    """Everything in a syntax tree, from the top."""
    yield node
    within = node if isinstance(node, tuple) else ()
    if is_dataclass(node):
        within = tuple(getattr(node, field.name) for field in fields(node))
    for one in within:
        yield from _nodes(one)


def _place(names: tuple[str, ...], value: str) -> Array:
    return np.asarray(names.index(value) if value in names else ABSENT, np.int32)


def _is_literal(expr: pst.Expr) -> bool:
    return isinstance(expr, pst.StringLit | pst.LongLit | pst.BoolLit)


def _fact(expr: pst.Expr) -> Fact:
    """The fact that an expression asks for.

    Raises:
        ValueError: there is no such fact.
    """
    if isinstance(expr, pst.GetAttr) and isinstance(expr.base, pst.Var):
        found = facts().get(f"{expr.base.name}.{expr.attr}")
        if found is not None:
            return found
    raise ValueError(f"asks what only Cedar can answer: {_brief(expr)}")


def _brief(expr: pst.Expr) -> str:
    """An expression as Cedar's parser has it, cut to a line."""
    text = repr(expr)
    return text if len(text) <= 120 else f"{text[:120]}..."
