"""`write`: what a caller gets, relayed or spelled anew."""

import json
import random
from typing import Any

import pytest
from openai.types import Completion

from trunkline.dialects import load
from trunkline.errors import BudgetExhausted, Truncated
from trunkline.testing import text_answer, text_chunks
from trunkline.transport.sse import SseSplitter
from trunkline.types import (
    Chat,
    Cost,
    Event,
    Extra,
    Finish,
    FinishReason,
    Frame,
    Mark,
    Memo,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Trail,
    Usage,
    UsageReport,
)

text = load("openai_text")
COST = Cost(1200)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
DONE = b"data: [DONE]\n\n"


def chat(*, usage: bool = False) -> Chat:
    """Make a streaming call that asks for usage or does not."""
    options = {"stream_options": {"include_usage": True}} if usage else {}
    read = text.read(json.dumps({"prompt": "Hi", "stream": True, **options}).encode())
    return Chat(id="call_1", model="m", body=read.body, trail=Trail(started_ns=7_000_000_000))


def sse(*events: object) -> bytes:
    """Return the bytes of a stream."""
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + DONE


def relay(wire: bytes, *, usage: bool = False, most_bytes: int = 0) -> bytes:
    """Relay a stream that comes in one piece, or in pieces of at most `most_bytes`."""
    splitter, memo, dice = SseSplitter(), Memo(), random.Random(5)
    writer = text.write(chat(usage=usage), "openai_text")
    out = b""
    while wire:
        size = dice.randint(1, most_bytes) if most_bytes else len(wire)
        out += b"".join(
            writer.frame(text.decode_frame(block, memo)) for block in splitter.feed(wire[:size])
        )
        wire = wire[size:]
    return out + writer.end(COST)


def frames(*events: Event) -> list[Frame]:
    """Return frames of another dialect, one for each event."""
    return [Frame(b"", Mark.SHOWN, events=(event,)) for event in events]


def spelled(*events: Event, usage: bool = False) -> list[dict[str, Any]]:
    """Spell events as a stream and return its chunks."""
    writer = text.write(chat(usage=usage), "anthropic")
    out = b"".join(writer.frame(frame) for frame in frames(*events)) + writer.end(COST)
    assert out.endswith(DONE)
    return [json.loads(block[6:]) for block in out.removesuffix(DONE).split(b"\n\n")[:-1]]


def test_a_stream_that_is_cut_is_closed() -> None:
    """In the name of the provider's answer, with a reason and whose it is."""
    wire = sse(*text_chunks("Hi there"))
    writer, memo = text.write(chat(), "openai_text"), Memo()
    for block in list(SseSplitter().feed(wire))[:2]:
        writer.frame(text.decode_frame(block, memo))
    cut = Frame(b"", Mark.TERMINAL, events=(Finish(reason="length", raw="budget"),))
    out = writer.frame(cut) + writer.end(COST)
    ended = json.loads(out.removesuffix(DONE)[6:])
    Completion.model_validate(ended)
    assert (ended["id"], ended["choices"][0]["text"]) == (text_answer()["id"], "")
    assert ended["choices"][0]["finish_reason"] == "length"
    assert ended["choices"][0]["native_finish_reason"] == "budget"


@pytest.mark.parametrize("most_bytes", [0, 3, 40])
def test_a_stream_is_relayed_byte_by_byte(most_bytes: int) -> None:
    """Wherever its lines are split; only the usage that nobody asked for is taken out."""
    chunks = text_chunks("Once upon a time.")
    asked_for_us = sse(*text_chunks("Once upon a time.", usage=USAGE))
    assert relay(asked_for_us, most_bytes=most_bytes) == sse(*chunks)


def test_plain_text_is_not_decoded_until_it_is_read() -> None:
    """Relaying it needs no meaning."""
    choice = b'{"text":"Hi","index":0,"logprobs":null,"finish_reason":null}'
    frame = text.decode_frame(b'data: {"id":"x","choices":[%b]}\n\n' % choice, Memo())
    assert (frame.mark, frame._events) == (Mark.SHOWN, None)
    assert TextDelta(text="Hi") in frame.events


def test_who_asks_for_usage_is_told_the_cost() -> None:
    """It stands in the usage object, whose own fields stay."""
    out = relay(sse(*text_chunks("Hi", usage=USAGE)), usage=True)
    last = json.loads(out.removesuffix(DONE).split(b"\n\n")[-2][6:])
    assert last["usage"] == USAGE | {"trunkline": {"cost_nusd": 1200, "cost_state": "exact"}}


def test_a_usage_beside_a_choice_is_taken_out_alone() -> None:
    """llama.cpp says it in the chunk that ends a choice."""
    [*_, last] = text_chunks("Hi")
    out = relay(sse(last | {"usage": USAGE}))
    assert json.loads(out.removesuffix(DONE)[6:]) == last


def test_an_event_that_is_null_is_left_out() -> None:
    """llama.cpp begins so with several prompts; no SDK can read it."""
    chunks = text_chunks("Hi")
    assert relay(sse(None, *chunks)) == sse(*chunks)


