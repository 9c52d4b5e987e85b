"""Take a caller's request: check it shallowly, keep every byte of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from trunkline.caps import least_cap
from trunkline.codec import BROKEN
from trunkline.dialects.openai_chat.request import HINTS, Count, checked, refusal
from trunkline.dialects.openai_chat.responses.prompt import parse
from trunkline.errors import InputError
from trunkline.types import Chat, Need, Wire
from trunkline.types.prompt import HARMLESS, OWN_TOOLS


class _Part(Struct):
    type: str
    text: str | None = None


class _Item(Struct):
    type: str = "message"
    role: str | None = None
    content: Raw = Raw(b"null")
    output: Raw = Raw(b"null")
    call_id: str | None = None
    name: str | None = None


class _Tool(Struct):
    type: str
    name: str | None = None


class _Format(Struct):
    type: str


class _Text(Struct):
    format: _Format | None = None


class _Effort(Struct):
    effort: str | None = None


class _Asked(Struct):
    model: str | None = None
    stream: bool | None = None
    input: str | list[_Item] | None = None
    instructions: str | None = None
    max_output_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Raw] | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    reasoning: _Effort | None = None
    include: list[str] | None = None
    truncation: str | None = None
    user: str | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None


_HINTS = {name: hint for name, hint in HINTS.items() if name in _Asked.__struct_fields__} | {
    "input": 'a string or a list of items such as {"role": "user", "content": ...}',
    "role": "user, assistant, system or developer",
    "content": "a string or a list of parts",
    "output": "a string or a list of parts",
    "text": 'a string, or at the top {"format": {"type": "json_schema", ...}}',
    "type": 'a string such as "input_text"',
    "call_id": "the id of the call this belongs to, as a string",
    "name": "a string",
    "instructions": "a string",
    "max_output_tokens": "a whole number of at least 1",
    "tools": 'a list of {"type": "function", "name": ..., "parameters": {...}}',
    "tool_choice": '"auto", "none", "required" or {"type": "function", "name": ...}',
    "parallel_tool_calls": "true or false",
    "format": '{"type": "json_schema", "name": ..., "schema": {...}}',
    "reasoning": '{"effort": "low"}',
    "effort": 'a string such as "low"',
    "include": "a list of strings",
    "truncation": '"auto" or "disabled"',
    "store": "true or false",
    "background": "true or false",
    "previous_response_id": "the id of an answer, as a string",
}
_ASKED = Decoder(_Asked)
_BOUNDED = (HARMLESS | set(_Asked.__struct_fields__)) - {"previous_response_id"}
_CONTENT = Decoder(str | list[_Part] | None)
_PART_NEEDS: dict[str, Need] = {
    "input_image": "images",
    "input_audio": "audio",
    "input_file": "files",
}
_ROLES = frozenset({"user", "assistant", "system", "developer"})
_NAMED = frozenset({"function_call", "custom_tool_call"})
_ANSWERING = _NAMED | {"function_call_output", "custom_tool_call_output"}
_PLAIN = _ANSWERING | {"message", "reasoning"}


def read(body: bytes, headers: Mapping[str, str] | None = None) -> Chat:
    """Take a caller's request; this wire says nothing in its `headers`.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    fields, asked = checked(body, _ASKED, _HINTS)
    if asked.input is None and "prompt" not in fields and asked.previous_response_id is None:
        raise InputError(f"'input' is missing; write {_HINTS['input']}", param="input")
    if asked.background:
        raise InputError(
            "'background' cannot be true: nobody here would hear when that answer ends and what it "
            "cost; leave it out and wait for the answer, or stream it",
            param="background",
        )
    items = asked.input if isinstance(asked.input, list) else ()
    needs = _check_items(items)
    _check_tools(asked.tools or ())
    if asked.tools:
        needs.add("tools")
    if asked.text and asked.text.format and asked.text.format.type == "json_schema":
        needs.add("schema")
    if asked.reasoning and asked.reasoning.effort not in {None, "none"}:
        needs.add("reasoning")
    return Chat(
        model=asked.model or "",
        stream=asked.stream or False,
        body=Wire(
            dialect="openai_responses",
            fields=fields,
            parse=parse,
            message_count=(len(items) or 1) + (asked.instructions is not None),
            size_bytes=len(body),
            max_output_tokens=least_cap(asked.max_output_tokens, fields),
            needs=frozenset(needs),
            end_user=asked.user,
            bounded=fields.keys() <= _BOUNDED
            and all(tool.type in OWN_TOOLS for tool in asked.tools or ())
            and all(item.type in _PLAIN for item in items),
        ),
    )


def _check_tools(tools: Iterable[_Tool]) -> None:
    for index, tool in enumerate(tools):
        if tool.name is None and tool.type in OWN_TOOLS:
            param = f"tools[{index}].name"
            raise InputError(f"'{param}' is missing; write {_HINTS['tools']}", param=param)


def _check_items(items: Iterable[_Item]) -> set[Need]:
    """Return what the items need."""
    needs: set[Need] = set()
    for index, item in enumerate(items):
        param = f"input[{index}]"
        if item.type == "message" and item.role not in _ROLES:
            found = "is missing" if item.role is None else f"is wrong: found {item.role[:40]!r}"
            raise InputError(
                f"'{param}.role' {found}; write {_HINTS['role']}", param=f"{param}.role"
            )
        for name in ("call_id", "name"):
            wanted = _ANSWERING if name == "call_id" else _NAMED
            if item.type in wanted and not getattr(item, name):
                where = f"{param}.{name}"
                raise InputError(f"'{where}' is missing; write {_HINTS[name]}", param=where)
        if item.type == "message":
            _check_parts(item.content, f"{param}.content", needs)
        elif item.type in _ANSWERING - _NAMED:
            _check_parts(item.output, f"{param}.output", needs)
    return needs


def _check_parts(content: Raw, param: str, needs: set[Need]) -> None:
    """Add what parts need."""
    if memoryview(content)[0] == 0x22:  # a string: not worth decoding
        return
    try:
        parts = _CONTENT.decode(content) or ()
    except BROKEN as error:
        raise refusal(error, _HINTS, param) from None
    needs |= {_PART_NEEDS[part.type] for part in parts if part.type in _PART_NEEDS}
