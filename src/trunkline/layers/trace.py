"""Give the call its identity: an id, a start, and a trail to write on."""

from __future__ import annotations

import itertools
import os
import secrets
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.json import encode
from msgspec.structs import asdict, replace

from trunkline.clock import Clock
from trunkline.errors import InputError, TrunklineError
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call, Embed, Trail


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


_LONGEST_NAME = 256
_MOST_TAGS = 64
_Name = Annotated[str, Meta(max_length=_LONGEST_NAME)]
"""What is looked up by it stands in an index, and a database takes only so much there."""
_MOST_INDEXED_BYTES = 2400
"""Of all names of a call together, which one index of sums has. A row that it does not take would
stop ingestion for good.
Source: https://www.postgresql.org/docs/18/btree.html, 2,704 bytes (2026-11-20)."""


class _Payer(Struct):
    key_id: _Name | None
    user_id: _Name | None
    team_id: _Name | None
    tenant_id: _Name | None


class _Said(Struct):
    """What the caller says of a call besides its body, with the types that the records need."""

    id: _Name
    model: _Name
    provider: _Name | None
    stream: bool
    principal: _Payer
    tags: Annotated[tuple[_Name, ...], Meta(max_length=_MOST_TAGS)]
    run: _Name | None
    metadata: dict[str, Any]
    track_tokens: bool
    timeout_s: Annotated[float, Meta(gt=0)] | None


_sound: set[tuple[type, ...]] = set()
"""The types of the fields of calls that were found to be right; few, for they are right."""


def _check(call: Call) -> None:
    """Refuse a number where a name belongs: no budget would know it and no record could hold it."""
    if not _is_like_others(call):
        check_said(call)
    if not call.body.message_count:
        name, one = ("input", "text") if isinstance(call, Embed) else ("messages", "message")
        raise InputError(f"'{name}' is empty; write at least one {one}", param=name)


def _is_like_others(call: Call) -> bool:
    """Whether a look at types and lengths is enough, which takes a fifth of the time."""
    tags, who = call.tags, call.principal
    # These say more than their type, or may not be walked.
    if call.metadata or call.timeout_s or tags.__class__ is not tuple or len(tags) > _MOST_TAGS:
        return False
    types = (
        call.id.__class__,
        call.model.__class__,
        call.provider.__class__,
        call.stream.__class__,
        who.key_id.__class__,
        who.user_id.__class__,
        who.team_id.__class__,
        who.tenant_id.__class__,
        call.run.__class__,
        call.metadata.__class__,
        call.track_tokens.__class__,
        call.timeout_s.__class__,
        *map(type, tags),
    )
    if types not in _sound:
        check_said(call)
        _sound.add(types)
    names = (
        f"{call.id}{call.model}{call.provider}{call.run}"
        f"{who.key_id}{who.user_id}{who.team_id}{who.tenant_id}{''.join(tags)}"
    )
    # So none of them is longer, and together they can be looked up.
    return len(names) <= _LONGEST_NAME and names.isprintable()


def check_said(call: Call) -> None:
    """Raise `InputError` for what a call says besides its body that no record can hold."""
    try:
        convert(call, _Said, from_attributes=True)
    except ValidationError as error:
        problem, _, path = str(error).rstrip("`").partition(" - at `$.")
        param = path.removeprefix("principal.")
        raise InputError(f"'{param}' is wrong: {problem}", param=param) from None
    who = call.principal
    # The model stands there once more, as part of the deployment.
    names = (call.model, call.model, call.provider, *call.tags)
    names += (who.key_id, who.user_id, who.team_id, who.tenant_id)
    # As JSON, which is longer, and with half characters as they are recorded.
    said = [name.encode(errors="backslashreplace").decode() for name in names if name]
    if (size_bytes := len(encode(said))) > _MOST_INDEXED_BYTES:
        said_by = {"tags": "".join(call.tags), "model": call.model, **asdict(who)}
        param = max(said_by, key=lambda name: len(said_by[name] or ""))
        raise InputError(
            f"'{param}' takes too much room: model, provider, tags and who pays have {size_bytes} "
            f"bytes together, of which {_MOST_INDEXED_BYTES} can be looked up; write less",
            param=param,
        )


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
