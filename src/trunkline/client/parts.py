"""What a line is made of and what outlives every configuration of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from trunkline.accounting.account import Alert
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.purses import Shared
from trunkline.client.exchange import Exchange
from trunkline.client.hooks import Hooks
from trunkline.client.ingestion import PATIENCE_S, Ingestion
from trunkline.client.keeper import Job, Keeper
from trunkline.client.stack import State
from trunkline.clock import Clock
from trunkline.config import BudgetRule, Config
from trunkline.journal import Journal
from trunkline.layers.concurrency import Parallel
from trunkline.layers.ratelimit import Limiter
from trunkline.layers.route import Hedges
from trunkline.observability.log import EventLog
from trunkline.routing.health import Health
from trunkline.routing.retries import RetryBudgets
from trunkline.storage.circuits import CircuitTable
from trunkline.storage.engines import open_buckets, open_database, open_leases
from trunkline.storage.outbox import Outbox
from trunkline.storage.store import Store

logger = logging.getLogger("trunkline.client")  # `trunkline` itself has the events of calls

_SYNC_S = 0.1
_LOG_S = 0.1
_INGEST_S = 1.0
_INGEST_PATIENCE_S = 30.0
"""Nobody waits for it: whoever asks for rows ingests first, and so does the next process."""
_TEND_S = 0.2
_EXCHANGE_S = 1.0


class Parts:
    """The parts of one line, brought together."""

    def __init__(self, config: Config, clock: Clock, *, ingesting: bool) -> None:
        self.store = Store(open_database(config))
        self.journal = Journal(config.data_dir / "journal", clock=clock)
        self.hooks = Hooks(Outbox(self.store.database, config.data_dir), clock)
        self.ingestion = Ingestion(config.data_dir, self.store, self.hooks)
        self.events = EventLog()
        self._leases = open_leases(config)  # no hold waits for an ingestion
        journal = self.journal
        shared = Shared(
            leases=self._leases,
            owner=journal.owner,
            refresh=partial(self.ingestion.run, wait_s=PATIENCE_S),
            wake=lambda: journal.wake(),  # noqa: PLW0108 - whoever that is then
        )
        self.ledger = Ledger((), clock, shared, _teller(self.events))
        estimates, health = Estimates(), Health()
        self.exchange = Exchange(health, CircuitTable(open_database(config)), clock)
        jobs = [
            Job(_SYNC_S, journal.sync),
            Job(_LOG_S, self.events.drain),
            Job(_TEND_S, self.ledger.tend),
            Job(_EXCHANGE_S, self.exchange.run),
        ]
        if ingesting:
            jobs.append(Job(_INGEST_S, self.ingestion.run, patience_s=_INGEST_PATIENCE_S))
        self.keeper = Keeper(tuple(jobs))
        journal.wake = self.keeper.touch
        self.state = State(
            clock=clock,
            book=journal,
            events=self.events,
            ledger=self.ledger,
            estimates=estimates,
            health=health,
            limiter=Limiter(open_buckets(config, clock), estimates),
            parallel=Parallel(clock, health),
            retries=RetryBudgets(),
            hedges=Hedges(clock, health),
        )

    def finish(self) -> None:
        """Leave everything in order when the line is collected or the interpreter ends."""
        ends: tuple[Callable[[], object], ...] = (
            self.keeper.stop,
            self.events.drain,
            self.ledger.close,
            self._leases.close,
            self.state.limiter.buckets.close,
            self.exchange.close,
            self.journal.close,
            self.ingestion.run,
            self.ingestion.close,
        )
        for end in ends:
            try:
                end()
            except Exception:  # nobody is left to tell but the log
                logger.exception("closing a line")


def _teller(events: EventLog) -> Alert:
    def tell(rule: BudgetRule, settled_nusd: int, mark_nusd: int) -> None:
        events.budget_alert(
            scope=rule.scope,
            period=rule.period,
            timezone=rule.timezone if rule.timezone != "UTC" else None,
            rolling=rule.rolling or None,
            mode=rule.mode,
            amount_nusd=rule.amount_nusd,
            mark_nusd=mark_nusd,
            settled_nusd=settled_nusd,
        )

    return tell
