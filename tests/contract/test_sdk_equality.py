"""What each provider's own SDK sends for a request is what we send for the same one.

Compared are method, path, query, the header with the credential, and the body; botocore, cohere,
google-genai and ollama have modules of their own. Where bodies are spelled otherwise, `SPELLED`
says how and why.
"""

import warnings
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import anthropic
import openai
import pytest
from msgspec.structs import replace

from trunkline.clock import SystemClock
from trunkline.config import from_mapping
from trunkline.testing import FakeUpstream, Request
from trunkline.transport import Transport
from trunkline.types import (
    Chat,
    Deployment,
    Image,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDKs' own imports
    from mistralai.client import Mistral

KEY = "test-key-0123456789"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
}
ID = "aB3456789"
PROMPT = Prompt(
    messages=(
        say("system", "Be brief."),
        Message(role="user", parts=(Text(text="Look"), Image(data="YWJj", media_type="image/png"))),
        Message(role="assistant", parts=(ToolCall(id=ID, name="f", arguments='{"a": 1}'),)),
        Message(role="tool", parts=(ToolResult(id=ID, parts=(Text(text="x"),)),)),
    ),
    tools=(Tool(name="f", description="d", parameters=SCHEMA),),
    tool_choice="auto",
    max_output_tokens=9,
    temperature=0.5,
    top_p=0.9,
    stop=("x",),
)
JSON = OutputFormat(name="answer", schema=SCHEMA, strict=True)
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}}
ASKED: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, IMAGE]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": ID, "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": ID, "content": "x"},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "auto",
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["x"],
}
FORMAT: Any = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
}
Ask = Callable[[str, bool], Awaitable[None]]


async def read(answer: Any, *, stream: bool) -> None:
    """Take a stream to its end."""
    if stream:
        async for _ in answer:
            pass


async def ask_openai(client: openai.AsyncOpenAI, model: str, *, stream: bool) -> None:
    """Ask with any of OpenAI's clients, for usage too, as we always do."""
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    async with client:
        answer = await client.chat.completions.create(
            model=model,
            response_format=FORMAT,
            **(ASKED | (more if stream else {})),
        )
        await read(answer, stream=stream)


async def by_openai(url: str, stream: bool) -> None:
    """Ask OpenAI."""
    client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1")
    await ask_openai(client, "gpt-4o", stream=stream)


async def by_azure(url: str, stream: bool) -> None:
    """Ask a deployment of Azure in the current API, as its documentation does."""
    client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/openai/v1")
    await ask_openai(client, "my-4o", stream=stream)


async def by_dated_azure(url: str, stream: bool) -> None:
    """Ask the same in the dated API."""
    client = openai.AsyncAzureOpenAI(api_key=KEY, azure_endpoint=url, api_version="2024-10-21")
    await ask_openai(client, "my-4o", stream=stream)


async def by_entra(url: str, stream: bool) -> None:
    """Ask the same with a token."""
    client = openai.AsyncAzureOpenAI(
        azure_ad_token="eyJ.e30.c2ln", azure_endpoint=url, api_version="2024-10-21"
    )
    await ask_openai(client, "my-4o", stream=stream)


async def by_anthropic(url: str, stream: bool) -> None:
    """Ask Anthropic."""
    source = {"type": "base64", "media_type": "image/png", "data": "YWJj"}
    use = {"type": "tool_use", "id": ID, "name": "f", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": ID, "content": "x"}
    messages: list[Any] = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look"}, {"type": "image", "source": source}],
        },
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    tool: Any = {"name": "f", "description": "d", "input_schema": SCHEMA}
    client = anthropic.AsyncAnthropic(
        api_key=KEY, base_url=url, default_headers={"anthropic-version": "2023-06-01"}
    )  # the version of which we speak; the newer one has lost options and gained nothing
    more: Any = {"stream": True} if stream else {}
    async with client:
        answer = await client.messages.create(
            model="claude-haiku-5-5",
            system="Be brief.",
            messages=messages,
            tools=[tool],
            tool_choice={"type": "auto"},
            max_tokens=9,
            stop_sequences=["x"],
            **more,
        )
        await read(answer, stream=stream)


async def by_responses(url: str, stream: bool) -> None:
    """Ask OpenAI's Responses API."""
    call = {"type": "function_call", "call_id": ID, "name": "f", "arguments": '{"a": 1}'}
    picture = {"type": "input_image", "image_url": IMAGE["image_url"]["url"]}
    given: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Look"}, picture]},
        call,
        {"type": "function_call_output", "call_id": ID, "output": "x"},
    ]
    asked: Any = {
        "tools": [{"type": "function", **FUNCTION}],
        "tool_choice": "auto",
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", **FORMAT["json_schema"]}},
        "max_output_tokens": 16,
        "store": False,  # this, and the next, as we always ask
        "include": ["reasoning.encrypted_content"],
    } | ({"stream": True} if stream else {})
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1") as client:
        answer = await client.responses.create(model="gpt-6-luna", input=given, **asked)
        await read(answer, stream=stream)


