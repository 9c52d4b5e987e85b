"""Text completions through the gateway, as unmodified OpenAI clients see them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai.types import Completion

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from tests.tiny_llama import MODEL as TINY
from tests.tiny_llama import TinyLlama, serving
from trunkline import Trunkline
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    chat_usage,
    message_answer,
    message_events,
    text_answer,
    text_chunks,
)

INSTRUCT = "gpt-3.5-turbo-instruct"
CI_KEY = "sk-ci-0123456789abcdef"
KINDS = ["whole", "stream"]


def priced(name: str) -> dict[str, Any]:
    """Return a model that costs 1 and 2 USD per million tokens."""
    return {"name": name, "price": {"input": 1.0, "output": 2.0}}


@pytest.fixture
def gateway_line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose providers all are the scripted one, and a key with a strict budget."""
    budget = {"amount": "0.0004", "period": "day", "mode": "strict"}
    claude = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    return make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(up, models=[priced(INSTRUCT), priced("gpt-4o")]),
            "anthropic": claude | {"models": ["claude-x"]},
            "vllm": openai_at(up, models=["base"]),
            "mistral": openai_at(up, models=["mistral-x"]),
            "demo": {},
        },
        groups={"mixed": {"deployments": [f"openai/{INSTRUCT}", "anthropic/claude-x"]}},
        keys=[{"name": "ci", "key": CI_KEY, "models": [INSTRUCT], "budget": budget}],
    )


