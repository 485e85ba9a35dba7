"""All that changes while a network lives, in one place: what tells of it and what acts on it share it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from karez.adapters.embedded.effects import Effects
from karez.adapters.embedded.faults import FAULTS, Fault
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.gear import Gear
from karez.adapters.embedded.meter import Meter
from karez.adapters.embedded.plant import plant, row
from karez.adapters.embedded.sessions import Sessions
from karez.adapters.embedded.stock import Stock
from karez.twin import World
from karez.twin.table import Array, strings

# How long a link that went down counts as one that flaps (s).
FLAP_WINDOW_S = 60.0


class Living(Forks):
    """The state of a network at `at_s`: what is configured, what is wrong, what flows, and what was not told yet."""

    def __init__(self, world: World, *, seed: int, at_s: float) -> None:
        """Everything as the world intends, and nothing wrong."""
        self.plant, self.at_s = plant(world), at_s
        self.gear, self.effects, self.stock = Gear(self.plant), Effects(self.plant), Stock(world, seed)
        self.effects.work_out(self.gear, (), at_s)
        self.sessions = Sessions(self.plant, self.gear, self.effects)
        links, demands = len(self.plant.links.ids), len(self.plant.demands.ids)
        self.meter = Meter(2 * links, demands, self.plant.sites.vertices)
        self.link_names = strings(self.plant.links.ids)
        self.coming: list[Fault] = []
        self.active: list[Fault] = []
        self.flaps = np.zeros(links, np.int64)
        self._falls: list[tuple[float, int]] = []
        self._news: dict[str, dict[str, None]] = {}

    @property
    def forgets_s(self) -> float:
        """When the first link that went down no longer counts as one that flaps."""
        return self._falls[0][0] + FLAP_WINDOW_S if self._falls else np.inf

    def tell(self, table: str, ids: Iterable[str] | Array) -> None:
        """Have these rows told when next somebody observes."""
        news = dict(self._news.get(table, {}))
        for name in ids:
            news[name.decode() if isinstance(name, bytes) else name] = None
        if news:
            self._news[table] = news

    def news(self) -> list[tuple[str, tuple[str, ...]]]:
        """The rows that were to be told, by table; they are told then."""
        news, self._news = self._news, {}
        return [(table, tuple(ids)) for table, ids in sorted(news.items())]

    def fall(self, links: Array) -> None:
        """Count the links that went down now, and forget those that did long ago."""
        self._falls += [(self.at_s, int(link)) for link in links]
        self._falls = [fall for fall in self._falls if fall[0] + FLAP_WINDOW_S > self.at_s]
        fallen = [link for _, link in self._falls]
        self.flaps = np.bincount(fallen, minlength=len(self.flaps)) if fallen else np.zeros_like(self.flaps)

    def mend(self, kind: str, subject: str) -> None:
        """End the faults that an act mends: those of its subject, and of the programs on a device that it restarts."""
        programs = self.plant.programs
        device = row(self.plant.devices.ids, subject) if kind == "restart_device" else -2
        mended = {subject, *strings(programs.ids[programs.device == device])}
        self.active = [f for f in self.active if f.subject not in mended or kind not in FAULTS[f.kind].mended]

    def silent(self, device: int) -> bool:
        """Whether a device (row, -1: none) does not answer."""
        return device >= 0 and bool(self.effects.silent[device])

    def has(self, fault: Fault) -> bool:
        """Whether the network has what a fault is about."""
        made = self.plant
        ids = {
            "link": made.links.ids,
            "router": made.devices.ids,
            "site": made.sites.ids,
            "daemon": made.programs.ids,
            "config": made.sections.ids,
            "demand": made.demands.ids,
        }.get(FAULTS[fault.kind].about)
        if FAULTS[fault.kind].about == "duct":
            return fault.subject in made.duct_links
        return ids is None or row(ids, fault.subject) >= 0
