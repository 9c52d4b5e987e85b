"""A meter between a ledger with one large budget, a book and a scripted service."""

from tests.unit.layers.double import (
    TARGET,
    Answer,
    Inner,
    Pages,
    ask,
)
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.ledger import Ledger
from trunkline.config import BudgetRule
from trunkline.layers.meter import meter
from trunkline.service import Service
from trunkline.testing import ManualClock
from trunkline.types import (
    Begun,
    Call,
    Cost,
    Deployment,
    Ended,
    Trail,
)


class Bench:
    """A meter between a ledger with one large budget and a scripted service."""

    def __init__(
        self, *answers: Answer, torn: tuple[type[Begun] | type[Ended], ...] = (), nusd: int = 10**12
    ) -> None:
        self.clock = ManualClock()
        self.book = Pages(*torn)
        self.estimates = Estimates()
        rule = BudgetRule(scope="global", amount_nusd=nusd, period="total", unknown_price="allow")
        self.ledger = Ledger([rule], self.clock)
        self.account = self.ledger.accounts()[0]
        self.inner = Inner(*answers)
        self.trail = Trail()

    @property
    def service(self) -> Service:
        """The layer under test."""
        return meter(self.book, self.estimates, self.clock)(self.inner)

    def call(self, target: Deployment = TARGET, **fields: object) -> Call:
        """Make an attempt's call."""
        tab = self.ledger.open(ask())
        return ask(id="call_1", trail=self.trail, target=target, tab=tab, **fields)

    def one(self) -> Ended:
        """Return the only end, after checking that all agree about the attempt."""
        (attempt,) = self.trail.attempts
        (begun,), (ended,) = self.book.of(Begun), self.book.of(Ended)
        assert (begun.call_id, begun.n) == (ended.call_id, ended.n) == ("call_1", attempt.n)
        assert (attempt.usage, attempt.outcome) == (ended.usage, ended.outcome)
        assert attempt.cost == Cost(ended.cost_nusd, ended.cost_state)
        assert self.account.held_nusd == 0
        assert self.account.settled_nusd == (ended.cost_nusd or 0)
        return ended
