"""The Python face: a function for each operation, made from its question."""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import Parameter, Signature

from karez import operations
from karez.faces.questions import Field, fields, read
from karez.operations import OPERATIONS, Answer


def function(operation: str, *, name: str) -> Callable[..., Answer]:
    """The function `name` that asks `operation`: required fields by position or name, the others by name."""
    asked = fields(OPERATIONS[operation].question)
    signature = Signature([_parameter(field) for field in asked], return_annotation=Answer)

    def ask(*args: object, **kwargs: object) -> Answer:
        bound = signature.bind(*args, **kwargs).arguments
        values = {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in bound.items()}
        return operations.run(operation, read(operation, values, strict=True))

    ask.__name__ = ask.__qualname__ = name
    ask.__module__ = "karez"
    ask.__doc__ = _doc(operation, asked)
    ask.__signature__ = signature  # type: ignore[attr-defined]
    return ask


def _parameter(field: Field) -> Parameter:
    if field.required:
        return Parameter(field.name, Parameter.POSITIONAL_OR_KEYWORD, annotation=field.type)
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)


def _doc(operation: str, asked: tuple[Field, ...]) -> str:
    lines = [f"    {field.name}: {field.help}" for field in asked]
    return "\n".join([OPERATIONS[operation].question.__doc__ or "", "", "Args:", *lines])
