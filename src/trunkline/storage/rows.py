"""What queries answer, whatever the engine."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict

from trunkline.types.call import Attempt, Outcome
from trunkline.types.record import Called

By = Literal["model", "deployment", "provider", "key", "user", "team", "tenant", "tag", "day"]


class UsageRow(Struct, frozen=True, kw_only=True):
    """What the tracked calls of one model, key, day, ... used.

    Tokens and money are sums over all their attempts, failed ones included.
    """

    by: str
    """The name of what the rows are grouped by: `model`, `key_id`, `day`, ..."""
    value: str | None
    """None for calls that have none: no user, no tag, ..."""
    requests: int
    """Calls that are over, one with two tags for both; of a deployment or provider: attempts."""
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    """Prompt plus completion."""
    cached_tokens: int
    """Included in `prompt_tokens`."""
    reasoning_tokens: int
    """Included in `completion_tokens`."""
    cost_nusd: int
    """Of the attempts whose cost is known."""
    unknown_price_requests: int
    """Of `requests`, those whose cost is not known."""

    def to_dict(self) -> dict[str, Any]:
        """Return the row with its value under the name of what it is: `{"model": ..., ...}`."""
        fields = asdict(self)
        return {fields.pop("by"): fields.pop("value"), **fields}


class CallRow(Struct, frozen=True, kw_only=True):
    """One call that is over, with its attempts in their order."""

    call: Called
    attempts: list[Attempt]

    def to_dict(self) -> dict[str, Any]:
        """Return the row as it is printed, every field by its name."""
        attempts = [
            {**asdict(attempt), "usage": asdict(attempt.usage), "cost": asdict(attempt.cost)}
            for attempt in self.attempts
        ]
        return {"call": asdict(self.call), "attempts": attempts}


class UsageFilter(Struct, frozen=True, kw_only=True):
    """Which usage; None = any."""

    since_ns: int | None = None
    """The quarter of an hour around it is the first that counts."""
    until_ns: int | None = None
    """The quarter of an hour before it is the last, or the one that it falls into."""
    key_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    tenant_id: str | None = None


class CallFilter(Struct, frozen=True, kw_only=True):
    """Which calls; None = any."""

    call_id: str | None = None
    key_id: str | None = None
    user_id: str | None = None
    tenant_id: str | None = None
    model: str | None = None
    deployment: str | None = None
    """The one that answered, or the last that was tried."""
    outcome: Outcome | None = None
    tag: str | None = None
    since_ns: int | None = None
    """Started then or later."""
    until_ns: int | None = None
    """Started before."""
    after: tuple[int, str] | None = None
    """`started_ns` and `call_id` of the last call of a page: what comes next."""
    hidden: bool = False
    """Show those with `track_tokens=False` too; for administrators."""
