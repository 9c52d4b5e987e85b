"""Seeds 002 and 003: `LLMService` and its data classes."""

import inspect
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mypy import api as mypy_api

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import (
    ChatMessage,
    ChatResponse,
    LLMRequest,
    LLMResponse,
    LLMService,
    Trunkline,
    call_llm,
    complete,
)
from trunkline.testing import FakeUpstream, Json, Status, chat_answer

HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def service(line: Trunkline) -> LLMService:
    """The service on the scripted provider."""
    return LLMService(line)


@pytest.mark.acceptance("A07")
async def test_generate(service: LLMService, up: FakeUpstream) -> None:
    """A request in, an `LLMResponse` out; temperature and max_tokens are the request's."""
    assert list(inspect.signature(LLMService.generate).parameters) == ["self", "request"]
    assert inspect.iscoroutinefunction(LLMService.generate)
    response = await service.generate(LLMRequest(messages=HELLO, model="gpt-4o"))
    assert isinstance(response, LLMResponse)
    assert (response.content, response.provider) == ("Hello.", "openai")
    assert response.usage == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert response.metadata["finish_reason"] == "stop"
    body = up.requests[0].json()
    assert (body["temperature"], body["max_tokens"]) == (0.7, 2000)


@pytest.mark.acceptance("A07")
@pytest.mark.parametrize("awaited", [False, True])
async def test_stream_generate(service: LLMService, awaited: bool) -> None:
    """Iterated directly or awaited first, it yields the text in parts and ends with the usage."""
    stream = service.stream_generate(LLMRequest(messages=HELLO, model="gpt-4o"))
    if awaited:
        stream = await stream
    parts = [part async for part in stream]
    assert all(isinstance(part, LLMResponse) for part in parts)
    assert "".join(part.content for part in parts) == "Hello."
    assert parts[-1].usage == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.acceptance("A08")
def test_available_models(up: FakeUpstream, make_line: MakeLine) -> None:
    """A list of the names that can be asked."""
    line = make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(up, models=["gpt-4o", "gpt-4"]),
            "ollama": {"models": ["l3"]},
        },
    )
    assert LLMService(line).get_available_models() == ["gpt-4o", "gpt-4", "l3"]


@pytest.mark.acceptance("A09")
async def test_provider_status_flips_when_a_provider_goes_down(make_line: MakeLine) -> None:
    """True while it answers, False when nobody does; nothing is asked but for its models."""
    with FakeUpstream.in_thread() as up:
        line = make_line(default_provider="openai", providers={"openai": openai_at(up)})
        service = LLMService(line)
        assert service.get_provider_status() == {"openai": True}
        up.script(Status(503))
        assert service.get_provider_status() == {"openai": False}
        assert service.get_provider_status() == {"openai": True}
        assert {(request.method, request.path) for request in up.requests} == {
            ("GET", "/v1/models")
        }
    assert service.get_provider_status() == {"openai": False}


@pytest.mark.acceptance("T09")
async def test_chat(service: LLMService) -> None:
    """A `ChatResponse`, or an async generator of text when streaming."""
    parameters = inspect.signature(LLMService.chat).parameters
    assert {name: p.default for name, p in list(parameters.items())[2:]} == {
        "model": None,
        "stream": False,
        "track_tokens": True,
    }
    messages = [ChatMessage(role="user", content="hi")]
    response = await service.chat(messages, model="gpt-4o")
    assert isinstance(response, ChatResponse)
    assert response.reply == "Hello."
    stream = await service.chat(messages, model="gpt-4o", stream=True)
    assert isinstance(stream, AsyncGenerator)
    assert "".join([text async for text in stream]) == "Hello."


