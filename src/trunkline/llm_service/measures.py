"""Embeddings and token counts for library users: thin, on the same core as chats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from trunkline import dialects
from trunkline.client import Trunkline
from trunkline.dialects.openai_chat.embeddings.write import unpacked
from trunkline.interfaces import Embeddings, TokenCount
from trunkline.llm_service.ask import model_of
from trunkline.types import (
    Chat,
    Counted,
    CountTokens,
    Embed,
    Embedded,
    Frame,
    Principal,
    Trail,
)
from trunkline.vectors import aside


async def embed(
    line: Trunkline,
    texts: str | Sequence[str],
    model: str,
    options: dict[str, Any],
    principal: Principal,
) -> Embeddings:
    """Ask for vectors; `options` are fields of OpenAI's request that are not None.

    Raises:
        InputError: names the field, what was found and what to write instead.
        TrunklineError: no provider of this model answered.
    """
    asked = {"model": model, "input": texts, "encoding_format": "float"}
    given = {name: value for name, value in options.items() if value is not None}
    call: Embed = dialects.load("openai_embeddings").read(msgspec.json.encode(asked | given))
    trail = Trail()
    async with await line(replace(call, principal=principal, trail=trail)) as reply:
        frames = [frame async for frame in reply]
        vectors = await aside(frames, _vectors, frames)
    tokens = trail.attempts[-1].usage.prompt_tokens
    return Embeddings(
        vectors=vectors,
        model=model_of(reply),
        provider=reply.deployment.provider,
        usage={"prompt_tokens": tokens, "total_tokens": tokens},
    )


async def count(line: Trunkline, chat: Chat) -> TokenCount:
    """Count the tokens that `chat` would send; free.

    Raises:
        TrunklineError: nobody answers to that model, or its provider failed.
    """
    call = CountTokens(
        model=chat.model, provider=chat.provider, body=chat.body, principal=chat.principal
    )
    async with await line(call) as reply:
        events = [event async for frame in reply for event in reply.events(frame)]
    told = next(event for event in events if isinstance(event, Counted))
    return TokenCount(told.tokens, told.estimated)


def _vectors(frames: Sequence[Frame]) -> list[list[float]]:
    events = (event for frame in frames for event in frame.events)
    told = next(event for event in events if isinstance(event, Embedded))
    return [unpacked(vector) for vector in told.vectors]
