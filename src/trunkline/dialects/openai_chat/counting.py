"""vLLM's `/tokenize`, which counts a chat by its own template. It stands beside `/v1`.

Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server/#tokenizer-api 2026-11-20
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump
from msgspec.structs import replace

from trunkline.codec import counted
from trunkline.dialects.openai_chat.answer import decode_frame
from trunkline.dialects.openai_chat.encode import encode as encode_chat
from trunkline.dialects.openai_chat.errors import decode_error
from trunkline.types import CountTokens, Deployment, Frame, Memo, Outgoing

NAME: Final = "vllm_counting"
FRAMING: Final[Literal["sse"]] = "sse"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

_TAKEN = ("model", "messages", "tools", "chat_template", "chat_template_kwargs")
_FIELDS = Decoder(dict[str, Raw])


def encode(call: CountTokens, deployment: Deployment) -> Outgoing:
    """Make the request for a server: that of the chat, with what shapes its prompt.

    Raises:
        InputError: the prompt cannot be said as a chat of OpenAI's.
    """
    outgoing = encode_chat(call, deployment)
    fields = _FIELDS.decode(outgoing.body)
    base, mark, query = deployment.base_url.partition("?")
    base = base.rstrip("/").removesuffix("/v1")
    return replace(
        outgoing,
        url=f"{base}/tokenize{mark}{query}",
        body=dump({name: fields[name] for name in _TAKEN if name in fields}),
        dropped=(),
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a count (a 2xx body).

    Raises:
        BadAnswer: it has none.
    """
    return counted(body, "count")
