"""`LLMService`: the object that seeds 002 and 003 describe."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, Self, overload

from trunkline.client import Trunkline
from trunkline.interfaces import (
    ChatMessage,
    ChatResponse,
    Embeddings,
    LLMRequest,
    LLMResponse,
    TokenCount,
)
from trunkline.llm_service import measures
from trunkline.llm_service.ask import NOBODY, ask, call_id, chat, follow, model_of, thoughts_of
from trunkline.llm_service.chunks import tool_call_dicts, usage_dict
from trunkline.reply import Reply
from trunkline.types import Chat, Event, Message, Principal, TextDelta

Frames = AsyncGenerator[tuple[Reply, tuple[Event, ...]], None]


class LLMService:
    """One interface to every configured provider."""

    def __init__(self, line: Trunkline | None = None) -> None:
        """Use `line`, or one built from the usual places (file, environment)."""
        self.line = line or Trunkline.from_config()

    @classmethod
    def from_config(cls, source: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> Self:
        """Build from a YAML file or a mapping of the same shape; see `Trunkline.from_config`."""
        return cls(Trunkline.from_config(source))

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Answer one request.

        Raises:
            TrunklineError: every candidate failed, or the request itself is wrong.
        """
        message, reply = await ask(self.line, _call(request), NOBODY)
        return _response(message, reply)

    def stream_generate(self, request: LLMRequest) -> ResponseStream:
        """Answer piece by piece: `async for part in service.stream_generate(request)`.

        Each part's `content` is what it adds; the last part has the usage. Awaiting the result
        first, as the seed's signature suggests, gives the same stream.
        """
        return ResponseStream(follow(self.line, _call(request), NOBODY))

    @overload
    async def chat(
        self,
        messages: Sequence[ChatMessage],
        model: str | None = None,
        stream: Literal[False] = False,  # noqa: FBT002
        track_tokens: bool = True,  # noqa: FBT001, FBT002
    ) -> ChatResponse: ...

    @overload
    async def chat(
        self,
        messages: Sequence[ChatMessage],
        model: str | None = None,
        *,
        stream: Literal[True],
        track_tokens: bool = True,
    ) -> AsyncGenerator[str, None]: ...

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        model: str | None = None,
        stream: bool = False,  # noqa: FBT001, FBT002 - seed 002's signature
        track_tokens: bool = True,  # noqa: FBT001, FBT002
    ) -> ChatResponse | AsyncGenerator[str, None]:
        """Answer a conversation: a `ChatResponse`, or with `stream=True` its text piece by piece.

        `model=None` takes the default model; `track_tokens=False` writes no usage row.
        """
        dicts = [_message_dict(message) for message in messages]
        call = chat(dicts, model, track_tokens=track_tokens)
        if stream:
            return _texts(follow(self.line, call, NOBODY))
        message, reply = await ask(self.line, call, NOBODY)
        return ChatResponse(
            reply=message.text, model=model_of(reply), usage=usage_dict(reply.usage)
        )

    async def embed(
        self,
        texts: str | Sequence[str],
        model: str,
        *,
        dimensions: int | None = None,
        input_type: str | None = None,
    ) -> Embeddings:
        """Turn texts into vectors; see `trunkline.embed`."""
        options = {"dimensions": dimensions, "input_type": input_type}
        return await measures.embed(self.line, texts, model, options, Principal())

    async def count_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        model: str | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> TokenCount:
        """Count the tokens that messages would send; see `trunkline.count_tokens`."""
        return await measures.count(self.line, chat(messages, model, tools=tools))

    def get_available_models(self) -> list[str]:
        """Return every name a caller may use: groups, aliases, and listed models."""
        return self.line.models()

    def get_provider_status(self) -> dict[str, bool]:
        """Tell for each provider whether it answers now and is not failing; free."""
        return self.line.status()


class ResponseStream:
    """An answer under way: async-iterable, awaitable (gives itself), closable."""

    def __init__(self, frames: Frames) -> None:
        self._parts = _parts(frames)

    def __await__(self) -> Generator[Any, None, ResponseStream]:
        yield from ()
        return self

    def __aiter__(self) -> AsyncIterator[LLMResponse]:
        return self._parts

    async def __anext__(self) -> LLMResponse:
        return await self._parts.__anext__()

    async def aclose(self) -> None:
        """Stop; what was received is billed."""
        await self._parts.aclose()


async def _parts(
    frames: Frames,
) -> AsyncGenerator[LLMResponse, None]:
    reply: Reply | None = None
    async with aclosing(frames):
        async for reply, events in frames:
            if text := _text(events):
                yield LLMResponse(
                    content=text, model=model_of(reply), provider=reply.deployment.provider
                )
    if reply is not None:
        yield _response(Message(role="assistant"), reply)


async def _texts(
    frames: Frames,
) -> AsyncGenerator[str, None]:
    async with aclosing(frames):
        async for _, events in frames:
            if text := _text(events):
                yield text


def _text(events: Sequence[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta) and e.choice == 0)


def _message_dict(message: Any) -> Any:
    """Read an application's own class of message as well; a dict is a message already."""
    if not hasattr(message, "role"):
        return message
    fields = {name: getattr(message, name, None) for name in ("name", "tool_calls", "tool_call_id")}
    given = {name: value for name, value in fields.items() if value is not None}
    return {"role": message.role, "content": message.content, **given}


def _call(request: LLMRequest) -> Chat:
    parameters = {"temperature": request.temperature, "max_tokens": request.max_tokens}
    return chat(
        request.messages,
        request.model,
        parameters,
        provider=request.provider,
        metadata=dict(request.metadata or {}),
    )


def _response(message: Message, reply: Reply) -> LLMResponse:
    call = reply.call
    trail = call.trail if call is not None else None
    return LLMResponse(
        content=message.text,
        model=model_of(reply),
        provider=reply.deployment.provider,
        usage=usage_dict(reply.usage),
        metadata={
            "call_id": call_id(reply),
            "finish_reason": reply.finish,
            "attempts": len(trail.attempts) if trail is not None else 0,
            "cost_nusd": trail.cost.nusd if trail is not None else None,
        },
        tool_calls=tool_call_dicts(message.tool_calls),
        thoughts=thoughts_of(message),
    )
