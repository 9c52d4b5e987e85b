"""Whatever the gateway writes is what the official SDKs' own types say, to the letter.

Each answer is scripted once, in a few words, and given by a provider of either dialect and by the
demo; a caller of either dialect, whole or streaming, must get bodies and events that the types take
strictly, in the order that the APIs promise, and that say what was scripted.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import ModelInfo
from anthropic.types.shared import ErrorResponse
from openai.types import Model
from openai.types.shared import ErrorObject

from tests.acceptance.conftest import MakeLine, openai_at
from tests.strictly import CHAT, MESSAGES, STOPS, Said, heard, strict
from tests.unit.gateway.talk import ADMIN_KEY, ask
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    chat_usage,
    message_answer,
    message_events,
)

Fields = dict[str, Any]
PATHS = pytest.mark.parametrize("path", [CHAT, MESSAGES])
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
ULM, BONN = '{"city": "Ulm"}', '{"city": "Bonn"}'
ANSWERS = {
    "text": Said("Hello there."),
    "call": Said(calls=(("weather", ULM),), finish="tool_calls"),
    "text and call": Said("Let me see.", calls=(("weather", ULM),), finish="tool_calls"),
    "parallel calls": Said(calls=(("weather", ULM), ("weather", BONN)), finish="tool_calls"),
    "no arguments": Said(calls=(("now", "{}"),), finish="tool_calls"),
    "thought": Said("Yes.", thought="Hm, well."),
    "thought and call": Said(thought="Hm.", calls=(("weather", ULM),), finish="tool_calls"),
    "cut": Said("Once upon", finish="length"),
    "nothing": Said(),
    "nothing but a cut": Said(finish="length"),
    "refused": Said("I cannot.", finish="content_filter"),
}
OFFERED = {
    name: {"type": "object", "properties": {"city": {"type": "string"}}}
    for name in ("weather", "now")
}


# --- providers ------------------------------------------------------------------------------------


def gpt(said: Said, *, stream: bool) -> Answer:
    """Say it as OpenAI does."""
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(said.calls)
    ]
    thought: Fields = {"reasoning_content": said.thought} if said.thought else {}
    if not stream:
        text = said.text if not calls or said.text else None
        return Json(chat_answer(text, finish=said.finish, tool_calls=calls, **thought))
    deltas: list[Fields] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in said.thought]
    deltas += [{"content": piece} for piece in said.text]
    for n, call in enumerate(calls):
        function: Any = call["function"]
        opened = {**call, "index": n, "function": {**function, "arguments": ""}}
        deltas.append({"tool_calls": [opened]})
        deltas += [
            {"tool_calls": [{"index": n, "function": {"arguments": piece}}]}
            for piece in function["arguments"]
        ]
    chunks = [chat_chunk(delta) for delta in deltas] + [chat_chunk({}, finish=said.finish)]
    return Sse([*chunks, {**chat_chunk({}), "choices": [], "usage": chat_usage(10, 5)}])


def claude(said: Said, *, stream: bool) -> Answer:
    """Say it as Anthropic does."""
    content: list[Fields] = []
    if said.thought:
        content.append({"type": "thinking", "thinking": said.thought, "signature": "c2ln"})
    if said.text:
        content.append({"type": "text", "text": said.text})
    content += [
        {"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": json.loads(arguments)}
        for n, (name, arguments) in enumerate(said.calls)
    ]
    return blocks(content, STOPS[said.finish], stream=stream)


def blocks(content: list[Fields], stop: str, *, stream: bool) -> Answer:
    """Say blocks, whole or as events."""
    if not stream:
        return Json(message_answer(content=content, stop_reason=stop))
    (start, *_), (_, last) = message_events()[:1], message_events()[-2:]
    ended = {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": None},
        "usage": {"output_tokens": 5},
    }
    events = [event for n, block in enumerate(content) for event in spread(n, block)]
    told = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in [*events, ended]]
    return Sse([start, *told, last], done=False)


def spread(index: int, block: Fields) -> Iterator[Fields]:
    """Give the events of one of Anthropic's blocks."""
    empty: Fields = {"text": "", "thinking": "", "signature": "", "input": {}}
    opened = {name: empty.get(name, value) for name, value in block.items()}
    yield {"type": "content_block_start", "index": index, "content_block": opened}
    deltas: list[Fields] = [{"type": "text_delta", "text": p} for p in block.get("text", "")]
    deltas += [{"type": "thinking_delta", "thinking": p} for p in block.get("thinking", "")]
    if "signature" in block:
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    if block.get("input"):
        pieces = ["", *json.dumps(block["input"])]
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


# --- callers --------------------------------------------------------------------------------------


