"""What an operation is asked, field by field, and the question read from what a person or program gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from karez.errors import InputError, Problem
from karez.operations import OPERATIONS

# What a column of whole numbers holds; a larger one would fail far from here.
LARGEST_INT = 2**63 - 1
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a question: what it takes in words (`takes`), and what faces must know of it."""

    name: str
    type: Any
    base: type
    required: bool
    default: Any
    description: str
    takes: str
    choices: tuple[str, ...]
    is_path: bool

    @property
    def help(self) -> str:
        """One line: what it means, what it takes, and the default where there is one."""
        default = f"; default {shown(self.default)}" if not self.required and self.default not in (None, "") else ""
        return f"{self.description} ({self.takes}{default})" if self.description else f"{self.takes}{default}"


def fields(question: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a question, in order."""
    return tuple(_field(info) for info in msgspec.structs.fields(question))


def read(operation: str, values: Mapping[str, object], *, strict: bool) -> msgspec.Struct:
    """The question of `operation` with these values; where not `strict`, text stands for numbers and so on.

    Raises:
        InputError: with a problem for each field that is missing, unknown or wrong.
    """
    question = OPERATIONS[operation].question
    known = {field.name: field for field in fields(question)}
    problems = [Problem(name, "unknown", f"give one of {', '.join(known)}") for name in values if name not in known]
    given: dict[str, object] = {}
    for name, field in known.items():
        try:
            if name in values:
                given[name] = _value(field, values[name], strict=strict)
            elif field.required:
                problems.append(Problem(name, "missing", f"give {field.takes}: {field.description}"))
        except ValueError:
            problems.append(Problem(name, f"{shown(values[name])!r} is wrong", f"give {field.takes}"))
    if problems:
        raise InputError(problems)
    return question(**given)


def shown(value: object) -> str:
    """A value as a person would give it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _field(info: msgspec.structs.FieldInfo) -> Field:
    facts, base = _facts(info.type), _base(info.type)
    choices = get_args(base) if get_origin(base) is Literal else ()
    return Field(
        name=info.name,
        type=info.type,
        base=str if choices else base,
        required=info.required,
        default=None if info.required else info.default,
        description=facts["description"],
        takes=f"one of {', '.join(choices)}" if choices else _takes(base, facts),
        choices=choices,
        is_path=facts["is_path"],
    )


def _facts(hint: Any) -> dict[str, Any]:
    """Bounds, description and mark of a type, from wherever in it they are written."""
    facts: dict[str, Any] = {"description": "", "is_path": False}
    found: list[inspect.Type] = [inspect.type_info(hint)]
    while found:
        part = found.pop()
        if isinstance(part, inspect.Metadata):
            facts["description"] = facts["description"] or (part.extra_json_schema or {}).get("description", "")
            facts["is_path"] |= bool((part.extra or {}).get("path"))
            found.append(part.type)
        elif isinstance(part, inspect.UnionType):
            found.extend(part.types)
        elif isinstance(part, inspect.FloatType | inspect.IntType):
            facts |= {bound: getattr(part, bound) for bound in BOUNDS}
    return facts


def _base(hint: Any) -> Any:
    """The type itself: `float` of a number that has bounds or may be left out."""
    if get_origin(hint) is Annotated:
        return _base(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return _base(next(part for part in get_args(hint) if part is not type(None)))
    return hint


def _takes(base: type, facts: dict[str, Any]) -> str:
    bounds = [f"{word} {shown(facts[key])}" for key, word in BOUNDS.items() if facts.get(key) is not None]
    kind = "a path" if facts["is_path"] else KINDS[base]
    return " ".join([kind, " and ".join(bounds)]).strip()


def _value(field: Field, value: object, *, strict: bool) -> object:
    """The value in the type of the field.

    Raises:
        ValueError: it cannot be, or nothing sensible would come of it (msgspec's ValidationError is one).
    """
    converted = msgspec.convert(value, field.type, strict=strict)
    if isinstance(converted, float) and not math.isfinite(converted):
        raise ValueError("not finite")
    if isinstance(converted, int) and abs(converted) > LARGEST_INT:
        raise ValueError("too large")
    # Half a character that stands for a byte of a file name cannot be written out again, and no path holds a null.
    if isinstance(converted, str) and "\0" in converted.encode().decode():
        raise ValueError("holds a null character")
    if field.is_path and field.required and not converted:
        raise ValueError("empty")
    return converted
