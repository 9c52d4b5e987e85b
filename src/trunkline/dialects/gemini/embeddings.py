"""Google's embeddings: `batchEmbedContents` of the Gemini API; on Vertex AI three methods.

There Gemini's models take one text by `embedContent` and several by `batchEmbedContents`, as
Google's own SDK asks them; `gemini-embedding-2` has no `predict`, and `predict` of
`gemini-embedding-001` takes one text. All older models have nothing but `predict`.
Source: https://ai.google.dev/api/embeddings 2026-11-20
Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings
2026-11-21
Source: https://github.com/googleapis/python-genai (3.4.0, `models.py`) 2026-11-21
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.json import encode as dump

from trunkline.dialects.gemini.answer import decode_frame
from trunkline.dialects.gemini.encode import headers, path_of
from trunkline.dialects.gemini.errors import decode_error, error_in_answer
from trunkline.types import Deployment, Embed, Frame, Memo, Outgoing
from trunkline.vectors import embedded, read_answer, words_of

NAME: Final = "gemini_embeddings"
FRAMING: Final[Literal["sse"]] = "sse"
__all__ = ["FRAMING", "NAME", "decode", "decode_error", "decode_frame", "encode"]

Json = dict[str, Any]
_TASKS = {
    "search_query": "RETRIEVAL_QUERY",
    "query": "RETRIEVAL_QUERY",
    "search_document": "RETRIEVAL_DOCUMENT",
    "passage": "RETRIEVAL_DOCUMENT",
    "document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class _Statistics(Struct):
    token_count: float


class _Values(Struct):
    values: Raw
    statistics: _Statistics | None = None


class _Prediction(Struct):
    embeddings: _Values


class _Usage(Struct, rename="camel"):
    prompt_token_count: Any = None


class _Answer(Struct, rename="camel"):
    embedding: _Values | None = None
    embeddings: list[_Values] = []
    predictions: list[_Prediction] = []
    usage_metadata: _Usage | None = None
    error: None = None


_ANSWER = Decoder(_Answer)


def encode(call: Embed, deployment: Deployment) -> Outgoing:
    """Make the request for a provider. What is longer than Vertex's models take is not cut there.

    Raises:
        CapabilityMissing: it is given token numbers.
        InputError: the model's name cannot stand in a path.
    """
    asked, path = call.body, path_of(deployment)
    words = words_of(asked, deployment)
    task = _TASKS.get(asked.purpose or "", asked.purpose)
    size = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
    purpose = {"taskType": task} if task else {}
    if "vertex" not in deployment.quirks:
        method = "batchEmbedContents"
        beside = {"model": path, **purpose, **size}
        fields: Json = {"requests": [_content(text) | beside for text in words]}
    elif "gemini" in path:
        how = {"embedContentConfig": {**purpose, **size, "autoTruncate": False}}
        each = [_content(text) | how for text in words]
        method = "embedContent" if len(each) == 1 else "batchEmbedContents"
        fields = each[0] if len(each) == 1 else {"requests": each}
    else:
        method = "predict"
        beside = {"task_type": task} if task else {}
        fields = {
            "instances": [{"content": text} | beside for text in words],
            "parameters": {**size, "autoTruncate": False},
        }
    base, mark, query = deployment.base_url.partition("?")
    return Outgoing(
        url=f"{base.rstrip('/')}/{path}:{method}{mark}{query}",
        headers=headers(deployment, stream=False),
        body=dump(fields),
    )


def _content(text: str) -> Json:
    return {"content": {"parts": [{"text": text}]}}


def decode(body: bytes, memo: Memo) -> Frame:
    """Take an answer (a 2xx body); the Gemini API tells no usage for its older models.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has not one vector for each text.
        ProviderError: the body is an error under a 200.
    """
    answer = read_answer(_ANSWER, body, error_in_answer)
    each = answer.embeddings or [one.embeddings for one in answer.predictions]
    each = [answer.embedding] if answer.embedding else each
    tokens = answer.usage_metadata and answer.usage_metadata.prompt_token_count
    if tokens is None:
        counts = [one.statistics.token_count for one in each if one.statistics]
        tokens = sum(counts) if len(counts) == len(each) else None
    return embedded(body, [one.values for one in each], memo, tokens=tokens)
