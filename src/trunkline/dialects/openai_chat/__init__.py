"""OpenAI Chat Completions and everything that speaks its shape: most clouds and local servers.

Read `request` (a caller's bytes -> `Chat`), `encode` (`Chat` -> a provider's request), `answer` (a
provider's answer -> frames) and `write` (frames -> a caller's answer), in this order. `prompt` and
`build` are the typed view and its way back; `quirks` is the table of deviations, `usage` the
arithmetic of tokens, `errors` the table of failures.
Source: https://platform.openai.com/docs/api-reference/chat 2026-11-20
"""

from typing import Final, Literal

from trunkline.dialects.openai_chat.answer import decode, decode_frame
from trunkline.dialects.openai_chat.encode import continues, encode, listing
from trunkline.dialects.openai_chat.errors import decode_error
from trunkline.dialects.openai_chat.quirks import QUIRKS
from trunkline.dialects.openai_chat.request import read
from trunkline.dialects.openai_chat.write import write

NAME: Final = "openai_chat"
FRAMING: Final[Literal["sse"]] = "sse"

__all__ = [
    "FRAMING",
    "NAME",
    "QUIRKS",
    "continues",
    "decode",
    "decode_error",
    "decode_frame",
    "encode",
    "listing",
    "read",
    "write",
]
