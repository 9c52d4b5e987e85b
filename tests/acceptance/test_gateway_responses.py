"""OpenAI's SDK for responses, unmodified, before each kind of provider."""

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import aiohttp
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from tests.sdks import ULM, call, say
from trunkline import Trunkline
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    message_answer,
    response_answer,
    response_events,
)

MODELS = ["gpt-4o", "claude-sonnet-4-5", "demo", "gpt-6"]
EACH = pytest.mark.parametrize("model", MODELS)
FOREIGN = pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "demo"])
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER: Any = {
    "type": "function",
    "name": "Weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
CALLED = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "c1",
    "name": "Weather",
    "arguments": ULM,
}


class Weather(BaseModel):
    """Tell the weather of a city."""

    city: str
    unit: Literal["c", "f"]


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line to a provider of each dialect and to the demo; `gpt-4o` is asked in a chat."""
    claude = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    return make_line(
        default_provider="openai",
        server={"stored_state": "allow"},
        providers={
            "openai": openai_at(up, models=[{"name": "gpt-4o", "api": "chat"}, "gpt-6"]),
            "anthropic": {**claude, "models": ["claude-sonnet-4-5"]},
            "demo": {"models": ["demo"]},
        },
    )


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(line) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, retries off so that every answer is seen."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


def scripted(up: FakeUpstream, model: str, text: str, *, stream: bool) -> list[Any]:
    """Script an answer of words; return the input that gets it."""
    if model == "gpt-6":
        events = Sse(response_events(text), done=False)
        up.script(events if stream else Json(response_answer(text)))
        return [{"role": "user", "content": text}]
    return say(up, model, text, stream=stream)


def scripted_call(up: FakeUpstream, model: str, *, stream: bool) -> list[Any]:
    """Script a call of the tool; return the input that gets it."""
    if model == "gpt-6":
        events = Sse(response_events(output=[CALLED]), done=False)
        up.script(events if stream else Json(response_answer(output=[CALLED])))
        return [{"role": "user", "content": "Weather?"}]
    return call(up, model, "Weather", stream=stream)


# --- the SDK --------------------------------------------------------------------------------------


@EACH
async def test_a_whole_answer(client: openai.AsyncOpenAI, up: FakeUpstream, model: str) -> None:
    """Words, usage and status are as the SDK promises them."""
    given = scripted(up, model, "Once upon a time.", stream=False)
    answer = await client.responses.create(model=model, input=given)
    assert answer.output_text == "Once upon a time."
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


@EACH
async def test_a_streamed_answer(client: openai.AsyncOpenAI, up: FakeUpstream, model: str) -> None:
    """Events come in their order, numbered without a gap, and add up to the final response."""
    given = scripted(up, model, "Once upon a time.", stream=True)
    stream = await client.responses.create(model=model, input=given, stream=True)
    events = [event async for event in stream]
    words = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert words == "Once upon a time."
    assert [events[0].type, events[1].type] == ["response.created", "response.in_progress"]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == words


@EACH
async def test_the_streaming_helper(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """Its accumulated response has the call, parsed as the tool's own type."""
    given = scripted_call(up, model, stream=True)
    tool = openai.pydantic_function_tool(Weather)["function"]
    tools: Any = [{"type": "function", **tool}]
    async with client.responses.stream(model=model, input=given, tools=tools) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    [made] = [item for item in final.output if item.type == "function_call"]
    assert (made.name, json.loads(made.arguments)) == ("Weather", json.loads(ULM))


@EACH
async def test_parsed_answers(client: openai.AsyncOpenAI, up: FakeUpstream, model: str) -> None:
    """`responses.parse` gets an object of the type that was asked for."""
    given = scripted(up, model, ULM, stream=False)
    answer = await client.responses.parse(model=model, input=given, text_format=Weather)
    assert answer.output_parsed == Weather(city="Ulm", unit="c")


