"""An answer that breaks off goes on at the next deployment, over real sockets, for both SDKs."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from tests.acceptance.conftest import MakeLine
from tests.gateways import ADMIN_KEY, running
from tests.strictly import CHAT, MESSAGES, heard
from trunkline import Trunkline
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Sse,
    chat_chunk,
    chat_chunks,
    chat_usage,
    message_events,
)

HELLO: list[Any] = [{"role": "user", "content": "Tell me a story."}]
STORY = "Once upon a time there was a fox. It slept."
BEGIN, REST = "Once upon a time the", "re was a fox. It slept."


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """Groups of every pair of dialects; each provider has a path of its own."""

    def at(name: str, kind: str, *models: str) -> dict[str, Any]:
        url = f"{up.url}/{name}/v1"
        return {"type": kind, "api_key": "k" * 16, "base_url": url, "retries": 0, "models": models}

    def group(*models: str, **more: Any) -> dict[str, Any]:
        return {
            "deployments": [{"model": model} for model in models],
            "midstream": "continue",
        } | more

    return make_line(
        default_provider="first",
        providers={
            "first": at("first", "openai", "gpt"),
            "second": at("second", "mistral", "mistral-small"),
            "claude": at("claude", "anthropic", "claude-sonnet-4-5", "claude-sonnet-4-6"),
            "claude2": at("claude2", "anthropic", "claude-haiku-4-5"),
        },
        groups={
            "chat": group("first/gpt", "second/mistral-small"),
            "messages": group("claude/claude-sonnet-4-5", "claude2/claude-haiku-4-5"),
            "mixed": group("claude/claude-sonnet-4-5", "second/mistral-small"),
            "mixed2": group("first/gpt", "claude2/claude-haiku-4-5"),
            "no-prefix": group("first/gpt", "claude/claude-sonnet-4-6", "first/gpt-b"),
            "error": group("first/gpt", "second/mistral-small", midstream="error"),
        },
    )


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(line) as address:
        yield address


def broken(name: str) -> Answer:
    """Return a stream of a provider that is cut in the middle of its words."""
    if name.startswith("claude"):
        events = message_events(BEGIN)
        return Sse(events[: 3 + len(BEGIN.split())], done=False)
    return Sse(chat_chunks(BEGIN, finish=None), done=False)


def rest(name: str, text: str = REST) -> Answer:
    """Return the stream of a provider that goes on."""
    if name.startswith("claude"):
        return Sse(message_events(text), done=False)
    return Sse(chat_chunks(text, usage=chat_usage(12, 7)))


def play(up: FakeUpstream, first: str, then: str, text: str = REST) -> None:
    """Have one provider break off and another go on."""
    up.script(broken(first), rest(then, text))


async def with_openai(url: str, model: str, **more: Any) -> Any:
    """Stream with the helper of OpenAI's SDK; return the completion it put together."""
    client = openai.AsyncOpenAI(api_key=ADMIN_KEY, base_url=f"{url}/v1", max_retries=0)
    options: Any = {"include_usage": True}
    ids = set()
    async with (
        client,
        client.chat.completions.stream(
            model=model, messages=HELLO, stream_options=options, **more
        ) as stream,
    ):
        async for event in stream:
            if event.type == "chunk":
                ids.add((event.chunk.id, event.chunk.model, event.chunk.created))
        assert len(ids) == 1
        return await stream.get_final_completion()


async def with_anthropic(url: str, model: str) -> Any:
    """Stream with the helper of Anthropic's SDK; return the message it put together."""
    client = anthropic.AsyncAnthropic(api_key=ADMIN_KEY, base_url=url, max_retries=0)
    async with (
        client,
        client.messages.stream(model=model, messages=HELLO, max_tokens=100) as stream,
    ):
        return await stream.get_final_message()


PAIRS = [
    ("chat", "first", "second"),
    ("messages", "claude", "claude2"),
    ("mixed", "claude", "second"),
    ("mixed2", "first", "claude2"),
]
EACH = pytest.mark.parametrize(("group", "first", "then"), PAIRS, ids=[pair[0] for pair in PAIRS])


@EACH
async def test_one_stream_for_openais_sdk(
    up: FakeUpstream, url: str, group: str, first: str, then: str
) -> None:
    """Whatever the two dialects: one id, one role, no word lost or doubled, the usage of both."""
    play(up, first, then)
    done = await with_openai(url, group)
    assert done.choices[0].message.content == STORY
    assert done.choices[0].finish_reason == "stop"
    assert [request.path.split("/")[1] for request in up.requests] == [first, then]
    assert done.usage.completion_tokens > (7 if then == "second" else 5)


