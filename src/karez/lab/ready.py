"""Ways that a router's kernel keeps ready for when its own links go dark, in tables and rules of their own.

A rule of the lowest rank looks a goal up among them once the main table has no next hop with light; rules before it are
about packets that came in by one interface. Nothing of it is known to the daemons of routing, which keep to the main
table. Source: ip-rule(8), ip-route(8).
"""

from __future__ import annotations

from collections.abc import Iterable

from karez.adapters.frr.ready import ReadyWay
from karez.lab.iproute import tell, told

# What marks routes as ours (rtnetlink(7): any number above 4 is a user's own).
PROTOCOL = 201
# The table that is looked up after the main one, and by which rule; tables of interfaces, and their rules, are numbered
# from OVER on.
AFTER, AFTER_RULE, OVER = 200, 32_770, 1_000
WHAT = "a way to keep ready"


def keep_ready(ways: Iterable[ReadyWay], interfaces: dict[str, int]) -> None:
    """Let the kernel of this thread's network keep these ways ready, and no others; `interfaces` numbers them from 1.

    Raises:
        SpaceError: it refused one; those before it are kept.
    """
    wanted = {_route(way, interfaces): way for way in ways}
    known = {_route(way, interfaces): way for way in ready(interfaces)}
    names = {OVER + number: name for name, number in interfaces.items()}
    ruled, tables = _ruled(names), {_table(way, interfaces) for way in wanted.values()}
    lines = [f"rule add {_rule(table, names)}" for table in sorted(tables - ruled)]
    lines += [f"route replace {route}" for route in wanted if route not in known]
    # What has the same goal, table and rank as something new was replaced.
    places = {_place(way, interfaces) for way in wanted.values()}
    lines += [f"route del {route}" for route, way in known.items() if _place(way, interfaces) not in places]
    lines += [f"rule del {_rule(table, names)}" for table in sorted(ruled - tables)]
    tell(lines, WHAT)


def ready(interfaces: dict[str, int]) -> list[ReadyWay]:
    """The ways that the kernel of this thread's network keeps ready, as it says itself."""
    names = {OVER + number: name for name, number in interfaces.items()}
    return sorted(
        ReadyWay(
            goal=way["dst"],
            over=names.get(int(way["table"]), ""),
            rank=int(way["metric"]) - 1,
            gateway=way["gateway"],
            interface=way["dev"],
        )
        for way in told("route", "show", "table", "all", "proto", str(PROTOCOL), what=WHAT)
    )


def _route(way: ReadyWay, interfaces: dict[str, int]) -> str:
    table = _table(way, interfaces)
    by = f"via {way.gateway} dev {way.interface}"
    return f"{way.goal}/32 {by} table {table} metric {way.rank + 1} proto {PROTOCOL}"


def _place(way: ReadyWay, interfaces: dict[str, int]) -> tuple[str, int, int]:
    """What tells one route of the kernel from another."""
    return way.goal, _table(way, interfaces), way.rank


def _table(way: ReadyWay, interfaces: dict[str, int]) -> int:
    return OVER + interfaces[way.over] if way.over else AFTER


def _rule(table: int, names: dict[int, str]) -> str:
    if table == AFTER:
        return f"priority {AFTER_RULE} table {table}"
    return f"priority {table} iif {names[table]} table {table}"


def _ruled(names: dict[int, str]) -> set[int]:
    """The tables that a rule of ours leads to."""
    return {int(rule["table"]) for rule in told("rule", "show", what=WHAT)} & {AFTER, *names}
