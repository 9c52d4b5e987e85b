"""Take a provider's answer: whole bodies and stream events -> frames.

Plain pieces of text are recognised as bytes and decoded only if somebody asks for their meaning;
everything else is decoded at once, so that calls, finish, usage and errors are met in order.
"""

from __future__ import annotations

import re
from typing import Any

from trunkline.codec import BLANKS, excerpt, load_answer, mark_of, understood, unframed
from trunkline.dialects.openai_chat.errors import error_in_answer
from trunkline.dialects.openai_chat.responses.events import (
    ENDS,
    events_of,
    events_of_response,
    said,
)
from trunkline.errors import BadAnswer, ProviderError
from trunkline.types import Event, Frame, Mark, Memo

Json = dict[str, Any]
_PLAIN = re.compile(
    rb'(?:event: response\.output_text\.delta\n)?data: \{"type": ?"response\.output_text\.delta",'
    rb"[^\n]*\}\n\n\Z"
)
_PLACE = re.compile(rb'"output_index": ?(\d+)')
_WORDS = re.compile(rb'"delta": ?"(?!")')


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no output.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    if failure := _failure(data):
        raise failure
    if not isinstance(data, dict) or not isinstance(data.get("output"), list):
        raise BadAnswer(f"the provider's answer has no output: {excerpt(body)}")
    events = understood(events_of_response(data, memo), body)
    memo.finished = True
    return Frame(body, mark_of(events) | Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, events=events)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one event of a stream, framing bytes included.

    Raises:
        BadAnswer: the event's data is not JSON.
        ProviderError: the event is an error, or says that the answer failed.
    """
    if _PLAIN.match(raw) and _WORDS.search(raw) and (place := _PLACE.search(raw)):
        said(memo).add(int(place[1]))
        return Frame(raw, Mark.SHOWN, _decode_lazily, memo)
    name, payload = unframed(raw)
    if not payload:
        return Frame(raw, 0, events=())
    if payload == b"[DONE]":  # OpenRouter's habit
        return Frame(raw, Mark.TERMINAL if memo.finished else 0, events=())
    told_plainly = name == b"error" and payload[:1] not in b"{["
    data = payload.decode("utf-8", "replace") if told_plainly else load_answer(payload)
    if failure := _failure(data, event=name):
        raise failure
    if not isinstance(data, dict):
        raise BadAnswer(f"an event of the provider's stream is no object: {excerpt(payload)}")
    events = understood(events_of(data, memo), payload)
    mark = mark_of(events)
    if data.get("type") in ENDS:
        memo.finished = True
        mark |= Mark.TERMINAL
    return Frame(raw, mark, events=events)


def _decode_lazily(raw: bytes, memo: Memo) -> tuple[Event, ...]:
    return understood(events_of(load_answer(unframed(raw)[1]), memo), raw)


def _failure(data: Any, event: bytes = b"") -> ProviderError | None:
    """Return the error that an answer or an event carries, if it does.

    The event `error` is flat in the documentation and nested on the wire; a response that failed
    has its own `error`, as has one that is fine, where it is null.
    Source: https://platform.openai.com/docs/api-reference/responses-streaming/error 2026-11-20
    """
    if not isinstance(data, dict):
        return error_in_answer(data, event)
    kind = data.get("type")
    response = data.get("response") if isinstance(kind, str) else data
    if kind == "error" or event == b"error":
        return error_in_answer({"error": data.get("error") or data})
    if not isinstance(response, dict):
        return None
    if response.get("error") or response.get("status") in {"failed", "cancelled"}:
        silent = {"message": f"the answer is {response.get('status')}; nobody says why"}
        return error_in_answer({"error": response.get("error") or silent})
    return error_in_answer(data) if kind is None and "output" not in data else None