@EACH
async def test_one_stream_for_anthropics_sdk(
    up: FakeUpstream, url: str, group: str, first: str, then: str
) -> None:
    """One message with one block of text."""
    play(up, first, then)
    message = await with_anthropic(url, group)
    assert [block.text for block in message.content] == [STORY]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > (7 if then == "second" else 5)


async def test_the_beginning_is_handed_on(up: FakeUpstream, url: str) -> None:
    """As each provider wants it, with what is left of the cap."""
    play(up, "first", "second")
    await with_openai(url, "chat", max_tokens=50)
    asked = up.requests[1].json()
    assert asked["messages"] == [*HELLO, {"role": "assistant", "content": BEGIN, "prefix": True}]
    assert 30 <= asked["max_tokens"] < 50


async def lines_of(url: str, path: str, body: dict[str, Any]) -> str:
    """Return a stream as it came over the wire."""
    headers = {"x-api-key": ADMIN_KEY}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}{path}", json={"messages": HELLO, "stream": True, **body}) as answer,
    ):
        assert answer.status == 200
        return (await answer.read()).decode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "chat"}),
        ("/v1/chat/completions", {"model": "mixed"}),
        ("/v1/messages", {"model": "messages", "max_tokens": 99}),
        ("/v1/messages", {"model": "mixed2", "max_tokens": 99}),
    ],
)
async def test_the_seam_can_be_seen(
    line: Trunkline, up: FakeUpstream, url: str, path: str, body: dict[str, Any]
) -> None:
    """In the stream as a comment, on the row with both attempts and what they cost."""
    pair = next(pair for pair in PAIRS if pair[0] == body["model"])
    play(up, *pair[1:])
    said = await lines_of(url, path, body)
    [comment] = [one for one in said.splitlines() if one.startswith(":")]
    line.flush()
    [row] = line.store.calls(10)
    attempts = row.attempts
    assert comment == f": trunkline continued on {attempts[1].deployment}"
    assert [attempt.outcome for attempt in attempts] == ["failed", "complete"]
    assert attempts[0].usage.completion_tokens
    assert row.call.outcome == "complete"
    assert row.call.route[1] == f"{attempts[0].deployment}: truncated in its answer"
    assert row.call.completion_tokens == sum(a.usage.completion_tokens for a in attempts)


@pytest.mark.parametrize("text", [STORY, "there was a fox. It slept."])
async def test_what_is_said_again_is_left_out(up: FakeUpstream, url: str, text: str) -> None:
    """Some providers repeat the beginning, some the last word."""
    play(up, "first", "second", text)
    done = await with_openai(url, "chat")
    assert done.choices[0].message.content == STORY


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}]}
CUT: dict[str, tuple[str, Answer]] = {
    "the rule says error": ("error", broken("first")),
    "nobody can take it": ("no-prefix", broken("first")),
    "in a tool call": ("chat", Sse([chat_chunk(CALL)], done=False)),
    "in a thought": ("chat", Sse([chat_chunk({"reasoning_content": "hm"})], done=False)),
}


@pytest.mark.parametrize("case", list(CUT))
async def test_where_it_cannot_go_on_the_error_ends_it(
    up: FakeUpstream, url: str, case: str
) -> None:
    """As an event of each surface, and without the mark of a good end; nobody else is asked."""
    group, answer = CUT[case]
    up.script(answer, answer)
    said = await lines_of(url, "/v1/chat/completions", {"model": group})
    last = json.loads(said.strip().rpartition("data: ")[2])
    assert last["error"]["code"] == "truncated"
    assert "[DONE]" not in said
    said = await lines_of(url, "/v1/messages", {"model": group, "max_tokens": 9})
    event, _, data = said.strip().rpartition("\n\n")[2].partition("\n")
    assert event == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "truncated"
    assert len(up.requests) == 2


@pytest.mark.parametrize("usage", [False, True], ids=["no usage", "usage"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("pair", PAIRS, ids=[pair[0] for pair in PAIRS])
async def test_the_stream_is_strictly_one(
    up: FakeUpstream, url: str, path: str, usage: bool, pair: tuple[str, str, str]
) -> None:
    """By the SDKs' own types and in the order of the APIs, but for the comment."""
    group, first, then = pair
    play(up, first, then)
    more: dict[str, Any] = {"max_tokens": 99}
    if path == CHAT:
        more["stream_options"] = {"include_usage": usage}
    text = await lines_of(url, path, {"model": group, **more})
    lines = text.splitlines(keepends=True)
    [seam] = [number for number, line in enumerate(lines) if line.startswith(":")]
    del lines[seam : seam + 2]
    said = heard(path, "".join(lines).encode(), stream=True, usage_asked=usage)
    assert (said.text, said.finish) == (STORY, "stop")
