"""Take a caller's request: check it shallowly, keep every byte of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from trunkline.caps import least_cap
from trunkline.codec import BROKEN, fields_of
from trunkline.dialects.anthropic.prompt import parse
from trunkline.errors import InputError
from trunkline.types import Chat, Need, Wire
from trunkline.types.prompt import HARMLESS


class _Block(Struct):
    type: str
    text: str | None = None
    content: Raw = Raw(b"null")
    tool_use_id: str | None = None


class _Message(Struct):
    role: Literal["user", "assistant", "system"]
    content: Raw


class _Tool(Struct):
    name: str | None = None
    type: str | None = None


class _Kind(Struct):
    type: str


class _Metadata(Struct):
    user_id: str | None = None


class _Output(Struct):
    format: _Kind | None = None
    effort: str | None = None


_Check = tuple[Decoder[Any], str]
_NUMBER: _Check = (Decoder(float), "a number")
_CHECKS: dict[str, _Check] = {
    "model": (Decoder(str), "the name of a model as a string"),
    "stream": (Decoder(bool), "true or false"),
    "max_tokens": (Decoder(Annotated[int, Meta(ge=0)]), "a whole number"),
    "system": (Decoder(str | list[_Block]), 'a string or a list of {"type": "text", ...}'),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": (Decoder(int), "a whole number"),
    "stop_sequences": (Decoder(list[str]), "a list of strings"),
    "tools": (Decoder(list[_Tool]), 'a list of {"name": ..., "input_schema": {...}}'),
    "tool_choice": (Decoder(_Kind), '{"type": "auto"}, "any", "none", or "tool" with its "name"'),
    "thinking": (Decoder(_Kind), '{"type": "adaptive"}, or "enabled" with "budget_tokens"'),
    "metadata": (Decoder(_Metadata), '{"user_id": "..."}'),
    "output_config": (Decoder(_Output), '{"effort": "low"} or {"format": {"type": ...}}'),
    "output_format": (Decoder(_Kind), '{"type": "json_schema", "schema": {...}}'),
}
_HINTS = {
    "role": "user, assistant or system",
    "content": "a string or a list of blocks",
    "text": "a string",
    "type": 'a string such as "text"',
    "tool_use_id": "the id of the tool_use this answers, as a string",
    "name": "a string",
}
_BOUNDED = HARMLESS | _CHECKS.keys() | {"messages"}
_MESSAGES = Decoder(list[_Message])
_CONTENT = Decoder(str | list[_Block])
_BLOCK_NEEDS: dict[str, Need] = {"image": "images", "document": "files"}
_PATH = re.compile(r" - at `\$(.*?)`$")
_MEANINGFUL = ("anthropic-beta", "anthropic-version")
_NO_HEADERS: Mapping[str, str] = {}


def read(body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Chat:
    """Take a caller's request; of its `headers` (lower case) those that say something are kept.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields = fields_of(body)
    values = {
        name: _check(name, raw, *_CHECKS[name]) for name, raw in fields.items() if name in _CHECKS
    }
    count, needs = _check_messages(fields)
    _check_tools(values.get("tools", ()))
    if values.get("tools"):
        needs.add("tools")
    output = values.get("output_config")
    if "output_format" in values or (output is not None and output.format is not None):
        needs.add("schema")
    if "thinking" in values and values["thinking"].type != "disabled":
        needs.add("reasoning")
    return Chat(
        model=values.get("model", ""),
        stream=values.get("stream", False),
        body=Wire(
            dialect="anthropic",
            fields=fields,
            parse=parse,
            message_count=count + ("system" in fields),
            size_bytes=len(body),
            max_output_tokens=least_cap(values.get("max_tokens"), fields),
            needs=frozenset(needs),
            bounded=fields.keys() <= _BOUNDED
            and all(tool.type in {None, "custom"} for tool in values.get("tools", ())),
            end_user=values["metadata"].user_id if "metadata" in values else None,
            headers={name: headers[name] for name in _MEANINGFUL if name in headers},
        ),
    )


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


def _check_tools(tools: Iterable[_Tool]) -> None:
    for index, tool in enumerate(tools):
        if tool.name is None and tool.type in {None, "custom"}:
            raise InputError(
                f"'tools[{index}].name' is missing; write {_CHECKS['tools'][1]}",
                param=f"tools[{index}].name",
            )


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
        _check_message(message, f"messages[{index}].content", needs)
    return len(messages), needs


def _check_message(message: _Message, param: str, needs: set[Need]) -> None:
    content = memoryview(message.content)
    if content[0] == 0x22:  # a string: not worth decoding
        empty = len(content) == 2
    else:
        blocks = _check(param, message.content, _CONTENT, _HINTS["content"])
        _check_blocks(blocks, param, needs)
        empty = not blocks
    if message.role == "user" and empty:
        raise InputError(f"'{param}' is empty; a user message needs text or blocks", param=param)


def _check_blocks(blocks: Iterable[_Block], param: str, needs: set[Need]) -> None:
    for index, block in enumerate(blocks):
        if block.type in _BLOCK_NEEDS:
            needs.add(_BLOCK_NEEDS[block.type])
        elif block.type == "text" and block.text is None:
            where = f"{param}[{index}].text"
            raise InputError(f"'{where}' is missing; write a string", param=where)
        elif block.type == "tool_result":
            where = f"{param}[{index}]"
            if not block.tool_use_id:
                raise InputError(
                    f"'{where}.tool_use_id' is missing; write {_HINTS['tool_use_id']}",
                    param=f"{where}.tool_use_id",
                )
            if memoryview(block.content)[0] == 0x5B:  # a list
                inner = _check(f"{where}.content", block.content, _CONTENT, _HINTS["content"])
                _check_blocks(inner, f"{where}.content", needs)
