"""What is written down: three records, the only things the journal carries.

An attempt is `Begun` before its first byte goes up and `Ended` before the caller sees the end of
the answer; a call is `Called` once. An attempt that was begun and never ended is settled as
estimated at its hold by whoever reads the journal next.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from msgspec import Meta, Struct

from trunkline.types.answer import Usage
from trunkline.types.call import CostState, Outcome

PROCESS_DIED = "process_died"
"""The `error_code` of an end that recovery wrote; an end that the process itself wrote wins."""

Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Nanoseconds since the epoch."""


class _Written(Struct, frozen=True, array_like=True, gc=False):
    """A record is written as a list of its fields, so new ones may only be added at the end."""


class Begun(_Written, frozen=True, kw_only=True, tag="b"):
    """An attempt is about to be sent; repeats who pays, so that it stands alone after a crash."""

    call_id: str
    n: int
    started_ns: Time
    deployment: str
    """`provider/model`."""
    model: str
    """As the caller asked for it."""
    hold_nusd: int | None = None
    """None = the price is not known."""
    price_snapshot: str = ""
    key_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    tenant_id: str | None = None
    tags: tuple[str, ...] = ()
    run: str | None = None
    tracked: bool = True
    """False = hidden from usage pages and hooks (`track_tokens=False`)."""


class Ended(_Written, frozen=True, kw_only=True, tag="e"):
    """An attempt is over, whatever became of it."""

    call_id: str
    n: int
    outcome: Outcome
    cost_nusd: int | None = None
    cost_state: CostState = "unknown"
    usage: Usage = Usage()
    error_code: str | None = None
    error: str | None = None
    finish: str | None = None
    latency_ms: float = 0.0
    first_token_ms: float | None = None
    upstream_id: str | None = None


class Called(_Written, frozen=True, tag="c"):
    """A call is over: one row, also when no attempt was made."""

    call_id: str
    kind: str
    started_ns: Time
    model: str
    outcome: Outcome
    stream: bool = False
    message_count: int = 0
    attempts: int = 0
    deployment: str | None = None
    """The one that answered, or the last that was tried."""
    error_code: str | None = None
    error: str | None = None
    finish: str | None = None
    cost_nusd: int | None = None
    cost_state: CostState = "unknown"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float = 0.0
    first_token_ms: float | None = None
    key_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    tenant_id: str | None = None
    end_user: str | None = None
    tags: tuple[str, ...] = ()
    run: str | None = None
    tracked: bool = True
    route: tuple[str, ...] = ()
    """A word for each decision on the way, in order."""


Record = Begun | Ended | Called


class Book(Protocol):
    """Where records are appended: the journal."""

    def append(self, record: Record, *, flush: bool) -> None:
        """Append; after one with `flush`, all appended so far survives the death of the process.

        Raises:
            RecordError: it cannot be written; no call may go on then.
        """
