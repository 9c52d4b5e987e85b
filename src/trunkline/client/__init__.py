"""The composition root: a configuration becomes one layered service.

This package is the only place that names concrete layers, transports and engines.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from trunkline import backends
from trunkline.accounting.limited import KeyRates, Limited
from trunkline.client import outside
from trunkline.client.ingestion import PATIENCE_S
from trunkline.client.parts import Parts
from trunkline.client.stack import layers
from trunkline.client.targets import known_targets
from trunkline.clock import Clock, SystemClock
from trunkline.config import BudgetRule, Config, from_mapping, load
from trunkline.discovery import entries
from trunkline.errors import ConfigError, ProviderError, RecordError
from trunkline.interfaces import UsageHook
from trunkline.reply import Reply
from trunkline.routing.kinds import ESTIMATE
from trunkline.routing.plan import Planner
from trunkline.service import Service, stack
from trunkline.transport import Transport
from trunkline.transport.probes import probe_all
from trunkline.types import Call, CountTokens, Principal

_HOOKS_S = 5.0
_NOT_THERE = frozenset({404, 405, 501})


class Trunkline:
    """The core: `await line(call)` gives a `Reply`, settled and journaled.

    One instance serves any number of calls, loops and threads. Closing it is good manners; a
    process that ends without doing so loses nothing.

    Args:
        ingesting: whether a thread brings the journal into the store as calls end; False = another
            process does it, and tells the hooks.
        usage_hooks: functions that are told what tracked calls used, a while after they ended, in
            a thread of their own; see `docs/reference/webhooks.md`.
    """

    _made: tuple[BudgetRule, ...] = ()
    """Budgets that are not the configuration's."""
    _keys: tuple[KeyRates, ...] = ()
    """Limits of keys that are not the configuration's."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        ingesting: bool = True,
        usage_hooks: Sequence[UsageHook] = (),
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self._parts = parts = Parts(config, self.clock, ingesting=ingesting)
        self.store, self.events, self.ledger = parts.store, parts.events, parts.ledger
        self.health, self.exchange = parts.state.health, parts.exchange
        self.state, self.touch = parts.state, parts.keeper.touch
        self._usage_hooks = usage_hooks if ingesting else None
        self._transport = Transport(self.clock)
        self._reloading = threading.Lock()
        self.reload(config)
        _lines.add(self)
        self._finish = weakref.finalize(self, parts.finish)

    @classmethod
    def from_config(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        usage_hooks: Sequence[UsageHook] = (),
    ) -> Self:
        """Build from a YAML file, a mapping of the same shape, or (None) the usual places.

        Raises:
            ConfigError: names the file, the key and what to write instead.
        """
        if isinstance(source, Mapping):
            config = from_mapping(source, os.environ, source="a mapping")
        else:
            config = load(Path(source) if source is not None else None, found=entries)
        return cls(config, usage_hooks=usage_hooks)

    def reload(self, config: Config) -> None:
        """Answer by another configuration from now on; calls under way end by the one they have.

        Budgets keep what is spent and held, providers their health and their limits' levels.
        Callable from any thread.

        Raises:
            ConfigError: the data folder or the database is another one; nothing has changed then.
        """
        if config.data_dir != self.config.data_dir:
            raise ConfigError(
                f"TRUNKLINE_DATA: found {str(config.data_dir)!r}; the data folder cannot change "
                f"while calls are answered, restart or write {str(self.config.data_dir)!r}"
            )
        for key in ("database_url", "redis_url"):
            if getattr(config.storage, key) != getattr(self.config.storage, key):
                raise ConfigError(
                    f"storage.{key} cannot change while calls are answered; restart for that"
                )
        with self._reloading:
            planner = Planner(config, self.clock, self.health)
            around = layers(planner, self._parts.state)
            service = stack(around, _innermost(self._transport.send))
            self._budget((*config.budgets, *self._made))
            self._limit(config)
            if self._usage_hooks is not None:
                self._parts.hooks.take(known_targets(config, self._usage_hooks, self.clock))
            self.health.retry_soon(self.clock.monotonic_s())
            self.config, self.planner, self.layers = config, planner, around
            self._service = service

    def follow(self, budgets: Iterable[BudgetRule], keys: Iterable[KeyRates] = ()) -> None:
        """Keep these beside the configuration's, in place of those given before.

        What is spent and held stays. Callable from any thread.

        Args:
            keys: those that have limits of their own, or a tier.
        """
        with self._reloading:
            self._made, self._keys = tuple(budgets), tuple(keys)
            self._budget((*self.config.budgets, *self._made))
            self._limit(self.config)

    def _budget(self, rules: Sequence[BudgetRule]) -> None:
        # Quotes first: a strict budget refuses what comes without a proven bound.
        self._parts.state.estimates.proving = any(rule.mode == "strict" for rule in rules)
        self.ledger.reload(rules)

    def _limit(self, config: Config) -> None:
        own = (rate for key in config.keys for rate in key.rates)
        tiers = (KeyRates(key.name, key.tier) for key in config.keys)
        limited = Limited((*config.rates, *own), (*tiers, *self._keys))
        self._parts.state.limiter.limited = limited

    async def __call__(self, call: Call) -> Reply:
        """Answer one call.

        Raises:
            TrunklineError: nothing was shown to the caller; the class says what to do.
        """
        return await self._service(call)

    def charge(self, who: Principal, cost_nusd: int) -> None:
        """Record and settle what somebody spent elsewhere, whether there is room for it or not.

        Raises:
            InputError: the cost is negative, or the records cannot hold it or who pays.
            RecordError: the journal cannot be written; nothing was charged.
        """
        outside.charge(self._parts.state, who, cost_nusd)

    def models(self) -> list[str]:
        """Return the names to ask for: groups, aliases, then models, the default provider's first.

        A provider that lists no models has its usual one, if there is any; it takes others too.
        """
        config = self.config
        default, providers = config.default_provider, config.providers.values()
        by_rank = sorted(providers, key=lambda provider: provider.name != default)
        listed = (name for provider in by_rank for name in provider.names)
        return list(dict.fromkeys((*config.groups, *config.aliases, *listed)))

    def status(self) -> dict[str, bool]:
        """Tell for each provider whether it answers now and is not resting after failures.

        Asks each for the list of its models, or those of your own by their `health_check`: free
        of charge, at most two seconds in all.
        """
        found = probe_all(self.config.providers.values(), SystemClock())
        now_s = self.clock.monotonic_s()
        return {
            name: told.ok and not self.health.resting(name, now_s) for name, told in found.items()
        }

    def check_writable(self) -> None:
        """Raise `RecordError` if calls could not be recorded now."""
        self._parts.journal.check()

    def flush(self) -> None:
        """Render waiting log events and make every finished call visible in the store."""
        with suppress(RecordError):
            self.ledger.tend()
        self.events.drain()
        self._parts.journal.sync()
        self._parts.ingestion.run(wait_s=PATIENCE_S)

    async def close(self) -> None:
        """Close this loop's connections, then flush; the instance can be used again.

        Usage hooks are told for at most 5 s; what they did not take is told by the next process.
        """
        await self._transport.close()
        with suppress(RecordError):  # what was granted stays ours until this process has ended
            await asyncio.to_thread(self.ledger.close)
        await asyncio.to_thread(self.flush)  # others of this loop need not wait for the disk
        await self._parts.hooks.flush(_HOOKS_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


_lines: weakref.WeakSet[Trunkline] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Renew what a thread of the parent may have held in the moment of the fork."""
    for line in _lines:
        line._parts.ingestion.renew()
        line._reloading = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _innermost(http: Service) -> Service:
    def service(call: Call) -> Awaitable[Reply]:
        target = call.target
        assert target is not None
        if target.backend != "http":
            return backends.load(target.backend)(call)
        return counted(call) if isinstance(call, CountTokens) else http(call)

    async def counted(call: CountTokens) -> Reply:
        try:
            return await http(call)
        except ProviderError as error:
            if error.upstream_status not in _NOT_THERE:
                raise
        return await backends.load(ESTIMATE)(call)  # a server older than its endpoint

    return service