def asked(path: str, model: str, words: str, **more: Any) -> bytes:
    """Return a request with tools."""
    told: Fields = {"model": model, "messages": [{"role": "user", "content": words}]}
    if path == CHAT:
        told["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": schema}}
            for name, schema in OFFERED.items()
        ]
    else:
        told |= {"max_tokens": 500}
        told["tools"] = [{"name": n, "input_schema": schema} for n, schema in OFFERED.items()]
    return json.dumps(told | more).encode()


# --- answers of every kind ------------------------------------------------------------------------


@pytest.fixture
def gateway(up: FakeUpstream, make_line: MakeLine) -> Gateway:
    """A gateway before a provider of each dialect and the demo."""
    claude_at = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    line = make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(up, models=["gpt-4o"]),
            "anthropic": {**claude_at, "models": ["claude-x"]},
            "demo": {"models": ["demo"]},
        },
    )
    return Gateway(line, KeyRing(b"p" * 32, ADMIN_KEY, ()))


def alike(got: Said, said: Said) -> None:
    """Compare what was heard with what was said; arguments as the objects they are."""
    assert (got.text, got.thought, got.finish) == (said.text, said.thought, said.finish)
    assert [(n, json.loads(a)) for n, a in got.calls] == [(n, json.loads(a)) for n, a in said.calls]


@PATHS
@STREAM
@pytest.mark.parametrize("model", ["gpt-4o", "claude-x"])
@pytest.mark.parametrize("case", list(ANSWERS))
async def test_answers(
    gateway: Gateway, up: FakeUpstream, path: str, stream: bool, model: str, case: str
) -> None:
    """From each kind of provider to each kind of caller."""
    say = gpt if model == "gpt-4o" else claude
    up.script(say(ANSWERS[case], stream=stream))
    answer = await ask(gateway, path, asked(path, model, "Hello!", stream=stream))
    alike(heard(path, answer.body, stream=stream), ANSWERS[case])


DEMO = {
    "text": ("/demo echo Hello there.", ANSWERS["text"]),
    "parallel calls": (
        f"/demo tool weather {ULM}\n/demo tool weather {BONN}",
        ANSWERS["parallel calls"],
    ),
    "everything": (
        f"/demo think Hm.\n/demo echo Let me see.\n/demo tool weather {ULM}",
        Said("Let me see.", "Hm.", (("weather", ULM),), "tool_calls"),
    ),
    "cut": ("/demo tokens 501", Said(" ".join(["demo"] * 500), finish="length")),
    "nothing": ("/demo tokens 0", Said()),
}


@PATHS
@STREAM
@pytest.mark.parametrize("case", list(DEMO))
async def test_answers_of_the_demo(gateway: Gateway, path: str, stream: bool, case: str) -> None:
    """What is answered in this process has the same shape."""
    words, said = DEMO[case]
    answer = await ask(gateway, path, asked(path, "demo", words, stream=stream, max_tokens=500))
    alike(heard(path, answer.body, stream=stream), said)


@pytest.mark.parametrize("model", ["gpt-4o", "claude-x", "demo"])
async def test_a_stream_with_usage(gateway: Gateway, up: FakeUpstream, model: str) -> None:
    """Usage, where it was asked for, is said once, in a chunk of its own behind all others."""
    if model != "demo":
        up.script((gpt if model == "gpt-4o" else claude)(ANSWERS["text"], stream=True))
    body = asked(
        CHAT,
        model,
        "/demo echo Hello there.",
        stream=True,
        stream_options={"include_usage": True},
    )
    answer = await ask(gateway, CHAT, body)
    alike(heard(CHAT, answer.body, stream=True, usage_asked=True), ANSWERS["text"])


def tool(n: int, name: str, arguments: str) -> Fields:
    """Return a call, or the beginning of one."""
    function = {"name": name, "arguments": arguments}
    return {"index": n, "id": f"c{n}", "type": "function", "function": function}


def more(n: int, arguments: str) -> Fields:
    """Return another piece of a call."""
    return {"index": n, "function": {"arguments": arguments}}


