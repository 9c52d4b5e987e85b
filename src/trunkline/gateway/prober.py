"""The steward asks providers how they are: now and then, and only where no call tells."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trunkline.clock import Clock
from trunkline.config import Config, Provider
from trunkline.gateway.seen import Seen

if TYPE_CHECKING:
    from trunkline.transport import Transport
    from trunkline.transport.probes import Probe

EVERY_S = 30.0
JITTER = 0.2
_LOOK_S = 1.0
_ASKED = frozenset({"http", "custom"})
"""Backends that can be asked; the others are in this process, and well."""

News = Callable[[], Mapping[str, Seen]]


class Prober:
    """Asks providers of which no call tells.

    `chance` returns a float in [0, 1): replicas shall not all ask in the same moment.
    """

    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self.probes: dict[str, Probe] = {}
        """What was heard last from each provider."""
        self._clock, self._chance = clock, chance
        self._transport: Transport | None = None
        self._due_s: dict[str, float] = {}
        self._asked: dict[str, Provider] = {}

    async def run(self, config: Callable[[], Config], news: News) -> None:
        """Ask until cancelled; `config` and `news` say what holds now."""
        try:
            while True:
                await self.look(config(), news())
                await self._clock.sleep(_LOOK_S)
        finally:
            if self._transport is not None:
                await self._transport.close()

    async def look(self, config: Config, news: Mapping[str, Seen]) -> None:
        """Ask those that are due; one that is configured anew is due at once."""
        now_s, now_ns = self._clock.monotonic_s(), self._clock.now_ns()
        for name in tuple(self._asked):
            if config.providers.get(name) != self._asked[name]:
                for known in (self._asked, self._due_s, self.probes):
                    known.pop(name, None)
        due = [
            provider
            for name, provider in config.providers.items()
            if provider.template.backend.partition(":")[0] in _ASKED
            and now_s >= self._due_s.get(name, 0.0)
            and not _known(name, news, now_ns)
        ]
        for provider in due:
            self._asked[provider.name] = provider
            wait_s = EVERY_S * (1 + JITTER * (2 * self._chance() - 1))
            self._due_s[provider.name] = now_s + wait_s
        if due:
            await self._ask(due)

    async def _ask(self, due: list[Provider]) -> None:
        # Imported here: with nobody to ask, the steward needs no HTTP client.
        from trunkline.transport import Transport
        from trunkline.transport.probes import probe

        transport = self._transport = self._transport or Transport(self._clock)
        told = await asyncio.gather(*(probe(each, transport, self._clock) for each in due))
        self.probes |= zip((each.name for each in due), told, strict=True)


def _known(provider: str, news: Mapping[str, Seen], now_ns: int) -> bool:
    """Whether calls tell how a provider is: all that were asked of it are well."""
    here = [one for name, one in news.items() if name.startswith(f"{provider}/")]
    return any(one.well(now_ns) for one in here) and not any(one.rests for one in here)
