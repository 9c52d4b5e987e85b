"""`write`: what a caller gets, relayed or spelled anew."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trunkline.dialects.openai_chat import decode, decode_frame, read, write
from trunkline.errors import (
    AuthFailed,
    BudgetExhausted,
    InputError,
    RateLimited,
    Truncated,
    TrunklineError,
)
from trunkline.fold import Fold
from trunkline.types import (
    AudioDelta,
    Chat,
    Cost,
    Deployment,
    Event,
    Extra,
    Finish,
    FinishReason,
    Frame,
    Mark,
    Memo,
    Message,
    Prompt,
    Refusal,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Trail,
    Usage,
    UsageReport,
    say,
)

USAGE = b'{"prompt_tokens":3,  "completion_tokens":2,"total_tokens":5}'
COST = Cost(1200)
DONE = b"data: [DONE]\n\n"


def chat(*, usage: bool = False) -> Chat:
    """Make a streaming call that asks for usage or does not."""
    asked = b',"stream_options":{"include_usage":true}' if usage else b""
    return read(
        b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]%b}' % asked
    )


def delta(words: bytes, reason: bytes = b"null", more: bytes = b"") -> bytes:
    """Make one event."""
    choice = b'{"index":0,"delta":{"content":"%b"},"finish_reason":%b}' % (words, reason)
    return b'data: {"id":"x","choices":[%b]%b}\n\n' % (choice, more)


def relay(raws: Sequence[bytes], *, usage: bool = False, source: str = "openai_chat") -> bytes:
    """Write a stream of raw events."""
    memo = Memo()
    writer = write(chat(usage=usage), source)
    return b"".join(writer.frame(decode_frame(raw, memo)) for raw in raws) + writer.end(COST)


def chunks(stream: bytes) -> list[dict[str, Any]]:
    """Parse a stream and check every chunk against OpenAI's own type."""
    *events, done, last = stream.split(b"\n\n")
    assert (done, last) == (b"data: [DONE]", b"")
    found = [json.loads(event.removeprefix(b"data: ")) for event in events]
    for data in found:
        ChatCompletionChunk.model_validate(data)
    return found


def spell(*events: Event, usage: bool = False) -> list[dict[str, Any]]:
    """Write one frame of events from another dialect."""
    writer = write(chat(usage=usage), "another")
    frame = Frame(b"{}", int(Mark.SHOWN), events=events)
    return chunks(writer.frame(frame) + writer.end(COST))


# --- relay ----------------------------------------------------------------------------------------

PLAIN = [delta(b""), b": keep-alive\n\n", delta(b"Hi"), delta(b"", b'"stop"')]
USAGE_ONLY = b'data: {"id":"x","choices":[],"usage":%b}\n\n' % USAGE


def test_frames_of_the_same_dialect_are_relayed_byte_by_byte() -> None:
    """Comments, odd spaces and unknown fields reach the caller as they came."""
    odd = b'event: message\r\ndata:  {"choices" : [ {"delta":{"content":"A"}} ],"new":1}\r\n\r\n'
    assert relay([*PLAIN, odd, DONE]) == b"".join([*PLAIN, odd, DONE])


def test_usage_nobody_asked_for_is_dropped() -> None:
    """A usage-only event is not relayed, and usage beside words is taken out."""
    assert relay([*PLAIN, USAGE_ONLY, DONE]) == b"".join([*PLAIN, DONE])
    mixed = delta(b"", b'"stop"', b',"usage":%b,"p":"x"' % USAGE)
    without = delta(b"", b'"stop"', b',"p":"x"')
    assert relay([delta(b"Hi"), mixed, DONE]) == delta(b"Hi") + without + DONE


