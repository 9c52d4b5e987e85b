"""What a billing hook is told: one event for each attempt that is over."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from trunkline.types.answer import Usage
from trunkline.types.call import CostState, Outcome

METER = "trunkline_tokens"
"""The `event_name` of the meter in Stripe to which tokens are told."""
_STRIPE_CUSTOMER = "cus_"


class Tokens(Struct, frozen=True, kw_only=True):
    """What an attempt used, as `Usage` counts it."""

    prompt_tokens: int
    """Includes `cache_read_tokens`, `cache_write_tokens` and `audio_input_tokens`."""
    completion_tokens: int
    """Includes `reasoning_tokens` and `audio_output_tokens`."""
    total_tokens: int
    """Prompt plus completion."""
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    service_tier: str
    """The tier of prices that was served; "" = the standard one, or the provider did not say."""
    web_search_requests: int
    """Searches that the provider made and charges apart."""


class MeterPayload(Struct, frozen=True, kw_only=True):
    """What is metered, and for whom."""

    value: str
    """`total_tokens`; Stripe takes whole numbers only, written as text."""
    stripe_customer_id: str | UnsetType = UNSET
    """The first of tenant, team, user and key whose id begins with `cus_`; else not there."""


class StripeMeterEvent(Struct, frozen=True, kw_only=True):
    """The parameters of Stripe's "create a meter event", ready to be passed on.

    Source: https://docs.stripe.com/api/billing/meter-event/create and
    https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api (2026-11-20).
    """

    event_name: str
    identifier: str
    """The event's `id`. Stripe refuses a second one for at least 24 hours; at most 100 characters
    (https://hexdocs.pm/tiger_stripe/Stripe.Params.Billing.MeterEventCreateParams.html)."""
    timestamp: int
    """As `created_at`; Stripe takes it for 35 days."""
    payload: MeterPayload


class UsageEvent(Struct, frozen=True, kw_only=True):
    """One attempt that is over, whatever became of it."""

    id: str
    """`CALL_ID:ATTEMPT`: the same however often it is delivered."""
    type: Literal["usage.recorded"] = "usage.recorded"
    created_at: int
    """When the attempt began, in seconds since the epoch."""
    call_id: str
    attempt: int
    """From 1; a call that failed over has several, each with an event of its own."""
    key_id: str | None
    user_id: str | None
    team_id: str | None
    tenant_id: str | None
    model: str
    """As the caller asked for it."""
    deployment: str
    """`provider/model` that answered."""
    tags: tuple[str, ...]
    outcome: Outcome
    usage: Tokens
    cost_nusd: int | None
    """In nano-USD; None = not known."""
    cost_usd: str | None
    """The same in USD, exact, with nine decimals."""
    cost_state: CostState
    stripe_meter_event: StripeMeterEvent


def tokens(usage: Usage) -> Tokens:
    """Return `usage` as hooks are told it."""
    return Tokens(**{name: getattr(usage, name) for name in Tokens.__struct_fields__})


def usd(nusd: int | None) -> str | None:
    """Return an amount in USD, exact, with nine decimals."""
    if nusd is None:
        return None
    whole, rest = divmod(abs(nusd), 10**9)
    return f"{'-' if nusd < 0 else ''}{whole}.{rest:09d}"


def meter_event(
    event_id: str, at_s: int, total_tokens: int, payers: tuple[str | None, ...]
) -> StripeMeterEvent:
    """Return what Stripe's meter is to be told; `payers` in the order in which to look."""
    customers = (payer for payer in payers if payer and payer.startswith(_STRIPE_CUSTOMER))
    return StripeMeterEvent(
        event_name=METER,
        identifier=event_id,
        timestamp=at_s,
        payload=MeterPayload(value=str(total_tokens), stripe_customer_id=next(customers, UNSET)),
    )
