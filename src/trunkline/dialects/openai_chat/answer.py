"""Take a provider's answer: whole bodies and stream events -> frames.

Most events of a stream are scanned as bytes and decoded only if somebody asks for their meaning.
The scan may call a frame important that is not, never the reverse: whatever is not plainly one more
piece of text is decoded at once, so that tool calls, finish, usage and errors are met in order.
"""

from __future__ import annotations

import re

from trunkline.codec import BLANKS, excerpt, load_answer, mark_of, understood, unframed
from trunkline.dialects.openai_chat.errors import error_in_answer
from trunkline.dialects.openai_chat.events import events_of
from trunkline.errors import BadAnswer
from trunkline.types import (
    Event,
    Frame,
    Mark,
    Memo,
)

_WEIGHTY = re.compile(rb'"(?:finish_reason|usage|tool_calls|error)"(?!:null)')


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no choices.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    if error := error_in_answer(data):
        raise error
    if not isinstance(data, dict) or not data.get("choices"):
        raise BadAnswer(f"the provider's answer has no choices: {excerpt(body)}")
    events = understood(events_of(data, memo, whole=True), body)
    memo.finished = True
    return Frame(body, mark_of(events) | Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, events=events)


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