CUSTOM = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "free"}}
LOGPROBS = {"content": [{"token": "Hi", "bytes": [72], "logprob": -0.1, "top_logprobs": []}]}
SIGNED = {"type": "reasoning.text", "text": "Hm", "signature": "s", "index": 0}
ODD_GPT: dict[str, tuple[Fields, list[Fields], str, Said]] = {
    "refusal": (
        {"content": None, "refusal": "I cannot."},
        [{"refusal": "I can"}, {"refusal": "not."}],
        "stop",
        Said("I cannot.", finish="content_filter"),
    ),
    "old function call": (
        {"content": None, "function_call": {"name": "now", "arguments": "{}"}},
        [{"function_call": {"name": "now", "arguments": ""}}, {"function_call": more(0, "{}")}],
        "function_call",
        ANSWERS["no arguments"],
    ),
    "calls in turns": (
        {"content": "", "tool_calls": [tool(0, "a", '{"x": 1}'), tool(1, "b", '{"y": 2}')]},
        [
            {"tool_calls": [tool(0, "a", ""), tool(1, "b", "")]},
            {"tool_calls": [more(1, '{"y":'), more(0, '{"x":')]},
            {"tool_calls": [more(0, "1}"), more(1, "2}")]},
        ],
        "tool_calls",
        Said(calls=(("a", '{"x": 1}'), ("b", '{"y": 2}')), finish="tool_calls"),
    ),
    "null for no arguments, stop": (
        {"content": "", "tool_calls": [tool(0, "now", "null")]},
        [{"tool_calls": [tool(0, "now", "null")]}],
        "stop",
        ANSWERS["no arguments"],
    ),
    "custom tool": (
        {"content": None, "tool_calls": [CUSTOM]},
        [{"tool_calls": [{"index": 0, **CUSTOM}]}],
        "tool_calls",
        Said(calls=(("f", '{"input": "free"}'),), finish="tool_calls"),
    ),
    "content in parts": (
        {"content": [{"type": "thinking", "thinking": [{"text": "Hm"}]}, "Hi"]},
        [{"content": [{"type": "thinking", "thinking": [{"text": "Hm"}]}]}, {"content": "Hi"}],
        "stop",
        Said("Hi", "Hm"),
    ),
    "signed elsewhere": (
        {"content": "Hi", "reasoning": "Hm", "reasoning_details": [SIGNED]},
        [{"reasoning": "Hm", "reasoning_details": [SIGNED]}, {"content": "Hi"}],
        "stop",
        Said("Hi", "Hm"),
    ),
    "an unknown reason": (
        {"content": "Hi", "logprobs": LOGPROBS},
        [{"content": "Hi"}],
        "insufficient_system_resource",
        Said("Hi", finish="length"),
    ),
}


@STREAM
@pytest.mark.parametrize("case", list(ODD_GPT))
async def test_odd_answers_of_openai(
    gateway: Gateway, up: FakeUpstream, stream: bool, case: str
) -> None:
    """What only OpenAI's dialect can say, or servers make of it, reaches Anthropic's clients."""
    message, deltas, finish, said = ODD_GPT[case]
    if stream:
        chunks = [chat_chunk(delta) for delta in deltas] + [chat_chunk({}, finish=finish)]
        up.script(Sse([{k: v for k, v in c.items() if k not in {"id", "model"}} for c in chunks]))
    else:
        up.script(Json(chat_answer(None, finish=finish, **message)))
    answer = await ask(gateway, MESSAGES, asked(MESSAGES, "gpt-4o", "Hello!", stream=stream))
    alike(heard(MESSAGES, answer.body, stream=stream), said)


SOURCE = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "document_title": "t",
    "start_char_index": 0,
    "end_char_index": 1,
}
CITED = {"type": "text", "text": "Hi", "citations": [SOURCE, SOURCE]}
SEARCH: list[Fields] = [
    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srv", "content": [{"url": "u"}]},
]
ODD_CLAUDE: dict[str, tuple[list[Fields], str, Said]] = {
    "hidden and empty thoughts": (
        [
            {"type": "thinking", "thinking": "", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "YWJj"},
            {"type": "text", "text": "Hi"},
        ],
        "end_turn",
        Said("Hi"),
    ),
    "sources": ([CITED, CITED], "end_turn", Said("HiHi")),
    "searches": ([*SEARCH, *SEARCH, {"type": "text", "text": "Hi"}], "end_turn", Said("Hi")),
    "text around a call": (
        [
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "t", "name": "now", "input": {}},
            {"type": "text", "text": "b"},
        ],
        "tool_use",
        Said("ab", calls=(("now", "{}"),), finish="tool_calls"),
    ),
    "a stop word": ([{"type": "text", "text": "Hi"}], "stop_sequence", Said("Hi")),
    "a full window": ([], "model_context_window_exceeded", Said(finish="length")),
    "a pause": ([{"type": "text", "text": "Hi"}], "pause_turn", Said("Hi", finish="length")),
}


