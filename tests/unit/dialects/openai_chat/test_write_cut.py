"""`write`: a relayed stream that we end ourselves."""

import pytest

from tests.unit.dialects.openai_chat.test_write import COST, chat, chunks
from trunkline.dialects.openai_chat import decode_frame, write
from trunkline.types import Finish, Frame, Mark, Memo, Usage, UsageReport

HEAD = b'"id":"x9","object":"chat.completion.chunk","created":7,"model":"m9"'
WORDS = (
    b'data: {%b,"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n' % HEAD
)
CUT = Frame(
    b"",
    Mark.FINISH | Mark.USAGE | Mark.TERMINAL,
    events=(Finish(reason="length", raw="budget"), UsageReport(usage=Usage(completion_tokens=9))),
)


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_that_is_cut_is_closed(usage: bool) -> None:
    """By chunks like those before: no second role, the reason and whose it is, usage if asked."""
    writer, memo = write(chat(usage=usage), "openai_chat"), Memo()
    raws = [b"data: null\n\n", WORDS, b": still there\n\n"]
    relayed = b"".join(writer.frame(decode_frame(raw, memo)) for raw in raws)
    assert relayed == b"".join(raws[1:])
    ended, *told = chunks(writer.frame(CUT) + writer.end(COST))
    assert {name: ended[name] for name in ("id", "created", "model")} == {
        "id": "x9",
        "created": 7,
        "model": "m9",
    }
    [choice] = ended["choices"]
    assert (choice["delta"], choice["finish_reason"]) == ({}, "length")
    assert choice["native_finish_reason"] == "budget"
    assert [chunk["usage"]["completion_tokens"] for chunk in told] == [9] * usage


def test_a_cut_after_words_that_cannot_be_read() -> None:
    """The stream is closed in our own name."""
    writer, memo = write(chat(), "openai_chat"), Memo()
    writer.frame(decode_frame(WORDS.replace(b"null}", b"null,}"), memo))
    [ended] = chunks(writer.frame(CUT) + writer.end(COST))
    assert ended["choices"][0]["finish_reason"] == "length"


def test_a_cut_before_any_word() -> None:
    """There is a whole little stream."""
    writer = write(chat(), "openai_chat")
    first, ended = chunks(writer.frame(CUT) + writer.end(COST))
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert ended["choices"][0]["finish_reason"] == "length"