@pytest.fixture
async def url(gateway_line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(gateway_line) as address:
        yield f"{address}/v1"


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, retries off so that every answer is seen."""
    async with openai.AsyncOpenAI(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


async def streamed(client: openai.AsyncOpenAI, **asked: Any) -> tuple[str, list[Completion]]:
    """Return the text and the chunks of a stream."""
    chunks = [chunk async for chunk in await client.completions.create(stream=True, **asked)]
    return "".join(c.choices[0].text for c in chunks if c.choices), chunks


# --- where the provider has the endpoint ----------------------------------------------------


async def test_a_whole_answer(client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """The body is the provider's own, the headers say what it took."""
    sent = text_answer("Hi there.", usage=chat_usage(10, 5), unheard_of={"kept": True})
    up.script(Json(sent, headers={"x-request-id": "req-7"}))
    raw = await client.completions.with_raw_response.create(model=INSTRUCT, prompt="Hello!")
    assert json.loads(raw.text) == sent
    assert raw.headers["x-trunkline-deployment"] == f"openai/{INSTRUCT}"
    assert raw.headers["x-trunkline-cost-usd"] == "0.00002"
    assert raw.headers["x-request-id"] == "req-7"
    assert raw.parse().choices[0].text == "Hi there."
    assert up.requests[0].path == "/v1/completions"


async def test_everything_goes_up_as_it_came(client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """Token prompts and all that only text completions have; unknown fields, too."""
    asked: dict[str, Any] = {"prompt": [[1, 2], [3]], "suffix": "end", "echo": True, "best_of": 3}
    asked |= {"logprobs": 2, "n": 2, "max_tokens": 0, "stop": ["X"], "seed": 7, "user": "u"}
    extra = {"brand_new": [1, {"a": None}]}
    await client.completions.create(model="vllm/base", extra_body=extra, **asked)
    assert up.requests[0].json() == {"model": "base", **asked, **extra}


@pytest.mark.parametrize("asked", [False, True], ids=["no usage", "usage asked"])
async def test_a_stream(client: openai.AsyncOpenAI, up: FakeUpstream, asked: bool) -> None:
    """Chunk by chunk; usage comes only to who asked for it, and then with the cost."""
    up.script(Sse(text_chunks("Once upon a time.", usage=chat_usage(3, 5))))
    options: Any = {"stream_options": {"include_usage": True}} if asked else {}
    text, chunks = await streamed(client, model=INSTRUCT, prompt="Tell", **options)
    assert text == "Once upon a time."
    told = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.total_tokens for usage in told] == ([8] if asked else [])
    if asked:
        extra: Any = told[0].model_extra
        assert extra["trunkline"] == {"cost_nusd": 13_000, "cost_state": "exact"}
    assert up.requests[0].json()["stream_options"] == {"include_usage": True}


async def test_the_synchronous_client(url: str) -> None:
    """Whole and streamed."""

    def ask() -> tuple[str, str]:
        with openai.OpenAI(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made:
            whole = made.completions.create(model=INSTRUCT, prompt="Hello!")
            stream = made.completions.create(model=INSTRUCT, prompt="Hello!", stream=True)
            return whole.choices[0].text, "".join(chunk.choices[0].text for chunk in stream)

    assert await asyncio.to_thread(ask) == ("Hello.", "Hello.")


# --- where it speaks chat only --------------------------------------------------------------

TOLD = "One two."
CHATS: dict[str, tuple[Any, Any]] = {
    "openai/gpt-4o": (
        Json(chat_answer(TOLD, finish="length")),
        Sse(chat_chunks(TOLD, finish="length", usage=chat_usage(10, 5))),
    ),
    "mistral/mistral-x": (
        Json(chat_answer(TOLD, finish="model_length")),
        Sse(chat_chunks(TOLD, finish="model_length", usage=chat_usage(10, 5))),
    ),
    "anthropic/claude-x": (
        Json(message_answer(TOLD, stop_reason="max_tokens")),
        Sse([e.replace(b"end_turn", b"max_tokens") for e in message_events(TOLD)], done=False),
    ),
}


@pytest.mark.parametrize("model", list(CHATS))
async def test_a_chat_answers_whole(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """The body is what the SDK's own type takes strictly."""
    up.script(CHATS[model][0])
    raw = await client.completions.with_raw_response.create(
        model=model, prompt="Hello!", max_tokens=20, temperature=0.5, stop="X"
    )
    told = Completion.model_validate_json(raw.text, strict=True)
    assert (told.choices[0].text, told.choices[0].finish_reason) == (TOLD, "length")
    assert told.usage
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (10, 5)
    sent = up.requests[0].json()
    assert [message["role"] for message in sent["messages"]] == ["user"]
    assert (sent["max_tokens"], sent["temperature"]) == (20, 0.5)
    assert "prompt" not in sent


@pytest.mark.parametrize("model", list(CHATS))
async def test_a_chat_answers_in_a_stream(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """Word by word, then why it ended, then what it took."""
    up.script(CHATS[model][1])
    options = {"include_usage": True}
    text, chunks = await streamed(client, model=model, prompt="Hello!", stream_options=options)
    assert text == TOLD
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({chunk.id for chunk in chunks}) == 1
    reasons = [str(c.choices[0].finish_reason) for c in chunks if c.choices]
    assert reasons == ["None"] * (len(reasons) - 1) + ["length"]
    assert len(reasons) >= 3
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 15


@pytest.mark.parametrize("stream", [False, True], ids=KINDS)
async def test_the_demo_provider(client: openai.AsyncOpenAI, stream: bool) -> None:
    """It answers text completions as it does everything else, several at a time, too."""
    asked: dict[str, Any] = {"model": "demo/demo", "prompt": "/demo echo Hi there", "n": 2}
    if stream:
        chunks = (await streamed(client, **asked))[1]
        texts = [[c.choices[0].text for c in chunks if c.choices[0].index == n] for n in (0, 1)]
        assert texts == [["Hi", " there", ""]] * 2
    else:
        told = await client.completions.create(**asked)
        assert [choice.text for choice in told.choices] == ["Hi there"] * 2


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-x", "demo/demo"])
async def test_what_a_chat_cannot_say(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """It is refused by name, and nothing is sent or charged."""
    with pytest.raises(openai.BadRequestError, match="chat only") as caught:
        await client.completions.create(model=model, prompt="Hello!", suffix="end")
    assert caught.value.param == "suffix"
    assert up.requests == []


async def test_failover_from_a_text_model_to_a_chat(
    client: openai.AsyncOpenAI, up: FakeUpstream
) -> None:
    """Each is asked in its own way, the caller sees one."""
    up.script(Status(503), Json(message_answer(TOLD)))
    told = await client.completions.create(model="mixed", prompt="Hello!")
    assert told.choices[0].text == TOLD
    assert [request.path for request in up.requests] == ["/v1/completions", "/v1/messages"]


# --- money, errors, leaving -----------------------------------------------------------------


async def test_a_strict_budget_counts_every_answer(url: str, up: FakeUpstream) -> None:
    """What is held is prompts x n x max_tokens; without a cap nothing can be proven."""
    asked: dict[str, Any] = {"model": INSTRUCT, "prompt": ["a", "b"], "max_tokens": 10}
    async with openai.AsyncOpenAI(base_url=url, api_key=CI_KEY, max_retries=0) as ci:
        for more in ({"n": 10}, {"best_of": 10}, {"max_tokens": openai.omit}):
            with pytest.raises(openai.APIStatusError) as caught:
                await ci.completions.create(**{**asked, **more})
            assert (caught.value.status_code, up.requests) == (402, [])
        await ci.completions.create(**asked, n=5)
        with pytest.raises(openai.PermissionDeniedError):
            await ci.completions.create(model="gpt-4o", prompt="Hello!")
    assert len(up.requests) == 1


async def test_the_call_is_recorded(
    client: openai.AsyncOpenAI, gateway_line: Trunkline, up: FakeUpstream
) -> None:
    """As any other: usage, exact cost, why it ended, the provider's own id."""
    up.script(Json(text_answer(usage=chat_usage(10, 5), finish_reason="length")))
    await client.completions.create(model=INSTRUCT, prompt=["a", "b"])
    gateway_line.flush()
    [row] = gateway_line.store.calls(5)
    assert (row.call.cost_nusd, row.call.cost_state, row.call.finish) == (20_000, "exact", "length")
    [attempt] = row.attempts
    assert (attempt.usage.completion_tokens, attempt.upstream_id) == (5, "cmpl-fake")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Status(400, {"error": {"message": "bad"}}), openai.BadRequestError),
        (Status(429, {"error": {"message": "slow"}}), openai.RateLimitError),
        (Status(404, {"error": {"message": "no such path"}}), openai.NotFoundError),
        (Status(500, {"error": {"message": "boom"}}), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=KINDS)
async def test_errors(
    client: openai.AsyncOpenAI,
    up: FakeUpstream,
    answer: Status,
    kind: type[openai.APIStatusError],
    stream: bool,
) -> None:
    """Each failure arrives as the SDK's own class, with all four keys."""
    up.script(answer)
    with pytest.raises(kind) as caught:
        await client.completions.create(model=INSTRUCT, prompt="Hello!", stream=stream)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body.keys() == {"message", "type", "code", "param"}


async def test_a_stream_that_breaks_off_is_no_success(
    client: openai.AsyncOpenAI, up: FakeUpstream
) -> None:
    """The client raises after what came."""
    up.script(Sse(text_chunks("One two three.")).cut_after(400))
    with pytest.raises(openai.APIError):
        await streamed(client, model=INSTRUCT, prompt="Hello!")


async def test_a_caller_who_leaves(
    client: openai.AsyncOpenAI, up: FakeUpstream, gateway_line: Trunkline
) -> None:
    """The upstream is closed within a second; what came is estimated."""
    up.script(Sse(text_chunks("one two three four five six seven eight"), delay_s=0.05))
    stream = await client.completions.create(model=INSTRUCT, prompt="Count", stream=True)
    await anext(aiter(stream))
    await stream.close()
    await up.wait_idle(timeout_s=1.0)
    gateway_line.flush()
    [row] = gateway_line.store.calls(5)
    assert (row.call.outcome, row.call.cost_state) == ("abandoned", "estimated")


async def test_wrong_method_and_path_without_v1(url: str, up: FakeUpstream) -> None:
    """The endpoint is there without /v1, too, and takes POST only."""
    base_url = url.removesuffix("/v1")
    async with openai.AsyncOpenAI(base_url=base_url, api_key=ADMIN_KEY, max_retries=0) as made:
        told = await made.completions.create(model=INSTRUCT, prompt="Hello!")
        assert told.choices[0].text == "Hello."
        with pytest.raises(openai.APIStatusError) as caught:
            await made.get("/completions", cast_to=object)
    assert caught.value.status_code == 405


# --- a real llama.cpp server ----------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlama]:
    """A server, one for all tests here."""
    with serving(tmp_path_factory.mktemp("llama")) as server:
        yield server


@pytest.fixture
async def tiny(llama: TinyLlama, make_line: MakeLine) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client in front of it."""
    row = {"base_url": f"{llama.url}/v1", "models": [TINY], "retries": 0}
    line = make_line(default_provider="llamacpp", providers={"llamacpp": row})
    async with (
        running(line) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=ADMIN_KEY, max_retries=0) as made,
    ):
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["Hello", [1, 300, 301], ["Hello", "Hallo"], [[1, 300], [301]]])
async def test_llamacpp_answers_every_kind_of_prompt(tiny: openai.AsyncOpenAI, prompt: Any) -> None:
    """Whole and streamed alike, log probabilities and usage included."""
    asked: dict[str, Any] = {"model": TINY, "prompt": prompt, "max_tokens": 6, "temperature": 0}
    told = await tiny.completions.create(**asked, logprobs=1)
    assert {len(choice.text) for choice in told.choices} == {6}
    assert all(choice.logprobs for choice in told.choices)
    assert len(told.choices) == (1 if isinstance(prompt, str) or prompt[1:] == [300, 301] else 2)
    _, chunks = await streamed(tiny, **asked, stream_options={"include_usage": True})
    texts = ["" for _ in told.choices]
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in told.choices]
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 6
