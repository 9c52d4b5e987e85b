"""OpenAI's count of a prompt's tokens, which only its Responses API has, for all of its models.

Source: https://platform.openai.com/docs/api-reference/responses/input-tokens 2026-11-21
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump
from msgspec.structs import replace

from trunkline.codec import counted
from trunkline.dialects.openai_chat.answer import decode_frame
from trunkline.dialects.openai_chat.errors import decode_error
from trunkline.dialects.openai_chat.responses.encode import encode as encode_chat
from trunkline.types import CountTokens, Deployment, Frame, Memo, Outgoing

NAME: Final = "openai_counting"
FRAMING: Final[Literal["sse"]] = "sse"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

_TAKEN = frozenset(
    {"conversation", "input", "instructions", "model", "parallel_tool_calls"}
    | {"personality", "previous_response_id", "reasoning", "text", "tool_choice", "tools"}
    | {"truncation"}
)
_FIELDS = Decoder(dict[str, Raw])


def encode(call: CountTokens, deployment: Deployment) -> Outgoing:
    """Make the request for a provider: that of the response, with what shapes its prompt.

    Raises:
        CapabilityMissing: the prompt has something that the Responses API takes in no form.
    """
    outgoing = encode_chat(call, deployment)
    fields = _FIELDS.decode(outgoing.body)
    url, mark, query = outgoing.url.partition("?")
    return replace(
        outgoing,
        url=f"{url}/input_tokens{mark}{query}",
        body=dump({name: raw for name, raw in fields.items() if name in _TAKEN}),
        dropped=(),
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a count (a 2xx body).

    Raises:
        BadAnswer: it has none.
    """
    return counted(body, "input_tokens")
