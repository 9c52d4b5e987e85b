"""Google's embeddings: `batchEmbedContents` of the Gemini API, `predict` on Vertex AI.

Source: https://ai.google.dev/api/embeddings 2026-11-20
Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
2026-11-20
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec.json import encode as dump

from trunkline.codec import BLANKS, embedded, excerpt, load_answer, words_of
from trunkline.dialects.gemini.answer import decode_frame
from trunkline.dialects.gemini.encode import headers, path_of
from trunkline.dialects.gemini.errors import decode_error, error_in_answer
from trunkline.errors import BadAnswer
from trunkline.types import Deployment, Embed, Frame, Memo, Outgoing

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


def encode(call: Embed, deployment: Deployment) -> Outgoing:
    """Make the request for a provider.

    Raises:
        CapabilityMissing: it is given token numbers.
        InputError: the model's name cannot stand in a path.
    """
    asked, path = call.body, path_of(deployment)
    words = words_of(asked, deployment)
    task = _TASKS.get(asked.purpose or "", asked.purpose)
    if "vertex" in deployment.quirks:
        method = "predict"
        beside: Json = {"task_type": task} if task else {}
        fields: Json = {"instances": [{"content": text} | beside for text in words]}
        if asked.dimensions is not None:
            fields["parameters"] = {"outputDimensionality": asked.dimensions}
    else:
        method = "batchEmbedContents"
        beside = {"taskType": task} if task else {}
        if asked.dimensions is not None:
            beside["outputDimensionality"] = asked.dimensions
        fields = {
            "requests": [
                {"model": path, "content": {"parts": [{"text": text}]}} | beside for text in words
            ]
        }
    base, mark, query = deployment.base_url.partition("?")
    return Outgoing(
        url=f"{base.rstrip('/')}/{path}:{method}{mark}{query}",
        headers=headers(deployment, stream=False),
        body=dump(fields),
    )


def decode(body: bytes, memo: Memo) -> Frame:
    """Take an answer (a 2xx body); the Gemini API tells no usage for its older models.

    Raises:
        BadAnswer: the body is HTML, garbage or empty, or has no vectors.
        ProviderError: the body is an error under a 200.
    """
    data = load_answer(body.lstrip(BLANKS))
    if failure := error_in_answer(data):
        raise failure
    try:
        if "predictions" in data:
            each = [one["embeddings"] for one in data["predictions"]]
            tokens: Any = sum(int(one["statistics"]["token_count"]) for one in each)
        else:
            each = data["embeddings"]
            tokens = data.get("usageMetadata", {}).get("promptTokenCount")
        vectors = [one["values"] for one in each]
    except (AttributeError, LookupError, TypeError, ValueError):
        raise BadAnswer(f"the provider's answer has no vectors: {excerpt(body)}") from None
    return embedded(body, vectors, tokens=tokens)
