"""Cohere's embeddings.

Source: https://docs.cohere.com/reference/embed 2026-11-20
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec.json import encode as dump

from trunkline.codec import BLANKS, embedded, excerpt, load_answer, words_of
from trunkline.dialects.cohere.answer import decode_frame
from trunkline.dialects.cohere.encode import headers, url
from trunkline.dialects.cohere.errors import decode_error, error_in_answer
from trunkline.errors import BadAnswer
from trunkline.types import Deployment, Embed, Frame, Memo, Outgoing

NAME: Final = "cohere_embeddings"
FRAMING: Final[Literal["sse"]] = "sse"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

_PURPOSES = {"query": "search_query", "document": "search_document", "passage": "search_document"}
_USUAL = "search_document"
"""It has to be said, and OpenAI's callers do not say it."""


def encode(call: Embed, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Raises:
        CapabilityMissing: it is given token numbers.
    """
    asked = call.body
    fields: dict[str, Any] = {
        "model": deployment.model,
        "texts": words_of(asked, deployment),
        "input_type": _PURPOSES.get(asked.purpose or "", asked.purpose or _USUAL),
        "embedding_types": ["float"],
    }
    if asked.dimensions is not None:
        fields["output_dimension"] = asked.dimensions
    return Outgoing(
        url=url(deployment.base_url, "/embed"), headers=headers(deployment), body=dump(fields)
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take an answer (a 2xx body).

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no vectors.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    if failure := error_in_answer(data):
        raise failure
    try:
        vectors = data["embeddings"]["float"]
        tokens = data.get("meta", {}).get("billed_units", {}).get("input_tokens")
    except (AttributeError, LookupError, TypeError):
        raise BadAnswer(f"the provider's answer has no vectors: {excerpt(body)}") from None
    return embedded(body, vectors, tokens=int(tokens) if isinstance(tokens, float) else tokens)
