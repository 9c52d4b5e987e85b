"""Which of OpenAI's two APIs a model is asked through."""

from typing import Any

import pytest

from tests.unit.config.test_providers import one, refusal

KEY = {"api_key": "sk-test-1234567890"}
RESPONSES, CHAT = "openai_responses", "openai_chat"


@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        ("gpt-5", RESPONSES),
        ("gpt-5.6-terra", RESPONSES),
        ("gpt-6-luna", RESPONSES),
        ("o1-pro", RESPONSES),
        ("o3-pro-2025-06-10", RESPONSES),
        ("o4-mini-deep-research", RESPONSES),
        ("codex-mini-latest", RESPONSES),
        ("computer-use-preview", RESPONSES),
        ("gpt-5-chat-latest", CHAT),
        ("gpt-5.1-chat-latest", CHAT),
        ("gpt-5-search-api", CHAT),
        ("gpt-4.1", CHAT),
        ("o3-mini", CHAT),
    ],
)
def test_the_catalog_knows_which_models_need_responses(model: str, dialect: str) -> None:
    """Whatever the caller speaks."""
    provider = one(KEY, "openai")
    assert provider.dialect(model, CHAT) == dialect
    assert provider.dialect(model, "anthropic") == dialect


@pytest.mark.parametrize(("name", "dialect"), [("openai", RESPONSES), ("groq", CHAT)])
def test_callers_of_responses_are_passed_on_where_it_is_spoken(name: str, dialect: str) -> None:
    """OpenAI has both for each model; who is not known to have it is asked in a chat."""
    assert one(KEY, name).dialect("gpt-4o", RESPONSES) == dialect


def test_the_configuration_knows_better() -> None:
    """For all of a provider's models, and for one, which counts more."""
    models: list[Any] = ["gpt-6", {"name": "gpt-4o", "api": "responses"}]
    provider = one({**KEY, "api": "chat", "models": models}, "openai")
    assert provider.dialect("gpt-6", RESPONSES) == CHAT
    assert provider.dialect("gpt-4o", CHAT) == RESPONSES
    vllm = one({"api": "responses"}, "vllm")
    assert vllm.dialect("m", "anthropic") == RESPONSES


@pytest.mark.parametrize(
    ("entry", "name", "message"),
    [
        ({**KEY, "api": "completions"}, "openai", "write chat"),
        ({**KEY, "api": "chat"}, "anthropic", "only a provider with OpenAI's API"),
        ({**KEY, "models": [{"name": "m", "api": 7}]}, "openai", "models[0].api"),
    ],
)
def test_a_wrong_api_is_refused(entry: dict[str, Any], name: str, message: str) -> None:
    """The error names the key and what to write."""
    assert message in refusal(entry, name)
