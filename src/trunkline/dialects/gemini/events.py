"""What a decoded answer or stream event means: JSON -> events.

Both have the same shape: each event of a stream is a response with the next pieces of its
candidates.
Source: https://ai.google.dev/api/generate-content#GenerateContentResponse 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.dialects.gemini.calls import deltas, signed
from trunkline.dialects.gemini.models import traits_of
from trunkline.dialects.gemini.usage import usage_of
from trunkline.types import (
    Event,
    Extra,
    Finish,
    FinishReason,
    Memo,
    Started,
    TextDelta,
    ThinkingDelta,
    UsageReport,
)

Json = dict[str, Any]
OWN = "gemini"
"""Under this name `extra` keeps a part that only this dialect knows, whole."""
_NUMBERS = (
    *("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER"),
    *("BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL"),
)
"""Finish reasons by number, which come where enums were asked for as numbers.
Source: https://ai.google.dev/api/generate-content#FinishReason 2026-11-20"""
_FILTERED = frozenset(
    {
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"),
        *("ESCALATION", "PUP_LIMITED_DISABLED"),
    }
)
_FAILED = frozenset(
    {
        *("OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE", "IMAGE_OTHER", "NO_IMAGE"),
    }
)
_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "pause",
    **dict.fromkeys(_FILTERED, "content_filter"),
    **dict.fromkeys(_FAILED, "error"),
}
_UNBLOCKED = {None, "", 0, "BLOCKED_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED"}
_OF_TEXT = frozenset({"text", "thought", "thoughtSignature"})
_OF_CANDIDATE = frozenset({"content", "index", "finishReason", "finishMessage", "tokenCount"})


def events_of(data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of one response, or of one event of a stream."""
    if "started" not in memo.scratch and (data.get("responseId") or data.get("modelVersion")):
        id_, model = data.get("responseId") or None, data.get("modelVersion") or None
        memo.scratch |= {"started": id_, "model": model}
        yield Started(id=id_, model=model)
    for place, candidate in enumerate(data.get("candidates") or ()):
        yield from _candidate(candidate, candidate.get("index", place), data, memo)
    feedback = data.get("promptFeedback") or {}
    if not data.get("candidates") and (why := feedback.get("blockReason")) not in _UNBLOCKED:
        told = {"promptFeedback": feedback}
        yield Finish(reason="content_filter", raw=str(why), extra=told)
    if usage := data.get("usageMetadata"):
        yield UsageReport(usage=usage_of(usage, _searches(memo)), apart="apart" in memo.scratch)


def _candidate(candidate: Json, choice: int, data: Json, memo: Memo) -> Iterable[Event]:
    for part in (candidate.get("content") or {}).get("parts") or ():
        yield from _part(part, choice, data, memo)
    grounding = candidate.get("groundingMetadata") or {}
    memo.scratch.setdefault("queries", set()).update(grounding.get("webSearchQueries") or ())
    _note_fees(grounding, memo)
    told = {name: value for name, value in candidate.items() if name not in _OF_CANDIDATE and value}
    if told:
        yield Extra(choice=choice, fields=told)
    reason = candidate.get("finishReason")
    if reason in {None, "", 0, "FINISH_REASON_UNSPECIFIED"}:
        return
    if isinstance(reason, int):
        reason = _NUMBERS[reason] if 0 < reason < len(_NUMBERS) else str(reason)
    meant = _REASONS.get(reason, "unknown")
    if meant in {"stop", "unknown"} and memo.calls.get(choice):
        meant = "tool_calls"
    message = candidate.get("finishMessage")
    extra = {"finishMessage": message} if message and meant != "tool_calls" else {}
    yield Finish(choice=choice, reason=meant, raw=reason, extra=extra)


def _part(part: Json, choice: int, data: Json, memo: Memo) -> Iterable[Event]:
    signature = part.get("thoughtSignature") or None
    if "functionCall" in part:
        yield from deltas(part, choice, data, memo)
    elif "text" in part and part.keys() <= _OF_TEXT:
        if part.get("thought"):
            yield _thought(part["text"], signature, choice, memo)
        else:
            yield from _text(part["text"], signature, choice, memo)
    elif part.keys() - {"thought"}:
        yield TextDelta(choice=choice, text="", block=_block(memo, 2), extra={OWN: part})
        if (picture := _picture(part)) is not None:
            yield Extra(choice=choice, fields={"images": [picture]})


def _thought(text: str, signature: str | None, choice: int, memo: Memo) -> ThinkingDelta:
    block = _block(memo, 0)
    if signature:  # it closes the block
        _block(memo, 1)
    return ThinkingDelta(choice=choice, text=text, signature=signature, spelling=OWN, block=block)


def _text(text: str, signature: str | None, choice: int, memo: Memo) -> Iterable[Event]:
    """Give words; those that are signed are a part of their own, which may be empty."""
    if signature is None:
        if text:
            yield TextDelta(choice=choice, text=text, block=_block(memo, 0))
        return
    extra = signed(signature)
    yield TextDelta(choice=choice, text=text, block=_block(memo, 2), extra=extra)
    yield Extra(choice=choice, fields=extra)  # where a client of OpenAI's dialect can see it


def _picture(part: Json) -> Json | None:
    """Return a picture as clients of OpenAI's dialect know it from other providers.

    Source: https://openrouter.ai/docs/features/multimodal/image-generation 2026-11-20
    """
    data = part.get("inlineData") or {}
    if part.get("thought") or not str(data.get("mimeType", "")).startswith("image/"):
        return None
    url = f"data:{data['mimeType']};base64,{data['data']}"
    return {"type": "image_url", "image_url": {"url": url}}


def _searches(memo: Memo) -> int:
    """Return how many searches are charged: each from Gemini 3 on, before that one per prompt.

    Source: https://ai.google.dev/gemini-api/docs/google-search 2026-11-20
    """
    queries = len(memo.scratch.get("queries", ()))
    early = traits_of(str(memo.scratch.get("model") or "")).version < (3, 0)
    return min(queries, 1) if early else queries


def _note_fees(grounding: Json, memo: Memo) -> None:
    """Note that an answer drew on maps, or on Vertex on one's own data: that is charged apart.

    Source: https://ai.google.dev/gemini-api/docs/pricing 2026-11-21
    Source: https://cloud.google.com/vertex-ai/generative-ai/pricing 2026-11-21
    """
    charged = {"maps", "retrievedContext"} if "vertex" in memo.quirks else {"maps"}
    if any(not charged.isdisjoint(chunk) for chunk in grounding.get("groundingChunks") or ()):
        memo.scratch["apart"] = True


def _block(memo: Memo, ahead: int) -> int:
    """Return the number of the part under way; `ahead` > 0 begins others, 2 = one for itself."""
    number: int = memo.scratch.get("block", 0)
    memo.scratch["block"] = number + ahead
    return number + ahead // 2
