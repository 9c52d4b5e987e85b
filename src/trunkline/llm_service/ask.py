"""What all faces share: make one `Chat` of what they were given, run it, read the answer.

Every face goes through `chat` and `ask`, so the same question makes the same request whichever
face it was asked through.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from trunkline import dialects
from trunkline.client import Trunkline
from trunkline.errors import InputError
from trunkline.llm_service.chunks import tool_call_dicts
from trunkline.llm_service.users import Users
from trunkline.reply import Reply
from trunkline.types import Chat, Event, Message, Thinking, Trail

_OURS = ("model", "messages", "stream")


def chat(
    messages: Sequence[Mapping[str, Any]],
    model: str | None,
    parameters: Mapping[str, Any] | None = None,
    *,
    provider: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **envelope: Any,
) -> Chat:
    """Make a call from OpenAI-format messages; `envelope` sets fields of `Chat` besides its body.

    Parameters that are None are left out, as are empty `tools`.

    Raises:
        InputError: names the field, what was found and what to write instead.
    """
    if not isinstance(parameters, Mapping | None):
        raise InputError(
            f"'parameters' is wrong: Expected a dict, got {type(parameters).__name__}; "
            'write {"temperature": 0.7} or {}',
            param="parameters",
        )
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    for name in _OURS:
        if name in given:
            raise InputError(
                f"parameters.{name}: give {name} as its own argument, not among the parameters",
                param=f"parameters.{name}",
            )
    body: dict[str, Any] = {"model": model or "", "messages": messages, **given}
    if tools:
        body["tools"] = tools
    try:
        encoded = msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the request cannot be written as JSON: {error}") from error
    call: Chat = dialects.load("openai_chat").read(encoded)
    return replace(call, provider=provider, trail=Trail(), **envelope)


class Allowance:
    """The caller's user service around a call: ask before, charge once after.

    Any object with `require_allowance` and `add_usage` works, sync or async. Without a service or
    without a user id nothing is asked and nothing is charged. The built-in `Users` are charged by
    the ledger of their line already, so for a call through that line they are only asked.
    """

    def __init__(
        self, service: Any, user_id: str | None, basic_info: Mapping[str, Any] | None
    ) -> None:
        self._service = service if user_id is not None else None
        self._user_id = user_id
        self._basic_info = basic_info

    async def require(self, line: Trunkline) -> None:
        """Let the service refuse; its own exception goes to the caller unchanged."""
        service = self._service
        if service is not None:
            await _settle(service.require_allowance(self._user_id, basic_info=self._basic_info))
        if isinstance(service, Users) and service.line is line:
            self._service = None

    async def charge(self, trail: Trail | None) -> None:
        """Charge what all attempts of the call cost, in USD; an unknown cost is not charged."""
        if self._service is None or trail is None or not trail.attempts:
            return
        nusd = trail.cost.nusd
        if nusd is None:
            return
        cost_usd = nusd / 1_000_000_000  # the seed's signature takes a float
        await _settle(self._service.add_usage(self._user_id, cost_usd, basic_info=self._basic_info))


NOBODY = Allowance(None, None, None)
"""Nobody is asked and nobody is charged."""


async def _settle(answer: Any) -> None:
    if inspect.isawaitable(answer):
        await answer


async def ask(line: Trunkline, call: Chat, allowance: Allowance) -> tuple[Message, Reply]:
    """Run `call` to its end and fold the answer."""
    await allowance.require(line)
    try:
        async with await line(call) as reply:
            message = await reply.message()
    finally:
        await allowance.charge(call.trail)
    return message, reply


async def follow(
    line: Trunkline, call: Chat, allowance: Allowance, *, stream: bool = True
) -> AsyncGenerator[tuple[Reply, tuple[Event, ...]], None]:
    """Yield (reply, events) frame by frame; charge what was received, however it ends.

    Use it under `contextlib.aclosing`, so that a reader who stops early settles at once.
    """
    await allowance.require(line)
    try:
        async with await line(replace(call, stream=stream)) as reply:
            async for frame in reply:
                yield reply, reply.events(frame)
    finally:
        await allowance.charge(call.trail)


def call_id(reply: Reply) -> str:
    """Return the id under which the call is recorded."""
    return reply.call.id if reply.call is not None else ""


def model_of(reply: Reply) -> str:
    """Return the model that answered, in its provider's own words where it said so."""
    return reply.upstream_model or reply.deployment.model


def thoughts_of(message: Message) -> dict[str, Any] | None:
    """Return what the model thought and which tools it asked for; None when there is nothing.

    Any of `reasoning_content` (readable text), `blocks` (thinking blocks with what proves them,
    to be sent back unchanged) and `tool_calls` (OpenAI's form).
    """
    thoughts: dict[str, Any] = {}
    if message.thinking:
        thoughts["reasoning_content"] = message.thinking
    blocks = [_block(part) for part in message.parts if isinstance(part, Thinking)]
    if any(len(block) > 2 for block in blocks):
        thoughts["blocks"] = blocks
    if message.tool_calls:
        thoughts["tool_calls"] = tool_call_dicts(message.tool_calls)
    return thoughts or None


def _block(part: Thinking) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "thinking", "thinking": part.text}
    if part.signature is not None:
        block["signature"] = part.signature
    if part.redacted is not None:
        block |= {"type": "redacted_thinking", "data": part.redacted}
    return block | part.extra
