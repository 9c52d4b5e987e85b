"""What callers get: relayed, cut, and spelled from events of other dialects."""

import json
from typing import Any

from trunkline.dialects import Writer, load
from trunkline.errors import BudgetExhausted
from trunkline.testing import response_answer, response_events
from trunkline.types import (
    Chat,
    Cost,
    Event,
    Extra,
    Finish,
    Frame,
    Mark,
    Memo,
    Prompt,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
    say,
)
from trunkline.types.answer import BUDGET_CUT

responses = load("openai_responses")
CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))
USAGE = UsageReport(usage=Usage(prompt_tokens=3, completion_tokens=2))


def relay() -> Writer:
    """Return a writer for answers of the same dialect."""
    return responses.write(CHAT, "openai_responses")


def data_of(stream: bytes) -> list[Any]:
    """Return the data of each event."""
    return [json.loads(s[6:]) for s in stream.split(b"\n") if s.startswith(b"data: ")]


def written(*events: Event) -> list[Any]:
    """Spell events of another dialect, one in each frame."""
    writer = responses.write(CHAT, "another")
    frames = [Frame(b"", 0, events=(event,)) for event in events]
    return data_of(b"".join(map(writer.frame, frames)) + writer.end(Cost(1)))


def test_calls_may_come_side_by_side() -> None:
    """Pieces of two calls that alternate reach each its own item, in the order they began."""
    events = written(
        ToolCallDelta(index=0, id="a", name="f"),
        ToolCallDelta(index=1, id="b", name="g", arguments='{"x"'),
        ToolCallDelta(index=0, arguments="{}"),
        ToolCallDelta(index=1, arguments=":1}"),
        Finish(reason="tool_calls"),
    )
    output = events[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [
        ("a", "{}"),
        ("b", '{"x":1}'),
    ]


def test_a_call_waits_for_its_name() -> None:
    """Pieces that come before it are not lost."""
    events = written(
        ToolCallDelta(index=0, arguments='{"a":'),
        ToolCallDelta(index=0, id="c", name="f", arguments="1}"),
    )
    [item] = events[-1]["response"]["output"]
    assert (item["name"], item["arguments"]) == ("f", '{"a":1}')


def test_other_answers_than_the_first_are_left_out() -> None:
    """This API gives one."""
    events = written(TextDelta(text="a"), TextDelta(choice=1, text="b"), Finish(reason="stop"))
    [item] = events[-1]["response"]["output"]
    assert item["content"][0]["text"] == "a"


def test_the_sources_of_a_chat_are_notes_on_the_text() -> None:
    """Each is written once."""
    source = {"url": "https://x.test", "title": "X", "start_index": 0, "end_index": 1}
    extra = Extra(fields={"annotations": [{"type": "url_citation", "url_citation": source}]})
    events = written(Started(id="c", model="m1"), TextDelta(text="a"), extra, extra, USAGE)
    [item] = events[-1]["response"]["output"]
    assert item["content"][0]["annotations"] == [{"type": "url_citation", **source}]
    assert events[-1]["response"]["model"] == "m1"
    assert events[-1]["response"]["usage"]["total_tokens"] == 5


def test_each_proof_closes_its_thought() -> None:
    """Two thoughts in a row are two items, each with its own proof."""
    events = written(
        ThinkingDelta(text="a", spelling="anthropic"),
        ThinkingDelta(signature="1", spelling="anthropic"),
        ThinkingDelta(text="b", signature="2", spelling="anthropic"),
    )
    output = events[-1]["response"]["output"]
    assert [item["encrypted_content"] for item in output] == [
        'trunkline:{"signature":"1","spelling":"anthropic"}',
        'trunkline:{"signature":"2","spelling":"anthropic"}',
    ]


def test_an_empty_answer_is_still_a_stream() -> None:
    """It begins and ends."""
    events = written(Finish(reason="stop"))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]


