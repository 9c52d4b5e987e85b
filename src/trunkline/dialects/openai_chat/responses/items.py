"""The input of a request: items -> `Message`s and their parts; `spell` is the way back.

What the model said in a row (thoughts, words, calls) is one message of the assistant.
Source: https://platform.openai.com/docs/api-reference/responses/create 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from msgspec import Struct
from msgspec.json import decode as load
from msgspec.structs import asdict

from trunkline.codec import BROKEN
from trunkline.dialects.openai_chat.parts import place_of, rest
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Message,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]
OWN = "openai_responses"
"""Under this name `extra` keeps an item that only this dialect knows, whole (it has a `type`), or
what stood beside the words of a part: `item` and `part`."""
CALLS = {"function_call": "function", "custom_tool_call": "custom"}
RESULTS = {"function_call_output": "function", "custom_tool_call_output": "custom"}
SEAL = "trunkline:"
"""How `encrypted_content` begins that we made of another provider's proof of a thought."""


CARRIED = "extra_content"
"""What Google wants back beside a call, in its own spelling for clients of OpenAI's dialects."""
_CALL = ("type", "call_id", "name", "arguments", "input", CARRIED)


class Sealed(Struct, omit_defaults=True):
    """Another provider's proof of a thought, as `encrypted_content` carries it after `SEAL`."""

    signature: str | None = None
    redacted: str | None = None
    spelling: str | None = None


def messages_of(items: Iterable[Any]) -> Iterable[Message]:
    """Give the messages of an input, which stands at `input`.

    Raises:
        InputError: an item lacks what its type needs.
        CapabilityMissing: an item is a reference to what OpenAI's own server holds.
    """
    said: list[AnyPart] = []
    for index, item in enumerate(items):
        param = f"input[{index}]"
        try:
            if is_said(item):
                said += _said(item, param)
                continue
            if said:
                yield Message(role="assistant", parts=tuple(said))
                said = []
            yield _given(item, param)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            kind = kind_of(item) if isinstance(item, dict) else None
            raise _wrong(param, f"an item of type {kind!r}", error) from None
    if said:
        yield Message(role="assistant", parts=tuple(said))


def kind_of(item: Json) -> str:
    """Return the type of an item; a message may go without."""
    return cast("str", item.get("type") or "message")


def is_said(item: Json) -> bool:
    """Whether the model said it, or did it itself."""
    kind = kind_of(item)
    if kind == "message":
        return item.get("role") == "assistant"
    return not kind.endswith(("_output", "_response", "_reference"))


def noted(**notes: Json) -> Json:
    """Return the `extra` that keeps `notes`; empty where they say nothing."""
    told = {name: note for name, note in notes.items() if note}
    return {OWN: told} if told else {}


def _given(item: Json, param: str) -> Message:
    """Return what the user or a tool said."""
    kind = kind_of(item)
    if kind == "item_reference":
        raise CapabilityMissing(
            f"'{param}': whoever answers here does not hold that item; send the item itself",
            param=param,
        )
    if kind in RESULTS:
        known = ("call_id", "output", *(("type",) if kind == "function_call_output" else ()))
        extra = noted(item=rest(item, *known))
        parts = tuple(parts_of(item.get("output"), f"{param}.output"))
        return Message(
            role="tool", parts=(ToolResult(id=item["call_id"], parts=parts, extra=extra),)
        )
    if kind != "message":
        return Message(role="user", parts=(Text(text="", extra={OWN: item}),))
    return Message(
        role=cast("Role", item["role"]),
        parts=tuple(parts_of(item.get("content"), f"{param}.content")),
        extra=noted(item=rest(item, "type", "role", "content")),
    )


