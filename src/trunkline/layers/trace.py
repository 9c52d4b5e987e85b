"""Give the call its identity: an id, a start, and a trail to write on."""

from __future__ import annotations

import itertools
import os
import secrets
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import replace

from trunkline.clock import Clock
from trunkline.errors import InputError, TrunklineError
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call, Trail


class CallIds:
    """Unique ids without a system call each: time, 60 random bits per process, a counter."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._process = secrets.token_hex(8)[:15]
        self._count = itertools.count()

    def new(self, now_ns: int) -> str:
        """Return a new id; later ids sort after earlier ones of the same millisecond or before."""
        return f"call_{now_ns // 1_000_000:011x}{self._process}{next(self._count):06x}"


_ids = CallIds()


class _Payer(Struct):
    key_id: str | None
    user_id: str | None
    team_id: str | None
    tenant_id: str | None


class _Said(Struct):
    """What the caller says of a call besides its body, with the types that the records need."""

    id: str
    model: str
    provider: str | None
    stream: bool
    principal: _Payer
    tags: tuple[str, ...]
    run: str | None
    metadata: dict[str, Any]
    track_tokens: bool
    timeout_s: Annotated[float, Meta(gt=0)] | None


def _check(call: Call) -> None:
    """Refuse a number where a name belongs: no budget would know it and no record could hold it."""
    try:
        convert(call, _Said, from_attributes=True)
    except ValidationError as error:
        problem, _, path = str(error).rstrip("`").partition(" - at `$.")
        param = path.removeprefix("principal.")
        raise InputError(f"'{param}' is wrong: {problem}", param=param) from None
    if not call.body.message_count:
        raise InputError("'messages' is empty; write at least one message", param="messages")


def trace(clock: Clock) -> Layer:
    """Stamp every call with `id` and `trail`, and every error and reply with the call.

    A call whose own fields are of the wrong type is refused here, before anything speaks of it.
    """

    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            _check(call)
            now_ns = clock.now_ns()
            trail = call.trail or Trail()  # a face may bring one, to read it after a failure
            trail.started_ns, trail.started_s = now_ns, clock.monotonic_s()
            call = replace(call, id=call.id or _ids.new(now_ns), trail=trail)
            try:
                reply = await inner(call)
            except TrunklineError as error:
                error.call_id = call.id
                raise
            reply.call = call
            return reply

        return service

    return layer
