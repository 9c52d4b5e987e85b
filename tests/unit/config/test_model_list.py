"""LiteLLM's form, from code and from a file."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.config.seeds import (
    FIVE_FALLBACKS,
    FIVE_GROUPS,
    TWO_FALLBACKS,
    TWO_GROUPS,
    Settings,
)
from trunkline.config import Config, from_mapping, from_model_list, load
from trunkline.errors import ConfigError
from trunkline.types import RateLimit


def names(config: Config, group: str) -> list[str]:
    """Return the names of a group's deployments."""
    return [row.name for row in config.groups[group].deployments]


def entry(name: str, model: str, **params: Any) -> dict[str, Any]:
    """Return one entry of a list."""
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def refusal(*entries: Any, **rest: Any) -> str:
    """Return why a list is refused."""
    with pytest.raises(ConfigError) as caught:
        from_mapping({"model_list": list(entries), **rest}, {})
    return str(caught.value)


@pytest.mark.acceptance("K01", "K09")
def test_promised_lists_load() -> None:
    """Five groups and two; each entry keeps its address and key, its model loses the prefix."""
    five = from_model_list(
        FIVE_GROUPS,
        fallbacks=FIVE_FALLBACKS,
        num_retries=2,
        routing_strategy="latency-based-routing",
        environ={},
    )
    assert list(five.groups) == ["local", "fast", "economy", "balanced", "quality"]
    assert names(five, "balanced") == ["ollama/qwen3:32b", "anthropic/claude-sonnet-4-20250514"]
    assert names(five, "quality") == ["anthropic/claude-sonnet-4-20250514", "openai/gpt-4o"]
    assert five.groups["quality"].fallbacks == ("fast",)
    assert five.groups["balanced"].fallbacks == ("fast",)
    assert {group.strategy for group in five.groups.values()} == {"latency"}
    assert list(five.providers) == ["ollama", "anthropic", "openai"]
    assert five.providers["ollama"].models == ("qwen3:32b",)

    two = from_model_list(TWO_GROUPS, fallbacks=TWO_FALLBACKS, num_retries=2, environ={})
    assert list(two.groups) == ["fast", "quality"]
    fast, quality = two.groups["fast"].deployments[0], two.groups["quality"].deployments[0]
    assert (fast.model, fast.base_url) == ("qwen3:8b", f"{Settings.ollama_base_url}/v1")
    assert quality.api_key is not None
    assert quality.api_key.reveal() == Settings.anthropic_api_key
    assert (quality.retries, two.groups["quality"].retries) == (2, 2)


def test_strategy_decides_whether_the_order_counts() -> None:
    """Equal with latency-based routing; in the list's order without a strategy, or by `order`."""
    plain = from_model_list(TWO_GROUPS, environ={})
    latency = from_model_list(TWO_GROUPS, routing_strategy="latency-based-routing", environ={})
    assert plain.groups["quality"].strategy == "priority"
    assert latency.groups["quality"].strategy == "latency"
    ordered = from_model_list(
        [entry("g", "ollama/a", order=2), entry("g", "ollama/b", order=1)], environ={}
    )
    assert names(ordered, "g") == ["ollama/b", "ollama/a"]


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("simple-shuffle", "weighted"),
        ("least-busy", "least_busy"),
        ("usage-based-routing", "least_busy"),
        ("usage-based-routing-v2", "least_busy"),
        ("cost-based-routing", "cost"),
    ],
)
def test_strategies_by_their_other_names(name: str, strategy: str) -> None:
    """Each stands for the nearest of ours."""
    config = from_model_list([entry("g", "ollama/m")], routing_strategy=name, environ={})
    assert config.groups["g"].strategy == strategy


def test_what_an_entry_says_of_its_share() -> None:
    """Weight, limits per minute and at once hold for that deployment in that group alone."""
    config = from_model_list(
        [
            entry("g", "ollama/m", weight=2.5, rpm=60, tpm=1000, max_parallel_requests=3),
            entry("h", "ollama/m"),
        ],
        environ={},
    )
    (row,), (other,) = config.groups["g"].deployments, config.groups["h"].deployments
    assert (row.weight, row.limits.max_parallel) == (2.5, 3)
    limit = RateLimit(scope="deployment:ollama/m@g", requests_per_minute=60, tokens_per_minute=1000)
    assert row.rates == (limit,)
    assert (other.weight, other.limits.max_parallel, other.rates) == (1, None, ())


