"""Google's count of a prompt's tokens.

Source: https://ai.google.dev/api/tokens 2026-11-20
Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models/countTokens
2026-11-20
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump
from msgspec.structs import replace

from trunkline.codec import counted
from trunkline.dialects.gemini.answer import decode_frame
from trunkline.dialects.gemini.encode import FOLDERS
from trunkline.dialects.gemini.encode import encode as encode_chat
from trunkline.dialects.gemini.errors import decode_error
from trunkline.types import CountTokens, Deployment, Frame, Memo, Outgoing

NAME: Final = "gemini_counting"
FRAMING: Final[Literal["sse"]] = "sse"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

_ON_VERTEX = ("contents", "systemInstruction", "tools")
_FIELDS = Decoder(dict[str, Raw])


def encode(call: CountTokens, deployment: Deployment) -> Outgoing:
    """Make the request for a provider, around that of the chat.

    The Gemini API counts more than the contents only where it is given the whole request of the
    chat; Vertex AI takes its parts by themselves.

    Raises:
        InputError: the prompt says nothing, or the model's name cannot stand in a path.
    """
    outgoing = encode_chat(call, deployment)
    fields: dict[str, Any] = dict(_FIELDS.decode(outgoing.body))
    if "vertex" in deployment.quirks:
        asked = {name: fields[name] for name in _ON_VERTEX if name in fields}
    else:
        model = deployment.model
        named = model if model.startswith(FOLDERS) else f"models/{model}"
        asked = {"generateContentRequest": fields | {"model": named}}
    return replace(
        outgoing,
        url=outgoing.url.replace(":generateContent", ":countTokens"),
        body=dump(asked),
        dropped=(),
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take a count (a 2xx body).

    Raises:
        BadAnswer: it has none.
    """
    return counted(body, "totalTokens")
