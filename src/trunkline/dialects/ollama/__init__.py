"""Ollama's own `/api/chat`, which tells more than its compatible endpoints and takes more.

Only providers speak it. Read `encode` (`Chat` -> a request) and `answer` (a provider's answer ->
frames). `build` with `spell` spells prompts, `events` says what an answer means, with its usage,
and `errors` is the table of failures.
Source: https://docs.ollama.com/api/chat 2026-11-20
"""

from typing import Final, Literal

from trunkline.dialects.ollama.answer import decode, decode_frame
from trunkline.dialects.ollama.encode import continues, encode, listing
from trunkline.dialects.ollama.errors import decode_error

NAME: Final = "ollama"
FRAMING: Final[Literal["ndjson"]] = "ndjson"

__all__ = [
    "FRAMING",
    "NAME",
    "continues",
    "decode",
    "decode_error",
    "decode_frame",
    "encode",
    "listing",
]
