"""What answers mean: words, thoughts, calls, why they ended, usage; and what is no answer."""

import json

import pytest

from tests.unit.dialects.ollama.wire import events, fold, line, whole
from trunkline.dialects.ollama import decode, decode_frame
from trunkline.errors import BadAnswer, Refused, UpstreamFailed
from trunkline.types import Finish, Mark, Memo, Started, ToolCallDelta, Usage, UsageReport

CALL = {"function": {"name": "f", "arguments": {"a": 1}}}


def ends(found: object) -> list[tuple[str, str | None]]:
    """Return the finishes among events."""
    assert isinstance(found, list | tuple)
    return [(event.reason, event.raw) for event in found if isinstance(event, Finish)]


def test_a_stream_and_a_whole_answer_say_the_same() -> None:
    """Thoughts before words, and the model's name once."""
    stream = events(
        line(thinking="hm"), line(thinking="!"), line(content="Hi"), line(done=True, content=" you")
    )
    said = whole(message={"role": "assistant", "thinking": "hm!", "content": "Hi you"})
    assert fold(stream) == fold(said)
    assert (fold(said).thinking, fold(said).text) == ("hm!", "Hi you")
    assert ends(stream) == ends(said) == [("stop", "stop")]
    assert sum(isinstance(event, Started) for event in stream) == 1


def test_calls_get_ids_where_they_have_none() -> None:
    """Other ones in each answer, from when it was made; an id that came is kept."""
    found = events(line(tool_calls=[CALL, {"id": "own", **CALL}]), line(tool_calls=[CALL]))
    calls = [event for event in found if isinstance(event, ToolCallDelta)]
    assert [(call.index, call.id, call.arguments) for call in calls] == [
        (0, "call_20270115080000000001_0", '{"a":1}'),
        (1, "own", '{"a":1}'),
        (2, "call_20270115080000000001_2", '{"a":1}'),
    ]
    none = {"function": {"name": "f"}}
    assert fold(events(line(tool_calls=[none]))).tool_calls[0].arguments == "{}"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"done_reason": "stop"}, ("stop", "stop")),
        ({"done_reason": "length"}, ("length", "length")),
        ({"done_reason": "load"}, ("unknown", "load")),
        ({"done_reason": ""}, ("unknown", None)),
        ({"message": {"tool_calls": [CALL]}}, ("tool_calls", "stop")),
        ({"message": {"tool_calls": [CALL]}, "done_reason": "length"}, ("length", "length")),
    ],
)
def test_why_it_ended(said: dict[str, object], meant: tuple[str, str | None]) -> None:
    """Ollama says `stop` after calls; an unknown word is never taken for a proper end."""
    assert ends(whole(**said)) == [meant]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_eval_count": 9, "eval_count": 4}, Usage(prompt_tokens=9, completion_tokens=4)),
        ({"prompt_eval_count": 9, "eval_count": 0}, Usage(prompt_tokens=9)),
        ({"prompt_eval_count": None, "eval_count": 4}, None),
        ({"prompt_eval_count": 0, "eval_count": 4}, None),
        ({"prompt_eval_count": 9, "eval_count": "4"}, None),
    ],
)
def test_usage_is_known_or_not(counts: dict[str, object], usage: Usage | None) -> None:
    """No prompt has no tokens: where its number is missing, nothing is known."""
    reports = [event.usage for event in whole(**counts) if isinstance(event, UsageReport)]
    assert reports == ([] if usage is None else [usage])


def test_marks_tell_a_frame_without_its_events() -> None:
    """The last line ends the answer; one without words shows nothing."""
    memo = Memo()
    assert decode_frame(line(content="Hi"), memo).mark == Mark.SHOWN
    assert not decode_frame(line(), memo).mark
    assert not memo.finished
    assert decode_frame(line(done=True), memo).mark == Mark.USAGE | Mark.FINISH | Mark.TERMINAL
    assert memo.finished


def test_log_probabilities_are_those_of_openai() -> None:
    """The same items, one level deeper."""
    items = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}]
    assert fold(whole(logprobs=items)).extra == {"logprobs": {"content": items}}


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"message":{"tool_calls":[{}]}}', b'{"message":3}']
)
def test_what_is_no_answer(body: bytes) -> None:
    """Whole or as a line of a stream."""
    with pytest.raises(BadAnswer):
        decode_frame(body, Memo())
    with pytest.raises(BadAnswer):
        decode(body, Memo())


def test_a_whole_answer_must_be_done() -> None:
    """A first line alone is none."""
    with pytest.raises(BadAnswer, match="not done"):
        decode(line(content="Hi"), Memo())


def test_an_error_may_come_as_a_line() -> None:
    """After any number of words, under a 200."""
    memo = Memo()
    decode_frame(line(content="Hi"), memo)
    with pytest.raises(UpstreamFailed, match="encountered while running"):
        decode_frame(
            json.dumps({"error": "an error was encountered while running the model"}).encode(), memo
        )
    with pytest.raises(Refused):
        decode(b'{"error":"\\"llama2\\" does not support tools"}', Memo())
