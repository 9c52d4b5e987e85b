"""Fold a stream of events into one `Message`: the whole answer is nothing else."""

from __future__ import annotations

from typing import Any

from trunkline.types import (
    AnyPart,
    Audio,
    AudioDelta,
    Event,
    Extra,
    Message,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
)


class Fold:
    """Collect the events of one choice; parts keep the order in which they began.

    A delta that says nothing neither opens a part nor ends one: providers put `"content": ""`
    beside every piece of thinking.
    """

    def __init__(self, choice: int = 0) -> None:
        self.choice = choice
        self._open: list[_Open] = []
        self._calls: dict[int, _Open] = {}
        self._extra: dict[str, Any] = {}

    def add(self, event: Event) -> None:
        """Take one event; those of other choices and those without content are ignored."""
        if event.choice != self.choice:
            return
        if isinstance(event, TextDelta):
            self._say(event)
        elif isinstance(event, ThinkingDelta):
            self._think(event)
        elif isinstance(event, ToolCallDelta):
            self._call(event)
        elif isinstance(event, RefusalDelta):
            if event.text:
                self._continue("refusal").texts.append(event.text)
        elif isinstance(event, AudioDelta):
            self._hear(event)
        elif isinstance(event, Extra):
            for name, value in event.fields.items():
                before = self._extra.get(name)
                both_texts = isinstance(before, str) and isinstance(value, str)
                self._extra[name] = before + value if both_texts else _joined(before, value)

    def message(self) -> Message:
        """Return the assistant's message as far as it came."""
        return Message(
            role="assistant", parts=tuple(part.close() for part in self._open), extra=self._extra
        )

    def _continue(self, kind: str, block: int | None = None) -> _Open:
        last = self._open[-1] if self._open else None
        if last is not None and last.kind == kind and (block is None or last.block == block):
            return last
        part = _Open(kind, block)
        self._open.append(part)
        return part

    def _say(self, event: TextDelta) -> None:
        if event.text or event.extra:
            part = self._continue("text", event.block)
            part.texts.append(event.text)
            part.extra = _joined(part.extra, event.extra)

    def _think(self, event: ThinkingDelta) -> None:
        if not (event.text or event.signature or event.redacted or event.extra):
            return
        part = self._continue("thinking", event.block)
        part.texts.append(event.text)
        part.extra |= event.extra
        for name in ("signature", "redacted", "spelling"):
            if (value := getattr(event, name)) is not None:
                part.said[name] = part.said.get(name, "") + value if name != "spelling" else value

    def _call(self, event: ToolCallDelta) -> None:
        part = self._calls.get(event.index)
        if part is None:
            part = self._calls[event.index] = _Open("tool_call", event.index)
            self._open.append(part)
        part.texts.append(event.arguments)
        part.extra |= event.extra
        if event.kind != "function":  # which is also what a later piece says by saying nothing
            part.said["kind"] = event.kind
        for name in ("id", "name"):
            if value := getattr(event, name):
                part.said.setdefault(name, value)

    def _hear(self, event: AudioDelta) -> None:
        part = next((part for part in self._open if part.kind == "audio"), None)
        if part is None:
            part = self._continue("audio")
        part.texts.append(event.data)
        part.said["transcript"] = part.said.get("transcript", "") + event.transcript
        for name in ("id", "expires_at"):
            if (value := getattr(event, name)) is not None:
                part.said[name] = value


class _Open:
    """A part under way."""

    __slots__ = ("block", "extra", "kind", "said", "texts")

    def __init__(self, kind: str, block: int | None) -> None:
        self.kind = kind
        self.block = block
        self.texts: list[str] = []
        self.said: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}

    def close(self) -> AnyPart:
        text = "".join(self.texts)
        if self.kind == "text":
            return Text(text=text, extra=self.extra)
        if self.kind == "refusal":
            return Refusal(text=text)
        if self.kind == "thinking":
            return Thinking(text=text, extra=self.extra, **self.said)
        if self.kind == "audio":
            return Audio(data=text, **self.said)
        # Groq says "null" and Anthropic "" for a tool without arguments: both mean none.
        arguments = text if text.strip() not in {"", "null"} else "{}"
        said = {"id": f"call_{self.block}", "name": ""} | self.said
        return ToolCall(arguments=arguments, extra=self.extra, **said)


def _joined(before: Any, value: Any) -> Any:
    """Join lists, and objects field by field; of anything else the last that says something."""
    if isinstance(before, list) and isinstance(value, list):
        return before + value
    if isinstance(before, dict) and isinstance(value, dict):
        return before | {name: _joined(before.get(name), piece) for name, piece in value.items()}
    return before if value is None else value
