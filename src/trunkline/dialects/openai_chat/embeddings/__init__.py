"""OpenAI's embeddings: texts in, vectors out.

It is another endpoint of the API that `openai_chat` speaks, so errors and usage are the same; only
what differs stands here. Read `request`, `encode`, `answer`, `write`.
Source: https://platform.openai.com/docs/api-reference/embeddings 2026-11-20
"""

from typing import Final, Literal

from trunkline.dialects.openai_chat.embeddings.answer import decode, decode_frame
from trunkline.dialects.openai_chat.embeddings.encode import encode
from trunkline.dialects.openai_chat.embeddings.request import read
from trunkline.dialects.openai_chat.embeddings.write import write
from trunkline.dialects.openai_chat.errors import decode_error

NAME: Final = "openai_embeddings"
FRAMING: Final[Literal["sse"]] = "sse"

__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode", "read", "write"]
