"""Take a caller's request: check it shallowly, keep every byte of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, ValidationError
from msgspec.json import Decoder

from trunkline.caps import least_cap
from trunkline.codec import BROKEN, fields_of
from trunkline.dialects.openai_chat.prompt import parse
from trunkline.errors import InputError
from trunkline.types import Chat, Need, Wire
from trunkline.types.prompt import HARMLESS, OWN_TOOLS


class _Part(Struct):
    type: str
    text: str | None = None


class _Message(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Raw = Raw(b"null")
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Raw]] | None = None
    tool_call_id: str | None = None
    reasoning: Raw | UnsetType = UNSET
    reasoning_content: Raw | UnsetType = UNSET
    reasoning_details: Raw | UnsetType = UNSET
    extra_content: Raw | UnsetType = UNSET


class _Function(Struct):
    name: str


class _Tool(Struct):
    type: str = "function"
    function: _Function | None = None


class _Format(Struct):
    type: str
    json_schema: dict[str, Raw] | None = None


Count = Annotated[int, Meta(ge=1)]


class Common(Struct):
    """Fields that chat and text completions share; a null says nothing."""

    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Raw] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: Count | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None


class _Asked(Common):
    messages: list[_Message] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Raw] | None = None
    function_call: str | dict[str, Raw] | None = None
    functions: list[_Function] | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


_STRING, _BOOL, _NUMBER, _WHOLE = "a string", "true or false", "a number", "a whole number"
COUNT = "a whole number of at least 1"
HINTS = {
    "model": "the name of a model as a string",
    "stream": _BOOL,
    "stream_options": "an object",
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _WHOLE,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "n": COUNT,
    "seed": _WHOLE,
    "stop": "a string or a list of strings",
    "user": _STRING,
}
"""What to write in the fields of `Common`."""
_HINTS = HINTS | {
    "messages": 'a list of {"role": ..., "content": ...}',
    "role": "system, developer, user, assistant or tool",
    "content": "a string, a list of parts or null",
    "text": _STRING,
    "type": 'a string such as "text"',
    "tool_call_id": "the id of the tool call this answers, as a string",
    "name": _STRING,
    "max_tokens": COUNT,
    "max_completion_tokens": COUNT,
    "tools": 'a list of {"type": "function", "function": {"name": ...}}',
    "tool_choice": (
        '"auto", "none", "required" or {"type": "function", "function": {"name": ...}}'
    ),
    "function_call": '"auto", "none" or {"name": ...}',
    "functions": 'a list of {"name": ...}',
    "parallel_tool_calls": _BOOL,
    "response_format": 'an object such as {"type": "json_object"}',
    "reasoning_effort": _STRING,
    "logprobs": _BOOL,
    "top_logprobs": _WHOLE,
}
_ASKED = Decoder(_Asked)
_BOUNDED = HARMLESS | set(_Asked.__struct_fields__)
_CONTENT = Decoder(str | list[_Part] | None)
_PART_NEEDS: dict[str, Need] = {
    "image_url": "images",
    "input_audio": "audio",
    "file": "files",
}
_T = TypeVar("_T")


def read(body: bytes, headers: Mapping[str, str] | None = None) -> Chat:
    """Take a caller's request; this wire says nothing in its `headers`.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields, asked = checked(body, _ASKED, _HINTS)
    messages = asked.messages
    if not messages:
        raise _no_messages(messages)
    needs, thoughts = _check_messages(messages)
    bounded = fields.keys() <= _BOUNDED
    if asked.tools or asked.functions:
        _check_tools(asked.tools or ())
        needs.add("tools")
        bounded = bounded and all(tool.type in OWN_TOOLS for tool in asked.tools or ())
    if asked.response_format is not None and asked.response_format.json_schema is not None:
        needs.add("schema")
    if asked.reasoning_effort not in {None, "none"}:
        needs.add("reasoning")
    return Chat(
        model=asked.model or "",
        stream=asked.stream or False,
        body=Wire(
            dialect="openai_chat",
            fields=fields,
            parse=parse,
            message_count=len(messages),
            size_bytes=len(body),
            max_output_tokens=least_cap(asked.max_completion_tokens or asked.max_tokens, fields),
            needs=frozenset(needs),
            choices=asked.n or 1,
            end_user=asked.user,
            bounded=bounded,
            thoughts=thoughts,
        ),
    )


def checked(
    body: bytes, decoder: Decoder[_T], hints: Mapping[str, str]
) -> tuple[dict[str, Raw], _T]:
    """Take a JSON object apart: its fields as they came, without nulls, and as a struct.

    `hints` say what to write in a field, by its name.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields = fields_of(body)
    try:
        return fields, decoder.decode(body)
    except ValidationError as error:
        raise refusal(error, hints) from None
    except BROKEN as error:  # half a character in a text that the fields leave alone
        raise InputError(f"the request body is not valid JSON: {error}") from None


def refusal(error: Exception, hints: Mapping[str, str], within: str = "") -> InputError:
    """Turn a decoder's complaint into one that names the field and what to write instead."""
    problem, _, path = str(error).partition(" - at `$")
    param = (within + path.removesuffix("`")).removeprefix(".")
    if not param:
        return InputError(f"the request body must be a JSON object: {problem}")
    if missing := re.search(r"required field `(\w+)`", problem):
        param, problem = f"{param}.{missing[1]}", "it is missing"
    names = re.findall(r"[a-z_]+", param)
    hint = hints.get(names[-1]) or hints[names[0]]
    return InputError(f"'{param}' is wrong: {problem}; write {hint}", param=param)


def _no_messages(messages: list[_Message] | None) -> InputError:
    if messages is None:
        problem = 'is missing; write a list such as [{"role": "user", "content": "Hello"}]'
    else:
        problem = "is empty; write at least one message"
    return InputError(f"'messages' {problem}", param="messages")


def _check_tools(tools: Iterable[_Tool]) -> None:
    for index, tool in enumerate(tools):
        if tool.type == "function" and tool.function is None:
            param = f"tools[{index}].function"
            raise InputError(f"'{param}' is missing; write {_HINTS['tools']}", param=param)


def _check_messages(messages: Iterable[_Message]) -> tuple[set[Need], bool]:
    """Return what the messages need, and whether any carries thoughts or proofs of them."""
    needs: set[Need] = set()
    thoughts = False
    for index, message in enumerate(messages):
        content = memoryview(message.content)
        if content[0] == 0x22:  # a string: not worth decoding
            empty = len(content) == 2
        else:
            empty = _check_parts(message.content, f"messages[{index}].content", needs)
        if empty and message.role == "user":
            param = f"messages[{index}].content"
            raise InputError(f"'{param}' is empty; a user message needs text or parts", param=param)
        if message.role == "tool" and not message.tool_call_id:
            param = f"messages[{index}].tool_call_id"
            raise InputError(f"'{param}' is missing; write {_HINTS['tool_call_id']}", param=param)
        proofs = message.extra_content or message.reasoning_details
        if message.reasoning or message.reasoning_content or proofs:
            thoughts = True
        if message.tool_calls and any("extra_content" in call for call in message.tool_calls):
            thoughts = True
    return needs, thoughts


def _check_parts(content: Raw, param: str, needs: set[Need]) -> bool:
    """Add what parts need, and return whether they say nothing."""
    try:
        parts = _CONTENT.decode(content) or ()
    except BROKEN as error:
        raise refusal(error, _HINTS, param) from None
    empty = True
    for part in parts:
        if part.type in _PART_NEEDS:
            needs.add(_PART_NEEDS[part.type])
        if part.type != "text" or part.text:
            empty = False
    return empty
