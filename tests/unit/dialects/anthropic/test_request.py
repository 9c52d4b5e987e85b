"""`read`: what a caller may send, and what is said about what they may not."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.dialects.anthropic import read
from trunkline.errors import InputError
from trunkline.types import Prompt, Wire

MESSAGES = [{"role": "user", "content": "Hi"}]
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def take(**fields: Any) -> Wire:
    """Read a request with one message unless told otherwise."""
    body = read(json.dumps({"model": "m", "messages": MESSAGES} | fields).encode()).body
    assert isinstance(body, Wire)
    return body


def test_a_request_is_kept_byte_by_byte() -> None:
    """Unknown fields, odd numbers and spaces survive; only nulls say nothing."""
    body = (
        b'{"model":"m","max_tokens":16,"stream":true, "new" : {"a" : 1.10},"system":null,'
        b'"messages":[{"role":"user","content":"\\u0048i"}]}'
    )
    chat = read(body)
    assert isinstance(chat.body, Wire)
    assert (chat.model, chat.stream) == ("m", True)
    assert {n: bytes(raw) for n, raw in chat.body.fields.items()} == {
        "model": b'"m"',
        "max_tokens": b"16",
        "stream": b"true",
        "new": b'{"a" : 1.10}',
        "messages": b'[{"role":"user","content":"\\u0048i"}]',
    }
    assert chat.body.dialect == "anthropic"
    assert chat.body.size_bytes == len(body)
    assert chat.body.max_output_tokens == 16
    assert chat.prompt.extra == {"new": {"a": 1.1}}


def test_what_routing_needs_is_known_without_the_typed_view() -> None:
    """Needs, counts and the user are read from the shallow check."""
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "image", "source": PNG}],
    }
    wire = take(
        system="Be brief.",
        messages=[{"role": "user", "content": [result, {"type": "document", "source": PNG}]}],
        tools=[{"name": "f", "input_schema": {"type": "object"}}],
        metadata={"user_id": "u-1"},
        output_config={"format": {"type": "json_schema", "schema": {}}},
    )
    assert wire.needs == {"images", "files", "tools", "schema"}
    assert (wire.message_count, wire.end_user) == (2, "u-1")
    assert "prompt" not in vars(wire)
    assert wire.prompt.needs == wire.needs
    assert wire.prompt.message_count == 3  # the result is a message of its own there


def test_headers_of_meaning_are_kept_and_credentials_are_not() -> None:
    """Version and betas travel with the request; nothing else of the caller's does."""
    headers = {
        "anthropic-beta": "a-1,b-2",
        "anthropic-version": "2026-10-21",
        "x-api-key": "sk-secret",
        "user-agent": "x",
    }
    body = read(json.dumps({"messages": MESSAGES}).encode(), headers).body
    assert isinstance(body, Wire)
    assert body.headers == {"anthropic-beta": "a-1,b-2", "anthropic-version": "2026-10-21"}
    assert take().headers == {}


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"messages": None}, "messages", "missing"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": "Hi"}, "messages", "a list of"),
        ({"messages": ["Hi"]}, "messages[0]", "a list of"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "a string or a list of blocks"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "user, assistant or system"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "user, assistant"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content", "is empty"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "is empty"),
        (
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content",
            "a string or a list",
        ),
        (
            {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
            "messages[0].content[0].type",
            'such as "text"',
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "write a string",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
            "messages[0].content[0].tool_use_id",
            "id of the tool_use",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{}]}],
                    }
                ]
            },
            "messages[0].content[0].content[0].type",
            'such as "text"',
        ),
        ({"model": 5}, "model", "as a string"),
        ({"max_tokens": -1}, "max_tokens", "whole number"),
        ({"max_tokens": "9"}, "max_tokens", "whole number"),
        ({"system": 5}, "system", "a string or a list"),
        ({"temperature": "hot"}, "temperature", "a number"),
        ({"stop_sequences": "x"}, "stop_sequences", "a list of strings"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name", "is missing"),
        ({"tool_choice": "auto"}, "tool_choice", '{"type": "auto"}'),
        ({"thinking": {"budget_tokens": 5}}, "thinking.type", "it is missing"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id", "user_id"),
        ({"stream": "yes"}, "stream", "true or false"),
    ],
)
def test_a_wrong_field_is_named_with_what_to_write_instead(
    fields: dict[str, Any], param: str, says: str
) -> None:
    """The message names the field, and says what belongs there."""
    with pytest.raises(InputError) as caught:
        take(**fields)
    assert caught.value.param == param
    assert says in caught.value.message
    assert param in caught.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"messages":[{"role":"user"}'])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Broken bodies are the caller's fault, told as such."""
    with pytest.raises(InputError, match="body"):
        read(body)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"type": "image", "source": {"type": "base64"}}, '"source"'),
        ({"type": "image"}, '"source"'),
        ({"type": "tool_use", "id": "t"}, '"input"'),
        ({"type": "document", "source": {"type": "url"}}, '"url"'),
        ({"type": "thinking"}, '"signature"'),
        ({"type": "redacted_thinking"}, '"data"'),
    ],
)
def test_a_block_that_lacks_something_is_named(block: dict[str, Any], says: str) -> None:
    """The typed view says which block is wrong and shows a right one."""
    wire = take(messages=[{"role": "user", "content": [{"type": "text", "text": "A"}, block]}])
    with pytest.raises(InputError) as caught:
        _ = wire.prompt
    assert caught.value.param == "messages[0].content[1]"
    assert says in caught.value.message


_KEYS = st.sampled_from(
    [
        *("type", "role", "content", "text", "source", "data", "media_type", "url", "id", "name"),
        *("input", "tool_use_id", "thinking", "signature", "title", "cache_control", "schema"),
        *("format", "effort", "budget_tokens", "user_id", "input_schema", "is_error"),
    ]
)
_WORDS = st.sampled_from(
    [
        *("user", "assistant", "system", "text", "image", "document", "tool_use", "tool_result"),
        *("thinking", "redacted_thinking", "base64", "url", "file", "content", "enabled", "tool"),
        *("json_schema", "search_result", "mcp_tool_use", "auto", ""),
    ]
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=20,
)
_FIELDS = st.sampled_from(
    [
        *("system", "tools", "tool_choice", "thinking", "metadata", "output_config", "max_tokens"),
        *("output_format", "stop_sequences", "temperature", "stream", "model", "other"),
    ]
)


@given(
    st.lists(st.dictionaries(_KEYS, _ANY, max_size=4) | _ANY, max_size=3),
    st.dictionaries(_FIELDS, _ANY),
)
def test_no_json_breaks_reading(messages: list[Any], fields: dict[str, Any]) -> None:
    """Any JSON becomes a prompt or an InputError; nothing else ever comes out."""
    with suppress(InputError):
        body = read(json.dumps(fields | {"messages": messages}).encode()).body
        assert isinstance(body, Wire)
        assert isinstance(body.prompt, Prompt)


@given(st.binary(max_size=60))
def test_no_bytes_break_reading(body: bytes) -> None:
    """Any bytes are a request or an InputError."""
    with suppress(InputError):
        read(body)
