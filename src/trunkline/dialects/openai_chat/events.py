"""What a decoded answer or stream event means: JSON -> events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.parts import thought
from trunkline.dialects.openai_chat.usage import usage_of
from trunkline.types import (
    AudioDelta,
    Event,
    Extra,
    Finish,
    FinishReason,
    Memo,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageReport,
)

Json = dict[str, Any]
_PLAIN = frozenset({"role", "content"})
_KNOWN = _PLAIN | {"tool_calls", "refusal", "audio", "function_call"}
_NOISE = frozenset({"padding", "obfuscation", "p", "index", "token_id", "channel"})
_KNOWN_OR_NOISE = _KNOWN | _NOISE
_CHOICE = frozenset(
    {
        *("index", "delta", "message", "text", "finish_reason", "native_finish_reason", "seed"),
        "logprobs",
        *("matched_stop", "stop_reason", "token_ids", "obfuscation", "finish_details"),
    }
)
_AUDIO: dict[str, type] = {"id": str, "data": str, "transcript": str, "expires_at": int}
_TOP = ("citations", "search_results", "images", "related_questions")
_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",  # OpenRouter
}


def events_of(data: Json, memo: Memo, *, whole: bool = False) -> Iterable[Event]:
    """Give the meanings of one answer (`whole`) or of one event of a stream, in their order."""
    choices = data.get("choices") or ()
    usage = data.get("usage") or _groq_usage(data)
    if tier := data.get("service_tier"):
        memo.scratch["service_tier"] = tier
    ends = whole or bool(usage) or any(choice.get("finish_reason") for choice in choices)
    if (data.get("id") or data.get("model")) and (ends or "started" not in memo.scratch):
        memo.scratch["started"] = True
        yield Started(id=_words(data.get("id")), model=_words(data.get("model")))
    if filtered := data.get("prompt_filter_results"):  # Azure's, at first and without choices
        yield Extra(fields={"prompt_filter_results": filtered})
    for place, choice in enumerate(choices):
        yield from _choice(choice, place, memo, whole=whole)
    if ends and choices:
        cited = {name: data[name] for name in _TOP if data.get(name)}
        if cited and "cited" not in memo.scratch:
            memo.scratch["cited"] = True
            yield Extra(fields=cited)
    if usage:
        tier = memo.scratch.get("service_tier")
        yield UsageReport(usage=usage_of(usage, memo.quirks, tier))


def _groq_usage(data: Json) -> Json | None:
    """Return the usage Groq repeats under `x_groq`, for a stream that was not asked for it.

    Source: https://console.groq.com/docs/text-chat 2026-11-20
    """
    groq = data.get("x_groq")
    return groq.get("usage") if isinstance(groq, dict) else None


def _words(value: Any) -> str | None:
    """Return what should be a text as one: some servers number their answers."""
    return str(value) if value else None


def _choice(choice: Json, place: int, memo: Memo, *, whole: bool) -> Iterable[Event]:
    # A whole answer has its choices in a list, whatever index some servers write beside them.
    index = None if whole else choice.get("index")
    number = index if isinstance(index, int) else place
    said = choice.get("message" if whole else "delta")
    if said is None:
        said = {"content": choice["text"] if whole else choice.get("text")}
    plain = said.keys() <= _PLAIN
    if not plain:
        yield from _reasoning(said, number)
    if extra := _unknown(said, choice):
        yield Extra(choice=number, fields=extra)
    yield from _content(said.get("content"), number)
    if not plain:
        yield from _rest(said, number, memo, whole=whole)
    reason = choice.get("finish_reason")
    if reason or whole:
        yield Finish(choice=number, reason=_reason(choice, number, memo), raw=_words(reason))


def _rest(said: Json, number: int, memo: Memo, *, whole: bool) -> Iterable[Event]:
    if (refusal := said.get("refusal")) and isinstance(refusal, str):
        yield RefusalDelta(choice=number, text=refusal)
    if audio := said.get("audio"):
        known = {name: audio[name] for name in _AUDIO if isinstance(audio.get(name), _AUDIO[name])}
        yield AudioDelta(choice=number, **known)
    yield from _calls(said, number, memo, whole=whole)


def _reason(choice: Json, number: int, memo: Memo) -> FinishReason:
    """Name why a choice ended: calls that are there count more than a `stop` beside them.

    OpenAI says `stop` after a forced tool, Gemini and Ollama after any; Snowflake says nothing.
    """
    raw = choice.get("finish_reason", "unknown") or "stop"
    reason = _REASONS.get(raw, "unknown") if isinstance(raw, str) else "unknown"
    called = ("count", number) in memo.calls
    return "tool_calls" if called and reason in {"stop", "unknown"} else reason


def _reasoning(said: Json, number: int) -> Iterable[Event]:
    """Give readable reasoning; where both spellings say the same, once."""
    first = said.get("reasoning_content")
    if isinstance(first, str) and first:
        yield ThinkingDelta(choice=number, text=first, spelling="reasoning_content")
    second = said.get("reasoning")
    if isinstance(second, str) and second and second != first:
        yield ThinkingDelta(choice=number, text=second, spelling="reasoning")
    if not first and not second and (details := said.get("reasoning_details")):
        words = "".join(d.get("text") or d.get("summary") or "" for d in details)
        if words:
            yield ThinkingDelta(choice=number, text=words, spelling="reasoning_details")


def _content(content: Any, number: int) -> Iterable[Event]:
    """Give text in whatever shape: string, list of parts (Mistral), object (Cloudflare)."""
    if not content:
        return
    if isinstance(content, str):
        yield TextDelta(choice=number, text=content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield TextDelta(choice=number, text=part)
            else:
                yield from _part(part, number)
    elif isinstance(content, dict) and isinstance(content.get("type"), str):
        yield from _part(content, number)
    else:
        yield TextDelta(choice=number, text=dump(content).decode())


def _part(part: Json, number: int) -> Iterable[Event]:
    kind = part.get("type")
    if kind in {"text", "output_text"}:
        if text := _words(part.get("text")):
            yield TextDelta(choice=number, text=text)
    elif kind == "thinking":
        extra = {name: part[name] for name in part.keys() - {"type", "thinking", "closed"}}
        yield ThinkingDelta(
            choice=number, text=thought(part["thinking"]), spelling="thinking", extra=extra
        )
    elif kind == "reasoning" and isinstance(part.get("summary"), list):  # Databricks
        yield ThinkingDelta(choice=number, text=thought(part["summary"]))
    else:
        yield Extra(choice=number, fields={"content_parts": [part]})


def _calls(said: Json, number: int, memo: Memo, *, whole: bool) -> Iterable[ToolCallDelta]:
    if legacy := said.get("function_call"):
        yield _call({"index": 0, "function": legacy}, number, memo)
    for call in said.get("tool_calls") or ():
        # A whole answer lists each call once, whatever index some providers write beside it.
        yield _call(call | {"index": None} if whole else call, number, memo)


def _call(call: Json, number: int, memo: Memo) -> ToolCallDelta:
    kind = "custom" if call.get("custom") else "function"
    inner = call.get(kind) or {}
    said = inner.get("input" if kind == "custom" else "arguments")
    extra = {
        name: value
        for name, value in call.items()
        if value is not None and name not in {"index", "id", "type", kind}
    }
    return ToolCallDelta(
        choice=number,
        index=_index(call, inner.get("name"), number, memo),
        id=_words(call.get("id")),
        name=_words(inner.get("name")),
        arguments=said if isinstance(said, str) else dump(said).decode() if said else "",
        kind=kind,
        extra=extra,
    )


def _index(call: Json, name: str | None, number: int, memo: Memo) -> int:
    """Say which call a fragment belongs to.

    By its index; a new id with a name under a used index is a new call (Gemini's compatible
    endpoint gives every parallel call index 0). Without an index by its id; without either, a name
    begins a new call and anything else continues the last.
    Source: https://github.com/BerriAI/litellm/pull/11999 2026-11-20
    """
    calls, ids = memo.calls, memo.scratch.setdefault("ids", {})
    index, id_ = call.get("index"), call.get("id") or None
    count = calls.get(("count", number), 0)
    if isinstance(index, int):
        known = calls.get((number, index))
        if known is not None and name and id_ and ids.get((number, known), id_) != id_:
            known = None
    elif id_:
        known = calls.get((number, id_))
    else:
        known = None if name or not count else count - 1
    if known is None:
        known = count
        calls[("count", number)] = count + 1
    if isinstance(index, int):
        calls[(number, index)] = known
    if id_:
        calls[(number, id_)] = known
        ids.setdefault((number, known), id_)
    return known


def _unknown(said: Json, choice: Json) -> Json:
    """Return the fields of a message and of its choice that have no event of their own."""
    extra: Json = {}
    for wire, known in ((said, _KNOWN_OR_NOISE), (choice, _CHOICE)):
        if not wire.keys() <= known:
            extra |= {name: wire[name] for name in wire.keys() - known if _says(wire, name)}
    if logprobs := choice.get("logprobs"):
        extra["logprobs"] = logprobs
    return extra


def _says(wire: Json, name: str) -> bool:
    """Whether a field carries anything that was not given as text already."""
    value = wire[name]
    if name in {"reasoning", "reasoning_content"}:
        return not isinstance(value, str) and bool(value)
    return value not in (None, "", [], {})
