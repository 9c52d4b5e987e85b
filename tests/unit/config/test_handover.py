"""A configuration survives the way to another process, credentials and all."""

import pytest

from trunkline.config import from_mapping
from trunkline.config.handover import decode, encode
from trunkline.observability import redact

SECRETS = {
    "key": "sk-of-the-provider-1",
    "header": "a-header-secret-1",
    "caller": "key-of-a-caller-1",
    "webhook": "secret-of-a-webhook-1",
}
EVERYTHING = {
    "llm_service": {
        "default_provider": "openai",
        "fallback_chain": ["openai", "demo"],
        "model_map": {"gpt-4": {"demo": "demo"}},
        "providers": {
            "openai": {
                "api_key": SECRETS["key"],
                "headers": {"x-auth": SECRETS["header"]},
                "models": [{"name": "gpt-4o", "price": {"input": "0.1", "output": "0.2"}}],
                "rate_limits": {"requests_per_minute": 3},
            },
            "demo": {},
            "groq": {"api_key": "${NOT_SET}"},
        },
        "groups": {"best": {"deployments": [{"model": "openai/gpt-4o", "retries": 1}]}},
        "aliases": {"b": "best"},
        "budgets": [
            {"scope": "global", "amount": "1.000000001", "period": "day", "rolling": True},
            {"scope": "tag:a", "amount": 1, "period": "week", "timezone": "Asia/Beirut"},
            {"scope": "tag:b", "amount": 1, "period": "total", "when_store_down": "open"},
            {"scope": "tag:c", "amount": 1, "period": "total", "cap_output": True},
        ],
        "keys": [{"name": "ci", "key": SECRETS["caller"], "models": ["best"]}],
        "webhooks": [{"url": "https://h/", "secret": SECRETS["webhook"]}],
        "server": {"workers": 2, "hosts": ["box.lan"]},
    }
}


@pytest.mark.parametrize("data", [{}, EVERYTHING], ids=["nothing", "everything"])
def test_nothing_is_lost(data: dict[str, object]) -> None:
    """What arrives equals what was sent."""
    config = from_mapping(data, {})
    assert decode(encode(config)) == config


def test_credentials_stay_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that takes a configuration keeps its credentials out of texts, as the first."""
    data = encode(from_mapping(EVERYTHING, {}))
    monkeypatch.setattr(redact, "_known", ())
    decode(data)
    assert redact.scrub(" ".join(SECRETS.values())) == "*** *** *** ***"
