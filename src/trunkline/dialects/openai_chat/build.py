"""The way back from the typed view: `Prompt` -> the fields of a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trunkline.dialects.openai_chat.details import joined
from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]
CARRIED = frozenset({"provider_specific", "extra_content", "reasoning_details"})
"""Extension fields in which signatures travel through other dialects."""
_ANSWER_ONLY = frozenset(
    {
        *("logprobs", "content_filter_results", "prompt_filter_results"),
        *("citations", "search_results"),
    }
)
"""What an answer says beside its message; not sent back with it."""
TOOL_KINDS = frozenset({"function", "custom"})
"""What a tool may be anywhere; any other kind runs at its own provider."""


class Builder:
    """Spells one prompt. `foreign` prompts come from another dialect: its own extras stay out."""

    def __init__(self, *, foreign: bool = False, reasoning_back: bool = False) -> None:
        self._foreign = foreign
        self._reasoning_back = reasoning_back
        """Thinking without a spelling of ours is said as `reasoning_content`."""

    def fields(self, prompt: Prompt) -> Json:
        """Return the top-level fields, all but model and stream; None values are left out."""
        fields: Json = {
            "messages": self.messages(prompt.messages),
            "tools": [
                self._tool(tool)
                for tool in prompt.tools
                if tool.kind in TOOL_KINDS or not self._foreign
            ]
            or None,
            "tool_choice": _tool_choice(prompt),
            "parallel_tool_calls": prompt.parallel_tool_calls,
            "response_format": _output_format(prompt.output_format),
            "reasoning_effort": _effort(prompt.reasoning, prompt.extra),
            "max_tokens": prompt.max_output_tokens,
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
            "top_k": prompt.top_k,
            "stop": list(prompt.stop) or None,
            "seed": prompt.seed,
            "presence_penalty": prompt.presence_penalty,
            "frequency_penalty": prompt.frequency_penalty,
            "user": prompt.end_user,
            "n": prompt.choices if prompt.choices != 1 else None,
        }
        told = _told(fields)
        beside = _told(self._extra(prompt.extra))
        return told | {name: beside[name] for name in beside if name not in told}

    def messages(self, messages: Iterable[Message]) -> list[Json]:
        """Spell messages; a tool result takes only text, so its pictures follow as the user's."""
        wire: list[Json] = []
        late: list[AnyPart] = []
        for message in messages:
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            if not results:
                wire += self._late(late)
                wire.append(self._message(message))
                continue
            for result in results:
                wire.append(self._result(result, message))
                late += [part for part in result.parts if not isinstance(part, Text)]
            late += [part for part in message.parts if not isinstance(part, ToolResult)]
        return wire + self._late(late)

    def _late(self, late: list[AnyPart]) -> list[Json]:
        if not late:
            return []
        parts = [self._part(part) for part in late]
        late.clear()
        return [{"role": "user", "content": parts}]

    def _result(self, result: ToolResult, message: Message) -> Json:
        texts = [part for part in result.parts if isinstance(part, Text)]
        own = self._extra(message.extra)
        return {
            "role": "tool",
            "tool_call_id": result.id,
            "content": self._words(texts) or "",
            **({"name": message.name} if message.name else {}),
            **own,
        }

    def _message(self, message: Message) -> Json:
        wire: Json = {"role": message.role}
        if message.name:
            wire["name"] = message.name
        said: list[AnyPart] = []
        for part in message.parts:
            if isinstance(part, ToolCall):
                wire.setdefault("tool_calls", []).append(self._call(part))
            elif isinstance(part, Thinking) and part.spelling != "thinking":
                self._think(wire, part)
            elif isinstance(part, Refusal) and message.role == "assistant":
                wire["refusal"] = wire.get("refusal", "") + part.text
            elif isinstance(part, Audio) and part.id and message.role == "assistant":
                wire["audio"] = {"id": part.id}
            else:
                said.append(part)
        content = self._words(said)
        if content is not None or message.role != "assistant":
            wire["content"] = content or ""
        elif len(wire) == 1 or "tool_calls" in wire:
            wire["content"] = None if "tool_calls" in wire else ""
        wire |= {k: v for k, v in self._extra(message.extra).items() if k not in _ANSWER_ONLY}
        if isinstance(details := message.extra.get("reasoning_details"), list):
            wire["reasoning_details"] = joined(details)
        return wire

    def _think(self, wire: Json, part: Thinking) -> None:
        """Put a thought back where it came from; one from elsewhere only where it is needed."""
        name = "reasoning_content" if self._reasoning_back else part.spelling
        if detail := part.extra.get("reasoning_details"):
            wire.setdefault("reasoning_details", []).append(detail)
        elif name in {"reasoning_content", "reasoning"}:
            wire[name] = wire.get(name, "") + part.text

    def _words(self, parts: Sequence[AnyPart]) -> str | list[Json] | None:
        """Return content: a string when it is plain text, else parts."""
        if not parts:
            return None
        if len(parts) == 1 and isinstance(parts[0], Text) and not self._extra(parts[0].extra):
            return parts[0].text
        return [self._part(part) for part in parts]

    def _part(self, part: AnyPart) -> Json:
        extra = self._extra(part.extra)
        if isinstance(part, Text):
            return extra if extra.get("type") else {"type": "text", "text": part.text} | extra
        if isinstance(part, Image):
            url = part.url or _data_url(part.media_type or "image/png", part.data)
            return _with("image_url", {"url": url, "detail": part.detail}, extra)
        if isinstance(part, Audio):
            return _with("input_audio", {"data": part.data, "format": part.format}, extra)
        if isinstance(part, File):
            data = _data_url(part.media_type or "application/pdf", part.data) if part.data else None
            file = {"file_id": part.id, "file_data": data or part.url, "filename": part.name}
            return _with("file", file, extra)
        if isinstance(part, Thinking):
            words = [{"type": "text", "text": part.text}]
            return {"type": "thinking", "thinking": words} | extra
        assert isinstance(part, Refusal)
        return {"type": "refusal", "refusal": part.text} | extra

    def _call(self, call: ToolCall) -> Json:
        if call.kind == "custom":
            inner: Json = {"name": call.name, "input": call.arguments}
        else:
            inner = {"name": call.name, "arguments": call.arguments}
        return {"id": call.id, "type": call.kind, call.kind: inner} | self._extra(call.extra)

    def _tool(self, tool: Tool) -> Json:
        extra = self._extra(tool.extra)
        if tool.kind not in TOOL_KINDS:
            return {"type": tool.kind} | extra
        if tool.kind == "custom":
            return _with("custom", {"name": tool.name, "description": tool.description}, extra)
        inner: Json = {"name": tool.name, "parameters": tool.parameters or None}
        inner |= {"description": tool.description, "strict": tool.strict}
        return _with("function", inner, extra)

    def _extra(self, extra: Json) -> Json:
        if not self._foreign:
            return extra
        return {name: extra[name] for name in CARRIED & extra.keys()}


