"""What rules on data may speak of: the modes in which data is worked on elsewhere, and the facts of a question.

The facts stand in `facts.csv` beside the packs, once: columns, the schema that Cedar checks packs by, the documentation
and the command line are all made from it.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal, NamedTuple, get_args

Mode = Literal["plain", "encrypt", "pseudonymise", "tee", "aggregate", "federate", "stay"]
# From the least to the most protective. `tee`: in trusted hardware; `stay`: the code comes to the data.
MODES: tuple[Mode, ...] = get_args(Mode)
ALL_MODES = (1 << len(MODES)) - 1
# What rules may name instead of many modes: one and all that protect more.
FROM = "from_"
Holder = Literal["resource", "principal", "context"]
Kind = Literal["choice", "name", "flag", "number"]
UNKNOWN = "unknown"
# The types that Cedar knows the holders of facts by.
ENTITIES: dict[Holder, str] = {"resource": "Data", "principal": "Recipient"}
CEDAR_TYPES: dict[Kind, str] = {"choice": "String", "name": "String", "flag": "Bool", "number": "Long"}


class Fact(NamedTuple):
    """A fact that rules may ask for.

    Holder: the data (`resource`), who would compute (`principal`), or what lies between them (`context`). A choice is
    one of `values`; a name is any text; a number may be unknown. `held_in` are the columns of the twin that it comes
    from, or `packs`, `evidence`.
    """

    holder: Holder
    name: str
    kind: Kind
    values: tuple[str, ...]
    held_in: tuple[str, ...]
    description: str

    @property
    def id(self) -> str:
        """How rules write it: `resource.grade`."""
        return f"{self.holder}.{self.name}"


def folder() -> Traversable:
    """Where the packs that come with Karez lie."""
    return resources.files("karez.twin") / "library" / "packs"


@cache
def facts() -> dict[str, Fact]:
    """Every fact, by its id."""
    rows = csv.DictReader((folder() / "facts.csv").read_text("utf-8").splitlines())
    found = [_fact(row) for row in rows]
    return {fact.id: fact for fact in found}


def evidence_kinds() -> tuple[str, ...]:
    """The kinds of evidence that rules may ask for."""
    return tuple(fact.name for fact in facts().values() if fact.held_in == ("evidence",))


def groups() -> dict[str, int]:
    """The modes (bits) of every name that rules may give as an action."""
    alone = {str(mode): 1 << at for at, mode in enumerate(MODES)}
    more = {f"{FROM}{mode}": ALL_MODES & ~((1 << at) - 1) for at, mode in enumerate(MODES) if 0 < at < len(MODES) - 1}
    return alone | more


@cache
def schema() -> str:
    """The facts and modes as Cedar's schema, by which it checks the rules of packs."""
    lines = [f"entity {name} = {{ {_record(holder)} }};" for holder, name in ENTITIES.items()]
    within = {name: bits for name, bits in groups().items() if name.startswith(FROM)}
    lines += [f'action "{name}";' for name in within]
    applies = f"principal: [{ENTITIES['principal']}], resource: [{ENTITIES['resource']}]"
    for at, mode in enumerate(MODES):
        parents = ", ".join(f'"{name}"' for name, bits in within.items() if bits >> at & 1)
        member = f" in [{parents}]" if parents else ""
        lines.append(f'action "{mode}"{member} appliesTo {{ {applies}, context: {{ {_record("context")} }} }};')
    return "\n".join(lines)


def _record(holder: Holder) -> str:
    fields = (fact for fact in facts().values() if fact.holder == holder)
    return ", ".join(f"{fact.name}{'?' * (fact.kind == 'number')}: {CEDAR_TYPES[fact.kind]}" for fact in fields)


def _fact(row: dict[str, str]) -> Fact:
    values = row["values"]
    kind: Kind = "choice" if "|" in values else "flag" if values == "flag" else "name" if values == "name" else "number"
    holder: dict[str, Holder] = {name: name for name in get_args(Holder)}
    choices = tuple(values.split("|")) if kind == "choice" else ()
    return Fact(holder[row["holder"]], row["fact"], kind, choices, tuple(row["held_in"].split("|")), row["description"])
