"""`read`: what a caller may send, and what a caller is told when it is wrong."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.dialects import Dialect, load
from trunkline.dialects.openai_chat import encode, read
from trunkline.dialects.openai_chat.request import _ASKED
from trunkline.errors import InputError
from trunkline.types import Deployment, Wire

USER: dict[str, Any] = {"role": "user", "content": "Hi"}


def body(**fields: Any) -> bytes:
    """Make a request of one user message and `fields`."""
    return json.dumps({"model": "m", "messages": [USER]} | fields).encode()


def test_the_package_is_a_dialect() -> None:
    """The package loads by name and has what `Dialect` asks for."""
    dialect: Dialect = load("openai_chat")
    assert (dialect.NAME, dialect.FRAMING) == ("openai_chat", "sse")
    names = ("read", "write", "encode", "decode", "decode_frame", "decode_error")
    assert all(callable(getattr(dialect, name)) for name in names)


def test_a_request_is_read_shallowly() -> None:
    """Model, stream, cap, count and needs are known without the typed view."""
    chat = read(
        body(
            stream=True,
            max_tokens=7,
            n=2,
            tools=[{"type": "function", "function": {"name": "f"}}],
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
            messages=[
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                        {"type": "file", "file": {"file_id": "f1"}},
                    ],
                },
            ],
        )
    )
    wire = chat.body
    assert isinstance(wire, Wire)
    assert (chat.model, chat.stream) == ("m", True)
    assert (wire.message_count, wire.max_output_tokens, wire.choices) == (2, 7, 2)
    assert wire.needs == {"tools", "schema", "images", "audio", "files"}
    assert wire.needs == wire.prompt.needs


def test_nothing_but_messages_is_required() -> None:
    """A request of messages only takes the defaults."""
    chat = read(b'{"messages":[{"role":"user","content":"Hi"}]}')
    assert (chat.model, chat.stream) == ("", False)
    assert isinstance(chat.body, Wire)
    assert (chat.body.max_output_tokens, chat.body.needs) == (None, frozenset())


def test_null_is_absent() -> None:
    """Optional fields that are null count as not said, and are not relayed."""
    chat = read(body(temperature=None, stream=None, tools=None, n=None, anything=None))
    assert isinstance(chat.body, Wire)
    assert set(chat.body.fields) == {"model", "messages"}


def test_unknown_fields_are_kept_and_the_last_of_two_wins() -> None:
    """A field nobody knows survives; JSON's rule for two of a name holds."""
    chat = read(
        b'{"messages":[{"role":"user","content":"Hi"}],"new_in_2027":{"a":[1,2]},"n":1,"n":2}'
    )
    assert isinstance(chat.body, Wire)
    assert bytes(chat.body.fields["new_in_2027"]) == b'{"a":[1,2]}'
    assert chat.body.choices == 2


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": None}, "messages", "is missing"),
        ({"messages": "Hi"}, "messages", "got `str`"),
        ({"messages": ["Hi"]}, "messages[0]", "got `str`"),
        ({"messages": [USER, {"content": "x"}]}, "messages[1].role", "system, developer, user"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "'robot'"),
        ({"messages": [USER, USER, USER | {"content": 5}]}, "messages[2].content", "got `int`"),
        ({"messages": [USER | {"content": ""}]}, "messages[0].content", "is empty"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "is empty"),
        ({"messages": [USER | {"content": []}]}, "messages[0].content", "is empty"),
        (
            {"messages": [USER | {"content": [{"type": "text", "text": ""}]}]},
            "messages[0].content",
            "is empty",
        ),
        ({"messages": [USER | {"content": [{}]}]}, "messages[0].content[0].type", "such as"),
        ({"messages": [USER | {"content": [3]}]}, "messages[0].content[0]", "got `int`"),
        (
            {"messages": [USER | {"content": [{"type": "text", "text": 3}]}]},
            "messages[0].content[0].text",
            "write a string",
        ),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0].tool_call_id", "the id of"),
        ({"model": 4}, "model", "the name of a model"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"temperature": "hot"}, "temperature", "a number"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens", "whole number"),
        ({"n": 1.5}, "n", "whole number"),
        ({"stop": [1]}, "stop[0]", "a list of strings"),
        ({"tools": {}}, "tools", "got `object`"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "a string"),
        ({"tool_choice": 1}, "tool_choice", '"auto"'),
        ({"response_format": "json"}, "response_format", "an object"),
        ({"response_format": {}}, "response_format.type", "a string"),
        ({"stream_options": True}, "stream_options", "an object"),
        ({"logprobs": 1}, "logprobs", "true or false"),
        ({"user": 7}, "user", "a string"),
    ],
)
def test_bad_input_names_the_field_and_the_mend(
    fields: dict[str, Any], param: str, says: str
) -> None:
    """A wrong field is named as the caller spelled it, with what was found and what to write."""
    with pytest.raises(InputError) as caught:
        read(body(**fields))
    assert caught.value.param == param
    assert param in caught.value.message
    assert says in caught.value.message


