"""The order of the layers, which is policy."""

from pathlib import Path

from tests.unit.layers.double import Pages
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.rates import InProcessBuckets
from trunkline.client.stack import State, layers
from trunkline.config import Config
from trunkline.layers.concurrency import Parallel
from trunkline.layers.ratelimit import Limiter
from trunkline.layers.route import Hedges
from trunkline.observability.log import EventLog
from trunkline.routing.health import Health
from trunkline.routing.plan import Planner
from trunkline.routing.retries import RetryBudgets
from trunkline.service import describe
from trunkline.testing import ManualClock


def test_the_order_of_the_layers() -> None:
    """Changing it is a decision; `client/stack.py` gives the reason of each line."""
    clock, estimates, health = ManualClock(), Estimates(), Health()
    state = State(
        clock=clock,
        book=Pages(),
        events=EventLog(),
        ledger=Ledger((), clock),
        estimates=estimates,
        health=health,
        limiter=Limiter(InProcessBuckets(clock.now_ns), estimates),
        parallel=Parallel(clock, health),
        retries=RetryBudgets(),
        hedges=Hedges(clock, health),
    )
    planner = Planner(Config(data_dir=Path("data"), source="test"), clock)
    assert describe(layers(planner, state)) == [
        "trace",
        "record",
        "call_deadline",
        "call_ratelimit",
        "budget",
        "route",
        "retry",
        "attempt_ratelimit",
        "concurrency",
        "breaker",
        "meter",
        "attempt_deadline",
    ]
