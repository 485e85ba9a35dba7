"""Plan and run computing-power networks: networks whose links and whose chips are one system.

A **twin** is a set of columns. Every question is a pure function of a twin. Every decision is a **plan**, a value that
can be read, compared and checked. What accumulates is a **fold**. Only the **loop** acts, and only on a plan.

Every operation is a function here: `karez.circles("folder", budget_us=500)`. A name that Python or a module of Karez
has taken gets an underscore: `karez.import_`, `karez.steer_`.
"""

from __future__ import annotations

# Every module of Karez comes after this one, those of the request path too; so it imports nothing before it is asked.
# What it then imports goes by name, or whatever asks for the version would seem to depend on the faces.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__version__: str


def __getattr__(name: str) -> Callable[..., Any]:
    """The function of an operation, or `__version__`; made when first asked for, then kept."""
    if name == "__version__":
        globals()[name] = _version()
    elif not name.startswith("_") and not _is_module(name) and (operation := _verbs().get(name)):
        globals()[name] = _module("faces.python").function(operation, name=name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made: Callable[..., Any] = globals()[name]
    return made


def __dir__() -> list[str]:
    """The names of this module, those of all operations among them."""
    return sorted({*globals(), "__version__", *_verbs()})


def _verbs() -> dict[str, str]:
    from keyword import iskeyword

    names = _module("operations").OPERATIONS
    return {f"{name}_" if iskeyword(name) or _is_module(name) else name: name for name in names}


def _module(name: str) -> Any:
    from importlib import import_module

    return import_module(f"{__name__}.{name}")


def _is_module(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(f"{__name__}.{name}") is not None


def _version() -> str:
    from importlib.metadata import version

    return version(__name__)