@pytest.mark.acceptance("T09")
@pytest.mark.slow
def test_a_type_checker_knows_what_chat_returns(tmp_path: Path) -> None:
    """mypy sees a `ChatResponse` without stream and a generator of text with it."""
    program = tmp_path / "uses_chat.py"
    program.write_text(
        "from trunkline import LLMService, ChatMessage\n"
        "async def f(s: LLMService, m: list[ChatMessage]) -> None:\n"
        "    reveal_type(await s.chat(m))\n"
        "    reveal_type(await s.chat(m, stream=True))\n"
    )
    out, _, _ = mypy_api.run([str(program), "--no-incremental", "--follow-imports=silent"])
    assert 'note: Revealed type is "trunkline.interfaces.ChatResponse"' in out
    assert "AsyncGenerator[str, None]" in out.replace("builtins.", "")


@pytest.mark.acceptance("T14")
async def test_the_chat_answer_as_json(service: LLMService, up: FakeUpstream) -> None:
    """reply, model and usage with three counts, the total being the sum."""
    usage = {"prompt_tokens": 42, "completion_tokens": 128, "total_tokens": 170}
    up.script(Json(chat_answer("...", usage=usage)))
    response = await service.chat([ChatMessage(role="user", content="hi")], model="gpt-4o")
    written = json.loads(json.dumps(vars(response)))
    assert set(written) == {"reply", "model", "usage"}
    assert written["usage"] == usage


@pytest.mark.acceptance("T13")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_token_tracking(service: LLMService, stream: bool) -> None:
    """By default each call writes its tokens to the usage table; track_tokens=False writes none."""

    async def ask(**more: Any) -> None:
        messages = [ChatMessage(role="user", content="hi")]
        if stream:
            async for _ in await service.chat(messages, "gpt-4o", stream=True, **more):
                pass
        else:
            await service.chat(messages, "gpt-4o", **more)

    await ask()
    await ask(track_tokens=False)
    service.line.flush()
    [row] = service.line.store.usage("model", None)
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (1, 10, 5)


@pytest.mark.acceptance("X02")
async def test_all_faces_send_the_same_request(service: LLMService, up: FakeUpstream) -> None:
    """call_llm, complete, chat and generate are one core; only generate has defaults of its own."""
    await call_llm("openai", "gpt-4o", HELLO, {})
    await complete("gpt-4o", HELLO, "t-1")
    await service.chat([ChatMessage(role="user", content="Hello!")], model="gpt-4o")
    await service.generate(LLMRequest(messages=HELLO, model="gpt-4o"))
    bodies = [request.json() for request in up.requests]
    assert bodies[3].pop("temperature") == 0.7
    assert bodies[3].pop("max_tokens") == 2000
    assert bodies[0] == bodies[1] == bodies[2] == bodies[3]


@pytest.mark.acceptance("X06")
async def test_token_names_are_the_same_everywhere(
    service: LLMService, caplog: pytest.LogCaptureFixture
) -> None:
    """prompt, completion, total: in responses, in rows and in records."""
    response = await service.generate(LLMRequest(messages=HELLO, model="gpt-4o"))
    service.line.flush()
    names = {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert set(response.usage) == names
    assert names <= set(service.line.store.usage("model", None)[0].to_dict())
    [row] = service.line.store.calls(1)
    assert {"prompt_tokens", "completion_tokens"} <= set(row.call.__struct_fields__)
    assert not [n for n in row.call.__struct_fields__ if n in {"input_tokens", "output_tokens"}]


async def test_chat_takes_messages_of_any_make(service: LLMService, up: FakeUpstream) -> None:
    """A dict, or an application's own class with role and content, does as well."""

    class Own:
        role = "user"
        content = "Hello!"

    messages: Any = [Own(), HELLO[0]]
    await service.chat(messages, model="gpt-4o")
    assert up.requests[0].json()["messages"] == [HELLO[0], HELLO[0]]


async def test_stream_generate_can_be_left(service: LLMService, up: FakeUpstream) -> None:
    """Closing the stream closes the upstream."""
    stream: Any = service.stream_generate(LLMRequest(messages=HELLO, model="gpt-4o"))
    first = await anext(aiter(stream))
    assert first.content
    await stream.aclose()
    await up.wait_idle()
    assert isinstance(stream, AsyncIterator)