def test_null_usage_is_left_alone() -> None:
    """`usage: null` on every event is what asking upstream for usage brings; it says nothing."""
    raw = delta(b"Hi", more=b',"usage":null')
    assert relay([raw, DONE]) == raw + DONE


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([delta(b"", b'"stop"'), USAGE_ONLY], 1),
        ([delta(b"", b'"stop"', b',"usage":' + USAGE)], 0),
        ([delta(b"", b'"stop"', b',"usage":' + USAGE), USAGE_ONLY], 1),
    ],
)
def test_the_last_usage_gains_the_cost_where_usage_was_asked_for(
    last: list[bytes], expected: int
) -> None:
    """The cost stands in the usage object of the last event that has one, once."""
    stream = relay([delta(b"Hi"), *last, DONE], usage=True)
    priced = b'%b,"trunkline":{"cost_nusd":1200,"cost_state":"exact"}}' % USAGE[:-1]
    last[expected] = last[expected].replace(USAGE, priced)
    assert stream == b"".join([delta(b"Hi"), *last, DONE])


def test_usage_beside_words_is_not_held_back() -> None:
    """Perplexity says usage with every word: words never wait."""
    raw = delta(b"Hi", more=b',"usage":' + USAGE)
    writer = write(chat(usage=True), "openai_chat")
    assert writer.frame(decode_frame(raw, Memo())) == raw


def test_an_unknown_cost_is_said_to_be_unknown() -> None:
    """Unknown is not 0."""
    writer = write(chat(usage=True), "openai_chat")
    assert writer.frame(decode_frame(USAGE_ONLY, Memo())) == b""
    end = writer.end(Cost(None, "unknown"))
    assert b'"trunkline":{"cost_nusd":null,"cost_state":"unknown"}' in end


def test_groqs_second_usage_is_relayed() -> None:
    """Usage under x_groq is no usage of the protocol and stays."""
    raw = delta(b"", b'"stop"', b',"x_groq":{"usage":%b}' % USAGE)
    for usage in (False, True):
        assert relay([raw, DONE], usage=usage) == raw + DONE


def test_a_stream_without_an_end_mark_gets_one() -> None:
    """Some providers just close; the caller is told of the end all the same."""
    writer = write(chat(), "openai_chat")
    memo = Memo()
    sent = b"".join(writer.frame(decode_frame(raw, memo)) for raw in PLAIN)
    sent += writer.frame(Frame(b"", int(Mark.TERMINAL), events=())) + writer.end(COST)
    assert sent == b"".join(PLAIN) + DONE


WHOLE = (
    b'\n{"id":"x1", "object":"chat.completion","created":5,"model":"m1","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":%b,"new":1}'
    % USAGE
)


def test_a_whole_answer_is_relayed_byte_by_byte() -> None:
    """One body of the same dialect is what it was."""
    frame = decode(WHOLE, Memo())
    assert write(chat(), "openai_chat").whole([frame], COST) == WHOLE
    assert write(chat(), "openai_chat").whole([Frame(b"", 0, events=()), frame], COST) == WHOLE


def test_a_whole_answer_gains_the_cost_where_usage_was_asked_for() -> None:
    """The values of every other field keep their bytes."""
    sent = write(chat(usage=True), "openai_chat").whole([decode(WHOLE, Memo())], COST)
    assert USAGE[:-1] + b',"trunkline":{"cost_nusd":1200,"cost_state":"exact"}}' in sent
    assert json.loads(sent)["new"] == 1
    silent = WHOLE.replace(b',"usage":' + USAGE, b"")
    sent = write(chat(usage=True), "openai_chat").whole([decode(silent, Memo())], COST)
    assert json.loads(sent) == json.loads(silent)