def test_a_whole_answer_is_relayed_byte_by_byte() -> None:
    """Also fields that nobody knows; the cost is added only where usage was asked for."""
    body = json.dumps(text_answer(brand_new=[1, {"a": None}])).encode()
    frame = text.decode(body, Memo())
    assert text.write(chat(), "openai_text").whole([frame], COST) == body
    told = json.loads(text.write(chat(usage=True), "openai_text").whole([frame], COST))
    assert told["usage"]["trunkline"]["cost_nusd"] == 1200


STORY: tuple[Event, ...] = (
    Started(id="msg_1", model="claude"),
    ThinkingDelta(text="Hm."),
    TextDelta(text="Once "),
    ToolCallDelta(index=0, id="t", name="f"),
    TextDelta(text="more."),
    Finish(reason="stop"),
    UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=2)),
)


def test_another_dialects_stream_is_spelled() -> None:
    """Text comes as it came; thoughts and tool calls have no place."""
    chunks = spelled(*STORY, usage=True)
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["Once ", "more.", ""]
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 5
    for chunk in chunks:
        assert (chunk["id"], chunk["object"]) == ("msg_1", "text_completion")
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"  # the type demands one
        Completion.model_validate(chunk, strict=True)
    assert all("usage" not in chunk for chunk in spelled(*STORY))


def test_another_dialects_answer_is_spelled_whole() -> None:
    """As the SDK's own type takes it strictly, with the usage in OpenAI's arithmetic."""
    body = json.loads(text.write(chat(), "anthropic").whole(frames(*STORY), COST))
    told = Completion.model_validate(body, strict=True)
    assert (told.id, told.model, told.created) == ("msg_1", "claude", 7)
    assert told.choices[0].model_dump() == {
        "index": 0,
        "text": "Once more.",
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert told.usage
    assert (told.usage.total_tokens, told.usage.model_extra) == (5, {})


def test_an_answer_without_an_id_gets_one() -> None:
    """As OpenAI's look."""
    chunk = spelled(TextDelta(text="x"))[0]
    assert (chunk["id"], chunk["model"], chunk["created"]) == ("cmpl-call_1", "m", 7)


def test_every_choice_keeps_its_number() -> None:
    """Streamed and whole."""
    events = [TextDelta(text=word, choice=n) for word in "ab" for n in (1, 0)]
    events_and_ends = (*events, Finish(choice=1, reason="length"), Finish(reason="stop"))
    said = [chunk["choices"][0] for chunk in spelled(*events_and_ends)]
    assert [(c["index"], c["text"]) for c in said[:4]] == [(1, "a"), (0, "a"), (1, "b"), (0, "b")]
    body = json.loads(text.write(chat(), "x").whole(frames(*events_and_ends), COST))
    told = [(c["index"], c["text"], c["finish_reason"]) for c in body["choices"]]
    assert told == [(0, "ab", "stop"), (1, "ab", "length")]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "length"),
        ("pause", "length"),
        ("unknown", "length"),
    ],
)
def test_why_it_ended(reason: FinishReason, finish: str) -> None:
    """The type knows three reasons; what is none of them was no proper end, and says its word."""
    end = Finish(reason=reason, raw="w")
    streamed = spelled(TextDelta(text="x"), end)[-1]["choices"][0]
    body = text.write(chat(), "x").whole(frames(end), COST)
    for choice in (streamed, json.loads(body)["choices"][0]):
        assert choice["finish_reason"] == finish
        assert choice.get("native_finish_reason") == (None if finish == reason else "w")


def test_a_refusal_is_text_and_log_probabilities_stay() -> None:
    """Neither is lost when frames cannot be relayed as they are."""
    events = (RefusalDelta(text="No."), Extra(fields={"logprobs": {"tokens": ["No"]}, "x": 1}))
    chunks = [chunk["choices"][0] for chunk in spelled(*events)]
    assert [(c["text"], c["logprobs"]) for c in chunks] == [("No.", None), ("", {"tokens": ["No"]})]
    [whole] = json.loads(text.write(chat(), "x").whole(frames(*events), COST))["choices"]
    assert (whole["text"], whole["logprobs"]) == ("No.", {"tokens": ["No"]})


def test_a_whole_body_may_answer_a_stream() -> None:
    """Some servers ignore `stream`; the caller gets chunks all the same."""
    writer = text.write(chat(), "openai_text")
    frame = text.decode(json.dumps(text_answer("Hi.")).encode(), Memo())
    out = writer.frame(frame) + writer.end(COST)
    blocks = [json.loads(block[6:]) for block in out.removesuffix(DONE).split(b"\n\n")[:-1]]
    assert [block["choices"][0]["text"] for block in blocks] == ["Hi.", ""]


def test_errors_have_openais_shape() -> None:
    """A body before anything was written, an event after."""
    writer = text.write(chat(), "anthropic")
    said = json.loads(writer.error(BudgetExhausted("gone")))
    assert said["error"].keys() == {"message", "type", "code", "param"}
    writer.frame(Frame(b"", Mark.SHOWN, events=(TextDelta(text="x"),)))
    assert writer.error(Truncated("cut")).startswith(b'data: {"error":')
