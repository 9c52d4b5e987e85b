"""Ollama's own `/api/embed`.

Source: https://docs.ollama.com/api/embed 2026-11-20
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.json import encode as dump

from trunkline.dialects.ollama.answer import decode_frame
from trunkline.dialects.ollama.errors import decode_error
from trunkline.types import Deployment, Embed, Frame, Memo, Outgoing
from trunkline.vectors import embedded, read_answer, words_of

NAME: Final = "ollama_embeddings"
FRAMING: Final[Literal["sse"]] = "sse"
"""It is not streamed, so that one line is a whole answer."""
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

_OTHER_ENDS = ("/v1", "/api")


class _Answer(Struct):
    embeddings: list[Raw]
    prompt_eval_count: Any = None
    model: Any = None


_ANSWER = Decoder(_Answer)


def encode(call: Embed, deployment: Deployment) -> Outgoing:
    """Make the request for a server. What is longer than its context is refused, not cut.

    Raises:
        CapabilityMissing: it is given token numbers.
    """
    asked = call.body
    fields: dict[str, Any] = {
        "model": deployment.model,
        "input": words_of(asked, deployment),
        "truncate": False,
    }
    if asked.dimensions is not None:
        fields["dimensions"] = asked.dimensions
    headers = {"content-type": "application/json", "accept": "application/json"}
    if deployment.api_key is not None:
        headers["authorization"] = f"Bearer {deployment.api_key.reveal()}"
    base, mark, query = deployment.base_url.partition("?")
    base = base.rstrip("/")
    for end in _OTHER_ENDS:
        base = base.removesuffix(end)
    return Outgoing(
        url=f"{base}/api/embed{mark}{query}",
        headers=headers | {name.lower(): value for name, value in deployment.headers},
        body=dump(fields),
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take an answer (a 2xx body).

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has not one vector for each text.
    """
    answer = read_answer(_ANSWER, body, lambda data: None)
    tokens, model = answer.prompt_eval_count, answer.model
    return embedded(body, answer.embeddings, memo, tokens=tokens, model=model)
