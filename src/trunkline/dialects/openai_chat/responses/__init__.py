"""OpenAI Responses: the API of OpenAI's newer models, and of Codex, also at Azure, xAI and vLLM.

It is another endpoint of the API that `openai_chat` speaks, so errors, headers and the arithmetic
of tokens are the same; only what differs stands here. Read `request` (a caller's bytes -> `Chat`),
`encode` (`Chat` -> a provider's request), `answer` (a provider's answer -> frames) and `write`
(frames -> a caller's answer). `prompt` with `items` is the typed view, `build` with `spell` the
way back; `events` says what an answer means, `stream` with `output` and `body` spells one.

An item that only this dialect knows (a search, a call of an MCP server, a compaction, ...) travels
whole in `extra["openai_responses"]` of a text part, at its place, and comes back as it was.
Source: https://platform.openai.com/docs/api-reference/responses 2026-11-20
"""

from typing import Final, Literal

from trunkline.codec import begins_anew as continues
from trunkline.dialects.openai_chat.encode import listing
from trunkline.dialects.openai_chat.errors import decode_error
from trunkline.dialects.openai_chat.responses.answer import decode, decode_frame
from trunkline.dialects.openai_chat.responses.encode import encode
from trunkline.dialects.openai_chat.responses.request import read
from trunkline.dialects.openai_chat.responses.write import write

NAME: Final = "openai_responses"
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
