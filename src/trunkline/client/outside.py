"""Usage that went past the line: on record and on every budget, like an attempt of our own."""

from __future__ import annotations

from msgspec.structs import asdict

from trunkline.accounting.price import format_usd
from trunkline.client.stack import State
from trunkline.errors import InputError
from trunkline.layers.trace import CallIds, check_said
from trunkline.storage.records import LARGEST
from trunkline.types import (
    Begun,
    Called,
    Chat,
    Cost,
    Deployment,
    Ended,
    Principal,
    Prompt,
    Quote,
)

_OUTSIDE = Deployment(provider="outside", model="usage")
_ids = CallIds()


def charge(state: State, who: Principal, cost_nusd: int) -> None:
    """Record and settle `cost_nusd`, whether a budget has room for it or not.

    Raises:
        InputError: the cost is negative, no whole number or more than one record can hold, or a
            name of who pays is no text or too long.
        RecordError: the journal cannot be written; nothing was charged.
    """
    now_ns = state.clock.now_ns()
    name = _OUTSIDE.name
    call = Chat(model=name, principal=who, body=Prompt(messages=()), id=_ids.new(now_ns))
    check_said(call)
    _check(cost_nusd)
    payer = asdict(who)
    held = state.ledger.hold_spent(call, _OUTSIDE, Quote(cost_nusd, cost_nusd))
    cost = Cost(0)
    try:
        begun = Begun(
            call_id=call.id,
            n=1,
            started_ns=held.at_ns,
            deployment=name,
            model=name,
            hold_nusd=cost_nusd,
            **payer,
        )
        state.book.append(begun, flush=True)
        cost = Cost(cost_nusd)
    finally:
        state.ledger.settle(held.amounts, cost)
    # From here on it is charged, if need be by recovery, so nothing may be reported as failed.
    state.book.append(
        Ended(call_id=call.id, n=1, outcome="complete", cost_nusd=cost_nusd, cost_state="exact"),
        flush=False,
    )
    state.book.append(
        Called(
            call_id=call.id,
            kind="outside",
            started_ns=now_ns,
            model=name,
            outcome="complete",
            attempts=1,
            deployment=name,
            cost_nusd=cost_nusd,
            cost_state="exact",
            **payer,
        ),
        flush=False,
    )


def _check(cost_nusd: int) -> None:
    if isinstance(cost_nusd, bool) or not isinstance(cost_nusd, int):
        wanted = "write a whole number of nano-USD; 0.25 USD are 250000000"
    elif cost_nusd < 0:
        wanted = "write at least 0: what was spent is never given back"
    elif cost_nusd > LARGEST:
        wanted = f"write at most {LARGEST}, {format_usd(LARGEST)} USD, and charge the rest apart"
    else:
        return
    raise InputError(f"cost_nusd: found {cost_nusd!r}; {wanted}", param="cost_nusd")