def test_a_whole_body_where_a_stream_was_asked_for_becomes_one() -> None:
    """An upstream may ignore `stream`: the caller gets the stream it asked for."""
    writer = write(chat(usage=True), "openai_chat")
    found = chunks(writer.frame(decode(WHOLE, Memo())) + writer.end(COST))
    assert [c["choices"][0]["delta"] for c in found[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert found[-1]["usage"]["trunkline"] == {"cost_nusd": 1200, "cost_state": "exact"}
    assert {c["id"] for c in found} == {"x1"}


def test_a_stream_where_a_whole_answer_was_asked_for_becomes_one() -> None:
    """Frames of a stream fold into one body."""
    memo = Memo()
    frames = [decode_frame(raw, memo) for raw in [*PLAIN, USAGE_ONLY, DONE]]
    body = json.loads(write(chat(), "openai_chat").whole(frames, COST))
    ChatCompletion.model_validate(body)
    assert body["choices"][0]["message"]["content"] == "Hi"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == 5
    assert "trunkline" not in body["usage"]


# --- spelled anew ---------------------------------------------------------------------------------


def test_a_foreign_stream_has_every_chunk_a_client_insists_on() -> None:
    """Constant id, role first, words, an empty last delta with the reason, usage if asked."""
    found = spell(
        Started(id="x1", model="m1"),
        TextDelta(text="Hi"),
        TextDelta(text="!"),
        Finish(reason="stop", raw="end_turn"),
        UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=2, cache_read_tokens=1)),
        usage=True,
    )
    assert [c["choices"] for c in found] == [
        [{"index": 0, "delta": d, "logprobs": None, "finish_reason": r}]
        for d, r in [
            ({"role": "assistant", "content": ""}, None),
            ({"content": "Hi"}, None),
            ({"content": "!"}, None),
            ({}, "stop"),
        ]
    ] + [[]]
    assert {(c["id"], c["object"], c["created"], c["model"]) for c in found} == {
        ("x1", "chat.completion.chunk", 0, "m1")
    }
    assert [c["usage"] for c in found[:-1]] == [None] * 4
    assert found[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
    assert found[-1]["usage"]["trunkline"]["cost_nusd"] == 1200


def test_usage_is_not_told_unless_asked() -> None:
    """Without include_usage no chunk carries the key."""
    found = spell(TextDelta(text="Hi"), UsageReport(usage=Usage(prompt_tokens=3)))
    assert all("usage" not in c for c in found)
    assert len(found) == 2


def test_what_the_provider_did_not_say_comes_from_the_call() -> None:
    """Id, model and time of an answer without its own."""
    call = Chat(
        id="01J",
        model="quality",
        body=Prompt(messages=(say("user", "Hi"),)),
        target=Deployment(provider="p", model="m1"),
        trail=Trail(started_ns=1_700_000_000_900_000_000, started_s=12.5),
    )
    frame = Frame(b"{}", int(Mark.SHOWN), events=(TextDelta(text="Hi"), Finish(reason="stop")))
    body = json.loads(write(call, "another").whole([frame], COST))
    assert (body["id"], body["model"], body["created"]) == ("chatcmpl-01J", "m1", 1700000000)


def test_tool_calls_begin_with_id_type_and_name() -> None:
    """The first delta of a call names it; later ones carry arguments only."""
    found = spell(
        ToolCallDelta(index=0, id="c1", name="f", extra={"extra_content": {"s": 1}}),
        ToolCallDelta(index=0, arguments='{"a"'),
        ToolCallDelta(index=1, name="g"),
        ToolCallDelta(index=0, arguments=":1}"),
        Finish(reason="tool_calls", raw="tool_use"),
    )
    deltas = [c["choices"][0]["delta"]["tool_calls"][0] for c in found[1:-1]]
    assert deltas == [
        {
            "index": 0,
            "id": "c1",
            "type": "function",
            "function": {"name": "f", "arguments": ""},
            "extra_content": {"s": 1},
        },
        {"index": 0, "function": {"arguments": '{"a"'}},
        {
            "index": 1,
            "id": "call_0_1",
            "type": "function",
            "function": {"name": "g", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": ":1}"}},
    ]
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_what_one_frame_says_goes_into_one_chunk() -> None:
    """Thought, its details and words of one frame stay together; each choice has its own role."""
    found = spell(
        ThinkingDelta(text="Hm.", spelling="reasoning"),
        Extra(fields={"reasoning_details": [1], "logprobs": {"content": []}}),
        TextDelta(text="A"),
        TextDelta(choice=1, text="B"),
    )
    assert [(c["choices"][0]["index"], c["choices"][0]["delta"]) for c in found] == [
        (0, {"role": "assistant", "content": ""}),
        (0, {"reasoning": "Hm.", "reasoning_details": [1], "content": "A"}),
        (1, {"role": "assistant", "content": ""}),
        (1, {"content": "B"}),
    ]
    assert found[1]["choices"][0]["logprobs"] == {"content": []}


def test_signatures_travel_in_reasoning_details() -> None:
    """What proves a thought reaches the caller and comes back typed as it was."""
    events = (
        ThinkingDelta(text="Hm", block=0),
        ThinkingDelta(text=".", block=0),
        ThinkingDelta(signature="sig", block=0),
        ThinkingDelta(redacted="xyz", block=1),
        TextDelta(text="A"),
        Finish(reason="stop"),
    )
    body = json.loads(
        write(chat(), "another").whole([Frame(b"{}", int(Mark.SHOWN), events=events)], COST)
    )
    said = body["choices"][0]["message"]
    assert said["reasoning_content"] == "Hm."
    streamed: list[Any] = []
    for chunk in spell(*events):
        streamed += chunk["choices"][0]["delta"].get("reasoning_details", [])
    for details in (said["reasoning_details"], streamed):
        asked = {"role": "assistant", "content": "A", "reasoning_details": details}
        request = {"messages": [{"role": "user", "content": "Hi"}, asked]}
        thoughts = read(json.dumps(request).encode()).prompt.messages[1].parts[:-1]
        assert [(t.text, t.signature, t.redacted) for t in thoughts] == [  # type: ignore[union-attr]
            ("Hm.", "sig", None),
            ("", None, "xyz"),
        ]


def test_audio_and_refusal_are_spelled() -> None:
    """Other kinds of deltas have their fields."""
    found = spell(
        AudioDelta(id="a", transcript="Hi"), AudioDelta(data="QQ=="), RefusalDelta(text="No.")
    )
    assert [c["choices"][0]["delta"] for c in found[1:]] == [
        {"audio": {"id": "a", "transcript": "Hi"}},
        {"audio": {"data": "QQ=="}, "refusal": "No."},
    ]


@pytest.mark.parametrize(
    ("reason", "raw", "expected"),
    [
        ("stop", "end_turn", {"finish_reason": "stop"}),
        ("content_filter", "SAFETY", {"finish_reason": "content_filter"}),
        ("pause", "pause_turn", {"finish_reason": "length", "native_finish_reason": "pause_turn"}),
        ("unknown", "new", {"finish_reason": "length", "native_finish_reason": "new"}),
        ("error", None, {"finish_reason": "length", "native_finish_reason": "error"}),
    ],
)
def test_what_was_no_proper_end_is_not_called_stop(
    reason: FinishReason, raw: str | None, expected: dict[str, str]
) -> None:
    """Clients know four reasons; the rest is an answer cut short, with the provider's word."""
    (_, last) = spell(Finish(reason=reason, raw=raw))
    choice = last["choices"][0]
    del choice["index"], choice["delta"], choice["logprobs"]
    assert choice == expected


def test_a_whole_answer_folds_every_choice() -> None:
    """Choices, parts, calls, audio and extras land in one body that OpenAI's type accepts."""
    events = (
        Started(id="x1", model="m1"),
        ThinkingDelta(text="Hm."),
        TextDelta(text="A"),
        ToolCallDelta(index=0, id="c", name="f", arguments='{"a":1}'),
        AudioDelta(id="au", data="QQ==", transcript="t", expires_at=9),
        Extra(fields={"logprobs": {"content": [], "refusal": None}, "new": [1]}),
        RefusalDelta(choice=1, text="No."),
        Finish(reason="tool_calls"),
        Finish(choice=1, reason="stop"),
        UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=2)),
    )
    frame = Frame(b"{}", int(Mark.SHOWN), events=events)
    body = json.loads(write(chat(usage=True), "another").whole([frame], COST))
    ChatCompletion.model_validate(body)
    first, second = body["choices"]
    assert first["logprobs"] == {"content": [], "refusal": None}
    assert first["message"] == {
        "new": [1],
        "role": "assistant",
        "content": "A",
        "refusal": None,
        "reasoning_content": "Hm.",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        ],
        "audio": {"id": "au", "data": "QQ==", "transcript": "t", "expires_at": 9},
    }
    assert second["message"] == {"role": "assistant", "content": None, "refusal": "No."}
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", "stop")
    assert body["usage"]["trunkline"]["cost_nusd"] == 1200


