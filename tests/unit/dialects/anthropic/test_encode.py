"""`encode`: a caller's own bytes with documented edits, and the head of the request."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.dialects.anthropic.wire import ROW
from trunkline.dialects.anthropic import continues, encode, read
from trunkline.types import Chat, Secret, Wire

BODY = (
    b'{"model":"fast","max_tokens":16,"new" : {"a" : 1.10},'
    b'"messages":[{"role":"user","content":"\\u0048i"}]}'
)


def edited(chat: Chat, **changes: Any) -> Chat:
    """Return the call with its request changed as a layer or a surface does."""
    assert isinstance(chat.body, Wire)
    return replace(chat, body=replace(chat.body, **changes))


def test_a_body_of_this_dialect_is_relayed_with_its_own_bytes() -> None:
    """Only the model changes; order, unknown fields, numbers and escapes do not."""
    sent = encode(read(BODY), ROW)
    assert sent.body == BODY.replace(b'"fast"', b'"claude-sonnet-4-5"').replace(
        b'"new" : {', b'"new":{'
    )
    assert sent.dropped == ()


@pytest.mark.parametrize("asked", [b"", b'"stream":true,', b'"stream":false,'])
@pytest.mark.parametrize("stream", [True, False])
def test_the_wire_streams_as_the_call_says(asked: bytes, stream: bool) -> None:
    """What the caller's body says of streaming gives way to what the call says."""
    chat = replace(read(BODY.replace(b'"max', asked + b'"max')), stream=stream)
    sent = encode(chat, ROW)
    assert json.loads(sent.body).get("stream") is (True if stream else None)
    assert sent.headers["accept"] == ("text/event-stream" if stream else "application/json")


def test_the_cap_a_layer_set_is_sent() -> None:
    """Strict budgets cap the output; a caller without a cap gets the default the API needs."""
    assert json.loads(encode(edited(read(BODY), max_output_tokens=5), ROW).body)["max_tokens"] == 5
    uncapped = read(BODY.replace(b'"max_tokens":16,', b""))
    assert json.loads(encode(uncapped, ROW).body)["max_tokens"] == 4096
    prewarm = read(BODY.replace(b"16", b"0"))
    assert json.loads(encode(prewarm, ROW).body)["max_tokens"] == 0


def test_thoughts_nobody_signed_are_left_out() -> None:
    """They were written by us for another provider's answer; Anthropic would refuse them."""
    signed = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    unsigned = {"type": "thinking", "thinking": 'say "signature":""', "signature": ""}
    talk = {"type": "text", "text": '"signature":""'}
    foreign = {"type": "thinking", "thinking": "", "signature": "gAAAAABpproofOfOpenAI"}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [unsigned, foreign, signed, talk]},
        {"role": "user", "content": [talk]},
        {"role": "assistant", "content": [unsigned]},
    ]
    sent = json.loads(encode(read(json.dumps({"messages": messages}).encode()), ROW).body)
    assert sent["messages"] == [
        messages[0],
        {"role": "assistant", "content": [signed, talk]},
        messages[2],
    ]


def test_the_request_goes_to_messages_with_the_key_and_the_version() -> None:
    """URL, key and version as the API wants them; a query of the base URL stays."""
    row = replace(
        ROW,
        base_url="https://api.test/v1/?beta=true",
        api_key=Secret("sk-1"),
        headers=(("X-A", "b"),),
    )
    sent = encode(read(BODY), row)
    assert sent.url == "https://api.test/v1/messages?beta=true"
    assert sent.headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-1",
        "x-a": "b",
    }


@pytest.mark.parametrize(
    ("callers", "configured", "sent"),
    [
        ({}, (), None),
        ({"anthropic-beta": "a,b"}, (), "a,b"),
        ({}, (("Anthropic-Beta", "c"),), "c"),
        ({"anthropic-beta": "a, b"}, (("anthropic-beta", "b,c"),), "a,b,c"),
    ],
)
def test_betas_of_caller_and_configuration_are_joined(
    callers: dict[str, str], configured: tuple[tuple[str, str], ...], sent: str | None
) -> None:
    """Each is named once, in order."""
    got = encode(read(BODY, callers), replace(ROW, headers=configured))
    assert got.headers.get("anthropic-beta") == sent


def test_the_callers_version_is_sent() -> None:
    """Its answers are what the caller's client understands."""
    got = encode(read(BODY, {"anthropic-version": "2026-10-21"}), ROW)
    assert got.headers["anthropic-version"] == "2026-10-21"


def test_headers_of_another_dialect_stay_out() -> None:
    """What a caller of another dialect said in headers means nothing here."""
    chat = edited(
        read(BODY), dialect="another", headers={"openai-beta": "x", "anthropic-beta": "y"}
    )
    assert not {"openai-beta", "anthropic-beta"} & encode(chat, ROW).headers.keys()


def test_vertex_has_the_model_in_the_path_and_the_version_in_the_body() -> None:
    """Also for a request that is relayed; everything else stays as it came."""
    row = replace(ROW, quirks=frozenset({"vertex"}), api_key=Secret("ya29.x"))
    chat = read(b'{"model":"m","max_tokens":9,"new":1,"messages":[{"role":"user","content":"Hi"}]}')
    made = encode(replace(chat, stream=True), row)
    where = "publishers/anthropic/models/claude-sonnet-4-5:streamRawPredict"
    assert made.url == f"https://api.test/v1/{where}"
    assert made.headers["authorization"] == "Bearer ya29.x"
    assert "x-api-key" not in made.headers
    assert json.loads(made.body) == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 9,
        "new": 1,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


@pytest.mark.parametrize("typed", [False, True], ids=["relayed", "typed"])
def test_the_beginning_of_an_answer_is_handed_on(typed: bool) -> None:
    """As the last message, without the blanks at its end, which the API refuses."""
    chat = replace(read(BODY), partial="Once upon ")
    chat = replace(chat, body=chat.prompt) if typed else chat
    assert json.loads(encode(chat, ROW).body)["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Once upon"},
    ]


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("claude-sonnet-4-5", None, True),
        ("claude-3-5-haiku-20241022", {"type": "disabled"}, True),
        ("claude-sonnet-4-5", {"type": "enabled", "budget_tokens": 1024}, False),
        ("claude-sonnet-4-6", None, False),
        ("claude-opus-5-5", None, False),
        ("some-model", None, False),
    ],
)
def test_who_goes_on_from_a_beginning(model: str, thinking: object, expected: bool) -> None:
    """Models before 4.6 that are not asked to think; of an unknown one nothing is assumed."""
    body = json.loads(BODY) | {"max_tokens": 2000} | ({"thinking": thinking} if thinking else {})
    chat = read(json.dumps(body).encode())
    assert continues(chat, replace(ROW, model=model)) is expected
