"""What every dialect of providers has: a list to ask for, and a word on beginnings."""

from typing import Any

import pytest

from trunkline.dialects import load
from trunkline.types import Chat, Deployment, Prompt, Secret, say

BASE = "https://api.test/v1"
LISTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "anthropic": (f"{BASE}/models?a=1", ("x-api-key", "k")),
    "bedrock": (f"{BASE}/foundation-models?a=1", ("authorization", "Bearer k")),
    "cohere": ("https://api.test/v1/models?a=1", ("authorization", "Bearer k")),
    "gemini": (f"{BASE}/models?a=1", ("x-goog-api-key", "k")),
    "ollama": ("https://api.test/api/tags?a=1", ("authorization", "Bearer k")),
    "openai_chat": (f"{BASE}/models?a=1", ("authorization", "Bearer k")),
    "openai_responses": (f"{BASE}/models?a=1", ("authorization", "Bearer k")),
    "openai_text": (f"{BASE}/models?a=1", ("authorization", "Bearer k")),
}
HI = Chat(model="m", body=Prompt(messages=(say("user", "Hi"),)), partial="Once")


def row(dialect: str, **fields: Any) -> Deployment:
    """Make a deployment whose address has a query."""
    base = f"{BASE[:-1]}2?a=1" if dialect == "cohere" else f"{BASE}?a=1"
    known: dict[str, Any] = {
        "base_url": base,
        "api_key": Secret("k"),
        "headers": (("X-A", "b"),),
    }
    return Deployment(provider="p", model="m", dialect=dialect, **(known | fields))


@pytest.mark.parametrize("dialect", LISTS)
def test_the_list_of_models_can_be_asked_for(dialect: str) -> None:
    """Where it is, with the key and the configured headers, and nothing in the body."""
    url, (name, value) = LISTS[dialect]
    outgoing = load(dialect).listing(row(dialect))
    assert (outgoing.method, outgoing.url, outgoing.body) == ("GET", url, b"")
    assert outgoing.headers[name] == value
    assert outgoing.headers["x-a"] == "b"
    bare = load(dialect).listing(row(dialect, api_key=None))
    assert name not in bare.headers


def test_vertex_lists_the_models_of_its_publisher() -> None:
    """With a token, not with a key in a header of its own."""
    outgoing = load("gemini").listing(row("gemini", quirks=frozenset({"vertex"})))
    assert outgoing.url == f"{BASE}/publishers/google/models?a=1"


@pytest.mark.parametrize("dialect", LISTS)
def test_of_an_unknown_model_nothing_is_assumed(dialect: str) -> None:
    """It may begin anew, but for Ollama, which leaves a last message of the model's own open."""
    assert load(dialect).continues(HI, row(dialect)) is (dialect == "ollama")
