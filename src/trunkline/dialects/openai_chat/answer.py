"""Take a provider's answer: whole bodies and stream events -> frames.

Most events of a stream are scanned as bytes and decoded only if somebody asks for their meaning.
The scan may call a frame important that is not, never the reverse: whatever is not plainly one more
piece of text is decoded at once, so that tool calls, finish, usage and errors are met in order.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
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
    TextDelta,
    ThinkingDelta,
    UsageReport,
)

_ENTIRE = Mark.SHOWN | Mark.FINISH | Mark.TERMINAL


class _Words(Struct):
    tool_calls: None = None
    function_call: None = None


class _Choice(Struct):
    finish_reason: Literal["stop", "length"]
    message: _Words


class _Plain(Struct):
    """An answer of words alone, with usage, as nearly all are; the words stay undecoded."""

    choices: Annotated[list[_Choice], Meta(min_length=1)]
    usage: dict[str, Any]
    id: str = ""
    model: str = ""
    service_tier: Any = None
    error: None = None


class _Delta(Struct, forbid_unknown_fields=True):
    content: str | None = None
    reasoning_content: str | None = None
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None


class _Piece(Struct, forbid_unknown_fields=True):
    delta: _Delta
    index: int = 0
    finish_reason: None = None
    native_finish_reason: None = None
    stop_reason: None = None
    matched_stop: None = None
    token_ids: None = None
    logprobs: None = None


class _Chunk(Struct):
    """An event of words alone, as nearly all are."""

    choices: tuple[_Piece]
    usage: None = None
    error: None = None
    x_groq: None = None


_PLAIN = Decoder(_Plain)
_CHUNK = Decoder(_Chunk)
_ENDS = (b"}\n\n", b"}\r\n\r\n")
_QUOTE = 0x22
_OPENING = re.compile(rb'"(?:content|reasoning(?:_content)?|text)": ?"(?!")')
_WEIGHTY = re.compile(rb'"(?:finish_reason|usage|tool_calls|error)"(?!: ?null)')


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no choices.
        ProviderError: the body is an error under a 200.
    """
    if told := _told_plainly(body, memo):
        memo.finished = True
        return Frame(body, _ENTIRE | Mark.USAGE, _decode_whole, memo, told=told)
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
    try:
        if not body.isascii():
            body.decode()
        answer = _PLAIN.decode(body)
    except BROKEN:
        return None
    return (
        Started(id=answer.id or None, model=answer.model or None),
        *[
            Finish(choice=n, reason=choice.finish_reason, raw=choice.finish_reason)
            for n, choice in enumerate(answer.choices)
        ],
        UsageReport(usage=usage_of(answer.usage, memo.quirks, answer.service_tier)),
    )


def _decode_whole(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    return understood(events_of(load_answer(raw), memo, whole=True), raw)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one event of a stream, framing bytes included.

    Raises:
        BadAnswer: the event's data is not JSON.
        ProviderError: the event is an error.
    """
    if raw.endswith(_ENDS) and memo.wanted <= 1:  # else: whose words are they?
        lead = memo.lead
        if not lead or not raw.startswith(lead) or raw[len(lead)] == _QUOTE:
            lead = memo.lead = _lead(raw)
        if lead and not _WEIGHTY.search(raw, len(lead)):
            return Frame(raw, Mark.SHOWN, _decode_lazily, memo)
    return _decode_now(raw, memo)


def _lead(raw: bytes) -> bytes:
    """Return what stands before the words of a delta that plainly carries some, else nothing.

    Empty strings and other spellings are looked at.
    """
    opening = _OPENING.search(raw)
    if opening is None or not raw.startswith(b"data: {"):
        return b""
    lead = raw[: opening.end()]
    return b"" if _WEIGHTY.search(lead) else lead


def _decode_lazily(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    payload = raw[6:] if raw.count(b"\n") == 2 else unframed(raw)[1]
    if "started" in memo.scratch:
        try:
            return _words_of(_CHUNK.decode(payload).choices[0])
        except BROKEN:
            pass
    return understood(events_of(load_answer(payload), memo), raw)


def _words_of(choice: _Piece) -> tuple[Event, ...]:
    events: list[Event] = []
    if text := choice.delta.reasoning_content:
        spelling = "reasoning_content"
        events.append(ThinkingDelta(choice=choice.index, text=text, spelling=spelling))
    if text := choice.delta.content:
        events.append(TextDelta(choice=choice.index, text=text))
    return tuple(events)


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
    memo.hear(events, mark)
    return Frame(raw, mark, events=events)
