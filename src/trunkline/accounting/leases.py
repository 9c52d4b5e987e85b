"""What processes share about money: a port. Each is granted amounts, and spends them by itself.

One account stands for one budget in one bucket of its period. Of every account and *owner* (one
life of one journal) two sums are kept: what the owner was granted, and what of its attempts has
been ingested. The difference, where it is above zero, is its *exposure*: it may have been spent
already, it may be spent any moment. So, in one transaction of the engine,

    settled + exposure of all owners + what is asked for <= limit

is all that has to be checked, and ingestion, which moves an amount from exposure to settled, keeps
the sum. What a dead owner was granted stays exposed until its journal has been ingested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from trunkline.accounting.period import Window
from trunkline.errors import RecordError

ENOUGH_HOLDS = 16
"""With room for fewer holds than this nobody is granted more than asked for, so that the last cent
can be spent by whoever needs it."""
SHARE = 8
"""Of what is left, one part in so many may be granted beyond what is needed."""


class Want(NamedTuple):
    """What an owner asks of one account."""

    scope: str
    period: str
    """Tells the budgets of a scope apart."""
    window: Window
    limit_nusd: int | None
    """None = whatever is asked for is granted."""
    amount_nusd: int
    """What the hold comes to."""
    need_nusd: int
    """What the owner has not been granted yet, of this hold and of what it has overdrawn before;
    negative = it gives back."""
    spent_nusd: int
    """What the owner's attempts since then have cost in this bucket."""
    since_ns: int
    """When it began to count them, in nanoseconds since the epoch; earlier ones are not its."""
    granted_nusd: int | None = None
    """What it knows to be granted. The account takes its word for it: an answer that it did not get
    may have granted more. None = it does not know."""


class Grant(NamedTuple):
    """An account's answer to an owner who may go on."""

    nusd: int
    """At least what was needed."""
    spent_nusd: int
    """In the account's window: settled, and spent by this owner but not ingested yet."""


class Refusal(NamedTuple):
    """The answer of the account that has too little; nothing was granted by any."""

    place: int
    """Of the account, among those that were asked."""
    spent_nusd: int
    """As in `Grant`."""
    left_nusd: int
    """What a hold may come to there instead; 0 or less = nothing."""


class Seen(NamedTuple):
    """The state of one account over its window."""

    settled_nusd: int
    exposed_nusd: int
    """Held, or spent and not ingested yet, or granted and idle."""
    overrun_nusd: int


class Back(NamedTuple):
    """What an owner gives back to an account."""

    scope: str
    period: str
    bucket_ns: int
    nusd: int


class Unsure(RecordError):
    """The engine broke while it ended: what it was asked for may be done, or not."""


class Leases(Protocol):
    """The engine; every method raises `RecordError` when it cannot be used.

    Nothing is done then, unless it is `Unsure`.
    """

    def grant(
        self, owner: str, wants: Sequence[Want], *, forced: bool = False
    ) -> list[Grant] | Refusal:
        """Grant what is needed of all accounts, perhaps more, or nothing.

        Args:
            forced: it is spent already, so there is no refusal.
        """

    def give_back(self, owner: str, backs: Sequence[Back]) -> None:
        """Take back what `owner` was granted and will not spend."""

    def look(self, scope: str, period: str, window: Window) -> Seen:
        """Return the state of one account."""

    def mark(self, scope: str, period: str, bucket_ns: int, mark_nusd: int) -> bool:
        """Note that an account has passed a mark; False = somebody did so before."""

    def tend(self) -> bool:
        """Do what is better not done at each grant; True = do so again some 200 ms later."""

    def close(self) -> None:
        """Let go of whatever is open; a later use opens it again."""


class Lease(NamedTuple):
    """The two sums of one owner."""

    granted_nusd: int
    ingested_nusd: int


def room(want: Want, seen: Seen, lease: Lease) -> int | None:
    """Return how much is granted, None where that is less than needed: the one rule of engines.

    What the owner has overdrawn is needed as well; of that, what is settled already is not counted
    a second time.
    """
    if want.limit_nusd is None:
        return want.need_nusd
    left_nusd = _left(want.limit_nusd, want, seen, lease)
    if left_nusd < want.need_nusd:
        return None
    if left_nusd < ENOUGH_HOLDS * want.amount_nusd:
        return want.need_nusd
    return max(want.need_nusd, left_nusd // SHARE)


def afforded(want: Want, seen: Seen, lease: Lease) -> int:
    """Return the largest hold for which there would be room, where `want` is refused."""
    left_nusd = _left(want.limit_nusd or 0, want, seen, lease)
    return want.amount_nusd - (want.need_nusd - left_nusd)


def _left(limit_nusd: int, want: Want, seen: Seen, lease: Lease) -> int:
    overdrawn_nusd = max(0, want.need_nusd - want.amount_nusd)
    ahead_nusd = max(0, lease.ingested_nusd - lease.granted_nusd)
    left_nusd = limit_nusd - seen.settled_nusd - seen.exposed_nusd
    return left_nusd + min(overdrawn_nusd, ahead_nusd)
