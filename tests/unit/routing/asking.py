"""A configuration of four providers, and calls for it."""

from typing import Any

import pytest

from trunkline.config import Config, from_mapping
from trunkline.errors import InputError, TrunklineError
from trunkline.routing.plan import Planner
from trunkline.types import Chat, Prompt

PROVIDERS: dict[str, Any] = {
    "openai": {"api_key": "k", "models": ["gpt-4o", "gpt-4"]},
    "anthropic": {"api_key": "k", "models": ["claude-haiku", "claude-opus"]},
    "openrouter": {"api_key": "k"},
    "ollama": {"models": ["llama2", "gpt-4o"]},
}
CHAIN = ["openai", "anthropic", "openrouter", "ollama"]
OPUS = "anthropic/claude-opus"


def config(**sections: Any) -> Config:
    """Return a configuration of four providers."""
    data = {"providers": PROVIDERS, "default_provider": "openai", **sections}
    return from_mapping({"llm_service": data}, {})


def ask(model: str, provider: str | None = None) -> Chat:
    """Return a call."""
    return Chat(model=model, provider=provider, body=Prompt(messages=()))


def names(built: Config, model: str, provider: str | None = None) -> list[str]:
    """Return whom a plan names."""
    return [c.deployment.name for c in Planner(built).plan(ask(model, provider)).candidates]


def refusal(built: Config, model: str, provider: str | None = None) -> TrunklineError:
    """Return why there is no plan."""
    with pytest.raises(InputError) as caught:
        Planner(built).plan(ask(model, provider))
    return caught.value