def _said(item: Json, param: str) -> Iterable[AnyPart]:
    """Give the parts of one item that the model said."""
    kind = kind_of(item)
    if kind == "message":
        beside = rest(item, "type", "role", "content")
        for part in parts_of(item.get("content"), f"{param}.content"):
            yield _beside(part, beside)
    elif kind in CALLS:
        text = item["input"] if kind == "custom_tool_call" else item["arguments"] or "{}"
        carried = {CARRIED: item[CARRIED]} if CARRIED in item else {}
        yield ToolCall(
            id=item["call_id"],
            name=item["name"],
            arguments=text,
            kind=CALLS[kind],
            extra=noted(item=rest(item, *_CALL)) | carried,
        )
    elif kind == "reasoning":
        yield thought_of(item)
    else:
        yield Text(text="", extra={OWN: item})


def _beside(part: AnyPart, beside: Json) -> AnyPart:
    if not beside or "type" in part.extra.get(OWN, {}):
        return part
    extra = {OWN: part.extra.get(OWN, {}) | {"item": beside}}
    if isinstance(part, Refusal):
        return Refusal(text=part.text, extra=extra)
    return Text(text=part.text, extra=extra) if isinstance(part, Text) else part


def thought_of(item: Json) -> Thinking:
    """Return a thought; of one that we spelled for another provider, what that one said."""
    text = words_of(item)
    proof = item.get("encrypted_content")
    if isinstance(proof, str) and proof.startswith(SEAL):
        try:
            sealed = load(proof.removeprefix(SEAL), type=Sealed)
        except BROKEN:
            return Thinking(text=text, spelling=OWN)
        return Thinking(text=text, **asdict(sealed))
    beside = rest(item, "type", "encrypted_content")
    return Thinking(text=text, signature=proof or None, spelling=OWN, extra=noted(item=beside))


def words_of(item: Json) -> str:
    """Return what can be read of a thought: its summary, else its own words."""
    parts = item.get("summary") or item.get("content") or ()
    return "\n\n".join(part["text"] for part in parts if part.get("text"))


def parts_of(content: Any, param: str) -> Iterable[AnyPart]:
    """Give the parts of `content`, which stands at `param`.

    Raises:
        InputError: a part lacks what its type needs.
    """
    if isinstance(content, str):
        if content:
            yield Text(text=content)
        return
    for index, wire in enumerate(content or ()):
        try:
            yield _part(wire)
        except (AttributeError, KeyError, TypeError) as error:
            kind = wire.get("type") if isinstance(wire, dict) else None
            raise _wrong(f"{param}[{index}]", f"a part of type {kind!r}", error) from None


def _wrong(param: str, what: str, error: Exception) -> InputError:
    """Name what is missing; what is there in another shape than it should be is not named."""
    problem = f"needs {error}"
    if not isinstance(error, KeyError):
        problem = "has a field of another type; write it as OpenAI's Responses API has it"
    return InputError(f"'{param}' is wrong: {what} {problem}", param=param)


def _part(wire: Json) -> AnyPart:
    kind = wire["type"]
    if kind in {"input_text", "output_text", "text"}:
        return Text(text=wire["text"], extra=noted(part=rest(wire, "type", "text")))
    if kind == "refusal":
        return Refusal(text=wire["refusal"], extra=noted(part=rest(wire, "type", "refusal")))
    if kind == "input_image" and wire.get("image_url"):
        extra = noted(part=rest(wire, "type", "image_url", "detail"))
        return Image(**place_of(wire["image_url"]), detail=wire.get("detail"), extra=extra)
    if kind == "input_audio":
        inner = wire["input_audio"]
        return Audio(data=inner["data"], format=inner.get("format"))
    if kind == "input_file":
        data = (
            place_of(wire["file_data"]) if wire.get("file_data") else {"url": wire.get("file_url")}
        )
        return File(
            id=wire.get("file_id"),
            name=wire.get("filename"),
            **data,
            extra=noted(part=rest(wire, "type", "file_id", "filename", "file_data", "file_url")),
        )
    return Text(text="", extra={OWN: wire})  # a part nobody here knows travels whole
