"""The one list: which layers stand around the transport, and in which order.

Order is policy. `tests/unit/client/test_stack.py` pins it; each line says why it stands there.
"""

from __future__ import annotations

from msgspec import Struct

from trunkline.accounting.estimate import Estimates
from trunkline.accounting.ledger import Ledger
from trunkline.clock import Clock
from trunkline.layers.breaker import breaker
from trunkline.layers.budget import budget
from trunkline.layers.concurrency import Parallel, concurrency
from trunkline.layers.deadline import attempt_deadline, call_deadline
from trunkline.layers.meter import meter
from trunkline.layers.ratelimit import Limiter, attempt_ratelimit, call_ratelimit
from trunkline.layers.record import record
from trunkline.layers.retry import retry
from trunkline.layers.route import Hedges, route
from trunkline.layers.trace import trace
from trunkline.observability.log import EventLog
from trunkline.routing.health import Health
from trunkline.routing.plan import Planner
from trunkline.routing.retries import RetryBudgets
from trunkline.service import Layer
from trunkline.types import Book


class State(Struct, frozen=True, kw_only=True):
    """What the layers share and what outlives a reload of the configuration."""

    clock: Clock
    book: Book
    events: EventLog
    ledger: Ledger
    estimates: Estimates
    health: Health
    limiter: Limiter
    parallel: Parallel
    retries: RetryBudgets
    hedges: Hedges


def layers(planner: Planner, state: State) -> list[Layer]:
    """Return the layers around the transport, outermost first."""
    clock, book = state.clock, state.book
    return [
        # once per call
        trace(clock),  # first: everything below speaks of the call by its id
        record(book, state.events, clock),  # sees every end, refusals of the layers below included
        call_deadline(clock),  # inside record: running out of time is an end worth a row
        call_ratelimit(state.limiter),  # outside the budget: who calls too often costs no hold
        budget(state.ledger.open),  # the tab outlives every attempt
        route(planner.plan, state.hedges),  # turns the call into attempts
        # once per attempt
        retry(clock, state.retries),  # outside the slots: whoever waits to retry holds none
        attempt_ratelimit(state.limiter),  # before a slot is taken: a refusal is instant
        concurrency(state.parallel),  # outside the breaker: waiting says nothing about health
        breaker(state.health, clock, state.events),  # outside the meter: resting costs no hold
        meter(book, state.estimates, clock),  # all below is weighed, whatever became of it
        attempt_deadline(clock),  # inside the meter: a late attempt may have been billed
    ]
