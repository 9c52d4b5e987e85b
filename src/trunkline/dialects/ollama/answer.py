"""Take a server's answer: whole bodies and lines of a stream -> frames.

Both have the same shape: a whole answer is a stream of one line, and the last line says `done`.
"""

from __future__ import annotations

from trunkline.codec import BLANKS, excerpt, load_answer, mark_of, understood
from trunkline.dialects.ollama.errors import error_in_answer
from trunkline.dialects.ollama.events import events_of
from trunkline.errors import BadAnswer
from trunkline.types import Frame, Mark, Memo


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a whole answer (a 2xx body) as one terminal frame.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or no answer that is done.
        ProviderError: the body is an error under a 200.
    """
    frame = decode_frame(body, memo)
    if not frame.terminal:
        raise BadAnswer(f"the provider's answer is not done: {excerpt(body)}")
    return Frame(body, frame.mark | Mark.SHOWN, events=frame.events)


def decode_frame(raw: bytes, memo: Memo) -> Frame:
    """Take one line of a stream.

    Raises:
        BadAnswer: it is no JSON object, or one of an unknown shape.
        ProviderError: it is an error.
    """
    data = load_answer(raw.lstrip(BLANKS))
    if failure := error_in_answer(data):
        raise failure
    if not isinstance(data, dict) or not ("message" in data or "done" in data):
        raise BadAnswer(f"the provider's answer has an unknown shape: {excerpt(raw)}")
    events = understood(events_of(data, memo), raw)
    mark = mark_of(events)
    if mark & Mark.FINISH:
        memo.finished = True
        mark |= Mark.TERMINAL
    return Frame(raw, mark, events=events)
