"""Both official SDKs, through the gateway, before a real llama.cpp server in both its dialects."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import aiohttp
import anthropic
import openai
import pytest
from pydantic import BaseModel

from tests.acceptance.conftest import MakeLine
from tests.gateways import ADMIN_KEY, running
from tests.strictly import CHAT, MESSAGES, heard
from tests.tiny_llama import CONTEXT_TOKENS, MODEL, TinyLlama, serving

pytestmark = pytest.mark.slow

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
OPENAI, ANTHROPIC = f"llamacpp/{MODEL}", f"native/{MODEL}"
"""The server by its OpenAI endpoint, and by its Anthropic endpoint."""
EACH = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])


class Verdict(BaseModel):
    """What the model is made to say."""

    good: bool
    colour: Literal["red", "green"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyLlama]:
    """A server."""
    with serving(tmp_path_factory.mktemp("llama")) as server:
        yield server


@pytest.fixture
async def url(llama: TinyLlama, make_line: MakeLine) -> AsyncIterator[str]:
    """A running gateway that knows the server by both its dialects."""
    at = {"base_url": f"{llama.url}/v1", "models": [MODEL], "retries": 0}
    native = {**at, "type": "anthropic", "api_key": "dummy-0123456789"}
    async with running(make_line(providers={"llamacpp": at, "native": native})) as address:
        yield address


@pytest.fixture
async def gpt(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


@pytest.fixture
async def claude(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's client."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


@EACH
async def test_every_way_to_ask_gives_one_answer(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, model: str
) -> None:
    """Whole, streamed, through either SDK and either dialect: the greedy words are the same."""
    asked: Any = {"model": model, "messages": HELLO, "max_tokens": 12}
    greedy: Any = {**asked, "extra_body": {"temperature": 0}}
    options: Any = {"stream_options": {"include_usage": True}}
    whole = await gpt.chat.completions.create(**greedy)
    stream = await gpt.chat.completions.create(**greedy, **options, stream=True)
    chunks = [chunk async for chunk in stream]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    message: Any = await claude.messages.create(**greedy)
    async with claude.messages.stream(**greedy) as events:
        final: Any = await events.get_final_message()
    [words] = {
        whole.choices[0].message.content,
        "".join(choice.delta.content or "" for choice in choices),
        message.content[0].text,
        final.content[0].text,
    }
    assert len(str(words)) == 12
    assert whole.choices[0].finish_reason == choices[-1].finish_reason == "length"
    assert message.stop_reason == final.stop_reason == "max_tokens"
    [usage] = [chunk.usage for chunk in chunks if chunk.usage]
    assert usage.completion_tokens == final.usage.output_tokens == 12
    assert usage.prompt_tokens > 0


@pytest.mark.parametrize(("path", "model"), [(MESSAGES, OPENAI), (CHAT, ANTHROPIC)])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_translated_answers_are_strict(url: str, path: str, model: str, stream: bool) -> None:
    """What a real server says in one dialect is said in the other, to the letter of its types."""
    asked = {"model": model, "messages": HELLO, "max_tokens": 12, "stream": stream}
    headers = {"x-api-key": ADMIN_KEY}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, json=asked, headers=headers) as answer,
    ):
        said = heard(path, await answer.read(), stream=stream)
    assert (len(said.text), said.finish) == (12, "length")


async def test_structured_output(gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic) -> None:
    """Even random weights obey the caller's type, whichever SDK sent it."""
    asked: Any = {"model": OPENAI, "messages": HELLO, "max_tokens": 400}
    parsed = await gpt.chat.completions.parse(**asked, response_format=Verdict)
    assert isinstance(parsed.choices[0].message.parsed, Verdict)
    async with gpt.chat.completions.stream(**asked, response_format=Verdict) as chunks:
        final = await chunks.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Verdict)
    message = await claude.messages.parse(**asked, output_format=Verdict)
    assert isinstance(message.parsed_output, Verdict)


@EACH
async def test_who_leaves_frees_the_server(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, llama: TinyLlama, model: str
) -> None:
    """A closed stream of either SDK ends the work at once."""
    asked: Any = {"model": model, "messages": HELLO, "max_tokens": CONTEXT_TOKENS}
    chunks = await gpt.chat.completions.create(**asked, stream=True)
    await anext(aiter(chunks))
    await chunks.close()
    await asyncio.to_thread(llama.wait_until, "idle", within_s=5.0)
    async with claude.messages.stream(**asked) as events:
        await anext(aiter(events.text_stream))
    await asyncio.to_thread(llama.wait_until, "idle", within_s=5.0)


@EACH
async def test_a_prompt_longer_than_the_context(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, model: str
) -> None:
    """Each SDK raises its own class for a request that is wrong."""
    long: Any = [{"role": "user", "content": "x" * (CONTEXT_TOKENS + 100)}]
    with pytest.raises(openai.BadRequestError) as refused:
        await gpt.chat.completions.create(model=model, messages=long, max_tokens=9)
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(anthropic.BadRequestError) as wrong:
        await claude.messages.create(model=model, messages=long, max_tokens=9)
    assert (wrong.value.type, "context" in str(wrong.value)) == ("invalid_request_error", True)
    assert json.loads(wrong.value.response.text)["error"]["code"] == "context_length_exceeded"
