"""Read answers of both dialects as strictly as the official SDKs' own types say, and in order."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, TypeAdapter

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
OURS = {
    "usage.trunkline",  # what it cost
    "usage.cache_creation",  # which the type of a whole answer's usage has, that of an event not
    "choices.message.reasoning_content",
    "choices.delta.reasoning_content",
    "choices.message.reasoning_details",
    "choices.delta.reasoning_details",
    "choices.message.citations",
    "choices.delta.citations",
    "choices.native_finish_reason",
    "error.code",
    "error.details",
}
"""Fields that the SDKs' types do not name."""
STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
"""Why an answer ended: OpenAI's words -> Anthropic's."""


@dataclass(frozen=True)
class Said:
    """What an answer says, in no provider's words."""

    text: str = ""
    thought: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    """Names and arguments."""
    finish: str = "stop"
    """As OpenAI says it."""


def strict(kind: Any, data: bytes) -> Any:
    """Return what a type takes strictly, with no field that neither it nor we name."""
    take = kind.validate_json if isinstance(kind, TypeAdapter) else kind.model_validate_json
    model = take(data, strict=True)
    assert set(unknown(model)) <= OURS, data
    return model


def unknown(value: Any, path: str = "") -> Iterator[str]:
    """Give the paths of fields that no type names."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}".lstrip(".") for name in value.model_extra or ())
        for name in type(value).model_fields:
            yield from unknown(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for one in value:
            yield from unknown(one, path)


def of_completion(body: bytes) -> Said:
    """Read OpenAI's whole answer."""
    [choice] = strict(ChatCompletion, body).choices
    said = choice.message
    calls = tuple((c.function.name, c.function.arguments) for c in said.tool_calls or ())
    text = (said.content or "") + (said.refusal or "")
    return Said(
        text, (said.model_extra or {}).get("reasoning_content", ""), calls, choice.finish_reason
    )


def of_chunks(body: bytes, *, usage_asked: bool) -> Said:
    """Read OpenAI's stream, and check what its order promises."""
    *blocks, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [strict(ChatCompletionChunk, b.removeprefix("data: ").encode()) for b in blocks]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].id
    if usage_asked:
        last = chunks.pop()
        assert (last.choices, last.usage.total_tokens) == ([], last.usage.total_tokens)
    assert all(chunk.usage is None for chunk in chunks)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert len(choices) == len(chunks)
    assert choices[0].delta.role == "assistant"
    assert [choice.finish_reason is None for choice in choices] == [True] * (len(choices) - 1) + [
        False
    ]
    deltas = [choice.delta for choice in choices]
    calls: list[list[str]] = []
    for call in (call for delta in deltas for call in delta.tool_calls or ()):
        if call.index == len(calls):
            assert (bool(call.id), call.type, bool(call.function.name)) == (True, "function", True)
            calls.append([call.function.name, ""])
        assert call.index == len(calls) - 1
        calls[-1][1] += call.function.arguments
    return Said(
        "".join((d.content or "") + (d.refusal or "") for d in deltas),
        "".join((d.model_extra or {}).get("reasoning_content", "") for d in deltas),
        tuple((name, arguments) for name, arguments in calls),
        choices[-1].finish_reason,
    )


def of_message(message: Message) -> Said:
    """Read Anthropic's whole answer, or one put together from events."""
    texts, thoughts, calls = "", "", []
    for block in message.content:
        if block.type == "text":
            assert block.text
            texts += block.text
        elif block.type == "thinking":
            thoughts += block.thinking
        else:
            assert block.type == "tool_use"
            assert block.id
            calls.append((block.name, json.dumps(block.input)))
    assert message.stop_reason is not None
    finish = {word: name for name, word in STOPS.items()}.get(message.stop_reason, "")
    return Said(texts, thoughts, tuple(calls), finish)


ENTERS = {"text": "text_delta", "tool_use": "input_json_delta", "thinking": "thinking_delta"}
BESIDE = {("text", "citations_delta"), ("thinking", "signature_delta")}


class Assembly:
    """Puts a message together from its events; any that may not come now is an error."""

    def __init__(self) -> None:
        self.message: Any = None
        self._state = "new"
        self._input = ""

    def take(self, event: Any) -> None:
        """Take the next event."""
        state, content = self._state, self.message.content if self.message else []
        assert state != "stopped"
        if event.type == "message_start":
            assert state == "new"
            self.message, self._state = event.message, "between"
            assert (event.message.content, event.message.stop_reason) == ([], None)
        elif event.type == "content_block_start":
            assert (state, event.index) == ("between", len(content))
            content.append(event.content_block)
            self._state, self._input = "in", ""
        elif event.type == "content_block_delta":
            assert (state, event.index) == ("in", len(content) - 1)
            self._add(content[-1], event.delta)
        elif event.type == "content_block_stop":
            assert (state, event.index) == ("in", len(content) - 1)
            if content[-1].type == "tool_use":
                assert content[-1].input == {}
                content[-1].input = json.loads(self._input or "{}")
            self._state = "between"
        elif event.type == "message_delta":
            assert state == "between"
            self._state = "ended"
            self.message.stop_reason = event.delta.stop_reason
        else:
            assert (event.type, state) == ("message_stop", "ended")
            self._state = "stopped"

    def _add(self, block: Any, delta: Any) -> None:
        assert ENTERS[block.type] == delta.type or (block.type, delta.type) in BESIDE
        if delta.type == "text_delta":
            block.text += delta.text
        elif delta.type == "thinking_delta":
            block.thinking += delta.thinking
        elif delta.type == "input_json_delta":
            self._input += delta.partial_json

    @property
    def whole(self) -> bool:
        """Whether nothing is left to come."""
        return self._state == "stopped"


def of_events(body: bytes) -> Said:
    """Read Anthropic's stream, and check what its order promises."""
    assembly = Assembly()
    *blocks, rest = body.decode().split("\n\n")
    assert rest == ""
    for block in blocks:
        name, data = block.split("\n")
        payload = data.removeprefix("data: ")
        assert name == f"event: {json.loads(payload)['type']}"
        if name != "event: ping":
            assembly.take(strict(EVENT, payload.encode()))
    assert assembly.whole
    return of_message(assembly.message)


def heard(path: str, body: bytes, *, stream: bool, usage_asked: bool = False) -> Said:
    """Read an answer of either dialect."""
    if path == CHAT:
        return of_chunks(body, usage_asked=usage_asked) if stream else of_completion(body)
    return of_events(body) if stream else of_message(strict(Message, body))
