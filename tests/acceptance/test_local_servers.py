"""Servers on one's own machine: Ollama in its own dialect, and those that speak OpenAI's."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.acceptance.conftest import MakeLine
from tests.gateways import ADMIN_KEY, running
from tests.tiny_llama import MODEL, TinyLlama, serving
from trunkline import Trunkline, call_llm, complete, errors, stream_llm
from trunkline.config.environment import Environment
from trunkline.discovery import LocalServer, local_servers
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    ollama_answer,
    ollama_lines,
)

SERVERS = ("ollama", "lmstudio", "localai", "vllm", "llamacpp")
HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
QUESTION: Any = {"role": "user", "content": "Weather in Bern?"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
CALLED = {
    "role": "assistant",
    "content": "",
    "thinking": "Bern it is.",
    "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Bern"}}}],
}


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line to one server under all their names."""
    at = {"base_url": up.url, "retries": 0}
    return make_line(default_provider="ollama", providers=dict.fromkeys(SERVERS, at))


# --- each of them ---------------------------------------------------------------------------------


@pytest.mark.acceptance("A03", "T08")
@pytest.mark.parametrize("provider", SERVERS)
async def test_each_answers_whole_and_streaming(
    provider: str, line: Trunkline, up: FakeUpstream
) -> None:
    """Without a key, at the usual path; the cap goes by its old name, and the price is 0."""
    parameters = {"max_tokens": 9, "temperature": 0.5}
    assert await call_llm(provider, "m:1b", HELLO, parameters) == ("Hello.", None)
    chunks = [chunk async for chunk in stream_llm(provider, "m:1b", HELLO, parameters)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello."
    path = "/api/chat" if provider == "ollama" else "/v1/chat/completions"
    for request in up.requests:
        assert request.path == path
        assert "authorization" not in request.headers
        body = request.json()
        said = body["options"] if provider == "ollama" else body
        cap = "num_predict" if provider == "ollama" else "max_tokens"
        assert (said[cap], said["temperature"], body["model"]) == (9, 0.5, "m:1b")
    line.flush()
    for row in line.store.calls(2):
        assert (row.call.prompt_tokens, row.call.completion_tokens, row.call.cost_nusd) == (
            10,
            5,
            0,
        )


@pytest.mark.acceptance("T08")
@pytest.mark.parametrize("provider", SERVERS)
async def test_a_dummy_key_is_fine(provider: str, up: FakeUpstream, make_line: MakeLine) -> None:
    """Many tools insist on one; the server is sent it and does not mind."""
    make_line(providers={provider: {"base_url": f"{up.url}/v1", "api_key": "dummy"}})
    assert await call_llm(provider, "m", HELLO, {}) == ("Hello.", None)
    assert up.requests[0].headers["authorization"] == "Bearer dummy"


@pytest.mark.acceptance("A03")
@pytest.mark.parametrize("provider", SERVERS)
async def test_each_calls_tools_and_thinks(
    provider: str, line: Trunkline, up: FakeUpstream
) -> None:
    """Calls, thoughts and results make the round, whatever the server calls them."""
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    call = {"id": "c1", "type": "function", "function": function}
    field = "reasoning_content" if provider == "llamacpp" else "reasoning"
    said: dict[str, Any] = {field: "Bern it is."}
    up.script(
        Json(ollama_answer(message=CALLED))
        if provider == "ollama"
        else Json(chat_answer("", tool_calls=[call], finish="stop", **said))
    )
    content, thoughts = await call_llm(provider, "m", [QUESTION], {}, tools=[TOOL])
    assert content == ""
    assert thoughts["reasoning_content"] == "Bern it is."
    [made] = thoughts["tool_calls"]
    assert (made["function"]["name"], json.loads(made["function"]["arguments"])) == (
        "weather",
        {"city": "Bern"},
    )
    answered = {"role": "assistant", "content": None, "tool_calls": [made]}
    result = {"role": "tool", "tool_call_id": made["id"], "content": "Sun."}
    await call_llm(provider, "m", [QUESTION, answered, result], {}, tools=[TOOL])
    assert up.requests[0].json()["tools"][0]["function"]["name"] == "weather"
    _, asked, given = up.requests[1].json()["messages"]
    arguments = asked["tool_calls"][0]["function"]["arguments"]
    assert (arguments if provider == "ollama" else json.loads(arguments)) == {"city": "Bern"}
    assert (given["role"], given["tool_call_id"], given["content"]) == ("tool", made["id"], "Sun.")


@pytest.mark.acceptance("A03")
@pytest.mark.parametrize("provider", SERVERS[1:])
async def test_a_stream_may_lack_what_others_send(
    provider: str, line: Trunkline, up: FakeUpstream
) -> None:
    """No end mark, no usage, thoughts under either name: the answer is whole, usage estimated."""
    chunks = [
        chat_chunk({"role": "assistant", "reasoning": "hm"}),
        chat_chunk({"reasoning_content": "!"}),
        chat_chunk({"content": "Hi"}),
        chat_chunk({}, finish="stop"),
    ]
    up.script(Sse(chunks, done=False))
    heard = [chunk async for chunk in stream_llm(provider, "m", HELLO, {})]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in heard if chunk.choices) == "Hi"
    line.flush()
    [row] = line.store.calls(1)
    assert row.call.prompt_tokens > 0


