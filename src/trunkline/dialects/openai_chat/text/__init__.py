"""OpenAI's legacy text completions: one prompt or several in, plain text out.

It is another endpoint of the API that `openai_chat` speaks, so errors, usage, framing and the
reading of answers are the same; only what differs stands here. Read `request`, `encode`, `write`.
Source: https://platform.openai.com/docs/api-reference/completions 2026-11-20
"""

from typing import Final, Literal

from trunkline.dialects.openai_chat.answer import decode, decode_frame
from trunkline.dialects.openai_chat.encode import listing
from trunkline.dialects.openai_chat.errors import decode_error
from trunkline.dialects.openai_chat.text.encode import continues, encode
from trunkline.dialects.openai_chat.text.request import read
from trunkline.dialects.openai_chat.text.write import write

NAME: Final = "openai_text"
FRAMING: Final[Literal["sse"]] = "sse"

__all__ = [
    "FRAMING",
    "NAME",
    "continues",
    "decode",
    "decode_error",
    "decode_frame",
    "encode",
    "listing",
    "read",
    "write",
]