async def by_mistral(url: str, stream: bool) -> None:
    """Ask Mistral."""
    async with Mistral(api_key=KEY, server_url=url) as client:
        ask: Any = client.chat.stream_async if stream else client.chat.complete_async
        answer = await ask(model="mistral-small-latest", response_format=FORMAT, **ASKED)
        await read(answer, stream=stream)


class Case(NamedTuple):
    """One SDK, and the settings and the prompt that mean the same for us."""

    ask: Ask
    model: str
    settings: dict[str, Any]
    prompt: Prompt = replace(PROMPT, output_format=JSON)


THOUGHT = replace(
    PROMPT,
    output_format=JSON,
    reasoning=Reasoning(effort="low"),
    max_output_tokens=16,
    temperature=None,
    top_p=None,
    stop=(),
)
DEPLOYED = {"deployments": {"gpt-4o": "my-4o"}}
DATED = DEPLOYED | {"api_version": "2024-10-21"}
TOKEN = DATED | {"api_key": "eyJ.e30.c2ln"}
CASES = {
    "openai": Case(by_openai, "gpt-4o", {}),
    "openai, responses": Case(by_responses, "gpt-6-luna", {}, THOUGHT),
    "azure_openai": Case(by_azure, "gpt-4o", DEPLOYED),
    "azure_openai, dated": Case(by_dated_azure, "gpt-4o", DATED),
    "azure_openai, token": Case(by_entra, "gpt-4o", TOKEN),
    "anthropic": Case(
        by_anthropic, "claude-haiku-5-5", {}, replace(PROMPT, top_p=None, temperature=None)
    ),
    "mistral": Case(by_mistral, "mistral-small-latest", {}),
}


def mistral_spelled(wire: Any) -> Any:
    """Take out what the SDK says without being asked, each time the default."""
    for message in wire["messages"]:
        assert message.pop("prefix", False) is False
        for call in message.get("tool_calls", ()):
            assert call.pop("index", 0) == 0
    return wire if wire.get("stream") else {k: v for k, v in wire.items() if k != "stream"}


SPELLED: dict[str, Callable[[Any], Any]] = {"mistral": mistral_spelled}
"""How the two bodies of a provider become one spelling."""


def deployment(name: str, case: Case, url: str) -> Deployment:
    """Return the row that a configuration makes."""
    kind = name.partition(",")[0]
    entry = {"api_key": KEY, "base_url": url, "type": kind, **case.settings}
    data = {"llm_service": {"providers": {"p": entry}}}
    provider = from_mapping(data, {}).providers["p"]
    return replace(provider.deployment(case.model), dialect=provider.dialect(case.model, None))


def proof(request: Request) -> dict[str, str]:
    """Return the headers that prove who asks.

    Azure's current API and Anthropic's take a key as a bearer too, as the SDKs give it; in their
    own header it works at the dated APIs and older proxies as well.
    """
    names = ("authorization", "api-key", "x-api-key", "anthropic-version")
    found = {name: request.headers[name] for name in names if name in request.headers}
    own = {"/openai/v1": "api-key", "/v1/messages": "x-api-key"}
    for path, name in own.items():
        if request.path.startswith(path) and "authorization" in found:
            found[name] = found.pop("authorization").removeprefix("Bearer ")
    return found


def body(request: Request, kind: str) -> Any:
    """Return a body in one spelling, where an SDK and we have two with one meaning."""
    wire = request.json()
    return SPELLED[kind](wire) if kind in SPELLED else wire


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", CASES)
async def test_the_same_request(name: str, stream: bool) -> None:
    """Method, path, query, credential and body are the SDK's."""
    case = CASES[name]
    transport = Transport(SystemClock())
    async with FakeUpstream() as up:
        await case.ask(up.url, stream)
        row = deployment(name, case, up.url)
        chat = Chat(model="m", stream=stream, target=row, body=case.prompt)
        async with await transport.send(chat) as reply:
            assert (await reply.message()).text == "Hello."
        await transport.close()
        theirs, ours = up.requests
    kind = name.partition(",")[0]
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert proof(ours) == proof(theirs)
    assert body(ours, kind) == body(theirs, kind)
