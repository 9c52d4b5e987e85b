"""Who is limited to what: callers, keys, tiers, providers, models and members of groups."""

from typing import Any

import pytest

from trunkline.config import Config, from_mapping
from trunkline.errors import ConfigError
from trunkline.types import RateLimit

RPM = {"requests_per_minute": 5}
KEY = {"name": "ci", "key": "k" * 16}


def read(**fields: Any) -> Config:
    """Read a configuration."""
    return from_mapping({"llm_service": fields}, {})


@pytest.mark.parametrize("scope", ["global", "user:*", "tenant:acme", "key:ci", "team:*", "tier:f"])
def test_scopes_of_callers(scope: str) -> None:
    """Everybody together, one by name, or each of a kind."""
    limit = RateLimit(scope=scope, requests_per_minute=5, tokens_per_minute=1000)
    config = read(rate_limits=[{"scope": scope, "tokens_per_minute": 1000, **RPM}])
    assert config.rates == (limit,)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"scope": "user:*"}, r"rate_limits\[0\]: found a mapping; write whom it limits and to"),
        (RPM, "write whom it limits"),
        ({"scope": "usr:*", **RPM}, "did you mean 'user'"),
        ({"scope": "user:", **RPM}, "write global, or a kind and a name"),
        ({"scope": "tier:*", **RPM}, "or key:\\* for each key"),
        ({"scope": "provider:openai", **RPM}, "write it where the provider"),
        ({"scope": "user:a", "requests_per_minute": 0}, "write a whole number, 1 or more"),
        ({"scope": "user:a", "rpm": 1}, "unknown key"),
    ],
)
def test_bad_limits_are_refused(item: dict[str, Any], message: str) -> None:
    """By place, with what to write."""
    with pytest.raises(ConfigError, match=message):
        read(rate_limits=[item])


def test_a_scope_stands_once() -> None:
    """Two limits for the same would contradict each other."""
    with pytest.raises(ConfigError, match="user:a stands twice"):
        read(rate_limits=[{"scope": "user:a", **RPM}, {"scope": "user:a", **RPM}])


def test_a_key_has_limits_or_a_tier() -> None:
    """Both stand with the key."""
    [key] = read(keys=[{**KEY, "rate_limits": RPM, "tier": "free"}]).keys
    assert (key.tier, key.rates) == ("free", (RateLimit(scope="key:ci", requests_per_minute=5),))


def test_limits_of_provider_model_and_group_add_up() -> None:
    """A deployment keeps all that apply to it, each in a bucket of its own."""
    config = read(
        providers={
            "ollama": {
                "rate_limits": {"tokens_per_minute": 9},
                "models": [{"name": "a", "rate_limits": RPM}, "b"],
            }
        },
        groups={"g": {"deployments": [{"model": "ollama/a", "rate_limits": RPM}, "ollama/b"]}},
    )
    provider = RateLimit(scope="provider:ollama", tokens_per_minute=9)
    model = RateLimit(scope="deployment:ollama/a", requests_per_minute=5)
    member = RateLimit(scope="deployment:ollama/a@g", requests_per_minute=5)
    a, b = config.groups["g"].deployments
    assert (a.rates, b.rates) == ((provider, model, member), (provider,))
    assert config.providers["ollama"].deployment("a").rates == (provider, model)
