"""XML documents of strangers: no entities, no network, no depth or size that a network would not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from karez.errors import InputError
from karez.importers.report import REFETCH, document, extra

_FORBIDDEN = "<!ENTITY"


def root(path: Path) -> Any:
    """The root element of an XML file, as lxml has it.

    Raises:
        InputError: as `document`, or the file is no XML, cut off, or declares entities.
    """
    data = document(path)
    _refuse_entities(path.name, data)
    etree = extra("lxml.etree")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        found = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise InputError.of(path.name, f"is no XML ({error.msg})", f"if it is cut off, {REFETCH}") from error
    # An encoding may hide the declaration from the search above.
    declared = found.getroottree().docinfo.internalDTD
    if declared is not None and any(True for _ in declared.iterentities()):
        raise InputError.of(path.name, *_BOMB)
    return found


def name(element: Any) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def within(element: Any, *path: str) -> list[Any]:
    """The elements that `path` leads to, by names without namespace."""
    found = [element]
    for step in path:
        found = [child for parent in found for child in parent if name(child) == step]
    return found


def text(element: Any, *path: str) -> str:
    """The text of the first element that `path` leads to; empty where there is none."""
    found = within(element, *path)
    return (found[0].text or "").strip() if found else ""


def require_root(path: Path, element: Any, wanted: str) -> None:
    """Return only if `element` is called `wanted`.

    Raises:
        InputError: it is not.
    """
    if name(element) != wanted:
        what = f"its root element is {name(element)}, not {wanted}"
        raise InputError.of(path.name, what, "give the right --format, or another file")


def _refuse_entities(file: str, data: bytes) -> None:
    if any(_FORBIDDEN.encode(code) in data for code in ("utf-8", "utf-16-le", "utf-16-be")):
        raise InputError.of(file, *_BOMB)


_BOMB = ("declares entities, which no network needs and which can fill all memory", "take them out")