@EACH
@STREAM
async def test_a_loop_of_tools(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str, stream: bool
) -> None:
    """The output goes back as input with the result; the provider is shown both."""
    given = scripted_call(up, model, stream=stream)
    if stream:
        async with client.responses.stream(model=model, input=given, tools=[WEATHER]) as events:
            answer: Any = await events.get_final_response()
    else:
        answer = await client.responses.create(model=model, input=given, tools=[WEATHER])
    [made] = [item for item in answer.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": made.call_id, "output": "Rain in Ulm."}
    echoed = [item.to_dict() for item in answer.output]
    for item in echoed:
        item.pop("parsed_arguments", None)
    more = scripted(up, model, "It rains.", stream=False)
    again = [*given, *echoed, result] + (more if model == "demo" else [])
    final = await client.responses.create(model=model, input=again, tools=[WEATHER])
    assert final.output_text == "It rains."
    if model != "demo":
        sent = up.requests[-1].body.decode()
        assert made.call_id in sent
        assert "Rain in Ulm." in sent


# --- strict types ---------------------------------------------------------------------------------


async def posted(url: str, **body: Any) -> tuple[int, bytes]:
    """Ask without an SDK."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/responses", json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


def thinking() -> Json:
    """Return an answer of Claude's with two kinds of thoughts, words with a source, and calls."""
    source = {"type": "web_search_result_location", "url": "https://x.test", "title": "X"}
    return Json(
        message_answer(
            content=[
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "b3BhcXVl"},
                {"type": "text", "text": "Let me see.", "citations": [source]},
                {"type": "tool_use", "id": "t1", "name": "Weather", "input": {"city": "Ulm"}},
                {"type": "tool_use", "id": "t2", "name": "Weather", "input": {}},
            ],
            stop_reason="tool_use",
        )
    )


@STREAM
async def test_the_types_take_every_answer(url: str, up: FakeUpstream, stream: bool) -> None:
    """Thoughts, sources and parallel calls are what the SDK's types say, to the letter."""
    up.script(thinking())
    status, body = await posted(
        url, model="claude-sonnet-4-5", input="Weather?", tools=[WEATHER], stream=stream
    )
    assert status == 200
    if stream:
        datas = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
        for data in datas:
            EVENT.validate_json(data, strict=True)
        body = json.dumps(json.loads(datas[-1])["response"]).encode()
    response = Response.model_validate_json(body, strict=True)
    assert [item.type for item in response.output] == [
        "reasoning",
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    said = json.loads(body)["output"]
    assert said[0]["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert said[2]["content"][0]["annotations"][0]["url"] == "https://x.test"
    assert [item["arguments"] for item in said[3:]] == ['{"city":"Ulm"}', "{}"]


@STREAM
async def test_thoughts_of_claude_survive_the_round_trip(
    url: str, up: FakeUpstream, stream: bool
) -> None:
    """Signature and hidden thought go back to Anthropic byte for byte; OpenAI never sees them."""
    up.script(thinking())
    ask = {"model": "claude-sonnet-4-5", "tools": [WEATHER]}
    _, body = await posted(url, **ask, input="Weather?", stream=stream)
    if stream:
        body = body.strip().rpartition(b"data: ")[2]
    answer = json.loads(body)
    output = (answer.get("response") or answer)["output"]
    results = [
        {"type": "function_call_output", "call_id": id_, "output": "Rain."} for id_ in ("t1", "t2")
    ]
    again = [{"role": "user", "content": "Weather?"}, *output, *results]
    await posted(url, **ask, input=again)
    [_, said, _] = up.requests[-1].json()["messages"]
    assert said["content"][:2] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
    ]
    await posted(url, model="gpt-6", tools=[WEATHER], input=again)
    kinds = [item.get("type") for item in up.requests[-1].json()["input"]]
    assert "reasoning" not in kinds
    assert kinds.count("function_call") == 2


@STREAM
@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("stop", "completed", None),
        ("strange", "incomplete", "max_output_tokens"),
    ],
)
async def test_why_an_answer_ended(
    url: str, up: FakeUpstream, stream: bool, finish: str, status: str, reason: str | None
) -> None:
    """A cut answer is incomplete and says why; an unknown reason is never called completed."""
    chunks = [chat_chunk({"content": "Hi"}), chat_chunk({}, finish=finish)]
    up.script(Sse(chunks) if stream else Json(chat_answer("Hi", finish=finish)))
    _, body = await posted(url, model="gpt-4o", input="Hi", stream=stream)
    if stream:
        body = body.strip().rpartition(b"data: ")[2]
    answer = json.loads(body)
    answer = answer.get("response") or answer
    assert answer["status"] == status
    assert (answer["incomplete_details"] or {}).get("reason") == reason


