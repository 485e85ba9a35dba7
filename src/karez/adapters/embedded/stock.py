"""Chips that tenants take and give back, jobs that hold some, and orders that arrive."""

from __future__ import annotations

import numpy as np

from karez.adapters.embedded.chance import TENANTS, chance
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.plant import row
from karez.plan import Action
from karez.twin import World
from karez.twin.schema import Value

# Share of the groups of chips at which other tenants come or go in a second.
TENANT_SHARE = 0.05
TENANT_CHIPS = 8
ORDER_COLUMNS = ("site", "item", "amount", "ordered_at_s", "due_at_s", "delivered")


class Stock(Forks):
    """Free chips by group, the jobs that run, and the orders by the id of the act that placed them."""

    def __init__(self, world: World, seed: int) -> None:
        """Chips are free as the actual twin has it."""
        states = world["server_states"]
        self.ids, self.free, self._seed = states.ids, states["free_chips"].copy(), seed
        self._owned = world["servers"]["chips"][world["servers"].rows(states.ids)]
        self._held = np.zeros(len(self.free), np.int64)
        self._jobs: list[tuple[float, int, int, str]] = []
        self.orders: dict[str, dict[str, Value]] = {}

    @property
    def still(self) -> bool:
        """Whether nothing changes by itself."""
        return not len(self.ids) and all(order["delivered"] for order in self.orders.values())

    def next_s(self, at_s: float) -> float:
        """When the next job ends or order arrives after `at_s`; inf where there is none."""
        times = [float(order["due_at_s"]) for order in self.orders.values() if not order["delivered"]]
        times += [ends_s for ends_s, _, _, _ in self._jobs]
        return min((time for time in times if time > at_s), default=np.inf)

    def trade(self, second: int) -> list[str]:
        """The groups at which other tenants took or gave back chips in this second."""
        if not len(self.ids):
            return []
        random = chance(self._seed, TENANTS, second)
        moved = random.random(len(self.free)) < TENANT_SHARE
        change = random.integers(-TENANT_CHIPS, TENANT_CHIPS + 1, len(self.free))
        free = np.clip(self.free + np.where(moved, change, 0), 0, self._owned - self._held)
        found = [name.decode() for name in self.ids[free != self.free].tolist()]
        self.free = free
        return found

    def deliver(self, at_s: float) -> tuple[list[str], list[str]]:
        """The groups whose jobs have ended, and the orders that have arrived."""
        arrived = [
            order for order, row in self.orders.items() if not row["delivered"] and float(row["due_at_s"]) <= at_s
        ]
        for order in arrived:
            self.orders[order] = {**self.orders[order], "delivered": True}
        ended = [job for job in self._jobs if job[0] <= at_s]
        for _, server, chips, _ in ended:
            self._held[server] -= chips
            self.free[server] += chips
        self._jobs = [job for job in self._jobs if job[0] > at_s]
        return [self.ids[server].decode() for _, server, _, _ in ended], arrived

    def start(self, action: Action) -> str:
        """What stands in the way of a job; empty when it holds its chips."""
        asked = action.adds[0].values
        server, chips = row(self.ids, str(asked["server"])), int(asked["chips"])
        if server < 0:
            return f"there are no chips {asked['server']}"
        if any(job == action.subject for _, _, _, job in self._jobs):
            return ""
        if self.free[server] < chips:
            return f"{asked['server']} has {self.free[server]} free chips, not {chips}"
        self.free[server] -= chips
        self._held[server] += chips
        self._jobs.append((action.ends_at_s, server, chips, action.subject))
        return ""

    def order(self, action: Action, at_s: float) -> None:
        """Take an order; the same again is the same order."""
        asked = action.adds[0].values
        self.orders.setdefault(
            action.id,
            {
                "site": str(asked["site"]),
                "item": str(asked.get("kind", asked.get("chip"))),
                "amount": asked.get("chips", 1),
                "ordered_at_s": at_s,
                "due_at_s": action.ends_at_s,
                "delivered": False,
            },
        )
