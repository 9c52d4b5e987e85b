"""Anthropic's count of a prompt's tokens, and what speaks its shape.

Source: https://platform.claude.com/docs/en/api/messages-count-tokens 2026-11-20
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump
from msgspec.structs import replace

from trunkline.codec import counted
from trunkline.dialects.anthropic.answer import decode_frame
from trunkline.dialects.anthropic.encode import encode as encode_chat
from trunkline.dialects.anthropic.errors import decode_error
from trunkline.dialects.anthropic.request import read as read_chat
from trunkline.dialects.anthropic.write import Writer as ChatWriter
from trunkline.types import (
    Chat,
    Cost,
    Counted,
    CountTokens,
    Deployment,
    Frame,
    Memo,
    Outgoing,
    Wire,
)

NAME: Final = "anthropic_counting"
FRAMING: Final[Literal["sse"]] = "sse"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode", "read", "write"]

_TAKEN = frozenset(
    {"messages", "model", "system", "thinking", "tool_choice", "tools", "output_config"}
)
_NOT_TAKEN = ("max_tokens", "stream")
_FIELDS = Decoder(dict[str, Raw])
_NO_HEADERS: Mapping[str, str] = {}


def read(body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> CountTokens:
    """Take a caller's request, which is that of a message.

    Raises:
        InputError: with `param` naming the field that is wrong, and what to write instead.
    """
    asked = read_chat(body, headers)
    return CountTokens(model=asked.model, body=asked.body)


def encode(call: CountTokens, deployment: Deployment) -> Outgoing:
    """Make the request for a provider: that of the message, with what shapes its prompt.

    What a caller of this dialect said goes up as it came, but for the cap on output.

    Raises:
        InputError: the prompt says nothing, or something no model of Anthropic takes.
    """
    outgoing = encode_chat(call, deployment)
    fields = _FIELDS.decode(outgoing.body)
    if isinstance(call.body, Wire) and call.body.dialect == "anthropic":
        taken = fields.keys() - set(_NOT_TAKEN)
    else:
        taken = fields.keys() & _TAKEN
    url, mark, query = outgoing.url.partition("?")
    return replace(
        outgoing,
        url=f"{url}/count_tokens{mark}{query}",
        body=dump({name: raw for name, raw in fields.items() if name in taken}),
        dropped=(),
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a count (a 2xx body).

    Raises:
        BadAnswer: it has none.
    """
    return counted(body, "input_tokens")


def write(chat: Chat, source: str) -> Writer:
    """Prepare to answer `chat` with a count that came in the dialect `source`."""
    return Writer(chat, relayed=source == NAME)


class Writer(ChatWriter):
    """Gives a count to a caller; an estimate says that it is one."""

    def whole(self, frames: Sequence[Frame], cost: Cost) -> bytes:
        """Return the count as one body."""
        told = next(e for frame in frames for e in frame.events if isinstance(e, Counted))
        if self._relayed and not told.estimated:
            return frames[0].raw
        said: dict[str, object] = {"input_tokens": told.tokens}
        return dump(said | {"trunkline": {"estimated": True}} if told.estimated else said)
