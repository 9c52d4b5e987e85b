"""What people, models and tools say: a `Message` of ordered parts, in no provider's words."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Part(Struct, frozen=True, kw_only=True, tag_field="type"):
    """One piece of a message. `extra` keeps what the wire said and no field here names."""

    extra: dict[str, Any] = {}


class Text(Part, frozen=True, tag="text"):
    """Words."""

    text: str


class Refusal(Part, frozen=True, tag="refusal"):
    """The model's own words for why it does not answer."""

    text: str


class Image(Part, frozen=True, tag="image"):
    """A picture: an http(s) URL, or base64 `data` with its media type."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


class Audio(Part, frozen=True, tag="audio"):
    """Sound as base64 `data` in `format` (wav, mp3, ...), or an earlier answer's `id`."""

    data: str | None = None
    format: str | None = None
    id: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


class File(Part, frozen=True, tag="file"):
    """A document: an uploaded `id`, a URL, or base64 `data` with its media type."""

    id: str | None = None
    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    name: str | None = None


class Thinking(Part, frozen=True, tag="thinking"):
    """What the model thought, and whatever proves it to its own provider, byte for byte."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    """Opaque data that stands for hidden thought."""
    spelling: str | None = None
    """The wire field it came in (`reasoning_content`, `reasoning`, ...), for the way back."""


class ToolCall(Part, frozen=True, tag="tool_call"):
    """The model asks for a tool. `arguments` is the exact JSON text it wrote; never empty."""

    id: str
    name: str
    arguments: str = "{}"
    kind: str = "function"


class ToolResult(Part, frozen=True, tag="tool_result"):
    """What a tool gave back for the call `id`."""

    id: str
    parts: tuple[AnyPart, ...] = ()
    is_error: bool = False


AnyPart = Text | Refusal | Image | Audio | File | Thinking | ToolCall | ToolResult


class Message(Struct, frozen=True, kw_only=True):
    """One turn: a role and its parts in their order."""

    role: Role
    parts: tuple[AnyPart, ...] = ()
    name: str | None = None
    extra: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """All text parts joined without a separator; thinking is not text."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thinking(self) -> str:
        """All readable thinking joined without a separator."""
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls in their order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


def say(role: Role, text: str) -> Message:
    """Make a message of plain text."""
    return Message(role=role, parts=(Text(text=text),))