def _with(kind: str, inner: Json, extra: Json) -> Json:
    """Join a payload with the unknown fields found inside and beside it."""
    return {"type": kind} | extra | {kind: _told(inner) | extra.get(kind, {})}


def _told(fields: Json) -> Json:
    """Leave out what is not said."""
    return {name: value for name, value in fields.items() if value is not None}


def _data_url(media_type: str, data: str | None) -> str:
    return f"data:{media_type};base64,{data or ''}"


def _tool_choice(prompt: Prompt) -> str | Json | None:
    choice = prompt.tool_choice
    if choice is None or not choice.startswith("tool:"):
        return choice
    name = choice.removeprefix("tool:")
    kind = next((tool.kind for tool in prompt.tools if tool.name == name), "function")
    return {"type": kind, kind: {"name": name}}


def _output_format(wanted: OutputFormat | None) -> Json | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    schema: Json = {"name": wanted.name, "schema": wanted.schema}
    schema |= {"strict": wanted.strict, "description": wanted.description}
    return {"type": "json_schema", "json_schema": _told(schema)}


def _effort(reasoning: Reasoning | None, extra: Json) -> str | None:
    """Say how hard to think; a cap in tokens becomes the nearest word."""
    if reasoning is None or "reasoning" in extra:
        return None
    if reasoning.effort or reasoning.budget_tokens is None or reasoning.enabled is False:
        return reasoning.effort
    if "thinking" in extra:
        return None
    budget = reasoning.budget_tokens
    return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
