"""Whatever is written, the answer is a configuration or an error that says where."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trunkline.config import Config, from_mapping
from trunkline.errors import ConfigError

WORDS = st.sampled_from((
    "llm_service", "model_list", "fallbacks", "litellm_settings", "router_settings",
    "num_retries", "default_provider", "fallback_chain", "model_map", "providers", "groups",
    "aliases", "budgets", "openai", "ollama", "demo", "type", "models", "name", "price",
    "input", "output", "rate_limits", "timeout", "headers", "base_url", "api_key",
    "api_key_file", "deployments", "model", "priority", "retries", "strategy", "scope",
    "amount", "period", "timezone", "rolling", "alert_at", "model_name", "litellm_params", "order",
    "ollama/m", "openai/*", "*", "g", "${X}", "${X:-1}", "${", "http://h", "http://[", "latency",
    "day", "global", "provider:ollama",
))  # fmt: skip
LEAVES = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | LEAVES, inner, max_size=4),
    max_leaves=12,
)
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "llm_service": st.fixed_dictionaries(
            {},
            optional={
                "providers": st.dictionaries(WORDS, TREES, max_size=2) | st.just({"ollama": {}}),
                "groups": st.dictionaries(WORDS, TREES, max_size=2),
                "budgets": st.lists(TREES, max_size=2),
                "aliases": st.dictionaries(WORDS, LEAVES),
                "fallback_chain": TREES,
                "model_map": TREES,
                "default_model": TREES,
            },
        ),
        "model_list": st.lists(
            st.fixed_dictionaries({"model_name": LEAVES, "litellm_params": TREES}), max_size=2
        ),
        "fallbacks": TREES,
    },
)


@given(TREES | SHAPES)
def test_any_data_gives_a_config_or_a_config_error(data: Any) -> None:
    """No other exception, and never an error without the name of the source."""
    try:
        outcome: Config | str = from_mapping(data, {}, source="t.yaml")
    except ConfigError as error:
        outcome = str(error)
    assert isinstance(outcome, Config) or outcome.startswith("t.yaml")
