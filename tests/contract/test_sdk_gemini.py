"""What google-genai sends for a request is what we send for the same one, field for field.

The SDK spells some fields within objects in snake case, which the API takes as well, gives a role
to the system instruction, and asks for version v1, of which v1beta knows all and more.
"""

import asyncio
import datetime
import json
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK's own imports
    from google import genai
    from google.genai import types as sdk
    from google.oauth2.credentials import Credentials

from trunkline.clock import SystemClock
from trunkline.testing import FakeUpstream, Json, Request
from trunkline.transport import Transport
from trunkline.types import (
    Chat,
    Deployment,
    Embed,
    Image,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Secret,
    Text,
    Texts,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

MODEL = "gemini-3.5-flash"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
CONTENTS = [
    sdk.Content(
        role="user",
        parts=[
            sdk.Part(text="Look"),
            sdk.Part.from_bytes(data=b"abc", mime_type="image/png"),
            sdk.Part.from_uri(file_uri="https://x.test/a.pdf", mime_type="application/pdf"),
        ],
    ),
    sdk.Content(
        role="model",
        parts=[
            sdk.Part(
                function_call=sdk.FunctionCall(id="c1", name="f", args={"a": 1}),
                thought_signature=b"sig",
            )
        ],
    ),
    sdk.Content(
        role="user",
        parts=[
            sdk.Part(
                function_response=sdk.FunctionResponse(id="c1", name="f", response={"output": "x"})
            )
        ],
    ),
]
ASKED = sdk.GenerateContentConfig(
    system_instruction="Be brief.",
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    max_output_tokens=9,
    stop_sequences=["x"],
    seed=1,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    candidate_count=2,
    tools=[
        sdk.Tool(
            function_declarations=[
                sdk.FunctionDeclaration(name="f", description="d", parameters_json_schema=SCHEMA)
            ]
        ),
    ],
    tool_config=sdk.ToolConfig(
        function_calling_config=sdk.FunctionCallingConfig(
            mode=sdk.FunctionCallingConfigMode.ANY, allowed_function_names=["f"]
        )
    ),
    response_mime_type="application/json",
    response_json_schema=SCHEMA,
    thinking_config=sdk.ThinkingConfig(thinking_level=sdk.ThinkingLevel.LOW, include_thoughts=True),
    safety_settings=[
        sdk.SafetySetting(
            category=sdk.HarmCategory.HARM_CATEGORY_HARASSMENT,
            threshold=sdk.HarmBlockThreshold.BLOCK_NONE,
        )
    ],
)
PROMPT = Prompt(
    messages=(
        say("system", "Be brief."),
        Message(
            role="user",
            parts=(
                Text(text="Look"),
                Image(data="YWJj", media_type="image/png"),
                Image(url="https://x.test/a.pdf"),
            ),
        ),
        Message(
            role="assistant",
            parts=(ToolCall(id="c1", name="f", arguments='{"a":1}', extra=SIGNED),),
        ),
        Message(role="tool", parts=(ToolResult(id="c1", parts=(Text(text="x"),)),)),
    ),
    tools=(Tool(name="f", description="d", parameters=SCHEMA),),
    tool_choice="tool:f",
    output_format=OutputFormat(schema=SCHEMA),
    reasoning=Reasoning(effort="low"),
    max_output_tokens=9,
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    stop=("x",),
    seed=1,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    choices=2,
    extra={
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    },
)


def body(request: Request) -> Any:
    """Return a request's body in camel case, without the role of the instruction."""
    wire = camel(json.loads(request.body))
    wire["systemInstruction"].pop("role", None)
    return wire


def camel(value: Any) -> Any:
    """Spell the names of fields as the API's reference does."""
    if isinstance(value, dict):
        return {re.sub(r"_(\w)", lambda m: m[1].upper(), k): camel(v) for k, v in value.items()}
    return [camel(one) for one in value] if isinstance(value, list) else value


def key_of(request: Request) -> tuple[str | None, str | None]:
    """Return how a request proves who asks."""
    return request.headers.get("x-goog-api-key"), request.headers.get("authorization")


def studio(url: str) -> tuple[genai.Client, Deployment]:
    """Return the SDK and a row for the Gemini API."""
    options = sdk.HttpOptions(base_url=url, api_version="v1beta")
    row = Deployment(
        provider="gemini",
        model=MODEL,
        dialect="gemini",
        base_url=f"{url}/v1beta",
        api_key=Secret("AIza-test"),
    )
    return genai.Client(api_key="AIza-test", http_options=options), row


def project(url: str) -> tuple[genai.Client, Deployment]:
    """Return the SDK and a row for a project of Vertex AI, with an access token."""
    options = sdk.HttpOptions(base_url=url, api_version="v1")
    row = replace(
        vertex(url)[1],
        base_url=f"{url}/v1/projects/p/locations/eu",
        api_key=Secret("ya29.test"),
    )
    token = Credentials("ya29.test", expiry=datetime.datetime(2100, 1, 1))  # noqa: DTZ001 - theirs
    client = genai.Client(
        vertexai=True, project="p", location="eu", credentials=token, http_options=options
    )
    return client, row


def vertex(url: str) -> tuple[genai.Client, Deployment]:
    """Return the SDK and a row for the express mode of Vertex AI."""
    options = sdk.HttpOptions(base_url=url, api_version="v1")
    row = replace(
        studio(url)[1],
        provider="vertex",
        base_url=f"{url}/v1",
        api_key=Secret("AQ.test"),
        quirks=frozenset({"vertex"}),
    )
    return genai.Client(vertexai=True, api_key="AQ.test", http_options=options), row


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("made", [studio, vertex, project])
async def test_the_same_request(
    made: Callable[[str], tuple[genai.Client, Deployment]], stream: bool
) -> None:
    """Method, path, query, key and body; and the SDK's own client understands the same answer."""

    def ask(client: genai.Client) -> Any:
        if not stream:
            return client.models.generate_content(model=MODEL, contents=CONTENTS, config=ASKED).text
        pieces = client.models.generate_content_stream(model=MODEL, contents=CONTENTS, config=ASKED)
        return "".join(piece.text or "" for piece in pieces)

    async with FakeUpstream() as up:
        client, row = made(up.url)
        assert await asyncio.to_thread(ask, client) == "Hello."
        client.close()
        transport = Transport(SystemClock())
        reply = await transport.send(Chat(model="m", stream=stream, target=row, body=PROMPT))
        assert (await reply.message()).text == "Hello."
        await transport.close()
        theirs, ours = up.requests
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert key_of(ours) == key_of(theirs)
    assert body(ours) == body(theirs)


@pytest.mark.parametrize("texts", [("a",), ("a", "b")], ids=["one", "two"])
@pytest.mark.parametrize(
    "model", ["gemini-embedding-001", "gemini-embedding-2", "text-embedding-005"]
)
@pytest.mark.parametrize("made", [studio, project])
async def test_the_same_embeddings(
    made: Callable[[str], tuple[genai.Client, Deployment]], model: str, texts: tuple[str, ...]
) -> None:
    """By the method that each model has, with its purpose and its size; Vertex cuts no text."""

    def ask(client: genai.Client) -> Any:
        at_vertex = {"auto_truncate": False} if made is project else {}
        how = sdk.EmbedContentConfig(
            task_type="RETRIEVAL_QUERY", output_dimensionality=2, **at_vertex
        )
        contents = [sdk.Content(parts=[sdk.Part(text=text)]) for text in texts]
        asked = client.models.embed_content(model=model, contents=contents, config=how)
        return [one.values for one in asked.embeddings or ()]

    def answer(request: Request) -> Json:
        each = [{"values": [0.5, 1.0]}] * len(texts)
        return Json(
            {"predictions": [{"embeddings": one} for one in each]}
            if request.path.endswith(":predict")
            else {"embedding": each[0]}
            if request.path.endswith(":embedContent")
            else {"embeddings": each}
        )

    async with FakeUpstream(answer) as up:
        client, row = made(up.url)
        assert await asyncio.to_thread(ask, client) == [[0.5, 1.0]] * len(texts)
        client.close()
        asked = Texts(dialect="", fields={}, inputs=texts, size_bytes=9, dimensions=2)
        row = replace(row, model=model, dialect="gemini_embeddings")
        transport = Transport(SystemClock())
        call = Embed(model="m", target=row, body=replace(asked, purpose="search_query"))
        async with await transport.send(call) as reply:
            await reply.message()
        await transport.close()
        theirs, ours = up.requests
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert key_of(ours) == key_of(theirs)
    assert camel(ours.json()) == camel(theirs.json())