@pytest.mark.parametrize(
    ("provider", "answer", "kind"),
    [
        ("ollama", Status(404, {"error": "model 'm' not found"}), errors.UpstreamNotFound),
        ("ollama", Sse([b'{"error":"out of memory"}\n'], done=False), errors.UpstreamFailed),
        ("ollama", Status(400, {"error": "input exceeds the context"}), errors.ContextTooLong),
        ("lmstudio", Status(400, {"error": "Model is unloaded."}), errors.UpstreamFailed),
        (
            "vllm",
            Status(
                400,
                {
                    "object": "error",
                    "message": "This model's maximum context length is 9 tokens.",
                    "type": "BadRequestError",
                    "code": 400,
                },
            ),
            errors.ContextTooLong,
        ),
        (
            "llamacpp",
            Status(503, {"error": {"message": "Loading model", "type": "unavailable_error"}}),
            errors.UpstreamOverloaded,
        ),
    ],
)
async def test_failures_are_named(
    provider: str,
    answer: Any,
    kind: type[errors.ProviderError],
    line: Trunkline,
    up: FakeUpstream,
) -> None:
    """Each server has its own words for what may be tried elsewhere."""
    up.script(answer)
    with pytest.raises(kind) as caught:
        await call_llm(provider, "m", HELLO, {})
    assert caught.value.fail_over


# --- Ollama in its own dialect --------------------------------------------------------------------


async def test_ollamas_compatible_api_is_a_choice(up: FakeUpstream, make_line: MakeLine) -> None:
    """`api: chat` on the provider, or on one model of it; addresses with and without a path."""
    models = ["new", {"name": "old", "api": "chat"}]
    make_line(
        providers={
            "ollama": {"base_url": up.url, "models": models},
            "compat": {"type": "ollama", "base_url": f"{up.url}/v1", "api": "chat"},
        }
    )
    for provider, model in (("ollama", "new"), ("ollama", "old"), ("compat", "new")):
        assert (await call_llm(provider, model, HELLO, {}))[0] == "Hello."
    paths = [request.path for request in up.requests]
    assert paths == ["/api/chat", "/v1/chat/completions", "/v1/chat/completions"]


async def test_a_stream_that_stops_is_an_error(line: Trunkline, up: FakeUpstream) -> None:
    """Without its last line nobody knows whether it was done."""
    up.script(Sse(ollama_lines("Once upon a time.")[:-1], done=False))
    with pytest.raises(errors.Truncated):
        [chunk async for chunk in stream_llm("ollama", "m", HELLO, {})]


