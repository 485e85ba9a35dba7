"""What the operations on labs share: how a lab is named, and how one that runs is opened."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from karez.adapters.frr.fabric import without_bgp
from karez.errors import InputError
from karez.lab.asked import Lab, LabError
from karez.lab.plan import LONGEST_NAME
from karez.twin import World
from karez.twin.table import strings

SHOWN = 3


def name_of(network: str, name: str) -> str:
    """The name of the lab of a network: what is given, or that of the folder.

    Raises:
        InputError: it is none, or too long.
    """
    made = name or Path(network).resolve().name
    if not made or len(made.encode()) > LONGEST_NAME:
        raise InputError.of("name", f"a lab's name has 1 to {LONGEST_NAME} bytes", "give it another by --name")
    return made


def opened(network: str, name: str) -> closing[Lab]:
    """The running lab of a network, closed at the end of a `with`.

    Raises:
        InputError: no such lab runs.
    """
    try:
        return closing(Lab(name_of(network, name)))
    except LabError as error:
        raise InputError.of(network, str(error), "start one with `karez lab up`, as root") from error


def require_alike(lab: Lab, world: World, network: str) -> None:
    """Return only if a lab has the links of a world, and its routers speak BGP if they do there.

    Raises:
        InputError: it has others.
    """
    fabric = lab.plan().fabric
    strange = sorted({line.link for line in fabric.lines} ^ set(strings(world["link_states"].ids)))
    if fabric.bgp != (not without_bgp(world.intended, (router.id for router in fabric.routers))):
        strange = [*strange, "BGP"]
    if strange:
        what = f"lab {lab.name} is of another network: {', '.join(strange[:SHOWN])} is not in both"
        raise InputError.of(network, what, "name the network that it was started with, or start another lab")
