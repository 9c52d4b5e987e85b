"""Take a provider's answer: whole bodies and stream events -> frames.

Most events of a stream are scanned as bytes and decoded only if somebody asks for their meaning.
The scan may call a frame important that is not, never the reverse: whatever is not plainly one more
piece of text is decoded at once, so that tool calls, finish, usage and errors are met in order.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from trunkline.codec import BLANKS, BROKEN, excerpt, load_answer, mark_of, understood, unframed
from trunkline.dialects.openai_chat.errors import error_in_answer
from trunkline.dialects.openai_chat.events import events_of
from trunkline.dialects.openai_chat.usage import usage_of
from trunkline.errors import BadAnswer
from trunkline.types import (
    Event,
    Finish,
    Frame,
    Mark,
    Memo,
    Started,
    UsageReport,
)

_ENTIRE = Mark.SHOWN | Mark.FINISH | Mark.TERMINAL


class _Choice(Struct):
    finish_reason: Literal["stop", "length"]
    message: dict[str, Raw]


class _Plain(Struct):
    """An answer of words alone, with usage, as nearly all are."""

    choices: Annotated[list[_Choice], Meta(min_length=1)]
    usage: dict[str, Any]
    id: str = ""
    model: str = ""
    error: None = None


_PLAIN = Decoder(_Plain)
_WEIGHTY = re.compile(rb'"(?:finish_reason|usage|tool_calls|error)"(?!:null)')


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no choices.
        ProviderError: the body is an error under a 200.
    """
    if told := _told_plainly(body, memo):
        memo.finished = True
        return Frame(body, _ENTIRE | mark_of(told), _decode_whole, memo, told=told)
    data = load_answer(body.lstrip(BLANKS))
    if error := error_in_answer(data):
        raise error
    if not isinstance(data, dict) or not data.get("choices"):
        raise BadAnswer(f"the provider's answer has no choices: {excerpt(body)}")
    events = understood(events_of(data, memo, whole=True), body)
    memo.finished = True
    return Frame(body, _ENTIRE | mark_of(events), events=events)


def _told_plainly(body: bytes, memo: Memo) -> tuple[Event, ...] | None:
    """Return what a plain answer tells beside its words, which stay undecoded; None = look closer.

    Most answers are relayed as they came: nobody asks what is in them.
    """
    if b'"tool_calls"' in body or b'"function_call"' in body:
        return None
    try:
        if not body.isascii():
            body.decode()
        answer = _PLAIN.decode(body)
    except BROKEN:
        return None
    reasons = [choice.finish_reason for choice in answer.choices]
    finishes = (Finish(choice=n, reason=reason, raw=reason) for n, reason in enumerate(reasons))
    return (
        Started(id=answer.id or None, model=answer.model or None),
        *finishes,
        UsageReport(usage=usage_of(answer.usage, memo.quirks)),
    )


def _decode_whole(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    return understood(events_of(load_answer(raw), memo, whole=True), raw)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one event of a stream, framing bytes included.

    Raises:
        BadAnswer: the event's data is not JSON.
        ProviderError: the event is an error.
    """
    if (
        raw.startswith(b"data: {")
        and raw.endswith((b"}\n\n", b"}\r\n\r\n"))
        and not _WEIGHTY.search(raw)
        and _has_words(raw)
    ):
        return Frame(raw, Mark.SHOWN, _decode_lazily, memo)
    return _decode_now(raw, memo)


def _has_words(raw: bytes) -> bool:
    """Whether a delta plainly carries text; empty strings and other spellings are looked at."""
    for opening in (b'"content":"', b'"reasoning_content":"', b'"reasoning":"', b'"text":"'):
        at = raw.find(opening)
        if at >= 0 and raw[at + len(opening)] != 0x22:
            return True
    return False


def _decode_lazily(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    payload = raw[6:] if raw.count(b"\n") == 2 else unframed(raw)[1]
    return understood(events_of(load_answer(payload), memo), raw)


def _decode_now(raw: bytes, memo: Memo) -> Frame:
    name, payload = unframed(raw)
    if not payload:
        return Frame(raw, 0, events=())
    if payload == b"[DONE]":
        return Frame(raw, Mark.TERMINAL, events=())
    told_plainly = name == b"error" and payload[:1] not in b"{["
    data = payload if told_plainly else load_answer(payload)
    if error := error_in_answer(data, event=name):
        raise error
    if data is None:  # llama.cpp begins so when it answers several prompts; SDKs stumble over it
        return Frame(b"", 0, events=())
    if not isinstance(data, dict):
        raise BadAnswer(f"an event of the provider's stream is no object: {excerpt(payload)}")
    events = understood(events_of(data, memo), payload)
    mark = mark_of(events)
    if mark & Mark.FINISH:
        memo.finished = True
    return Frame(raw, mark, events=events)
