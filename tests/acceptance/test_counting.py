"""Token counts through the gateway, as Anthropic's SDK asks for them, and by the library."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline import LLMService, Trunkline, count_tokens
from trunkline.testing import FakeUpstream, Json, Status

CI_KEY = "sk-ci-0123456789abcdef"
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
TOOL: Any = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
COUNTING: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic/claude-x": ("/v1/messages/count_tokens", {"input_tokens": 9}),
    "gemini/gemini-x": ("/v1/models/gemini-x:countTokens", {"totalTokens": 9}),
    "vllm/x": ("/tokenize", {"count": 9, "max_model_len": 4096, "tokens": [1]}),
    "llamacpp/x": ("/v1/messages/count_tokens", {"input_tokens": 9}),
    "openai/gpt-x": ("/v1/responses/input_tokens", {"input_tokens": 9}),
    "bedrock/us.amazon.x": ("/v1/model/amazon.x/count-tokens", {"inputTokens": 9}),
}
EACH = pytest.mark.parametrize("model", list(COUNTING))


@pytest.fixture
def gateway_line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose providers all are the scripted one, and a key without a cent."""
    one = openai_at(up)
    names = ("anthropic", "gemini", "vllm", "llamacpp", "openai", "mistral", "bedrock")
    return make_line(
        default_provider="openai",
        fallback_chain=["anthropic", "openai"],
        providers={"demo": {}} | dict.fromkeys(names, one),
        keys=[
            {
                "name": "ci",
                "key": CI_KEY,
                "models": ["anthropic/claude-x"],
                "budget": {"amount": 0, "period": "day"},
            }
        ],
    )


@pytest.fixture
async def url(gateway_line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(gateway_line) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The official client, retries off so that every answer is seen."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


@EACH
async def test_a_provider_that_counts_is_asked(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, model: str
) -> None:
    """Its number is the answer, and nothing calls it an estimate."""
    path, answer = COUNTING[model]
    up.script(Json(answer))
    told = await client.messages.count_tokens(
        model=model, messages=HELLO, system="Be brief.", tools=[TOOL]
    )
    assert told.input_tokens == 9
    assert not (told.model_extra or {}).get("trunkline")
    assert up.requests[0].path == path


async def test_what_providers_are_sent(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """What shapes the prompt, and nothing of how an answer is to come."""
    for model, (_, answer) in COUNTING.items():
        up.script(Json(answer))
        await client.messages.count_tokens(
            model=model, messages=HELLO, tools=[TOOL], extra_body={"brand_new": 1}
        )
    claude, gemini, vllm, llamacpp, openai, bedrock = (one.json() for one in up.requests)
    relayed = {"messages": HELLO, "tools": [TOOL], "brand_new": 1}
    assert claude == {"model": "claude-x", **relayed}
    assert llamacpp == {"model": "x", **relayed}
    assert gemini["generateContentRequest"]["model"] == "models/gemini-x"
    assert gemini["generateContentRequest"]["contents"][0]["parts"] == [{"text": "Hello!"}]
    assert vllm.keys() == {"model", "messages", "tools"}
    assert openai.keys() == {"model", "input", "tools"}
    assert bedrock["input"]["converse"].keys() == {"messages", "toolConfig"}


async def test_an_estimate_says_so(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """Where the provider does not count, its server is older than that, or the model cannot."""
    up.script(Status(404, b'{"error":{"message":"no such path"}}'))
    unable = b'{"message":"The provided model doesn\'t support counting tokens."}'
    up.script(Status(400, unable, {"x-amzn-errortype": "ValidationException"}))
    for model in ("mistral/x", "vllm/x", "bedrock/us.amazon.x"):
        told = await client.messages.count_tokens(model=model, messages=HELLO)
        assert 5 <= told.input_tokens <= 15
        assert told.model_extra == {"trunkline": {"estimated": True}}
    assert len(up.requests) == 2


async def test_a_count_is_free_and_leaves_no_row(
    url: str, up: FakeUpstream, gateway_line: Trunkline
) -> None:
    """A key whose budget is nothing may count; what it may not ask for it may not count either."""
    up.script(Json({"input_tokens": 9}))
    async with anthropic.AsyncAnthropic(base_url=url, api_key=CI_KEY, max_retries=0) as client:
        told = await client.messages.count_tokens(model="anthropic/claude-x", messages=HELLO)
        assert told.input_tokens == 9
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.count_tokens(model="vllm/x", messages=HELLO)
    assert caught.value.status_code in {403, 404}
    gateway_line.flush()
    assert not gateway_line.store.calls()


async def test_a_failure_is_that_of_the_model(
    client: anthropic.AsyncAnthropic, up: FakeUpstream
) -> None:
    """A count does not fail over: another model's number would be another number."""
    up.script(Status(529, b'{"type":"error","error":{"type":"overloaded_error","message":"o"}}'))
    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.count_tokens(model="anthropic/claude-x", messages=HELLO)
    assert caught.value.status_code == 529
    assert len(up.requests) == 1
    up.script(Json({"input_tokens": "many"}))
    with pytest.raises(anthropic.APIStatusError):
        await client.messages.count_tokens(model="anthropic/claude-x", messages=HELLO)


async def test_what_is_wrong_is_named(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """In Anthropic's shape."""
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.messages.count_tokens(model="demo", messages=[])
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert "'messages' is empty" in body["error"]["message"]


async def test_the_library_counts(up: FakeUpstream, gateway_line: Trunkline) -> None:
    """`count_tokens` and the service's method say whether it is an estimate."""
    up.script(Json({"input_tokens": 9}))
    told = await count_tokens(HELLO, "anthropic/claude-x")
    assert (told.tokens, told.estimated) == (9, False)
    service = LLMService(gateway_line)
    assert (await service.count_tokens(HELLO, "demo/demo")).estimated is False
    function = {"type": "function", "function": {"name": "f", "parameters": {}}}
    without = await service.count_tokens(HELLO, "mistral/x")
    told = await service.count_tokens(HELLO, "mistral/x", tools=[function])
    assert told.estimated
    assert told.tokens > without.tokens
