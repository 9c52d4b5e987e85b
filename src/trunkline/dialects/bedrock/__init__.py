"""AWS Bedrock: Converse and ConverseStream, one dialect for the models of all its vendors.

Only providers speak it. Read `encode` (`Chat` -> a request) and `answer` (a provider's answer ->
frames). `build` with `spell` spells prompts, fitted to a model by the table `models` and
`reasoning`; `messages` opens the binary messages of a stream, `events` says what they mean,
`usage` is the arithmetic of tokens, `errors` the table of failures. Requests are signed by the
transport.

A block that only this dialect knows (a server tool's call or result, a guarded text, a video, ...)
travels whole in `extra["bedrock"]` of a text part, at its place; a text with sources has these
there, as `citationsContent` without its words.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html 2026-11-20
"""

from typing import Final, Literal

from trunkline.codec import begins_anew as continues
from trunkline.dialects.bedrock.answer import decode, decode_frame
from trunkline.dialects.bedrock.encode import encode, listing
from trunkline.dialects.bedrock.errors import decode_error

NAME: Final = "bedrock"
FRAMING: Final[Literal["eventstream"]] = "eventstream"

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
