"""Whether a deployment can take a call at all, as far as that is known before it is sent."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from trunkline.errors import CapabilityMissing, ContextTooLong, TrunklineError
from trunkline.types import (
    AnyPart,
    Audio,
    Call,
    Chat,
    Deployment,
    File,
    Image,
    Prompt,
    ToolResult,
    Wire,
)

_MEDIA: dict[str, type] = {"audio": Audio, "images": Image, "files": File}
_FIELDS = {
    "tools": ("tools",),
    "schema": ("output_format", "response_format", "output_config", "text"),
    "reasoning": ("reasoning_effort", "thinking", "reasoning"),
}
_CAPS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
BYTES_PER_TOKEN = 4
"""Of usual text. What is longer than this says is kept from a deployment only where another can
take it, and refused when it would take twice as many bytes for a token to fit."""


class Skip(Struct, frozen=True):
    """A deployment that was left out, and why."""

    name: str
    why: str


def prompt_tokens(call: Call) -> int:
    """Guess how many tokens the text of a prompt has; pictures and the like count for none."""
    text_bytes = call.body.size_bytes
    if call.body.needs & _MEDIA.keys() and (prompt := _readable(call)) is not None:
        text_bytes -= sum(
            len(part.data or "")
            for part in prompt.parts()
            if isinstance(part, Image | Audio | File)
        )
    return max(text_bytes, 0) // BYTES_PER_TOKEN


def lacking(deployment: Deployment, call: Call) -> str:
    """Return what `deployment` lacks for `call`, in a few words; "" = nothing that is known."""
    for need in sorted(deployment.lacks & call.body.needs):
        if need not in _MEDIA or _media(call, need):
            return f"lacks {need}"
    most, asked = deployment.max_output, call.body.max_output_tokens
    if most is not None and asked is not None and asked > most:
        return f"writes {most} tokens at most"
    return ""


def too_small(deployment: Deployment, tokens: int) -> str:
    """Return why a prompt of about so many tokens does not fit; "" = it may."""
    window = deployment.context_window
    if window is None or tokens <= window:
        return ""
    return f"context of {window} tokens, the prompt has about {tokens}"


def refusal(deployments: Iterable[Deployment], call: Call) -> TrunklineError:
    """Return the error for a call that none of `deployments` can take, with its field."""
    rows = list(deployments)
    names = ", ".join(row.name for row in rows)
    able = [row for row in rows if not lacking(row, call)]
    if able:
        tokens = prompt_tokens(call)
        most = max(row.context_window or 0 for row in able)
        return ContextTooLong(
            f"the prompt has about {tokens} tokens, and {names} can take {most} at most; "
            "shorten it, or ask a model with a longer context",
            param="messages",
            sent=False,
        )
    first = rows[0]
    needs = sorted(first.lacks & call.body.needs)
    for need in needs:
        place = _media(call, need) if need in _MEDIA else _field(call, _FIELDS[need])
        if place:
            return CapabilityMissing(
                f"'{place}' is nothing that {names} can take; leave it out, or ask another model",
                param=place,
            )
    cap = _field(call, _CAPS)
    return CapabilityMissing(
        f"'{cap}' is more than {names} can write; write {first.max_output} or less, "
        "or ask another model",
        param=cap,
    )


def _media(call: Call, need: str) -> str:
    """Return where the first part of that kind stands; "" = nowhere."""
    kind, prompt = _MEDIA[need], _readable(call)
    for i, message in enumerate(prompt.messages if prompt is not None else ()):
        for j, part in enumerate(message.parts):
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            if any(isinstance(each, kind) and not _spoken(each) for each in inner):
                return f"messages[{i}].content[{j}]"
    return ""


def _readable(call: Call) -> Prompt | None:
    """Return what is asked; None = it needs what only its own provider holds."""
    try:
        return call.prompt if isinstance(call, Chat) else None
    except CapabilityMissing:
        return None


def _spoken(part: AnyPart) -> bool:
    """Whether it is an earlier answer, which has its words beside it."""
    return isinstance(part, Audio) and bool(part.id or part.transcript)


def _field(call: Call, names: tuple[str, ...]) -> str:
    """Return which of `names` the caller used."""
    body = call.body
    said = (name for name in names if isinstance(body, Wire) and name in body.fields)
    return next(said, names[0])
