"""What botocore sends for a request is what we send for the same one, path, body and signature.

botocore signs more headers than we do, those that a proxy may change too; what we sign, it signs in
the same way.
"""

import datetime
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import EventStreamError

from trunkline.clock import SystemClock
from trunkline.dialects import load
from trunkline.errors import UpstreamRateLimited
from trunkline.testing import (
    EventStream,
    FakeUpstream,
    Json,
    Request,
    converse_answer,
    converse_messages,
    event_message,
)
from trunkline.transport import Transport
from trunkline.types import (
    Chat,
    Deployment,
    File,
    Image,
    Memo,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

MODEL = "us.anthropic.claude-sonnet-4-6"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GUARD = {"guardrailIdentifier": "gr1", "guardrailVersion": "1"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG"}
ASKED: dict[str, Any] = {
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "Look"},
                {"image": {"format": "png", "source": {"bytes": b"abc"}}},
                {"document": {"format": "pdf", "name": "a b pdf", "source": {"bytes": b"%PDF"}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": b"hidden"}},
                {"toolUse": {"toolUseId": "tooluse_1", "name": "f", "input": {"a": 1}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "tooluse_1",
                        "content": [{"text": "x"}],
                        "status": "error",
                    }
                }
            ],
        },
    ],
    "inferenceConfig": {"maxTokens": 9000, "stopSequences": ["x"]},
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": "f",
                    "description": "d",
                    "inputSchema": {"json": SCHEMA},
                    "strict": True,
                }
            },
            {"cachePoint": {"type": "default"}},
        ],
        "toolChoice": {"auto": {}},
    },
    "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    "guardrailConfig": GUARD,
    "performanceConfig": {"latency": "optimized"},
    "serviceTier": {"type": "priority"},
    "requestMetadata": {"team": "a"},
    "outputConfig": {
        "textFormat": {
            "type": "json_schema",
            "structure": {
                "jsonSchema": {
                    "schema": json.dumps(SCHEMA, separators=(",", ":")),
                    "name": "answer",
                }
            },
        }
    },
}
CACHED = {"cache_control": {"type": "ephemeral"}}
PROMPT = Prompt(
    messages=(
        Message(
            role="system",
            parts=(
                Text(
                    text="Be brief.",
                    extra={"cache_control": {"type": "ephemeral", "ttl": "1h"}},
                ),
            ),
        ),
        Message(
            role="user",
            parts=(
                Text(text="Look"),
                Image(data="YWJj", media_type="image/png"),
                File(data="JVBERg==", media_type="application/pdf", name="a_b.pdf"),
            ),
        ),
        Message(
            role="assistant",
            parts=(
                Thinking(text="Hm.", signature="c2ln"),
                Thinking(redacted="aGlkZGVu"),
                ToolCall(id="tooluse_1", name="f", arguments='{"a":1}'),
            ),
        ),
        Message(
            role="tool",
            parts=(ToolResult(id="tooluse_1", parts=(Text(text="x"),), is_error=True),),
        ),
    ),
    tools=(Tool(name="f", description="d", parameters=SCHEMA, strict=True, extra=CACHED),),
    tool_choice="auto",
    reasoning=Reasoning(budget_tokens=2000),
    output_format=OutputFormat(schema=SCHEMA),
    max_output_tokens=9000,
    stop=("x",),
    extra={
        "guardrailConfig": GUARD,
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "priority"},
        "requestMetadata": {"team": "a"},
    },
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys for both, in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """A recorder on a thread, for a client that blocks."""
    with FakeUpstream.in_thread() as up:
        yield up


@pytest.fixture
def client(upstream: FakeUpstream) -> Iterator[Any]:
    """botocore's client, pointed at the recorder."""
    config = Config(retries={"total_max_attempts": 1}, proxies={})
    made = botocore.session.Session().create_client(
        "bedrock-runtime", region_name="eu-west-1", endpoint_url=upstream.url, config=config
    )
    yield made
    made.close()


async def ours(up: FakeUpstream, *, model: str = MODEL, stream: bool) -> Request:
    """Send the same request as ours, and return it as it arrived."""
    row = Deployment(
        provider="bedrock",
        model=model,
        dialect="bedrock",
        base_url=up.url,
        credential="aws:eu-west-1",
    )
    transport = Transport(SystemClock())
    reply = await transport.send(Chat(model="m", body=PROMPT, stream=stream, target=row))
    assert (await reply.message()).text == "Hello."
    await transport.close()
    return up.requests[-1]


@pytest.mark.parametrize("model", [MODEL, ARN, "openai.gpt-oss-120b-1:0"])
async def test_paths_are_encoded_once(upstream: FakeUpstream, client: Any, model: str) -> None:
    """Ids with colons and ARNs with slashes, in both methods."""
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    client.converse(modelId=model, messages=messages)
    list(client.converse_stream(modelId=model, messages=messages)["stream"])
    for stream, theirs in zip((False, True), list(upstream.requests), strict=True):
        assert (await ours(upstream, model=model, stream=stream)).path == theirs.path


@pytest.mark.acceptance("A02")
async def test_the_body_is_the_same_field_for_field(upstream: FakeUpstream, client: Any) -> None:
    """Everything a prompt can say that Converse has a word for."""
    client.converse(modelId=MODEL, **ASKED)
    theirs = upstream.requests[0].json()
    assert (await ours(upstream, stream=False)).json() == theirs


@pytest.mark.acceptance("A02")
@pytest.mark.parametrize("stream", [False, True])
async def test_what_arrives_is_signed_as_botocore_would(
    upstream: FakeUpstream, stream: bool
) -> None:
    """The signature holds for the bytes, the path and the host as they came over the wire."""
    request = await ours(upstream, stream=stream)
    signed = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    headers = {name: request.headers[name] for name in signed.split(";") if name != "x-amz-date"}
    again = AWSRequest("POST", f"{upstream.url}{request.path}", headers, request.body)
    date = datetime.datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%S%z")
    credentials = Credentials(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"])
    with mock.patch("botocore.auth.get_current_datetime", return_value=date):
        SigV4Auth(credentials, "bedrock", "eu-west-1").add_auth(again)
    assert again.headers["Authorization"] == request.headers["authorization"]


def test_botocore_understands_the_double(upstream: FakeUpstream, client: Any) -> None:
    """What `trunkline.testing` answers is Converse, for a client that checks every checksum."""
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    upstream.script(Json(converse_answer("Whole.")), EventStream(converse_messages("One two.")))
    whole = client.converse(modelId=MODEL, messages=messages)
    assert whole["output"]["message"]["content"] == [{"text": "Whole."}]
    events = list(client.converse_stream(modelId=MODEL, messages=messages)["stream"])
    words = [e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e]
    assert words == ["One ", "two."]
    assert events[-1]["metadata"]["usage"]["totalTokens"] == 15


def test_botocore_fails_where_we_do(upstream: FakeUpstream, client: Any) -> None:
    """An exception written as its own decoder knows it."""
    raw = event_message("throttlingException", {"message": "Too many"}, "exception")
    upstream.script(EventStream([converse_messages()[0], raw]))
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    stream = client.converse_stream(modelId=MODEL, messages=messages)["stream"]
    with pytest.raises(EventStreamError, match=r"throttlingException.*Too many"):
        list(stream)
    stream.close()
    with pytest.raises(UpstreamRateLimited, match="Too many"):
        load("bedrock").decode_frame(raw, Memo())
