"""Whatever is sent to the gateway: an answer in the family's shape, never a 5xx, never a hang."""

import asyncio
import gzip
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.talk import ADMIN_KEY, Talk, chunk, head
from trunkline import Trunkline
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing

pytestmark = pytest.mark.slow

CHAT, TEXT, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
KNOWN = (CHAT, "/chat/completions", TEXT, MESSAGES, "/messages", "/v1/models", "/models/demo")
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

prompts = st.text(max_size=20) | st.integers() | st.lists(st.integers(), max_size=3)
counts = st.integers(-1, 4) | st.text(max_size=3) | st.booleans()
texts = st.fixed_dictionaries(
    {"model": st.just("demo"), "prompt": prompts | st.lists(prompts, max_size=3) | odd},
    optional={
        "stream": st.booleans(),
        **more,
        **dict.fromkeys(("n", "best_of", "max_tokens"), counts),
        **dict.fromkeys(("suffix", "echo"), odd),
    },
)


@pytest.fixture
async def gateway() -> Any:
    """A gateway whose calls are answered in this process.

    What one request does to it must not matter to the next, so one serves them all.
    """
    said = {"default_provider": "demo", "providers": {"demo": {}}}
    async with Trunkline.from_config({"llm_service": said}) as line:
        yield Gateway(line, KeyRing(b"p" * 32, ADMIN_KEY, ()))


async def ask_and_check(
    gateway: Gateway, path: str, body: bytes, sent: Headers | None = None, method: str = "POST"
) -> None:
    """Send one request; who announces more than it sends leaves, and gets no answer."""
    talk = Talk(gateway)
    talk.send(head(method, path, sent, length=len(body)) + body)
    if unfinished := talk.unfinished:
        await asyncio.sleep(0)
        talk.leave()
    await talk.over()
    if talk.wire.written or not unfinished:
        check(talk, method, path, sent or {})


def check(talk: Talk, method: str, path: str, sent: Headers) -> None:
    """Demand what every answer has to be."""
    answer = talk.answer()
    assert answer.status < 500, answer
    assert answer.ended
    assert ADMIN_KEY.encode() not in answer.body
    if "text/event-stream" in answer.headers["content-type"]:
        assert answer.status == 200
        return
    assert answer.headers["content-type"] == "application/json"
    if b"not valid HTTP" in answer.body:  # nobody knows then whose it is, nor what was asked
        assert (answer.status, talk.wire.closing) == (400, True)
        return
    if method == "HEAD":
        assert answer.body == b""
        return
    assert answer.headers["content-length"] == str(len(answer.body))
    fields = json.loads(answer.body)
    if answer.status < 400:
        return
    said = fields["error"]
    assert isinstance(said["message"], str)
    ours = path.rstrip("/").endswith("/completions")
    theirs = path.startswith(("/v1/messages", "/messages"))
    if theirs or (sent.get("anthropic-version") is not None and not ours):
        assert fields["type"] == "error"
    else:
        assert set(said) == {"message", "type", "code", "param"}


@given(method=st.sampled_from(METHODS), path=paths, sent=headers, body=st.binary(max_size=200))
async def test_anything_at_all(
    gateway: Gateway, method: str, path: str, sent: Headers, body: bytes
) -> None:
    """Any method, path, headers and bytes."""
    await ask_and_check(gateway, path, body, sent, method)


@pytest.mark.parametrize("path", [CHAT, TEXT, MESSAGES])
@given(body=odd | requests | likely)
async def test_any_json(gateway: Gateway, path: str, body: object) -> None:
    """Any JSON, from anything to what is nearly a request."""
    await ask_and_check(gateway, path, json.dumps(body).encode())


@given(body=texts)
async def test_any_text_completion(gateway: Gateway, body: object) -> None:
    """Anything near a text completion, with fields of chat among its own."""
    await ask_and_check(gateway, TEXT, json.dumps(body).encode())


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@given(sent=headers, body=likely)
async def test_any_headers(gateway: Gateway, path: str, sent: Headers, body: object) -> None:
    """Any headers on what is nearly a request."""
    await ask_and_check(gateway, path, json.dumps(body).encode(), sent)


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
    pieces = [body[a:b] for a, b in pairwise(edges) if body[a:b]]
    sent: Headers = {"content-encoding": "gzip" if packed else None}
    talk = Talk(gateway)
    talk.send(head("POST", CHAT, sent))
    for piece in pieces:
        talk.send(chunk(piece))
        await asyncio.sleep(0)
    if leaves:
        talk.leave()
    else:
        talk.send(chunk(b""))
    await talk.over()
    if leaves:
        assert not talk.wire.written
    else:
        check(talk, "POST", CHAT, sent)
