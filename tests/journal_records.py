"""Records that tests of the journal and of the stores write."""

from __future__ import annotations

from typing import Any

import msgspec

from trunkline.types.answer import Usage
from trunkline.types.record import PROCESS_DIED, Begun, Called, Ended, Record


def begun(call_id: str = "c1", n: int = 1, **fields: object) -> Begun:
    """Return an attempt that begins, held at 500 nano-USD."""
    plain = Begun(
        call_id=call_id,
        n=n,
        started_ns=1_000,
        deployment="openai/gpt-4o",
        model="fast",
        hold_nusd=500,
    )
    return msgspec.structs.replace(plain, **fields)


def ended(call_id: str = "c1", n: int = 1, **fields: object) -> Ended:
    """Return its end: 10 tokens in, 5 out, 120 nano-USD."""
    plain = Ended(
        call_id=call_id,
        n=n,
        outcome="complete",
        cost_nusd=120,
        cost_state="exact",
        usage=Usage(prompt_tokens=10, completion_tokens=5),
    )
    return msgspec.structs.replace(plain, **fields)


def called(call_id: str = "c1", **fields: object) -> Called:
    """Return the call it was made for."""
    plain = Called(
        call_id=call_id,
        kind="chat",
        started_ns=1_000,
        model="fast",
        outcome="complete",
        attempts=1,
        deployment="openai/gpt-4o",
        cost_nusd=120,
        cost_state="exact",
        prompt_tokens=10,
        completion_tokens=5,
    )
    return msgspec.structs.replace(plain, **fields)


def whole(call_id: str, **fields: Any) -> list[Record]:
    """Return the three records of a call of one attempt, alike in who pays."""
    both = {"model": "fast", **fields}
    return [begun(call_id, **both), ended(call_id), called(call_id, **both)]


def died(call_id: str = "c1", n: int = 1) -> Ended:
    """Return the end that recovery writes."""
    return Ended(
        call_id=call_id,
        n=n,
        outcome="abandoned",
        cost_nusd=500,
        cost_state="estimated",
        error_code=PROCESS_DIED,
    )


def died_call(call_id: str = "c1", **fields: Any) -> Called:
    """Return the call that recovery writes."""
    plain = called(call_id, kind="unknown", outcome="abandoned", error_code=PROCESS_DIED)
    return msgspec.structs.replace(plain, **fields)
