"""Parts -> blocks, for requests and answers alike."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

from msgspec import Raw
from msgspec.json import decode as load

from trunkline.codec import BROKEN
from trunkline.dialects.anthropic.blocks import FERNET, OWN, SEAL
from trunkline.errors import CapabilityMissing
from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]
_TAKEN = {
    "text": ("cache_control", "citations"),
    "image": ("cache_control", "transformations"),
    "document": ("cache_control", "citations", "context"),
    "tool_use": ("cache_control", "caller", "toolset_name"),
    "tool_result": ("cache_control", "toolset_name"),
}
"""What a block may say besides; anything else is refused with a 400, so it stays here."""
CARRIED = "extra_content"
"""Where Google's proof of a call stands, in its own spelling for clients of other dialects."""
_SEALED = frozenset({"gemini", "openai_responses"})
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_MAGIC = {"/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


def blocks_of(parts: Iterable[AnyPart]) -> list[Json]:
    """Spell the parts of a request; what the API refuses (blank text) or cannot prove is left out.

    Raises:
        CapabilityMissing: there is sound among them.
    """
    return [block for part in parts if (block := _block(part)) is not None]


def _block(part: AnyPart) -> Json | None:
    if isinstance(part, Text):
        return _own(part) or _text(part.text, part.extra)
    if isinstance(part, Refusal):
        return _text(part.text, {})
    if isinstance(part, Thinking):
        return thought(part) if is_proven(part) else None
    if isinstance(part, ToolCall):
        return call(part) | {"id": fit(part.id)}
    if isinstance(part, ToolResult):
        return _result(part)
    if isinstance(part, Image):
        return _image(part)
    if isinstance(part, File):
        return _document(part)
    return _heard(part)


def _own(part: Text) -> Json | None:
    """Return the block that came whole; a caller of any dialect may write one."""
    own = part.extra.get(OWN)
    return own if isinstance(own, dict) and isinstance(own.get("type"), str) else None


def taken(kind: str, extra: Json) -> Json:
    """Return what of `extra` a block of this kind may say."""
    return {name: extra[name] for name in _TAKEN[kind] if extra.get(name) is not None}


def carried(extra: Json) -> Json:
    """Return what another provider wants back beside a call; Anthropic itself is never sent it."""
    return {CARRIED: extra[CARRIED]} if CARRIED in extra else {}


def is_proven(part: Thinking) -> bool:
    """Whether a thought has what Anthropic wants to see of its own: its signature, or its data.

    Of what came through OpenRouter's list, its format tells whose it is.
    """
    proof = part.redacted if part.signature is None else part.signature
    if proof is None or str(proof).startswith(FERNET):
        return False
    detail = part.extra.get("reasoning_details")
    whose = detail.get("format") if isinstance(detail, dict) else None
    return part.spelling in {OWN, "reasoning_details", None} and (
        whose is None or str(whose).startswith(OWN)
    )


def thought(part: Thinking) -> Json:
    """Spell a thought byte for byte; one that nobody signed has an empty signature."""
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    signature = sealed(part.signature or "", part.spelling)
    return {"type": "thinking", "thinking": part.text, "signature": signature}


def sealed(signature: str, spelling: str | None) -> str:
    """Return a proof of a thought so that nobody takes one that is not Anthropic's for its own."""
    if spelling not in _SEALED or not signature or str(signature).startswith(FERNET):
        return signature
    return f"{SEAL}{spelling}:{signature}"


def call(part: ToolCall) -> Json:
    """Spell a tool call, its arguments byte for byte."""
    block: Json = {"type": "tool_use", "id": part.id, "name": part.name}
    return block | {"input": input_of(part.arguments)} | taken("tool_use", part.extra)


def input_of(arguments: str) -> Json | Raw:
    """Return the arguments of a call as an object, which they must be here.

    Free text (OpenAI's custom tools) and broken JSON become the one field of an object.
    """
    try:
        if isinstance(load(arguments), dict):
            return Raw(arguments.encode())
    except (*BROKEN, UnicodeEncodeError):
        pass
    return {"input": arguments}


def fit(id_: str) -> str:
    """Return the id of a call in the letters the API takes; the same id always gives the same."""
    return _UNFIT.sub("_", id_) or "_"


def _text(text: str, extra: Json) -> Json | None:
    """Spell words; the API refuses a block of nothing but blanks."""
    return {"type": "text", "text": text} | taken("text", extra) if text.strip() else None


def _result(part: ToolResult) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": fit(part.id)}
    inner = blocks_of(part.parts)
    if len(inner) == 1 and inner[0].keys() == {"type", "text"}:
        block["content"] = inner[0]["text"]
    elif inner:
        block["content"] = inner
    if part.is_error:
        block["is_error"] = True
    return block | taken("tool_result", part.extra)


def _image(part: Image) -> Json:
    if part.url is not None:
        source: Json = {"type": "url", "url": part.url}
    else:
        data = part.data or ""
        seen = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "image/png")
        source = {"type": "base64", "media_type": part.media_type or seen, "data": data}
    return {"type": "image", "source": source} | taken("image", part.extra)


def _document(part: File) -> Json:
    media_type = part.media_type or "application/pdf"
    if media_type.startswith("image/"):
        return _image(Image(url=part.url, data=part.data, media_type=media_type, extra=part.extra))
    if part.id is not None:
        source: Json = {"type": "file", "file_id": part.id}
    elif part.url is not None:
        source = {"type": "url", "url": part.url}
    elif media_type.startswith("text/"):
        data = b64decode(part.data or "").decode("utf-8", "replace")
        source = {"type": "text", "media_type": "text/plain", "data": data}
    else:
        source = {"type": "base64", "media_type": media_type, "data": part.data or ""}
    title = {"title": part.name} if part.name else {}
    return {"type": "document", "source": source} | title | taken("document", part.extra)


def _heard(part: Audio) -> Json | None:
    if part.transcript or part.id:
        return _text(part.transcript or "", {})
    raise CapabilityMissing("Anthropic's models take no sound; send its text, or ask another model")
