"""Gemini: `generateContent` of the Gemini API and of Vertex AI, which speak the same words.

Only providers speak it. Read `encode` (`Chat` -> a request) and `answer` (a provider's answer ->
frames). `build` with `spell` and `schema` spells prompts, fitted to a model by the table `models`;
`events` says what an answer means, `usage` is the arithmetic of tokens, `errors` the table of
failures.

A part that only this dialect knows (code that was run and what came of it, a picture, ...) travels
whole in `extra["gemini"]` of a text part, at its place. The signature of a thought stands where it
came: on a `Thinking` part, else in `extra_content.google.thought_signature` of the call or the text
it belongs to, which is Google's own spelling of it for clients of OpenAI's dialect.
Source: https://ai.google.dev/api/generate-content 2026-11-20
Source: https://ai.google.dev/gemini-api/docs/openai 2026-11-20
"""

from typing import Final, Literal

from trunkline.codec import begins_anew as continues
from trunkline.dialects.gemini.answer import decode, decode_frame
from trunkline.dialects.gemini.encode import encode, listing
from trunkline.dialects.gemini.errors import decode_error

NAME: Final = "gemini"
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