async def test_usage_that_was_not_told_is_estimated(line: Trunkline, up: FakeUpstream) -> None:
    """It is never 0, and the row says that it is an estimate."""
    up.script(Json(ollama_answer(prompt_eval_count=None)))
    await call_llm("ollama", "m", HELLO, {})
    line.flush()
    [row] = line.store.calls(1)
    assert row.call.prompt_tokens > 0


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway before them."""
    async with running(line) as address:
        yield address


@pytest.mark.acceptance("A03")
async def test_openais_client_talks_to_ollama(url: str, up: FakeUpstream) -> None:
    """Chunks, calls, pictures, a schema and usage; what Ollama alone has may stand beside it."""
    up.script(
        Sse(
            [
                *ollama_lines("Let me see. ", message=CALLED)[:-1],
                json.dumps(ollama_answer(message=CALLED)).encode() + b"\n",
            ],
            done=False,
        )
    )
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    asked: Any = [{"role": "user", "content": [{"type": "text", "text": "Look"}, picture]}]
    schema: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": PARAMETERS}}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as gpt:
        async with gpt.chat.completions.stream(
            model="ollama/qwen3",
            messages=asked,
            tools=[TOOL],
            reasoning_effort="low",
            extra_body={"options": {"num_ctx": 9000}, "keep_alive": "1h"},
            stream_options={"include_usage": True},
        ) as chunks:
            final = await chunks.get_final_completion()
        await gpt.chat.completions.create(
            model="ollama/qwen3", messages=HELLO, response_format=schema
        )
    choice = final.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Bern"}
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (10, 5)
    sent = up.requests[0].json()
    assert sent["messages"] == [{"role": "user", "content": "Look", "images": ["QUJD"]}]
    assert (sent["think"], sent["keep_alive"]) == (True, "1h")
    assert sent["options"] == {"num_ctx": 9000}
    assert up.requests[1].json()["format"] == PARAMETERS


@pytest.mark.acceptance("A03")
async def test_anthropics_client_talks_to_ollama(url: str, up: FakeUpstream) -> None:
    """Thoughts and calls as blocks; a model that cannot think is not told to."""
    up.script(Json(ollama_answer(message=CALLED)))
    asked: Any = {
        "messages": [QUESTION],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "weather", "input_schema": PARAMETERS}],
    }
    async with anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as claude:
        message = await claude.messages.create(model="ollama/llama3.2", max_tokens=2000, **asked)
    assert [block.type for block in message.content] == ["thinking", "tool_use"]
    assert message.stop_reason == "tool_use"
    assert "think" not in up.requests[0].json()


async def test_what_ollama_cannot_take_is_refused_or_goes_elsewhere(
    up: FakeUpstream, make_line: MakeLine
) -> None:
    """A file is for a server that takes files; where there is none, nothing is sent."""
    at = {"base_url": f"{up.url}/v1", "retries": 0, "models": ["m"]}
    deployments = [{"model": "ollama/m"}, {"model": "vllm/m"}]
    make_line(
        default_provider="ollama",
        providers={"ollama": at, "vllm": at},
        groups={"both": {"deployments": deployments}},
    )
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD"}}
    asked: Any = [{"role": "user", "content": [file]}]
    with pytest.raises(errors.CapabilityMissing):
        await call_llm("ollama", "m", asked, {})
    assert up.requests == []
    assert (await complete("both", asked, "t-1")).content == "Hello."
    assert [request.path for request in up.requests] == ["/v1/chat/completions"]


# --- found without a configuration ----------------------------------------------------------------


def answer_ollama(request: Any) -> Any:
    """Be an Ollama with one model."""
    tags = {"models": [{"name": "tiny:1b", "details": {"family": "llama"}}]}
    known = {"/api/version": {"version": "0.40.12"}, "/api/tags": tags}
    if request.path in known:
        return Json(known[request.path])
    if request.path == "/api/chat":
        return Json(ollama_answer("Found."))
    return Status(404, {"error": "not found"})


async def test_with_nothing_configured_a_local_server_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where OLLAMA_HOST says; it is the default, with its models, and that it is used is said."""
    monkeypatch.delenv("TRUNKLINE_DISCOVERY")
    with FakeUpstream.in_thread(answer_ollama) as up:
        monkeypatch.setenv("OLLAMA_HOST", up.url)
        line = Trunkline.from_config()
    try:
        assert line.config.default_provider == "ollama"
        assert line.config.providers["ollama"].models == ("tiny:1b",)
        assert f"ollama is used, which answers at {up.url}/v1" in line.config.warnings[0]
    finally:
        await line.close()


# --- a real one -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlama]:
    """A real llama.cpp server."""
    with serving(tmp_path_factory.mktemp("llama")) as server:
        yield server


@pytest.mark.slow
@pytest.mark.acceptance("T08")
@pytest.mark.parametrize("provider", ["llamacpp", "lmstudio", "vllm", "openai_compatible"])
async def test_a_real_server_of_openais_dialect(
    provider: str, llama: TinyLlama, make_line: MakeLine
) -> None:
    """With a dummy key, under each name that such a server may be configured by."""
    make_line(providers={provider: {"base_url": f"{llama.url}/v1", "api_key": "dummy"}})
    asked: Any = {"temperature": 0, "max_tokens": 12}
    content, _ = await call_llm(provider, MODEL, HELLO, asked)
    chunks = [chunk async for chunk in stream_llm(provider, MODEL, HELLO, asked)]
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(content) == 12
    assert streamed == content


@pytest.mark.slow
def test_a_real_server_is_found(llama: TinyLlama) -> None:
    """llama.cpp says who it is, and which model it has."""
    found = local_servers(Environment({}), [llama.url])
    assert found == [LocalServer("llamacpp", f"{llama.url}/v1", (MODEL,))]
