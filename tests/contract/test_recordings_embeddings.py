"""Recorded embeddings and token counts decode to what their bodies say, whoever answered."""

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trunkline.dialects import load
from trunkline.dialects.openai_chat.embeddings.write import packed, unpacked
from trunkline.errors import ProviderError
from trunkline.types import Counted, Embedded, Memo, UsageReport

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
OPENAI = (
    *("azure_openai", "copilot", "llamacpp", "mistral", "ollama_openai_compat", "openai"),
    *("openrouter", "other_compat", "venice"),
)
COUNTS = {
    "openai": (r"/responses/input_tokens$", "openai_counting", "input_tokens"),
    "anthropic": (r"/count_tokens$", "anthropic_counting", "input_tokens"),
    "gemini": (r":countTokens$", "gemini_counting", "totalTokens"),
    "vertex": (r":countTokens$", "gemini_counting", "totalTokens"),
}
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


def records(provider: str, url: str) -> Iterator[Json]:
    """Give the records of one provider whose URL fits."""
    with gzip.open(RECORDINGS / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if re.search(url, record["url"].partition("?")[0]):
                yield record


def vectors_in(dialect: str, body: bytes) -> tuple[list[Any], int | None]:
    """Return what a dialect finds: vectors, and tokens where they are told."""
    events = load(dialect).decode(body, Memo()).events
    [vectors] = [event.vectors for event in events if isinstance(event, Embedded)]
    told = [event.usage.prompt_tokens for event in events if isinstance(event, UsageReport)]
    return list(vectors), told[0] if told else None


@pytest.mark.parametrize("provider", OPENAI)
def test_openais_shape(provider: str) -> None:
    """Vectors in either format, usage, and refusals, which are errors of the tree."""
    counts = Counter[str]()
    for record in records(provider, r"/embeddings"):
        body = record["response_body"].encode()
        if record["response_status"] >= 400:
            error = load("openai_embeddings").decode_error(record["response_status"], {}, body)
            assert isinstance(error, ProviderError)
            counts["refusals"] += 1
            continue
        said = json.loads(body)
        found, tokens = vectors_in("openai_embeddings", body)
        assert found == [item["embedding"] for item in said["data"]]
        assert tokens == said["usage"]["prompt_tokens"]
        for vector in found:
            assert packed(unpacked(packed(vector))) == packed(vector)
        counts["answers"] += 1
    print(f"{provider}: {dict(counts)}")
    assert counts["answers"] >= 1


def test_google() -> None:
    """One vector for each request of a batch; older models tell no usage."""
    seen = set()
    for record in records("gemini", r":batchEmbedContents$"):
        body = record["response_body"].encode()
        if record["response_status"] < 400:
            said = json.loads(body)
            found, tokens = vectors_in("gemini_embeddings", body)
            assert found == [one["values"] for one in said["embeddings"]]
            assert tokens == said.get("usageMetadata", {}).get("promptTokenCount")
            seen.add(tokens)
    assert None in seen
    assert len(seen) >= 2


def test_ollama() -> None:
    """Its own endpoint, with the tokens it read."""
    found = [
        (vectors_in("ollama_embeddings", record["response_body"].encode()), record)
        for record in records("ollama", r"/api/embed$|embeddings-with-dimensions")
    ]
    for (vectors, tokens), record in found:
        said = json.loads(record["response_body"])
        assert (vectors, tokens) == (said["embeddings"], said["prompt_eval_count"])
    assert len(found) >= 2


@pytest.mark.parametrize("provider", COUNTS)
def test_counts(provider: str) -> None:
    """The number of the body."""
    url, dialect, field = COUNTS[provider]
    seen = 0
    for record in records(provider, url):
        body = record["response_body"].encode()
        [event] = load(dialect).decode(body, Memo()).events
        assert event == Counted(tokens=json.loads(body)[field])
        seen += 1
    print(f"{provider}: {seen} counts")
    assert seen >= 1