def test_fallbacks_by_cause_and_by_default() -> None:
    """Groups that have no fallbacks get the default ones, which have none; aliases are resolved."""
    config = from_mapping(
        {
            "model_list": [entry(name, f"ollama/{name}") for name in ("a", "b", "long", "last")],
            "router_settings": {
                "fallbacks": [{"a": ["b"]}],
                "default_fallbacks": ["finally"],
                "context_window_fallbacks": [{"a": ["longer"]}],
                "content_policy_fallbacks": [{"a": ["b"]}],
                "model_group_alias": {"longer": "long", "finally": "latest"},
            },
            "llm_service": {"aliases": {"latest": "newest", "newest": "last"}},
        },
        {},
    )
    assert {name: group.fallbacks for name, group in config.groups.items()} == {
        "a": ("b",),
        "b": ("last",),
        "long": ("last",),
        "last": (),
    }
    group = config.groups["a"]
    assert group.context_window_fallbacks == ("long",)
    assert group.content_policy_fallbacks == ("b",)


def test_aliases_of_both_forms_make_no_circle() -> None:
    """Each alone would be fine."""
    message = refusal(
        entry("g", "ollama/m"),
        model_group_alias={"a": "b"},
        llm_service={"aliases": {"b": "a"}},
    )
    assert "aliases.b: found 'a'; the aliases go round in a circle (b -> a -> b)" in message


def test_num_retries_counts_for_every_deployment() -> None:
    """0 means one try."""
    config = from_model_list(TWO_GROUPS, num_retries=0, environ={})
    assert {row.retries for g in config.groups.values() for row in g.deployments} == {0}


def test_file_form_with_its_settings(tmp_path: Path) -> None:
    """`os.environ/NAME`, settings in their two sections, and our own section beside them."""
    path = tmp_path / "trunkline.yaml"
    path.write_text(
        """\
model_list:
  - model_name: quality
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/MY_KEY, timeout: 30}
  - model_name: fast
    litellm_params: {model: ollama_chat/qwen3, api_base: http://h:11434}
litellm_settings: {num_retries: 1, drop_params: true, set_verbose: false}
router_settings:
  routing_strategy: latency-based-routing
  fallbacks: [{quality: [fast]}]
llm_service:
  aliases: {best: quality}
  budgets: [{scope: "provider:openai", amount: 5, period: day}]
"""
    )
    config = load(path, {"MY_KEY": "key-of-mine"})
    row = config.groups["quality"].deployments[0]
    assert row.api_key is not None
    assert row.api_key.reveal() == "key-of-mine"
    assert (row.limits.timeout_s, row.retries) == (30, 1)
    assert config.groups["quality"].fallbacks == ("fast",)
    assert names(config, "fast") == ["ollama/qwen3"]
    assert config.aliases == {"best": "quality"}
    assert config.budgets[0].scope == "provider:openai"


def test_missing_keys_disable_what_needs_them() -> None:
    """An application whose settings are empty still has its local group."""
    config = from_model_list(
        [entry("quality", "openai/gpt-4o", api_key=""), entry("fast", "ollama/q", api_base=None)],
        fallbacks=[{"quality": ["fast"]}],
        environ={},
    )
    assert config.groups["quality"].deployments == ()
    assert config.disabled == {"openai": "OPENAI_API_KEY is not set"}
    assert names(config, "fast") == ["ollama/q"]


def test_environment_fills_in_keys() -> None:
    """An entry without a key takes the provider's usual variable."""
    config = from_model_list([entry("q", "openai/gpt-4o")], environ={"openai_api_key": "the-key"})
    assert names(config, "q") == ["openai/gpt-4o"]


