"""Whatever is sent to the gateway: an answer in the family's shape, never a 5xx, never a hang."""

import gzip
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.gateway.asgi import ADMIN_KEY, Answer, Talk, ask, piece, scope
from trunkline import Trunkline
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing

pytestmark = pytest.mark.slow

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
KNOWN = (CHAT, "/chat/completions", MESSAGES, "/messages", "/v1/models", "/models/demo")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW")

Headers = dict[str, str | None]

# A name and a value as a server hands them on: names in lower case, values of single bytes.
values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)
names = st.sampled_from(
    (
        "authorization",
        "x-api-key",
        "host",
        "origin",
        "content-type",
        "content-length",
        "content-encoding",
        "anthropic-version",
        "anthropic-beta",
        "x-trunkline-tags",
        "x-trunkline-run",
        "x-trunkline-timeout-ms",
        "x-trunkline-cache",
    )
)
headers = st.dictionaries(names, st.none() | values, max_size=3)
paths = st.sampled_from((*KNOWN, "/health")) | st.text(max_size=40).map(lambda text: f"/{text}")
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)
roles = st.sampled_from(("user", "assistant", "system", "tool", "developer", "function", "x"))
kinds = st.sampled_from(
    ("text", "image_url", "image", "tool_use", "tool_result", "thinking", "document", "file", "x")
)
parts = st.fixed_dictionaries(
    {"type": kinds},
    optional=dict.fromkeys(
        ("text", "id", "name", "input", "source", "content", "tool_use_id", "image_url"), odd
    ),
)
messages = st.fixed_dictionaries(
    {"role": roles, "content": st.text(max_size=20) | st.lists(parts, max_size=3) | odd},
    optional={"tool_calls": odd, "tool_call_id": odd, "name": odd},
)
options = {
    "model": st.sampled_from(("demo", "demo/x", "nobody/has this", "")) | odd,
    "messages": st.lists(messages, min_size=1, max_size=4) | odd,
    "max_tokens": st.integers(1, 50) | odd,
    "stream": st.booleans() | odd,
    "stream_options": st.just({"include_usage": True}) | odd,
}
more = dict.fromkeys(
    (
        "system",
        "tools",
        "tool_choice",
        "temperature",
        "top_p",
        "n",
        "stop",
        "stop_sequences",
        "response_format",
        "thinking",
        "metadata",
        "user",
        "logprobs",
        "max_completion_tokens",
        "reasoning_effort",
    ),
    odd,
)
requests = st.fixed_dictionaries({}, optional={**options, **more})
likely = st.fixed_dictionaries(
    {
        "model": st.just("demo"),
        "max_tokens": st.just(20),
        "messages": st.lists(messages, min_size=1, max_size=4),
    },
    optional={"stream": st.booleans(), **more},
)


# What one request does to the gateway must not matter to the next, so one serves them all.
one_gateway = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def gateway() -> Any:
    """A gateway whose calls are answered in this process."""
    said = {"default_provider": "demo", "providers": {"demo": {}}}
    async with Trunkline.from_config({"llm_service": said}) as line:
        yield Gateway(line, KeyRing(b"p" * 32, ADMIN_KEY, ()))


def check(answer: Answer, method: str, path: str, sent: Headers) -> None:
    """Demand what every answer has to be."""
    assert answer.status < 500, answer
    assert answer.ended
    assert ADMIN_KEY.encode() not in answer.body
    if "text/event-stream" in answer.headers["content-type"]:
        assert answer.status == 200
        return
    assert answer.headers["content-type"] == "application/json"
    if method == "HEAD":
        assert answer.body == b""
        return
    assert answer.headers["content-length"] == str(len(answer.body))
    fields = json.loads(answer.body)
    if answer.status < 400:
        return
    said = fields["error"]
    assert isinstance(said["message"], str)
    ours = path.rstrip("/").endswith("/chat/completions")
    theirs = path.startswith(("/v1/messages", "/messages"))
    if theirs or (sent.get("anthropic-version") is not None and not ours):
        assert fields["type"] == "error"
    else:
        assert set(said) == {"message", "type", "code", "param"}


@one_gateway
@given(method=st.sampled_from(METHODS), path=paths, sent=headers, body=st.binary(max_size=200))
async def test_anything_at_all(
    gateway: Gateway, method: str, path: str, sent: Headers, body: bytes
) -> None:
    """Any method, path, headers and bytes."""
    check(await ask(gateway, path, body, sent, method), method, path, sent)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@one_gateway
@given(body=odd | requests | likely)
async def test_any_json(gateway: Gateway, path: str, body: object) -> None:
    """Any JSON, from anything to what is nearly a request."""
    check(await ask(gateway, path, json.dumps(body).encode()), "POST", path, {})


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@one_gateway
@given(sent=headers, body=likely)
async def test_any_headers(gateway: Gateway, path: str, sent: Headers, body: object) -> None:
    """Any headers on what is nearly a request."""
    check(await ask(gateway, path, json.dumps(body).encode(), sent), "POST", path, sent)


@one_gateway
@given(
    cut=st.lists(st.integers(0, 300), max_size=4),
    packed=st.booleans(),
    damage=st.none() | st.tuples(st.integers(0, 100), st.binary(max_size=3)),
    leaves=st.booleans(),
)
async def test_any_way_to_send_it(
    gateway: Gateway,
    cut: list[int],
    packed: bool,
    damage: tuple[int, bytes] | None,
    leaves: bool,
) -> None:
    """In any pieces, compressed, damaged, or left before its end: then nothing is answered."""
    body = b'{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}'
    body = gzip.compress(body) if packed else body
    if damage:
        body = body[: damage[0]] + damage[1] + body[damage[0] + 1 :]
    edges = [0, *sorted(cut), len(body)]
    pieces = [piece(body[a:b], more=True) for a, b in pairwise(edges)]
    sent: Headers = {"content-encoding": "gzip" if packed else None}
    talk = Talk(*pieces, *([] if leaves else [piece(b"")]))
    talk.leave()
    await gateway(scope("POST", CHAT, sent), talk.receive, talk.send)
    if leaves:
        assert not talk.sent
    else:
        check(talk.answer(), "POST", CHAT, sent)
