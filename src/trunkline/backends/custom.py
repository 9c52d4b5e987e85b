"""`custom:NAME`: a provider that a user registered, asked in its own words.

An `LLMProvider` gets an `LLMRequest`, any other provider a list of `ChatMessage`. Which method is
called follows `Call.stream`; what it gives, whole or in pieces, becomes frames of events. Whatever
it raises that is not ours becomes a `ProviderError` with the original as its cause.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, cast, get_args

from msgspec import json

from trunkline import dialects
from trunkline.backends import begin
from trunkline.clock import Clock
from trunkline.config.custom import lacks
from trunkline.errors import (
    AttemptTimeout,
    BadAnswer,
    CapabilityMissing,
    ConfigError,
    ConnectionLost,
    ProviderError,
    TrunklineError,
)
from trunkline.interfaces import (
    BaseLLMProvider,
    ChatMessage,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    registered,
)
from trunkline.observability.redact import scrub
from trunkline.reply import Reply
from trunkline.types import (
    Chat,
    Deployment,
    Event,
    Finish,
    FinishReason,
    Frame,
    Mark,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

_KINDS = ((TimeoutError, AttemptTimeout), (ConnectionError, ConnectionLost))
_FINISHES = frozenset(get_args(FinishReason))
_LIMITS = ("temperature", "max_tokens", "max_completion_tokens")
_NAMED_APART = frozenset(("messages", "model", "stream", "stream_options", *_LIMITS))
_OPTIONAL = ("name", "tool_calls", "tool_call_id")


def make(name: str, _: Clock) -> Custom:
    """Return the backend for the provider registered as `name`.

    Raises:
        ConfigError: nobody registered it, or its package is broken.
    """
    providers = registered()
    if name not in providers:
        known = ", ".join(providers) or "none"
        raise ConfigError(
            f"no provider is registered as {name!r} (known: {known}); "
            f"call trunkline.register_provider({name!r}, ...) first"
        )
    return Custom(name, cast("LLMProvider | BaseLLMProvider", providers[name]))


class Custom:
    """Answers chats through one provider of the user's own."""

    def __init__(self, name: str, provider: LLMProvider | BaseLLMProvider) -> None:
        self._name = name
        self._provider = provider

    async def send(self, call: Chat) -> Reply:
        """Answer `call`.

        Raises:
            CapabilityMissing: more than one choice is asked for, or what the provider lacks.
            ProviderError: the provider failed before it said anything.
        """
        assert call.target is not None
        if call.body.choices > 1:
            raise CapabilityMissing(f"{call.target.name} gives one answer; ask for n=1", param="n")
        if missing := lacks(self._name, self._provider) & call.body.needs:
            raise CapabilityMissing(f"{call.target.name} cannot take {', '.join(sorted(missing))}")
        return await begin(self._frames(call, call.target), call.target)

    async def _frames(self, call: Chat, deployment: Deployment) -> AsyncGenerator[Frame, None]:
        answer = _Answer(deployment.model)
        try:
            async with aclosing(self._pieces(call, deployment)) as pieces:
                async for piece in pieces:
                    yield answer.add(piece)
            if answer.begun:
                usage = answer.usage or await self._counted(call, answer.text)
                yield answer.end(usage)
        except TrunklineError:
            raise
        except Exception as error:
            raise self._failure(error) from error

    async def _pieces(self, call: Chat, deployment: Deployment) -> AsyncGenerator[object, None]:
        made = self._ask(call, deployment)
        if inspect.isawaitable(made) and not (call.stream and hasattr(made, "__aiter__")):
            made = await made
        if not call.stream:
            yield made
            return
        if not hasattr(made, "__aiter__"):
            raise BadAnswer(
                f"{self._name}: a stream must be an async iterator, not {type(made).__name__}; "
                "write the method as an async generator"
            )
        try:
            async for piece in made:
                yield piece
        finally:
            if close := getattr(made, "aclose", None):
                await close()

    def _ask(self, call: Chat, deployment: Deployment) -> Any:
        """Call the provider's method; what it returns may have to be awaited."""
        provider = self._provider
        body = json.decode(dialects.load("openai_chat").encode(call, deployment).body)
        temperature, most = call.prompt.temperature, call.body.max_output_tokens
        limits: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        limits |= {} if most is None else {"max_tokens": most}
        parameters = {name: said for name, said in body.items() if name not in _NAMED_APART}
        if isinstance(provider, LLMProvider):
            request = LLMRequest(
                body["messages"],
                deployment.model,
                stream=call.stream,
                provider=deployment.provider,
                metadata={**call.metadata, "parameters": parameters},
                **limits,
            )
            return (provider.stream_generate if call.stream else provider.generate)(request)
        method: Callable[..., Any] = provider.stream_chat if call.stream else provider.chat
        unnamed = deployment.model == deployment.provider  # see `Planner`: no model was named
        model = None if unnamed else deployment.model
        options = {"model": model, **limits, **parameters}
        taken = _taken(method, options)
        if call.trail is not None:
            call.trail.dropped = tuple(n for n in options if n not in taken and n != "model")
        return method([_message(said) for said in body["messages"]], **taken)

    async def _counted(self, call: Chat, text: str) -> Usage | None:
        """Count tokens where the provider said nothing of them; None if it cannot."""
        count = getattr(self._provider, "count_tokens", None)
        if count is None:
            return None
        counts = []
        for said in ("\n".join(message.text for message in call.prompt.messages), text):
            counted = count(said)
            counts.append(await counted if inspect.isawaitable(counted) else counted)
        usage = _usage({"prompt_tokens": counts[0], "completion_tokens": counts[1]})
        if usage is None:
            raise BadAnswer(f"{self._name}: count_tokens must return an int, not {counts[0]!r}")
        return usage

    def _failure(self, error: Exception) -> ProviderError:
        kind = next((ours for cause, ours in _KINDS if isinstance(error, cause)), ProviderError)
        return kind(scrub(f"provider {self._name!r} raised {type(error).__name__}: {error}"))