# --- relayed --------------------------------------------------------------------------------------


@STREAM
async def test_the_same_api_is_relayed_as_it_is(url: str, up: FakeUpstream, stream: bool) -> None:
    """Unknown fields and items pass in both directions, built-in tools and `store` included."""
    item = {"id": "x_1", "type": "quantum_call", "state": ["up", "down"]}
    events = response_events(output=[item], tool_usage={"web_search": {"num_requests": 0}})
    up.script(Sse(events, done=False) if stream else Json(response_answer(output=[item])))
    asked = {
        "model": "gpt-6",
        "input": [{"type": "quantum_output", "id": "y"}],
        "tools": [{"type": "web_search", "search_context_size": "low"}],
        "previous_response_id": "resp_9",
        "store": True,
        "future": {"a": 1},
        "stream": stream,
    }
    status, body = await posted(url, **asked)
    assert status == 200
    sent = up.requests[0].json()
    assert {k: v for k, v in sent.items() if k != "stream"} == {
        k: v for k, v in asked.items() if k != "stream"
    }
    assert body == b"".join(events) if stream else json.loads(body)["output"] == [item]


@STREAM
async def test_a_whole_answer_to_a_request_for_a_stream(
    url: str, up: FakeUpstream, stream: bool
) -> None:
    """A provider that does not stream is spelled as a stream, calls and thoughts included."""
    thought = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAAA1"}
    up.script(Json(response_answer(output=[thought, CALLED])))
    _, body = await posted(url, model="gpt-6", input="Weather?", stream=stream)
    data = body.strip().rpartition(b"data: ")[2] if stream else body
    answer = json.loads(data)
    output = (answer.get("response") or answer)["output"]
    assert output[0]["encrypted_content"] == "gAAAAA1"
    assert (output[1]["call_id"], output[1]["arguments"]) == ("c1", ULM)


# --- errors ---------------------------------------------------------------------------------------


