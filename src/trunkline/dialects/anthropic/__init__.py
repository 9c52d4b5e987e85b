"""Anthropic Messages, and everything that speaks its shape.

Read `request` (a caller's bytes -> `Chat`), `encode` (`Chat` -> a provider's request), `answer` (a
provider's answer -> frames) and `write` (frames -> a caller's answer), in this order. `prompt` with
`blocks` is the typed view, `build` with `spell` the way back, fitted to a model by
`trunkline.claude`; `stream` and `body` spell answers, `usage` is the arithmetic of tokens, `errors`
the table of failures.

A block that only this dialect knows (a server tool's call or result, a compaction, ...) travels
whole in `extra["anthropic"]` of a text part, at its place, and comes back as it was.
Source: https://platform.claude.com/docs/en/api/messages 2026-11-20
"""

from typing import Final, Literal

from trunkline.dialects.anthropic.answer import decode, decode_frame
from trunkline.dialects.anthropic.encode import continues, encode, listing
from trunkline.dialects.anthropic.errors import decode_error
from trunkline.dialects.anthropic.request import read
from trunkline.dialects.anthropic.write import write

NAME: Final = "anthropic"
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