@pytest.mark.parametrize("name", _ASKED.type.__struct_fields__)
def test_every_field_that_is_read_says_what_to_write(name: str) -> None:
    """No field is refused without a hint; nothing takes a list of lists."""
    with pytest.raises(InputError, match="; write ") as caught:
        read(body(**{name: [[1]]}))
    assert caught.value.param in {name, f"{name}[0]"}


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "not valid JSON"),
        (b"hello", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"messages":[{"role":"user","content":"\xff"}]}', "invalid start byte"),
        (b'{"messages":[', "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b'{"messages":' + b"[" * 100_000, "not valid JSON"),
        (b'{"messages":[{"role":"user","content":"Hi"}]} trailing', "not valid JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(sent: bytes, says: str) -> None:
    """Whatever the bytes, the answer is an InputError that says what is wrong."""
    with pytest.raises(InputError, match=says):
        read(sent)


@pytest.mark.parametrize(
    ("message", "thoughts"),
    [
        (USER, False),
        (USER | {"content": '"reasoning_content": "no"'}, False),
        *((USER | {name: None}, True) for name in ("reasoning", "reasoning_content")),
        (USER | {"reasoning_details": []}, True),
    ],
)
def test_old_thoughts_are_noticed(message: dict[str, Any], thoughts: bool) -> None:
    """Whether any message carries a field of reasoning is known without the typed view."""
    wire = read(body(messages=[USER, message])).body
    assert isinstance(wire, Wire)
    assert wire.thoughts is thoughts


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": {}}, "image_url"),
        ({"type": "image_url", "image_url": {"url": 5}}, "image_url"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "input_audio"),
        ({"type": "file", "file": "f1"}, "file"),
    ],
)
def test_a_part_without_its_payload_is_named_by_the_typed_view(
    part: dict[str, Any], param: str
) -> None:
    """What only the typed view looks at gets the same kind of error."""
    chat = read(body(messages=[USER | {"content": [{"type": "text", "text": "a"}, part]}]))
    with pytest.raises(InputError) as caught:
        assert chat.prompt.messages
    assert caught.value.param == f"messages[0].content[1].{param}"


def test_a_tool_call_without_a_name_is_named() -> None:
    """An assistant's tool call needs its function's name."""
    calls = [{"id": "c", "function": {"arguments": "{}"}}]
    chat = read(body(messages=[USER, {"role": "assistant", "tool_calls": calls}]))
    with pytest.raises(InputError) as caught:
        assert chat.prompt.messages
    assert caught.value.param == "messages[1].tool_calls[0].function.name"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "name", "function", "url"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_FIELD = st.sampled_from(
    [
        *("tools", "stop", "tool_choice", "response_format", "reasoning", "thinking", "functions"),
        *("content", "tool_calls", "reasoning_details", "audio", "name", "function_call"),
    ]
)


@given(st.dictionaries(_FIELD | st.text(max_size=6), _JSON, max_size=5))
def test_no_json_breaks_reading(fields: dict[str, Any]) -> None:
    """Any JSON object is either read, typed and encoded, or refused with an InputError."""
    with suppress(InputError):
        chat = read(body(**fields))
        typed = msgspec.structs.replace(chat, body=chat.prompt)
        for asked in (chat, typed):
            assert encode(asked, Deployment(provider="p", model="m")).body


@given(st.dictionaries(_FIELD | st.text(max_size=6), _JSON, max_size=5) | _JSON)
def test_no_message_breaks_the_typed_view(message: Any) -> None:
    """Any message is either typed or refused with an InputError."""
    said = message if isinstance(message, dict) else {"tool_calls": message}
    with suppress(InputError):
        chat = read(body(messages=[USER, said | {"role": "assistant"}]))
        typed = msgspec.structs.replace(chat, body=chat.prompt)
        assert encode(typed, Deployment(provider="p", model="m")).body


@given(_JSON)
def test_no_tool_breaks_the_typed_view(tool: Any) -> None:
    """Any tool is either typed or refused with an InputError."""
    with suppress(InputError):
        assert read(body(tools=[tool])).prompt.tools
