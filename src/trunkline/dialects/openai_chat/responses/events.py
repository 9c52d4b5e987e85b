"""What a decoded response or stream event means: JSON -> events.

Servers differ in what they stream: some say an item's words or arguments only when it is done, some
only in the whole response at the end. So each item is looked at again when it is done, and all of
them at the end, and what was not said yet is said then.
Source: https://platform.openai.com/docs/api-reference/responses-streaming 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.dialects.openai_chat.parts import rest
from trunkline.dialects.openai_chat.responses.items import CALLS, OWN, noted
from trunkline.dialects.openai_chat.responses.usage import apart, usage_of
from trunkline.types import (
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
ENDS = frozenset({"response.completed", "response.incomplete"})
_CUT: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_STATUS: dict[str, FinishReason] = {"completed": "stop", "incomplete": "length"}


def events_of_response(response: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of a whole answer, in their order."""
    yield from _started(response, memo)
    yield from _closing(response, memo)


def events_of(data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of one event of a stream; one that is unknown means nothing."""
    kind = data.get("type")
    if kind in {"response.created", "response.in_progress"}:
        yield from _started(data["response"], memo)
    elif kind == "response.output_item.added":
        yield from _added(data["item"], data["output_index"], memo)
    elif kind == "response.output_item.done":
        yield from _done(data["item"], data["output_index"], memo)
    elif kind in ENDS:
        yield from _started(data["response"], memo)
        yield from _closing(data["response"], memo)
    elif kind in _PIECES:
        yield from _PIECES[kind](data, memo)


def said(memo: Memo) -> set[Any]:
    """Return what has been said already: the numbers of items, and what else is said once."""
    known: set[Any] = memo.scratch.setdefault("said", set())
    return known


def _started(response: Json, memo: Memo) -> Iterable[Event]:
    if "started" not in said(memo) and (response.get("id") or response.get("model")):
        said(memo).add("started")
        yield Started(id=_words(response.get("id")), model=_words(response.get("model")))


def _words(value: Any) -> str | None:
    return str(value) if value else None


def _closing(response: Json, memo: Memo) -> Iterable[Event]:
    """Say what was not said of any item, why the answer ended and what it used."""
    output = response.get("output") or ()
    # By count: some leave items out at the end, and some give all of them other ids.
    for number in range(memo.scratch.get("done", 0), len(output)):
        yield from _added(output[number], number, memo)
        yield from _done(output[number], number, memo)
    status = response.get("status") or "completed"
    reason = _STATUS.get(status, "unknown")
    raw: str = status
    if status == "incomplete":
        details = response.get("incomplete_details") or {}
        raw = details.get("reason") or status
        reason = _CUT.get(raw, "unknown")
    elif memo.calls and reason == "stop":
        reason = "tool_calls"
    yield Finish(reason=reason, raw=raw)
    if (usage := usage_of(response, memo.quirks)) is not None:
        yield UsageReport(usage=usage, apart=apart(response, said(memo), usage))


def _block(number: int, place: int = 0) -> int:
    return number + 1000 * place


# --- items ----------------------------------------------------------------------------------------


def _added(item: Json, number: int, memo: Memo) -> Iterable[Event]:
    kind = item.get("type")
    if kind in CALLS and number not in memo.calls:
        index = memo.calls[number] = len(memo.calls)
        yield ToolCallDelta(
            index=index,
            id=_words(item.get("call_id") or item.get("id")),
            name=_words(item.get("name")),
            kind=CALLS[kind],
        )
    elif kind == "message" and item.get("phase") and ("phase", number) not in said(memo):
        said(memo).add(("phase", number))
        extra = noted(item={"phase": item["phase"]})
        yield TextDelta(text="", block=_block(number), extra=extra)


def _done(item: Json, number: int, memo: Memo) -> Iterable[Event]:
    """Say what is left to say of an item; whole items of this dialect alone are said here."""
    known = said(memo)
    memo.scratch["done"] = memo.scratch.get("done", 0) + 1
    kind = item.get("type")
    if kind == "message":
        for place, part in enumerate(item.get("content") or ()):
            yield from _part(part, number, place, memo)
    elif kind == "reasoning":
        yield from _thought(item, number, silent=number in known)
    elif kind in CALLS:
        yield from _added(item, number, memo)  # where nobody announced it
        text = item.get("input" if kind == "custom_tool_call" else "arguments")
        if number not in known and text:
            yield ToolCallDelta(index=memo.calls[number], arguments=text, kind=CALLS[kind])
    elif kind:
        known.add(kind)
        yield TextDelta(text="", block=_block(number), extra={OWN: item})


def _part(part: Json, number: int, place: int, memo: Memo) -> Iterable[Event]:
    kind = part.get("type")
    block = _block(number, place)
    silent = number in said(memo)
    if kind == "refusal":
        if not silent and part.get("refusal"):
            yield RefusalDelta(text=part["refusal"])
    elif kind in {"output_text", "text"}:
        if not silent and part.get("text"):
            yield TextDelta(text=part["text"], block=block)
        if part.get("annotations") and ("notes", number) not in said(memo):
            yield from _cited(part["annotations"], block)
    elif kind:
        yield TextDelta(text="", block=block, extra={OWN: part})


def _cited(annotations: list[Any], block: int) -> Iterable[Event]:
    """Give the notes on a text, and its sources as chat completions have them."""
    yield TextDelta(text="", block=block, extra=noted(part={"annotations": annotations}))
    unsaid = {"title": "", "start_index": 0, "end_index": 0}  # xAI leaves them out
    cited = [
        {"type": "url_citation", "url_citation": unsaid | rest(one, "type")}
        for one in annotations
        if isinstance(one, dict) and one.get("type") == "url_citation"
    ]
    if cited:
        yield Extra(fields={"annotations": cited})


def _thought(item: Json, number: int, *, silent: bool) -> Iterable[Event]:
    block = _block(number)
    if not silent:
        parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
        words = "\n\n".join(part["text"] for part in parts if part.get("text"))
        if words:
            yield ThinkingDelta(text=words, block=block, spelling=OWN)
    proof = item.get("encrypted_content") or None
    extra = noted(item=rest(item, "type", "encrypted_content"))
    yield ThinkingDelta(signature=proof, block=block, spelling=OWN, extra=extra)


# --- pieces of items ------------------------------------------------------------------------------


def _text(data: Json, memo: Memo) -> Iterable[Event]:
    if data.get("delta"):
        said(memo).add(data["output_index"])
        block = _block(data["output_index"], data.get("content_index") or 0)
        yield TextDelta(text=data["delta"], block=block)


def _annotation(data: Json, memo: Memo) -> Iterable[Event]:
    if isinstance(data.get("annotation"), dict):
        said(memo).add(("notes", data["output_index"]))
        block = _block(data["output_index"], data.get("content_index") or 0)
        yield from _cited([data["annotation"]], block)


def _refusal(data: Json, memo: Memo) -> Iterable[Event]:
    if data.get("delta"):
        said(memo).add(data["output_index"])
        yield RefusalDelta(text=data["delta"])


def _summary(data: Json, memo: Memo) -> Iterable[Event]:
    """Give a piece of a thought; its parts are kept apart by a blank line."""
    if not data.get("delta"):
        return
    number = data["output_index"]
    place = (data["type"], data.get("summary_index", data.get("content_index")) or 0)
    places: Json = memo.scratch.setdefault("thoughts", {})
    before, places[number] = places.get(number), place
    said(memo).add(number)
    gap = "\n\n" if before not in {None, place} else ""
    yield ThinkingDelta(text=gap + data["delta"], block=_block(number), spelling=OWN)


def _arguments(data: Json, memo: Memo) -> Iterable[Event]:
    number = data["output_index"]
    if data.get("delta") and number in memo.calls:
        said(memo).add(number)
        custom = data["type"] == "response.custom_tool_call_input.delta"
        kind = "custom" if custom else "function"
        yield ToolCallDelta(index=memo.calls[number], arguments=data["delta"], kind=kind)


_PIECES = {
    "response.output_text.delta": _text,
    "response.output_text.annotation.added": _annotation,
    "response.refusal.delta": _refusal,
    "response.reasoning_summary_text.delta": _summary,
    "response.reasoning_text.delta": _summary,
    "response.function_call_arguments.delta": _arguments,
    "response.custom_tool_call_input.delta": _arguments,
}
