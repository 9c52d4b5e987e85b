"""No recording is left out: each is decoded here, or belongs to an API that is named as not spoken.

What the answers say is proven in the other modules of recordings; here is the count of them all.
"""

import base64
import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trunkline.dialects import Dialect, load
from trunkline.errors import BadAnswer, QuotaExhausted, RequestTooLarge
from trunkline.transport.framing import SPLITTERS, is_stream
from trunkline.types import Memo

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
README = RECORDINGS / "README.md"
Json = dict[str, Any]
DIALECTS = {
    "batchEmbedContents": "gemini_embeddings",
    "chat.completions": "openai_chat",
    "cohere.v2.chat": "cohere",
    "completions": "openai_text",
    "converse": "bedrock",
    "converse-stream": "bedrock",
    "countTokens": "gemini_counting",
    "embed": "cohere_embeddings",
    "embeddings": "openai_embeddings",
    "generateContent": "gemini",
    "messages": "anthropic",
    "messages.count_tokens": "anthropic_counting",
    "ollama.chat": "ollama",
    "ollama.embed": "ollama_embeddings",
    "responses": "openai_responses",
    "responses.input_tokens": "openai_counting",
    "streamGenerateContent": "gemini",
}
"""Which dialect speaks an endpoint."""
NOT_SPOKEN = {
    "cohere.v1.chat": 1,  # the old version, which Cohere replaced
    "interactions": 20,  # Gemini's other API; its models all take `generateContent`
    "invoke": 64,  # each model's own format; Converse says the same for all (Claude's: see there)
    "invoke-with-response-stream": 34,  # its framing is proven in `test_recordings_bedrock`
    "models": 25,  # lists: a probe reads their status, discovery those of local servers
    "moderations": 6,
    "ollama.generate": 4,  # without roles and tools; `ollama.chat` says the same
    "ollama.ps": 1,
    "ollama.pull": 1,
    "ollama.show": 1,
    "ollama.tags": 1,
    "perplexity embeddings": 2,  # whole numbers of 8 bits; its row in the catalog embeds nothing
    "rerank": 7,
    "responses.retrieve": 2,  # of answers that OpenAI's server holds
}
"""Endpoints that nobody here asks, and how many recordings there are of each."""
FAILS = {
    "1469166ff0326a04": RequestTooLarge,  # after its 200
    "ce515ad08b564a26": QuotaExhausted,  # after its 200
    "332df18841c22bfc": BadAnswer,  # its recorder lost the blank lines between the events
    "89042e5b2cf5d52d": BadAnswer,  # the vectors of another endpoint, filed as a chat
}
"""Answers of status 200 that are none."""

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


def records() -> Iterator[tuple[str, Json]]:
    """Give the provider's name and each record of its file, bodies as bytes."""
    for path in sorted(RECORDINGS.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                name = path.name.partition(".")[0]
                if f"{name} {record['endpoint']}" in NOT_SPOKEN:
                    record["endpoint"] = f"{name} {record['endpoint']}"
                body = record["response_body"]
                encoded = record["body_encoding"] == "base64"
                record["body"] = base64.b64decode(body) if encoded else body.encode()
                yield name, record


def decoded(dialect: Dialect, body: bytes, headers: dict[str, str]) -> str:
    """Decode an answer; return whether it was `whole` or `streamed`."""
    memo = Memo()
    if not is_stream(dialect.FRAMING, body[:99], headers.get("content-type", "")):
        assert dialect.decode(body, memo).events
        return "whole"
    splitter = SPLITTERS[dialect.FRAMING]()
    units = splitter.feed(body)
    frames = [dialect.decode_frame(unit, memo) for unit in [*units, splitter.rest()] if unit]
    assert any(frame.events for frame in frames)
    assert memo.finished or any(frame.terminal for frame in frames)
    return "streamed"


def outcome(record: Json) -> str:
    """Decode a recording; return what it was."""
    if record["endpoint"] in NOT_SPOKEN:
        return "not spoken"
    dialect = load(DIALECTS[record["endpoint"]])
    headers = {k.lower(): str(v) for k, v in (record["response_headers"] or {}).items()}
    if (status := record["response_status"]) >= 400:
        assert dialect.decode_error(status, headers, record["body"]).message
        return "refused"
    if kind := FAILS.get(record["id"]):
        with pytest.raises(kind):
            decoded(dialect, record["body"], headers)
        return "failed"
    return decoded(dialect, record["body"], headers)


def test_every_recording_is_decoded_or_named() -> None:
    """All that `README.md` counts, provider by provider; the table says what became of them."""
    table: dict[str, Counter[str]] = {}
    skipped = Counter[str]()
    for provider, record in records():
        became = outcome(record)
        table.setdefault(provider, Counter())[became] += 1
        skipped[record["endpoint"]] += became == "not spoken"
    kinds = ("whole", "streamed", "refused", "failed", "not spoken")
    print("\n" + " ".join(f"{head:>10}" for head in kinds) + "  provider")
    for provider, counts in table.items():
        print(" ".join(f"{counts[kind]:>10}" for kind in kinds) + f"  {provider}")
    told = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|$", README.read_text(), re.MULTILINE)
    assert {name: counts.total() for name, counts in table.items()} == {
        name: int(whole) + int(streamed) for name, whole, streamed in told
    }
    assert +skipped == NOT_SPOKEN
