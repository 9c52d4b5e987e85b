"""A `Call` on its way through the layers, and the records kept of it.

`Trail` and `Attempt` are mutable and belong to exactly one call each.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

from msgspec import Struct, field

from trunkline.types.answer import Usage
from trunkline.types.deployment import Deployment
from trunkline.types.prompt import Prompt, Wire
from trunkline.types.texts import Texts

Outcome = Literal["complete", "failed", "cancelled", "abandoned"]
CostState = Literal["exact", "estimated", "unknown"]


class Principal(Struct, frozen=True, kw_only=True):
    """Who pays and is limited."""

    key_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    tenant_id: str | None = None


class Envelope(Struct, frozen=True, kw_only=True):
    """What every kind of call has in common. Layers fill in `id`, `trail`, `tab` and `target`."""

    model: str
    """As the caller said it: an alias, a group, `provider/model` or a model name; "" = default."""
    provider: str | None = None
    """Set when the caller named the provider apart from the model."""
    stream: bool = False
    """A hint for the upstream wire only."""
    principal: Principal = Principal()
    tags: tuple[str, ...] = ()
    run: str | None = None
    metadata: dict[str, Any] = {}
    track_tokens: bool = True
    """False hides the call from usage pages and hooks; journal and ledger always write."""
    timeout_s: float | None = None
    id: str = ""
    trail: Trail | None = None
    tab: Tab | None = None
    target: Deployment | None = None
    partial: str = ""
    """What was answered already before a stream broke off: the target is to go on from there."""


class Chat(Envelope, frozen=True, kw_only=True):
    """Messages in, a message out. `body` is typed (`Prompt`) or as it came (`Wire`)."""

    kind: ClassVar[str] = "chat"

    body: Prompt | Wire

    @property
    def prompt(self) -> Prompt:
        """The typed view of what is asked."""
        return self.body if isinstance(self.body, Prompt) else self.body.prompt


class CountTokens(Chat, frozen=True, kw_only=True):
    """How many tokens a chat would send. Costs nothing, so it is neither held for nor recorded."""

    kind: ClassVar[str] = "count_tokens"


class Embed(Envelope, frozen=True, kw_only=True):
    """Texts in, vectors out."""

    kind: ClassVar[str] = "embed"

    body: Texts


Call = Chat | Embed
"""What is asked: a union of the kinds of call."""


class Cost(Struct, frozen=True):
    """Money for one attempt. `unknown` is a third state: `nusd` is None then, never 0."""

    nusd: int | None
    state: CostState = "exact"


class Attempt(Struct, kw_only=True):
    """One try at one deployment."""

    n: int
    deployment: str
    started_ns: int
    hold_nusd: int = 0
    outcome: Outcome | None = None
    error_code: str | None = None
    error: str | None = None
    usage: Usage = Usage()
    cost: Cost = Cost(None, "unknown")
    finish: str | None = None
    latency_ms: float = 0.0
    first_token_ms: float | None = None
    price_snapshot: str = ""
    upstream_id: str | None = None


class Room(Struct, frozen=True):
    """What is left of a limit per minute."""

    limit: int
    left: int
    full_s: float
    """Seconds until all of it is there again, if nobody takes more."""


class Allowance(Struct, frozen=True):
    """What the caller may still ask for: of all limits that apply, those with the least left."""

    requests: Room | None = None
    tokens: Room | None = None


class Trail(Struct, kw_only=True):
    """What became of a call: its attempts, and in `route` a word for each decision."""

    started_ns: int = 0
    started_s: float = 0.0
    """On the monotonic clock."""
    attempts: list[Attempt] = field(default_factory=list)
    route: list[str] = field(default_factory=list)
    dropped: tuple[str, ...] = ()
    """Options of the request that the answering deployment does not take."""
    warnings: list[str] = field(default_factory=list)
    """What the caller should know although the call went well."""
    room: Allowance | None = None
    """None = the caller has no rate limits."""
    others: bool = False
    """Whether another deployment may be asked now, should the one that is asked fail."""

    @property
    def cost(self) -> Cost:
        """The sum over all attempts; unknown if any billed attempt is unknown."""
        if len(self.attempts) == 1:
            return self.attempts[0].cost
        nusd = 0
        state: CostState = "exact"
        for attempt in self.attempts:
            cost = attempt.cost
            if cost.nusd is None:
                return Cost(None, "unknown")
            nusd += cost.nusd
            if cost.state == "estimated":
                state = "estimated"
        return Cost(nusd, state)


class Quote(Struct, frozen=True):
    """What one attempt may cost, before it is made; None = cannot be said."""

    estimate_nusd: int | None
    """None only where the price is not known."""
    proven_nusd: int | None
    """An upper bound that holds whatever the provider does."""
    priced: bool = True
    """False = the service tier that is asked for has no known price; the estimate is for the
    standard one."""


class Hold(Protocol):
    """Money set aside for one attempt."""

    @property
    def nusd(self) -> int | None:
        """How much is held, in nano-USD; None = the price is not known."""

    @property
    def at_ns(self) -> int:
        """When, in nanoseconds since the epoch: budgets take it for the attempt's beginning."""

    @property
    def hard_nusd(self) -> int | None:
        """How much of it hard budgets hold, whose holds are estimates; None = no such one pays."""


class Tab(Protocol):
    """What one call holds and has spent, over all its attempts."""

    async def begin(self, deployment: Deployment, quote: Quote) -> Hold:
        """Hold what `quote` says on every scope, all or none.

        Raises:
            LocalRefusal: a scope has no room; another deployment may fit.
        """

    async def top_up(self, hold: Hold, nusd: int) -> bool:
        """Hold `nusd` more for an attempt under way, on every hard budget, all or none.

        False = refused, or the attempt ended meanwhile; nothing has changed then.
        """

    def end(self, hold: Hold, cost: Cost) -> None:
        """Settle an attempt at its cost and give the rest of its hold back."""

    def close(self) -> None:
        """Give back whatever is still held; safe to repeat."""
