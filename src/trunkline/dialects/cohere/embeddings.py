"""Cohere's embeddings.

Source: https://docs.cohere.com/reference/embed 2026-11-20
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Raw, Struct, field
from msgspec.json import Decoder
from msgspec.json import encode as dump

from trunkline.dialects.cohere.answer import decode_frame
from trunkline.dialects.cohere.encode import headers, url
from trunkline.dialects.cohere.errors import decode_error, error_in_answer
from trunkline.types import Deployment, Embed, Frame, Memo, Outgoing
from trunkline.vectors import embedded, read_answer, words_of

NAME: Final = "cohere_embeddings"
FRAMING: Final[Literal["sse"]] = "sse"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

_PURPOSES = {"query": "search_query", "document": "search_document", "passage": "search_document"}
_USUAL = "search_document"
"""It has to be said, and OpenAI's callers do not say it."""


class _Vectors(Struct):
    floats: list[Raw] = field(name="float")


class _Billed(Struct):
    input_tokens: Any = None


class _Meta(Struct):
    billed_units: _Billed | None = None


class _Answer(Struct):
    embeddings: _Vectors
    meta: _Meta | None = None


_ANSWER = Decoder(_Answer)


def encode(call: Embed, deployment: Deployment) -> Outgoing:
    """Make the request for a provider. What is longer than its context is refused, not cut.

    Raises:
        CapabilityMissing: it is given token numbers.
    """
    asked = call.body
    fields: dict[str, Any] = {
        "model": deployment.model,
        "texts": words_of(asked, deployment),
        "input_type": _PURPOSES.get(asked.purpose or "", asked.purpose or _USUAL),
        "embedding_types": ["float"],
        "truncate": "NONE",
    }
    if asked.dimensions is not None:
        fields["output_dimension"] = asked.dimensions
    return Outgoing(
        url=url(deployment.base_url, "/embed"), headers=headers(deployment), body=dump(fields)
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take an answer (a 2xx body).

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has not one vector for each text.
        ProviderError: the body is an error under a 200.
    """
    answer = read_answer(_ANSWER, body, error_in_answer)
    billed = answer.meta and answer.meta.billed_units
    tokens = billed and billed.input_tokens
    return embedded(body, answer.embeddings.floats, memo, tokens=tokens)
