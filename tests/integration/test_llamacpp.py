"""A real llama.cpp server, asked through every face: the main job on real input."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_llama import CONTEXT_TOKENS, MODEL, TinyLlama, serving
from trunkline import (
    ChatMessage,
    LLMRequest,
    LLMService,
    Trunkline,
    call_llm,
    complete,
    errors,
    stream_llm,
)
from trunkline.llm_service import use

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Hello!"}]
GREEDY = {"temperature": 0, "max_tokens": 12}
MakeLine = Callable[..., Trunkline]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlama]:
    """A server, one for all tests of this process."""
    with serving(tmp_path_factory.mktemp("llama")) as server:
        yield server


@pytest.fixture
async def make_line(llama: TinyLlama) -> AsyncIterator[MakeLine]:
    """Build lines to the server; the last one is the process's default."""
    lines: list[Trunkline] = []

    def make(suffix: str = "/v1", **settings: Any) -> Trunkline:
        provider = {"base_url": llama.url + suffix, "models": [MODEL], "retries": 0}
        settings = {"providers": {"llamacpp": provider}, **settings}
        line = Trunkline.from_config({"llm_service": settings})
        lines.append(line)
        use(line)
        return line

    yield make
    use(None)
    for line in lines:
        await line.close()


async def streamed(messages: list[dict[str, Any]], parameters: dict[str, Any]) -> tuple[str, Any]:
    """Return the text and the last chunk of a streamed answer."""
    chunks = [c async for c in stream_llm("llamacpp", MODEL, messages, parameters)]
    return "".join(c.choices[0].delta.content or "" for c in chunks), chunks[-1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fresh interpreter where every warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "from trunkline.cli import main; main()", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("suffix", ["", "/v1", "/v1/"])
async def test_whole_and_streamed_answers_are_the_same(make_line: MakeLine, suffix: str) -> None:
    """With and without /v1 in its address, the greedy answer is the same however it comes."""
    make_line(suffix)
    content, thoughts = await call_llm("llamacpp", MODEL, HELLO, GREEDY)
    text, last = await streamed(HELLO, GREEDY)
    assert (len(content), thoughts) == (12, None)
    assert text == content
    assert last.usage["completion_tokens"] == 12


async def test_every_method_of_the_service(make_line: MakeLine) -> None:
    """`generate` and `stream_generate` agree to the token; `chat` can be streamed and left."""
    service = LLMService(make_line())
    request = LLMRequest(messages=HELLO, model=MODEL, temperature=0, max_tokens=12)
    whole = await service.generate(request)
    parts = [part async for part in service.stream_generate(request)]
    assert "".join(part.content for part in parts) == whole.content
    assert parts[-1].usage == whole.usage
    assert (whole.provider, whole.model, whole.metadata["cost_nusd"]) == ("llamacpp", MODEL, 0)
    assert whole.usage["total_tokens"] == whole.usage["prompt_tokens"] + 12

    brief = [ChatMessage(role="user", content="Hello!")]
    said = await service.chat(brief, model=MODEL, stream=True)
    async with aclosing(said) as texts:
        assert await anext(texts)
    assert service.get_available_models() == [MODEL]
    assert service.get_provider_status() == {"llamacpp": True}


@pytest.mark.acceptance("T14")
async def test_chat_and_complete_to_the_end_of_the_context(
    make_line: MakeLine, llama: TinyLlama
) -> None:
    """Without a cap the model writes until its context is full, and every token is counted."""
    service = LLMService(make_line())
    prompt = [ChatMessage(role="user", content="x" * (CONTEXT_TOKENS - 300))]
    before = llama.counts()
    reply = await service.chat(prompt, model=MODEL)
    after = llama.counts()
    counted = {"prompt_tokens": after[0] - before[0], "completion_tokens": after[1] - before[1]}
    assert reply.usage == {**counted, "total_tokens": sum(counted.values())}
    assert reply.usage["total_tokens"] == CONTEXT_TOKENS
    assert len(reply.reply) == reply.usage["completion_tokens"]

    response = await complete(MODEL, [{"role": "user", "content": prompt[0].content}], "acme")
    assert response.usage == reply.usage
    assert response.tool_calls == []


@pytest.mark.acceptance("A19")
@pytest.mark.parametrize("flags", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_the_command_line(llama: TinyLlama, flags: list[str]) -> None:
    """`trunkline call` prints the answer; `usage` has the server's own counts, at a cost of 0."""
    Path("trunkline.yaml").write_text(
        f"llm_service: {{providers: {{llamacpp: {{base_url: '{llama.url}'}}}}}}"
    )
    before = llama.counts()
    asked = ["-m", MODEL, "-p", "temperature=0", "-p", "max_tokens=12", *flags]
    plain = run("call", "Hello", "there!", *asked, "-v")
    told = run("call", "Hello", "there!", *asked, "--json")
    after = llama.counts()
    assert (plain.returncode, told.returncode) == (0, 0), plain.stderr + told.stderr
    answer = json.loads(told.stdout)
    assert plain.stdout == answer["content"] + "\n"
    assert f"llamacpp/{MODEL}" in plain.stderr
    assert "0.00 USD" in plain.stderr
    assert (answer["finish_reason"], answer["cost_nusd"]) == ("length", 0)

    [row] = json.loads(run("usage", "--by", "provider", "--json").stdout)
    assert row == {
        "provider": "llamacpp",
        "requests": 2,
        "prompt_tokens": after[0] - before[0],
        "completion_tokens": after[1] - before[1],
        "total_tokens": sum(after) - sum(before),
        "cached_tokens": row["cached_tokens"],
        "reasoning_tokens": 0,
        "cost_nusd": 0,
        "cost_usd": "0.00",
        "unknown_price_requests": 0,
    }


async def test_what_it_costs_is_known_exactly(make_line: MakeLine) -> None:
    """A local server's price is 0, not unknown; the row has the server's finish and id."""
    line = make_line()
    await call_llm("llamacpp", MODEL, HELLO, GREEDY)
    await streamed(HELLO, GREEDY)
    line.flush()
    for row in line.store.calls(10):
        assert (row.call.cost_nusd, row.call.cost_state) == (0, "exact")
        assert (row.call.outcome, row.call.finish) == ("complete", "length")
        [attempt] = row.attempts
        assert attempt.upstream_id
        assert attempt.upstream_id.startswith("chatcmpl-")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_ends_an_answer(make_line: MakeLine, stream: bool) -> None:
    """`max_tokens` gives "length", a stop word "stop"."""
    line = make_line()

    async def ask(parameters: dict[str, Any]) -> str:
        if stream:
            return (await streamed(HELLO, parameters))[0]
        return (await call_llm("llamacpp", MODEL, HELLO, parameters))[0]

    text = await ask(GREEDY)
    cut = await ask({**GREEDY, "stop": [text[4:8]]})
    assert cut == text[: text.index(text[4:8])]
    line.flush()
    assert [row.call.finish for row in line.store.calls(10)] == ["stop", "length"]


@pytest.mark.parametrize("stream", [False, True])
async def test_structured_output(make_line: MakeLine, stream: bool) -> None:
    """Even random weights obey a JSON Schema, because the server's grammar makes them."""
    make_line()
    shape = {
        "type": "object",
        "properties": {"good": {"type": "boolean"}, "colour": {"enum": ["red", "green"]}},
        "required": ["good", "colour"],
        "additionalProperties": False,
    }
    schema = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": shape}}
    parameters = {"response_format": schema, "max_tokens": 400}
    if stream:
        text, last = await streamed(HELLO, parameters)
        assert last.choices[0].finish_reason in {None, "stop"}
    else:
        text, _ = await call_llm("llamacpp", MODEL, HELLO, parameters)
    verdict = json.loads(text)
    assert isinstance(verdict["good"], bool)
    assert verdict["colour"] in {"red", "green"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_longer_than_the_context(make_line: MakeLine, stream: bool) -> None:
    """It is `ContextTooLong`, for nothing; the next call succeeds."""
    line = make_line()
    long = [{"role": "user", "content": "x" * (CONTEXT_TOKENS + 100)}]
    with pytest.raises(errors.ContextTooLong, match="context"):
        await (streamed(long, {}) if stream else call_llm("llamacpp", MODEL, long, {}))
    await call_llm("llamacpp", MODEL, HELLO, GREEDY)
    line.flush()
    good, bad = line.store.calls(10)
    assert (good.call.outcome, bad.call.outcome) == ("complete", "failed")
    assert (bad.call.error_code, bad.call.cost_nusd) == ("context_length_exceeded", 0)
    assert bad.call.prompt_tokens == 0


async def test_a_reader_who_leaves_early_frees_the_server(
    make_line: MakeLine, llama: TinyLlama
) -> None:
    """The server stops writing at once; what was received is recorded, as an estimate."""
    line = make_line()
    before = llama.counts()
    chunks = stream_llm("llamacpp", MODEL, HELLO, {})
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk.choices[0].delta.content:
                break
        assert llama.busy_slots() == 1
    await asyncio.to_thread(llama.wait_until, "idle", within_s=5.0)
    assert llama.counts()[1] - before[1] < CONTEXT_TOKENS / 2
    line.flush()
    [row] = line.store.calls(10)
    assert (row.call.outcome, row.call.cost_nusd, row.call.cost_state) == (
        "abandoned",
        0,
        "estimated",
    )
    assert row.call.completion_tokens >= 1


async def test_twenty_calls_at_once(make_line: MakeLine, llama: TinyLlama) -> None:
    """More calls than the server has slots, whole and streamed: each gets its own answer."""
    line = make_line()
    before = llama.counts()

    async def one(number: int) -> int:
        said = [{"role": "user", "content": f"Call number {number}"}]
        parameters = {"max_tokens": 20 + number}
        if number % 2:
            return len((await streamed(said, parameters))[0])
        return len((await call_llm("llamacpp", MODEL, said, parameters))[0])

    assert await asyncio.gather(*map(one, range(20))) == [20 + number for number in range(20)]
    after = llama.counts()
    line.flush()
    [row] = line.store.usage("provider")
    assert (row.requests, row.cost_nusd) == (20, 0)
    assert (row.prompt_tokens, row.completion_tokens) == (
        after[0] - before[0],
        after[1] - before[1],
    )


@pytest.mark.acceptance("T07")
def test_as_any_openai_compatible_server(llama: TinyLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen by the environment with a dummy key; what it costs is unknown, and shown so."""
    monkeypatch.setenv("LLM_PROVIDER", "openai_compatible")
    monkeypatch.setenv("LLM_BASE_URL", f"{llama.url}/v1")
    monkeypatch.setenv("LLM_DEFAULT_MODEL", MODEL)
    monkeypatch.setenv("OPENAI_API_KEY", "dummy")

    async def ask() -> str:
        async with Trunkline.from_config() as line:
            use(line)
            content, _ = await call_llm("openai_compatible", MODEL, HELLO, GREEDY)
        use(None)
        return content

    assert len(asyncio.run(ask())) == 12
    told = run("call", "Hello!", "-p", "max_tokens=5", "-v")
    assert (told.returncode, len(told.stdout)) == (0, 6), told.stderr
    assert "unknown" in told.stderr
    assert "dummy" not in told.stderr
    [row] = json.loads(run("usage", "--by", "provider", "--json").stdout)
    assert (row["provider"], row["requests"], row["unknown_price_requests"]) == (
        "openai_compatible",
        2,
        2,
    )
    assert "unknown_price_requests" in run("usage").stdout