@FOREIGN
@pytest.mark.parametrize(
    ("field", "value"),
    [("previous_response_id", "resp_1"), ("store", True)],
)
async def test_what_only_openai_holds_is_refused_elsewhere(
    client: openai.AsyncOpenAI, model: str, field: str, value: Any
) -> None:
    """The error names the field and what to do instead."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model=model, input="Hi", extra_body={field: value})
    assert caught.value.code == "capability_missing"
    assert caught.value.param == field


async def test_what_openai_holds_is_nobodys(up: FakeUpstream, make_line: MakeLine) -> None:
    """All callers share its account: unless there is one tenant, no earlier answer is gone on."""
    line = make_line(default_provider="openai", providers={"openai": openai_at(up)})
    async with running(line) as url:
        status, body = await posted(url, model="gpt-6", input="Go on", previous_response_id="r1")
    error = json.loads(body)["error"]
    assert (status, error["param"]) == (400, "previous_response_id")
    assert "server.stored_state: allow" in error["message"]
    assert up.requests == []


async def test_no_answer_is_kept(client: openai.AsyncOpenAI) -> None:
    """To look an answer up, or to delete one, is a 404 that says what to do."""
    with pytest.raises(openai.NotFoundError, match="no answer is kept"):
        await client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError, match="no answer is kept"):
        await client.responses.delete("resp_1")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output"}]}, "input[0].call_id"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "text": {"format": {}}}, "text.format.type"),
        ({"input": [{"role": "user", "content": [{}]}]}, "input[0].content[0].type"),
    ],
)
async def test_bad_input_names_the_field(url: str, body: dict[str, Any], param: str) -> None:
    """Nothing is sent; the error has OpenAI's four keys."""
    status, answer = await posted(url, model="gpt-6", **body)
    error = json.loads(answer)["error"]
    assert (status, error["param"]) == (400, param)
    assert error.keys() == {"message", "type", "code", "param"}


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "gpt-6"])
async def test_an_error_before_the_answer(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """A refused credential of ours is not the caller's fault."""
    up.script(Status(401, {"error": {"message": "Incorrect API key provided: sk-te****"}}))
    with pytest.raises(openai.APIStatusError) as caught:
        await client.responses.create(model=model, input="Hi")
    assert caught.value.status_code >= 500
    assert "sk-te" not in caught.value.message


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-6"])
async def test_an_error_in_the_midst(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """What was said is said, then the SDK raises; a truncated stream never looks complete."""
    if model == "gpt-6":
        up.script(Sse(response_events("Once upon a time.")[:-4], done=False))
    else:
        up.script(Sse([chat_chunk({"content": "Once "})], done=False))
    stream = await client.responses.create(model=model, input="Hi", stream=True)
    words: list[str] = []

    async def listen() -> None:
        async for event in stream:
            if event.type == "response.output_text.delta":
                words.append(event.delta)

    with pytest.raises(openai.APIError):
        await listen()
    assert words[0] == "Once "


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-6"])
async def test_the_end_of_a_failed_stream(url: str, up: FakeUpstream, model: str) -> None:
    """`error`, then `response.failed` with what was said, numbered on without a gap."""
    if model == "gpt-6":
        up.script(Sse(response_events("Once upon a time.")[:-4], done=False))
    else:
        up.script(Sse([chat_chunk({"content": "Once "})], done=False))
    _, body = await posted(url, model=model, input="Hi", stream=True)
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    [item] = events[-1]["response"]["output"]
    assert item["content"][0]["text"].startswith("Once ")
    began = next(event for event in events if event["type"] == "response.output_item.added")
    assert item["id"] == began["item"]["id"]
    EVENT.validate_python(events[-1])


async def test_thoughts_of_openai_survive_a_client_of_anthropic(url: str, up: FakeUpstream) -> None:
    """The encrypted thought goes back to OpenAI byte for byte; Claude never sees it."""
    summary = [{"type": "summary_text", "text": "Hm."}]
    thought = {"id": "rs_1", "type": "reasoning", "summary": summary}
    up.script(Json(response_answer(output=[thought | {"encrypted_content": "gAAAAA1"}, CALLED])))
    headers = {"x-api-key": ADMIN_KEY}
    asked: dict[str, Any] = {"model": "gpt-6", "max_tokens": 9}
    messages: list[Any] = [{"role": "user", "content": "Weather?"}]
    async with aiohttp.ClientSession(url, headers=headers) as session:
        async with session.post("/v1/messages", json=asked | {"messages": messages}) as answer:
            said = await answer.json()
        assert said["content"][0] == {
            "type": "thinking",
            "thinking": "Hm.",
            "signature": "gAAAAA1",
        }
        result = {"type": "tool_result", "tool_use_id": "c1", "content": "Rain."}
        messages += [
            {"role": "assistant", "content": said["content"]},
            {"role": "user", "content": [result]},
        ]
        await session.post("/v1/messages", json=asked | {"messages": messages})
        asked["model"] = "claude-sonnet-4-5"
        await session.post("/v1/messages", json=asked | {"messages": messages})
    again, claude = (request.json() for request in up.requests[1:])
    assert again["input"][1] == {
        "type": "reasoning",
        "summary": summary,
        "encrypted_content": "gAAAAA1",
    }
    assert again["input"][3] == {
        "type": "function_call_output",
        "call_id": "c1",
        "output": "Rain.",
    }
    assert [block["type"] for block in claude["messages"][1]["content"]] == ["tool_use"]