@STREAM
@pytest.mark.parametrize("case", list(ODD_CLAUDE))
async def test_odd_answers_of_anthropic(
    gateway: Gateway, up: FakeUpstream, stream: bool, case: str
) -> None:
    """What only Anthropic's dialect can say reaches OpenAI's clients."""
    content, stop, said = ODD_CLAUDE[case]
    up.script(blocks(content, stop, stream=stream))
    answer = await ask(gateway, CHAT, asked(CHAT, "claude-x", "Hello!", stream=stream))
    alike(heard(CHAT, answer.body, stream=stream), said)


# --- errors, models -------------------------------------------------------------------------------

OWN: dict[str, tuple[int, Fields]] = {
    "no key": (401, {"headers": {"authorization": None}}),
    "a key nobody knows": (401, {"headers": {"authorization": "Bearer nobody"}}),
    "another site": (403, {"headers": {"origin": "https://evil.example"}}),
    "no such model": (404, {"model": "nobody/nothing"}),
    "another method": (405, {"method": "GET"}),
    "too large": (413, {"body": {"more": "x" * (33 * 1024 * 1024)}}),
    "no JSON": (415, {"headers": {"content-type": "text/plain"}}),
    "a wrong field": (400, {"body": {"messages": 7}}),
}
THEIRS = {400: 400, 401: 502, 402: 502, 403: 502, 404: 404, 422: 400, 429: 429, 500: 502, 529: 503}
"""Statuses of a provider -> ours."""


def fault_of(path: str, data: bytes, headers: dict[str, str] | None = None) -> Any:
    """Read an error strictly; its id is the one in the headers."""
    fields = json.loads(data)
    if path == CHAT:
        assert set(fields) == {"error"}
        assert set(fields["error"]) == {"message", "type", "param", "code"}
        assert headers is None or headers["x-request-id"]
        return strict(ErrorObject, json.dumps(fields["error"]).encode())
    told = strict(ErrorResponse, data)
    assert told.request_id
    assert headers is None or headers["request-id"] == told.request_id
    return told.error


@PATHS
@pytest.mark.parametrize("case", list(OWN))
async def test_errors_of_ours(gateway: Gateway, up: FakeUpstream, path: str, case: str) -> None:
    """Each is refused in the path's own shape, with an id; nothing is sent."""
    status, change = OWN[case]
    body = asked(path, change.get("model", "gpt-4o"), "Hello!", **change.get("body", {}))
    answer = await ask(gateway, path, body, change.get("headers", {}), change.get("method", "POST"))
    assert answer.status == status
    assert fault_of(path, answer.body, answer.headers).message
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)
    assert up.requests == []


@PATHS
@pytest.mark.parametrize("model", ["gpt-4o", "claude-x"])
@pytest.mark.parametrize("given", list(THEIRS))
async def test_errors_of_providers(
    gateway: Gateway, up: FakeUpstream, path: str, model: str, given: int
) -> None:
    """Whatever a provider says, in whatever shape, comes in the shape of the caller's family."""
    up.script(Status(given, {"error": {"type": "odd", "message": "no"}, "type": "error"}))
    answer = await ask(gateway, path, asked(path, model, "Hello!"))
    overloaded = path == MESSAGES and THEIRS[given] == 503
    assert answer.status == (529 if overloaded else THEIRS[given])
    fault = fault_of(path, answer.body, answer.headers)
    assert fault.message
    assert answer.headers["x-trunkline-call-id"].startswith("call_")
    if overloaded:
        assert fault.type == "overloaded_error"


@PATHS
@pytest.mark.parametrize("model", ["gpt-4o", "claude-x"])
async def test_errors_in_a_stream(
    gateway: Gateway, up: FakeUpstream, path: str, model: str
) -> None:
    """The last event is the error, strictly; nothing looks like an end."""
    whole = (gpt if model == "gpt-4o" else claude)(ANSWERS["text"], stream=True)
    up.script(whole.cut_after(sum(map(len, whole.body[:6]))))
    answer = await ask(gateway, path, asked(path, model, "Hello!", stream=True))
    assert answer.status == 200
    last = answer.body.decode().removesuffix("\n\n").split("\n\n")[-1]
    name, _, payload = last.rpartition("data: ")
    assert name == ("event: error\n" if path == MESSAGES else "")
    assert fault_of(path, payload.encode()).message
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body


async def test_models(gateway: Gateway) -> None:
    """One object that the types of both families take."""
    for suffix in ("", "/gpt-4o"):
        answer = await ask(gateway, f"/v1/models{suffix}", method="GET")
        listed = json.loads(answer.body)
        for entry in listed["data"] if not suffix else [listed]:
            data = json.dumps(entry).encode()
            assert Model.model_validate_json(data, strict=True).id == entry["id"]
            assert ModelInfo.model_validate_json(data, strict=True).display_name == entry["id"]