def test_frames_without_bytes_are_spelled() -> None:
    """A backend of this process has no wire: its events become chunks, whatever its dialect."""
    writer = write(chat(), "openai_chat")
    frame = Frame(b"", int(Mark.SHOWN), events=(TextDelta(text="Hi"), Finish(reason="stop")))
    found = chunks(writer.frame(frame) + writer.end(COST))
    assert [c["choices"][0]["delta"].get("content") for c in found] == ["", "Hi", None]


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            InputError("bad", param="messages[0]"),
            {"type": "invalid_request_error", "code": "invalid_request", "param": "messages[0]"},
        ),
        (RateLimited("wait"), {"type": "rate_limit_error", "code": "rate_limited"}),
        (BudgetExhausted("gone"), {"type": "insufficient_quota", "code": "budget_exhausted"}),
        (AuthFailed("no"), {"type": "server_error", "code": "upstream_auth_failed"}),
    ],
)
def test_errors_have_all_four_keys(error: TrunklineError, expected: dict[str, Any]) -> None:
    """An error before anything was written is a body with message, type, param and code."""
    sent = json.loads(write(chat(), "another").error(error))
    assert sent == {"error": {"message": error.message, "param": None} | expected}


@pytest.mark.parametrize("source", ["openai_chat", "another"])
def test_an_error_in_a_stream_is_an_event(source: str) -> None:
    """Once bytes were written, the error is an event that every client raises."""
    writer = write(chat(), source)
    frame = decode_frame(delta(b"Hi"), Memo())
    assert writer.error(Truncated("cut")).startswith(b'{"error"')
    assert writer.frame(frame)
    sent = writer.error(Truncated("cut"))
    assert sent.startswith(b'data: {"error":{"message":"cut"')
    assert sent.endswith(b"}\n\n")