def decoded(blocks: list[bytes]) -> list[Frame]:
    """Decode the blocks of a stream."""
    memo = Memo()
    return [responses.decode_frame(block, memo) for block in blocks]


def cut() -> Frame:
    """Return what ends an answer for want of money."""
    events = (Finish(reason="length", raw=BUDGET_CUT), USAGE)
    return Frame(b"", Mark.FINISH | Mark.USAGE | Mark.TERMINAL, events=events)


def test_a_relayed_stream_that_is_cut_ends_whole() -> None:
    """The end is numbered on, its items have their own ids, and its text is the sum of deltas."""
    writer = relay()
    frames = [*decoded(response_events("Once upon a time.")[:5]), cut()]
    events = data_of(b"".join(map(writer.frame, frames)) + writer.end(Cost(1)))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    [item] = last["response"]["output"]
    assert item["id"] == "msg_fake"
    assert item["content"][0]["text"] == "".join(e.get("delta", "") for e in events)


def test_a_stream_that_is_collected_keeps_its_ids() -> None:
    """Those of its own tools count too; a thought is still known when it returns."""
    items = [
        {"id": "rs_own", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
        {"id": "ws_own", "type": "web_search_call", "status": "completed"},
        {"id": "fc_own", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    told = [
        {"type": f"response.output_item.{what}", "output_index": number, "item": item}
        for number, item in enumerate(items)
        for what in ("added", "done")
    ]
    told.append({"type": "response.completed", "response": {"id": "resp_1", "output": items}})
    frames = decoded([b"data: %b\n\n" % json.dumps(event).encode() for event in told])
    output = json.loads(relay().whole(frames, Cost(1)))["output"]
    assert [item["id"] for item in output] == ["rs_own", "ws_own", "fc_own"]
    assert output[0]["encrypted_content"] == "gAAAA"


def test_nothing_is_written_twice() -> None:
    """A relayed stream has its own end; an end mark that does not belong here is left out."""
    writer = relay()
    blocks = [*response_events(), b"data: [DONE]\n\n"]
    sent = b"".join(map(writer.frame, decoded(blocks))) + writer.end(Cost(1))
    assert sent == b"".join(response_events())


def test_an_error_before_anything_is_a_body() -> None:
    """It has OpenAI's four keys."""
    error = json.loads(relay().error(BudgetExhausted("no money", param="x")))["error"]
    assert error == {
        "message": "no money",
        "type": "insufficient_quota",
        "code": "budget_exhausted",
        "param": "x",
    }


def test_an_error_in_the_midst_is_told_twice() -> None:
    """Nested as OpenAI sends it and flat as it documents it, then the response that failed."""
    writer = relay()
    for frame in decoded(response_events("Once upon")[:4]):
        writer.frame(frame)
    told, failed = data_of(writer.error(BudgetExhausted("no money")))
    assert (told["type"], told["message"], told["error"]["code"]) == (
        "error",
        "no money",
        "budget_exhausted",
    )
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "no money"}


def test_what_was_asked_is_said_again() -> None:
    """Tools, limits and metadata of the request stand in the response; nothing is kept."""
    asked = {
        "input": "Hi",
        "tools": [{"type": "function", "name": "f"}],
        "metadata": {"a": "b"},
        "max_output_tokens": 5,
        "reasoning": {"effort": "low"},
    }
    writer = responses.write(responses.read(json.dumps(asked).encode()), "another")
    response = json.loads(writer.whole([Frame(b"", 0, events=(TextDelta(text="a"),))], Cost(1)))
    tool = {"type": "function", "name": "f", "parameters": None, "strict": False}
    assert response["tools"] == [tool]
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert (response["metadata"], response["max_output_tokens"]) == ({"a": "b"}, 5)
    assert response["store"] is False


def test_a_whole_answer_is_relayed_as_it_is() -> None:
    """Byte by byte."""
    body = json.dumps(response_answer(), indent=1).encode()
    assert relay().whole([responses.decode(body, Memo())], Cost(1)) == body
