"""Usage that went past the line: on record and on every budget, like an attempt of our own."""

from __future__ import annotations

from msgspec.structs import asdict

from trunkline.client.stack import State
from trunkline.layers.trace import CallIds
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
        RecordError: the journal cannot be written; nothing was charged.
    """
    now_ns = state.clock.now_ns()
    name = _OUTSIDE.name
    payer = asdict(who)
    call = Chat(model=name, principal=who, body=Prompt(messages=()), id=_ids.new(now_ns))
    spent = Quote(cost_nusd, cost_nusd)
    held = state.ledger.hold_spent(call, _OUTSIDE, spent)
    cost = Cost(0)
    try:
        state.book.append(
            Begun(
                call_id=call.id,
                n=1,
                started_ns=held.at_ns,
                deployment=name,
                model=name,
                hold_nusd=cost_nusd,
                **payer,
            ),
            flush=True,
        )
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