# --- properties -----------------------------------------------------------------------------------

_TEXT = st.text(min_size=1, max_size=12)
_EVENT = st.one_of(
    st.builds(TextDelta, text=_TEXT),
    st.builds(ThinkingDelta, text=_TEXT),
    st.builds(RefusalDelta, text=_TEXT),
    st.builds(
        ToolCallDelta,
        index=st.integers(0, 2),
        id=st.none(),
        name=st.just("f"),
        arguments=_TEXT.filter(lambda text: text.strip() not in {"", "null"}),
    ),
)


def texts(message: Message) -> dict[str, Any]:
    """Return what a message says, apart from the order of its parts."""
    refusals = [part.text for part in message.parts if isinstance(part, Refusal)]
    return {
        "text": message.text,
        "thinking": message.thinking,
        "refusal": "".join(refusals),
        "calls": sorted((call.name, call.arguments) for call in message.tool_calls),
    }


@given(st.lists(st.lists(_EVENT, max_size=4), max_size=6))
def test_spelled_answers_read_as_what_they_were(groups: list[list[Event]]) -> None:
    """Whatever was said, the stream and the body we write decode to the same message."""
    groups = [*groups, [Finish(reason="stop", raw="stop")]]
    frames = [Frame(b"{}", int(Mark.SHOWN), events=tuple(group)) for group in groups]
    source = Fold()
    for event in (event for group in groups for event in group):
        source.add(event)
    writer = write(chat(), "another")
    stream = b"".join(writer.frame(frame) for frame in frames) + writer.end(COST)
    body = write(chat(), "another").whole(frames, COST)
    memo = Memo()
    streamed, whole = Fold(), Fold()
    for raw in stream.split(b"\n\n")[:-1]:
        for event in decode_frame(raw + b"\n\n", memo).events:
            streamed.add(event)
    for event in decode(body, Memo()).events:
        whole.add(event)
    assert memo.finished
    assert texts(streamed.message()) == texts(whole.message()) == texts(source.message())
