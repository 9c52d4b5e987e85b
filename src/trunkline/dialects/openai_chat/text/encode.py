"""Make the request for a provider: the caller's own bytes, with documented edits."""

from __future__ import annotations

from typing import Any

from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.encode import address, endpoint, headers, limited
from trunkline.dialects.openai_chat.text.request import cap_of
from trunkline.errors import InputError
from trunkline.types import Chat, Deployment, Outgoing, Wire


def continues(chat: Chat, deployment: Deployment) -> bool:
    """Whether the model goes on from `chat.partial`: never, as prompts may be several or tokens."""
    return False


def encode(chat: Chat, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Every field goes up as it came, but for `model`, `stream`, `stream_options.include_usage`
    (always asked for) and the cap on output when a layer set one.

    Raises:
        InputError: the call is no text completion.
    """
    wire = chat.body
    if not isinstance(wire, Wire) or wire.dialect != "openai_text":
        raise InputError(f"{deployment.name} is asked for text completions; it takes no chat")
    fields: dict[str, Any] = dict(wire.fields)
    said = load(fields["max_tokens"]) if "max_tokens" in fields else None
    if cap_of(said) != wire.max_output_tokens:
        fields["max_tokens"] = wire.max_output_tokens
    if wire.max_output_tokens is not None:
        fields.pop("n_predict", None)  # llama.cpp's own name, which it minds before the other
    address(fields, chat, deployment)
    dropped = limited(fields)
    return Outgoing(
        url=endpoint(deployment, "/completions"),
        headers=headers(deployment, stream=chat.stream),
        body=dump(fields),
        dropped=tuple(dropped),
    )