class _Answer:
    """What a provider has said so far, in any of the shapes it may say it in."""

    def __init__(self, model: str) -> None:
        self._started = Started(model=model)
        self._texts: list[str] = []
        self._calls = 0
        self._finish: str | None = None
        self.begun = False
        self.usage: Usage | None = None

    @property
    def text(self) -> str:
        """All text and thought so far."""
        return "".join(self._texts)

    def add(self, piece: object) -> Frame:
        """Take a text, an `LLMResponse`, a `ChatResponse` or their like."""
        response = _response(piece)
        self.usage = _usage(response.usage) or self.usage
        self._finish = response.metadata.get("finish_reason") or self._finish
        events = [*self._content(response)]
        mark = Mark.SHOWN if events else Mark.NONE
        if response.model:
            self._started = Started(model=response.model)
        if not self.begun:
            events.insert(0, self._started)
            self.begun = True
        return Frame(b"", mark, events=tuple(events))

    def end(self, usage: Usage | None) -> Frame:
        """Finish with the provider's own `finish_reason`, or with what the content tells."""
        reason = self._finish if self._finish in _FINISHES else None
        reason = reason or ("tool_calls" if self._calls else "stop")
        finish = Finish(reason=cast("FinishReason", reason), raw=self._finish)
        mark, events = Mark.FINISH | Mark.TERMINAL, (self._started, finish)
        if usage is None:
            return Frame(b"", mark, events=events)
        return Frame(b"", mark | Mark.USAGE, events=(*events, UsageReport(usage=usage)))

    def _content(self, response: LLMResponse) -> Iterator[Event]:
        thought = response.thoughts
        if isinstance(thought, Mapping):
            thought = thought.get("reasoning_content")
        if isinstance(thought, str) and thought:
            self._texts.append(thought)
            yield ThinkingDelta(text=thought)
        if response.content:
            self._texts.append(response.content)
            yield TextDelta(text=response.content)
        for call in response.tool_calls:
            yield _call(call, self._calls)
            self._calls += 1


def _taken(method: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `options` that `method` has parameters for."""
    parameters = inspect.signature(method).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(options)
    return {name: said for name, said in options.items() if name in parameters}


def _message(said: Mapping[str, Any]) -> ChatMessage:
    optional = {name: said.get(name) for name in _OPTIONAL}
    return ChatMessage(said["role"], said.get("content"), **optional)


def _response(piece: object) -> LLMResponse:
    """Read what a provider returned by the names of `LLMResponse` and `ChatResponse`."""
    said = getattr(piece, "reply", getattr(piece, "content", ...))
    text = piece if isinstance(piece, str) else said
    text = "" if text is None else text  # OpenAI's way to say that there are only tool calls
    if not isinstance(text, str):
        raise BadAnswer(
            f"a provider gave {type(piece).__name__}; it must be a str, an LLMResponse or a "
            "ChatResponse, whose text is a str"
        )
    return LLMResponse(
        text,
        getattr(piece, "model", ""),
        usage=getattr(piece, "usage", {}),
        metadata=getattr(piece, "metadata", None) or {},
        tool_calls=getattr(piece, "tool_calls", None) or [],
        thoughts=getattr(piece, "thoughts", None),
    )


def _usage(said: Any) -> Usage | None:
    """Read token counts under OpenAI's or Anthropic's names; None unless both are told."""
    prompt = _count(said, "prompt_tokens", "input_tokens")
    completion = _count(said, "completion_tokens", "output_tokens")
    if prompt is None or completion is None:
        return None
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


def _count(said: Any, *names: str) -> int | None:
    for name in names:
        value = said.get(name) if isinstance(said, Mapping) else getattr(said, name, None)
        if isinstance(value, int) and value >= 0:
            return value
    return None


def _call(said: Any, index: int) -> ToolCallDelta:
    """Read a tool call in OpenAI's format; a fragment of one says its `index`."""
    try:
        function = said["function"]
        arguments = function.get("arguments") or ""
        return ToolCallDelta(
            index=said.get("index", index),
            id=said.get("id"),
            name=function.get("name") if "index" in said else function["name"],
            arguments=arguments if isinstance(arguments, str) else json.encode(arguments).decode(),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise BadAnswer(
            "a provider gave a tool call that is not in OpenAI's format: "
            f"{scrub(repr(said), 200)}; write "
            '{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}'
        ) from error
