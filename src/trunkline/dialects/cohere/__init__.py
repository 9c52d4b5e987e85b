"""Cohere's chat, version 2.

Only providers speak it. Read `encode` (`Chat` -> a request) and `answer` (a provider's answer ->
frames). `build` with `spell` spells prompts, `events` says what an answer means, with its usage,
and `errors` is the table of failures.

Citations come as `citations` of the message, in Cohere's own words. What a model plans before it
calls tools is a thought whose spelling is `tool_plan`.
Source: https://docs.cohere.com/reference/chat 2026-11-20
"""

from typing import Final, Literal

from trunkline.codec import begins_anew as continues
from trunkline.dialects.cohere.answer import decode, decode_frame
from trunkline.dialects.cohere.encode import encode, listing
from trunkline.dialects.cohere.errors import decode_error

NAME: Final = "cohere"
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
]