def test_the_same_provider_with_two_keys_is_two_providers() -> None:
    """Their names differ, so that limits, health and costs do not mix."""
    config = from_model_list(
        [
            entry("g", "openai/gpt-4o", api_key="key-one"),
            entry("g", "openai/gpt-4o", api_key="key-two"),
            entry("g", "openai/gpt-4", api_key="key-one"),
        ],
        environ={},
    )
    assert names(config, "g") == ["openai/gpt-4o", "openai-2/gpt-4o", "openai/gpt-4"]
    assert config.providers["openai"].models == ("gpt-4o", "gpt-4")
    assert config.providers["openai-2"].type == "openai"


def test_wildcards_open_a_provider() -> None:
    """`openai/*` takes any model of OpenAI's, `*` any name at all."""
    environ = {"OPENAI_API_KEY": "key-openai"}
    own = from_model_list([entry("openai/*", "openai/*"), entry("g", "openai/a")], environ=environ)
    assert own.providers["openai"].models == ("a",)
    assert own.providers["openai"].open
    assert list(own.groups) == ["g"]
    every = from_model_list([entry("*", "openai/*"), entry("g", "ollama/a")], environ=environ)
    assert every.default_provider == "openai"
    assert "model_name: found 'x'; for any model write openai/* here" in refusal(
        entry("x", "openai/*")
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model_name": "g"}, "model_list[0]: found a mapping; write both model_name and litellm_"),
        (entry("g", "gpt-4o"), "litellm_params.model: found 'gpt-4o'; write the provider first"),
        (entry("g", "opnai/gpt-4o"), "no provider type has that name; did you mean 'openai'"),
        (entry("g", "bedrock/m"), "litellm_params: nothing says which region answers; write"),
        (entry("g", "ollama/m", rpm=0), "litellm_params.rpm: found 0; write a whole number, 1 or"),
        (entry("g", "ollama/m", api_baze="x"), "api_baze: unknown key; did you mean 'api_base'"),
        (entry("g", "ollama/m", api_base="x"), "litellm_params.api_base: found 'x'; write an addr"),
        ({**entry("g", "ollama/m"), "model_info": {}}, "'model_info' is not available"),
        ("ollama/m", "model_list[0]: found 'ollama/m'; write a mapping"),
        (
            {"model_name": "g", "litellm_params": {"order": 1}},
            "litellm_params: found a mapping; wr",
        ),
    ],
)
def test_bad_entries_are_refused(given: Any, message: str) -> None:
    """By their place in the list and their own keys."""
    assert message in refusal(given)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"fallbacks": [{"h": ["g"]}]}, "fallbacks[0].h: found a list; no model_name is 'h'"),
        ({"fallbacks": [{"g": ["h"]}]}, "fallbacks: no group is called 'h'"),
        ({"fallbacks": [{"g": ["g"]}]}, "in a circle (g -> g)"),
        ({"fallbacks": {"g": ["g"]}}, "fallbacks: found a mapping; write a list"),
        ({"routing_strategy": "simple-shufle"}, "did you mean 'simple-shuffle'? write one of"),
        ({"num_retries": "two"}, "num_retries: found 'two'; write a whole number"),
        (
            {"litellm_settings": {"set_verbose": True}},
            "set_verbose: found True; it is always false",
        ),
        ({"litellm_settings": {"cache": True}}, "'cache' is not available in this version"),
        ({"general_settings": {"master_key": "x"}}, "'general_settings' is not available"),
        (
            {"num_retries": 1, "router_settings": {"num_retries": 2}},
            "router_settings.num_retries: num_retries says it already; remove one",
        ),
        (
            {"llm_service": {"providers": {"ollama": {}}}},
            "providers.ollama: model_list has a provider 'ollama'; rename this one",
        ),
        (
            {"llm_service": {"groups": {"g": {"deployments": ["ollama/m"]}}}},
            "groups.g: model_list has a group 'g'; rename this one",
        ),
    ],
)
def test_bad_settings_are_refused(rest: dict[str, Any], message: str) -> None:
    """Settings count only where a list is, once, and with values that have an effect."""
    assert message in refusal(entry("g", "ollama/m"), **rest)


def test_settings_without_a_list_are_refused() -> None:
    """They would have no effect."""
    with pytest.raises(ConfigError, match="it belongs to a model_list, and there is none"):
        from_mapping({"fallbacks": []}, {})
