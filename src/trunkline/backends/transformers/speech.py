"""What a model writes, told apart: thoughts, words, calls of tools, and where to stop.

Models write thoughts as `<think>...</think>` and calls as `<tool_call>{...}</tool_call>` (Qwen,
Hermes and many after them), or a call as the whole answer (Llama 3: `{"name": ..., "parameters":
...}`). A text that only looks like a call is told as text.

Source: https://huggingface.co/docs/transformers/main/en/chat_extras, 2026-11-20
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import DecodeError, json

from trunkline.backends.transformers.asking import Asked
from trunkline.types import Event, TextDelta, ThinkingDelta, ToolCallDelta

_THINK, _THOUGHT = "<think>", "</think>"
_CALL, _CALLED = "<tool_call>", "</tool_call>"


class Speech:
    """Takes text in pieces of any length; gives events."""

    def __init__(self, wanted: Asked, *, thinking: bool) -> None:
        self._stops = wanted.stop
        self._tools = {tool.get("function", {}).get("name") for tool in wanted.tools}
        self._call_ids = wanted.call_ids
        self._mode: Literal["start", "text", "thought", "call", "answer"] = "start"
        if thinking:  # the template has written the opening itself
            self._mode = "thought"
        self._held = ""
        self.calls = 0
        self.stopped = False
        """A stop string was written."""

    def feed(self, text: str) -> list[Event]:
        """Take the next piece."""
        events: list[Event] = []
        self._held += text
        while not self.stopped and self._step(events):
            pass
        return events

    def end(self) -> list[Event]:
        """Tell what was held back, at the end of the answer."""
        held, self._held = self._held, ""
        if not held or self.stopped:
            return []
        if self._mode == "thought":
            return [ThinkingDelta(text=held)]
        if self._mode in {"call", "answer"} and (called := self._called(held)) is not None:
            return [called]
        return [TextDelta(text=(_CALL if self._mode == "call" else "") + held)]

    def _step(self, events: list[Event]) -> bool:
        """Go on with what is held; False = more has to come first."""
        if self._mode == "start":
            return self._start()
        if self._mode == "answer":
            return False
        mark, before = self._until(*self._marks())
        if self._mode == "call":
            if mark:
                called = self._called(before)
                text = TextDelta(text=_CALL + before + _CALLED)
                events.append(text if called is None else called)
                self._mode = "start"
            else:
                self._held = before + self._held
            return bool(mark)
        if before:
            kind = ThinkingDelta if self._mode == "thought" else TextDelta
            events.append(kind(text=before))
        if mark in self._stops:
            self.stopped = True
        elif mark:
            self._mode = "call" if mark == _CALL else "start"
        return bool(mark)

    def _start(self) -> bool:
        """Find out what comes: blanks between the parts of an answer are not told."""
        held = self._held.lstrip()
        if not held or (held != _THINK and _THINK.startswith(held)):
            return False
        self._held = held
        if held.startswith(_THINK):
            self._held = held.removeprefix(_THINK)
            self._mode = "thought"
        else:
            self._mode = "answer" if self._tools and held[0] == "{" else "text"
        return True

    def _marks(self) -> tuple[str, ...]:
        if self._mode == "thought":
            return (_THOUGHT,)
        if self._mode == "call":
            return (_CALLED,)
        return (*self._stops, _CALL) if self._tools else self._stops

    def _until(self, *marks: str) -> tuple[str, str]:
        """Take off what is held up to the first of `marks`, else up to what may become one."""
        found = [(at, mark) for mark in marks if (at := self._held.find(mark)) >= 0]
        if found:
            at, mark = min(found)
            before, self._held = self._held[:at], self._held[at + len(mark) :]
            return mark, before
        longest = max((len(mark) for mark in marks), default=1) - 1
        held = self._held
        kept = next(
            (
                n
                for n in range(min(longest, len(held)), 0, -1)
                if any(mark.startswith(held[-n:]) for mark in marks)
            ),
            0,
        )
        before, self._held = held[: len(held) - kept], held[len(held) - kept :]
        return "", before

    def _called(self, text: str) -> ToolCallDelta | None:
        """Read a call of one of the tools; None = it is none."""
        try:
            said: Any = json.decode(text.strip())
            arguments = said.get("arguments", said.get("parameters", {}))
            name = said["name"]
        except (AttributeError, DecodeError, KeyError, TypeError):
            return None
        if name not in self._tools:
            return None
        spelled = arguments if isinstance(arguments, str) else json.encode(arguments).decode()
        call_id = f"{self._call_ids}_{self.calls}"
        self.calls += 1
        return ToolCallDelta(index=self.calls - 1, id=call_id, name=name, arguments=spelled)
