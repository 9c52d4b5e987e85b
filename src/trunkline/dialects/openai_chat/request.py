"""Take a caller's request: check it shallowly, keep every byte of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct, ValidationError
from msgspec.json import Decoder

from trunkline.codec import BROKEN
from trunkline.dialects.openai_chat.prompt import parse
from trunkline.errors import InputError
from trunkline.types import Chat, Need, Wire


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


class _Function(Struct):
    name: str


class _Tool(Struct):
    type: str = "function"
    function: _Function | None = None


class _Format(Struct):
    type: str
    json_schema: dict[str, Raw] | None = None


_Count = Annotated[int, Meta(ge=1)]
Check = tuple[Decoder[Any], str]
"""What a field is decoded as, and what to write there."""
_NUMBER: Check = (Decoder(float), "a number")
COUNT: Check = (Decoder(_Count), "a whole number of at least 1")
WHOLE: Check = (Decoder(int), "a whole number")
STRING: Check = (Decoder(str), "a string")
BOOL: Check = (Decoder(bool), "true or false")
_OBJECT: Check = (Decoder(dict[str, Raw]), "an object")
COMMON: dict[str, Check] = {
    "model": (Decoder(str), "the name of a model as a string"),
    "stream": BOOL,
    "stream_options": _OBJECT,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": WHOLE,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "n": COUNT,
    "seed": WHOLE,
    "stop": (Decoder(str | list[str]), "a string or a list of strings"),
    "user": STRING,
}
"""Fields that chat and text completions share."""
_CHECKS: dict[str, Check] = {
    **COMMON,
    "max_tokens": COUNT,
    "max_completion_tokens": COUNT,
    "tools": (Decoder(list[_Tool]), 'a list of {"type": "function", "function": {"name": ...}}'),
    "tool_choice": (
        Decoder(str | dict[str, Raw]),
        '"auto", "none", "required" or {"type": "function", "function": {"name": ...}}',
    ),
    "function_call": (Decoder(str | dict[str, Raw]), '"auto", "none" or {"name": ...}'),
    "functions": (Decoder(list[_Function]), 'a list of {"name": ...}'),
    "parallel_tool_calls": BOOL,
    "response_format": (Decoder(_Format), 'an object such as {"type": "json_object"}'),
    "reasoning_effort": STRING,
    "logprobs": BOOL,
    "top_logprobs": WHOLE,
}
_HINTS = {
    "role": "system, developer, user, assistant or tool",
    "content": "a string, a list of parts or null",
    "text": "a string",
    "type": 'a string such as "text"',
    "tool_call_id": "the id of the tool call this answers, as a string",
    "name": "a string",
}
_FIELDS = Decoder(dict[str, Raw])
_NULL = Raw(b"null")
_MESSAGES = Decoder(list[_Message])
_CONTENT = Decoder(str | list[_Part] | None)
_PART_NEEDS: dict[str, Need] = {
    "image_url": "images",
    "input_audio": "audio",
    "file": "files",
}
_PATH = re.compile(r" - at `\$(.*?)`$")


def read(body: bytes, headers: Mapping[str, str] | None = None) -> Chat:
    """Take a caller's request; this wire says nothing in its `headers`.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields, values = checked(body, _CHECKS)
    count, needs = _check_messages(fields)
    for index, tool in enumerate(values.get("tools", ())):
        if tool.type == "function" and tool.function is None:
            raise InputError(
                f"'tools[{index}].function' is missing; write {_CHECKS['tools'][1]}",
                param=f"tools[{index}].function",
            )
    if values.get("tools") or values.get("functions"):
        needs.add("tools")
    wanted = values.get("response_format")
    if wanted is not None and wanted.json_schema is not None:
        needs.add("schema")
    return Chat(
        model=values.get("model", ""),
        stream=values.get("stream", False),
        body=Wire(
            dialect="openai_chat",
            fields=fields,
            parse=parse,
            message_count=count,
            size_bytes=len(body),
            max_output_tokens=values.get("max_completion_tokens", values.get("max_tokens")),
            needs=frozenset(needs),
            choices=values.get("n", 1),
            end_user=values.get("user"),
        ),
    )


def checked(body: bytes, checks: Mapping[str, Check]) -> tuple[dict[str, Raw], dict[str, Any]]:
    """Take a JSON object apart: its fields as they came, and the values of those in `checks`.

    A null counts as a field that is not there.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    try:
        if not body.isascii():
            body.decode()
        fields = _FIELDS.decode(body)
    except ValidationError as error:
        raise InputError(f"the request body must be a JSON object: {error}") from None
    except BROKEN as error:
        raise InputError(f"the request body is not valid JSON: {error}") from None
    fields = {name: raw for name, raw in fields.items() if raw != _NULL}
    return fields, {
        name: _check(name, raw, *checks[name]) for name, raw in fields.items() if name in checks
    }


def _check(name: str, raw: Raw, decoder: Decoder[Any], hint: str) -> Any:
    try:
        return decoder.decode(raw)
    except BROKEN as error:
        raise _refusal(name, error, hint) from None


def _refusal(name: str, error: Exception, hint: str) -> InputError:
    """Turn a decoder's complaint into one that names the field and what to write instead."""
    problem, _, _ = str(error).partition(" - at `$")
    path = _PATH.search(str(error))
    param = name + (path[1] if path else "")
    if missing := re.search(r"required field `(\w+)`", problem):
        param, problem = f"{param}.{missing[1]}", "it is missing"
    last = re.sub(r"\[\d+\]$", "", param).rpartition(".")[2]
    hint = _HINTS.get(last, hint) if last != name else hint
    return InputError(f"'{param}' is wrong: {problem}; write {hint}", param=param)


def _check_messages(fields: Mapping[str, Raw]) -> tuple[int, set[Need]]:
    if "messages" not in fields:
        raise InputError(
            '\'messages\' is missing; write a list such as [{"role": "user", "content": "Hello"}]',
            param="messages",
        )
    messages = _check(
        "messages", fields["messages"], _MESSAGES, 'a list of {"role": ..., "content": ...}'
    )
    if not messages:
        raise InputError("'messages' is empty; write at least one message", param="messages")
    needs: set[Need] = set()
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]", needs)
    return len(messages), needs


def _check_message(message: _Message, param: str, needs: set[Need]) -> None:
    content = memoryview(message.content)
    if content[0] == 0x22:  # a string: not worth decoding
        empty = len(content) == 2
    else:
        parts = _check(f"{param}.content", message.content, _CONTENT, _HINTS["content"]) or ()
        needs.update(_PART_NEEDS[part.type] for part in parts if part.type in _PART_NEEDS)
        empty = all(part.type == "text" and not part.text for part in parts)
    if message.role == "user" and empty:
        raise InputError(
            f"'{param}.content' is empty; a user message needs text or parts",
            param=f"{param}.content",
        )
    if message.role == "tool" and not message.tool_call_id:
        raise InputError(
            f"'{param}.tool_call_id' is missing; write {_HINTS['tool_call_id']}",
            param=f"{param}.tool_call_id",
        )
