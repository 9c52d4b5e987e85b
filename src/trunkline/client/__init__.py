"""The composition root: a configuration becomes one layered service.

This package is the only place that names concrete layers, transports and engines.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from trunkline import backends
from trunkline.accounting.account import Alert
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.ledger import Ledger
from trunkline.client import outside
from trunkline.client.hooks import Hooks
from trunkline.client.keeper import Job, Keeper
from trunkline.client.stack import State, layers
from trunkline.client.targets import known_targets
from trunkline.clock import Clock, SystemClock
from trunkline.config import BudgetRule, Config, from_mapping, load
from trunkline.egress import reachable
from trunkline.errors import ConfigError
from trunkline.interfaces import UsageHook
from trunkline.journal import Journal, ingest
from trunkline.journal.bell import ring
from trunkline.layers.breaker import Health
from trunkline.layers.concurrency import Parallel
from trunkline.layers.ratelimit import Limiter
from trunkline.observability.log import EventLog, logger
from trunkline.reply import Reply
from trunkline.routing.plan import Planner
from trunkline.service import Service, stack
from trunkline.storage.outbox import Outbox
from trunkline.storage.sqlite import SqliteStore
from trunkline.transport import Transport
from trunkline.types import Call, Principal

_SYNC_S = 0.1
_LOG_S = 0.1
_INGEST_S = 1.0
_INGEST_PATIENCE_S = 30.0
"""Nobody waits for it: whoever asks for rows ingests first, and so does the next process."""
_BUSY_S = 0.02
_PATIENCE_S = 5.0
_HOOKS_S = 5.0


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
        self.store = SqliteStore(config.data_dir / "trunkline.db")
        self.events = EventLog()
        self.health = Health(self.clock)
        self._journal = Journal(config.data_dir / "journal", clock=self.clock)
        estimates = Estimates()
        self._usage_hooks = usage_hooks if ingesting else None
        self._hooks = Hooks(Outbox(self.store, config.data_dir), self.clock)
        self._ingestion = _Ingestion(config.data_dir, self.store, self._hooks)
        self.ledger = Ledger((), self.clock, self._ingestion.settled, _teller(self.events))
        jobs = (Job(_SYNC_S, self._journal.sync), Job(_LOG_S, self.events.drain))
        ingestion = Job(_INGEST_S, self._ingestion.run, patience_s=_INGEST_PATIENCE_S)
        self._keeper = Keeper((*jobs, ingestion) if ingesting else jobs)
        self._journal.wake = self._keeper.touch
        self._state = State(
            clock=self.clock,
            book=self._journal,
            events=self.events,
            ledger=self.ledger,
            estimates=estimates,
            health=self.health,
            limiter=Limiter(estimates, self.clock),
            parallel=Parallel(self.clock),
        )
        self._transport = Transport(self.clock)
        self._reloading = threading.Lock()
        self.reload(config)
        _lines.add(self)
        self._finish = weakref.finalize(
            self, _finish, self._keeper, self._journal, self.events, self._ingestion
        )

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
            config = load(Path(source) if source is not None else None)
        return cls(config, usage_hooks=usage_hooks)

    def reload(self, config: Config) -> None:
        """Answer by another configuration from now on; calls under way end by the one they have.

        Budgets keep what is spent and held, providers their health and their limits' levels.
        Callable from any thread.

        Raises:
            ConfigError: the data folder is another one; nothing has changed then.
        """
        if config.data_dir != self.config.data_dir:
            raise ConfigError(
                f"TRUNKLINE_DATA: found {str(config.data_dir)!r}; the data folder cannot change "
                f"while calls are answered, restart or write {str(self.config.data_dir)!r}"
            )
        with self._reloading:
            planner = Planner(config, self.clock)
            around = layers(planner, self._state)
            service = stack(around, _innermost(self._transport.send))
            # Quotes first: a strict budget refuses what comes without a proven bound.
            strict = any(rule.mode == "strict" for rule in config.budgets)
            self._state.estimates.proving = strict
            self.ledger.reload(config.budgets)
            if self._usage_hooks is not None:
                self._hooks.take(known_targets(config, self._usage_hooks, self.clock))
            self.config, self.planner, self.layers = config, planner, around
            self._service = service

    async def __call__(self, call: Call) -> Reply:
        """Answer one call.

        Raises:
            TrunklineError: nothing was shown to the caller; the class says what to do.
        """
        return await self._service(call)

    def charge(self, who: Principal, cost_nusd: int) -> None:
        """Record and settle what somebody spent elsewhere, whether there is room for it or not.

        Raises:
            RecordError: the journal cannot be written; nothing was charged.
        """
        outside.charge(self._state, who, cost_nusd)

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
        """Tell for each provider whether it can be reached now and is not resting after failures.

        Opens a connection to each and closes it again: free of charge, at most a second in all.
        """
        providers = self.config.providers.values()
        reached = reachable(
            {provider.name: provider.deployment("").base_url for provider in providers}
        )
        return {name: up and not self.health.resting(name) for name, up in reached.items()}

    def check_writable(self) -> None:
        """Raise `RecordError` if calls could not be recorded now."""
        self._journal.check()

    def flush(self) -> None:
        """Render waiting log events and make every finished call visible in the store."""
        self.events.drain()
        self._journal.sync()
        self._ingestion.run(wait_s=_PATIENCE_S)

    async def close(self) -> None:
        """Close this loop's connections, then flush; the instance can be used again.

        Usage hooks are told for at most 5 s; what they did not take is told by the next process.
        """
        await self._transport.close()
        self.flush()
        await self._hooks.flush(_HOOKS_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


_lines: weakref.WeakSet[Trunkline] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Renew what a thread of the parent may have held in the moment of the fork."""
    for line in _lines:
        line._ingestion.renew()
        line._reloading = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Ingestion:
    """Brings journal rows into the store, unless another process is at it."""

    def __init__(self, data_dir: Path, store: SqliteStore, hooks: Hooks) -> None:
        self._data_dir = data_dir
        self._store = store
        self._hooks = hooks
        self.renew()

    def renew(self) -> None:
        """Forget who is running, after a fork."""
        self._running = threading.Lock()

    def run(self, *, wait_s: float = 0.0) -> None:
        """Ingest, or have it done; for at most `wait_s` wait for another process that is at it."""
        until_s = time.monotonic() + wait_s
        with self._running:
            self._hooks.subscribe()
            if not ring(self._data_dir):
                while ingest(self._data_dir, self._store).busy and time.monotonic() < until_s:
                    time.sleep(_BUSY_S)
        self._hooks.wake()

    def settled(self, scope: str, since_ns: int) -> int:
        """Tell what was settled on a scope, the latest journal rows included."""
        self.run(wait_s=_PATIENCE_S)
        return self._store.settled(scope, since_ns)

    def close(self) -> None:
        """Let go of the store."""
        self._hooks.stop()
        self._store.close()


def _teller(events: EventLog) -> Alert:
    def tell(rule: BudgetRule, settled_nusd: int, mark_nusd: int) -> None:
        events.budget_alert(
            scope=rule.scope,
            period=rule.period,
            mode=rule.mode,
            amount_nusd=rule.amount_nusd,
            mark_nusd=mark_nusd,
            settled_nusd=settled_nusd,
        )

    return tell


def _innermost(http: Service) -> Service:
    def service(call: Call) -> Awaitable[Reply]:
        target = call.target
        assert target is not None
        return http(call) if target.backend == "http" else backends.load(target.backend)(call)

    return service


def _finish(keeper: Keeper, journal: Journal, events: EventLog, ingestion: _Ingestion) -> None:
    """Leave everything in order when the line is collected or the interpreter ends."""
    keeper.stop()
    for step in (events.drain, journal.close, ingestion.run, ingestion.close):
        try:
            step()
        except Exception:  # nobody is left to tell but the log
            logger.exception("closing a line")
