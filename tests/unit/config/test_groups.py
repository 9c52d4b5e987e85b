"""Groups, aliases and budgets: what they hold and that they lead somewhere."""

import zoneinfo
from typing import Any

import pytest

from trunkline.config import Config, from_mapping
from trunkline.config.model import Hedge
from trunkline.errors import ConfigError

PROVIDERS = {
    "openai": {"api_key": "${OPENAI_API_KEY}", "models": ["gpt-4o"]},
    "anthropic": {"api_key": "key-anthropic", "retries": 5},
    "ollama": {},
}


def read(**sections: Any) -> Config:
    """Read a configuration with three providers; without a key for one if `keyless`."""
    environ = {"OPENAI_API_KEY": "key-openai"} if not sections.pop("keyless", False) else {}
    data = {"llm_service": {"providers": PROVIDERS, **sections}}
    return from_mapping(data, environ, source="t.yaml")


def refusal(**sections: Any) -> str:
    """Return why a configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        read(**sections)
    return str(caught.value)


def test_priority_then_the_list_gives_the_order() -> None:
    """A lower number goes first; equal ones stay as they are listed."""
    deployments = [
        {"model": "openai/a", "priority": 2},
        {"model": "ollama/b", "priority": 1, "weight": 3},
        "anthropic/c/d",
        {"model": "ollama/e", "priority": 1},
    ]
    group = read(groups={"quality": {"deployments": deployments}}).groups["quality"]
    assert [row.name for row in group.deployments] == [
        "anthropic/c/d",
        "ollama/b",
        "ollama/e",
        "openai/a",
    ]
    assert [row.weight for row in group.deployments] == [1, 3, 1, 1]


def test_retries_of_deployment_group_and_provider() -> None:
    """The nearest one counts."""
    deployments: list[Any] = [{"model": "anthropic/a", "retries": 0}, "anthropic/b"]
    own = read(groups={"g": {"deployments": deployments, "retries": 3}}).groups["g"]
    none = read(groups={"g": {"deployments": deployments}}).groups["g"]
    assert [row.retries for row in own.deployments] == [0, 3]
    assert [row.retries for row in none.deployments] == [0, 5]
    assert (own.retries, none.retries) == (3, 2)


def test_group_keeps_its_name_when_providers_are_disabled() -> None:
    """What is left of it still answers, its fallbacks too."""
    groups = {
        "quality": {"deployments": ["openai/gpt-4o"], "fallbacks": ["fast"]},
        "fast": {"deployments": ["openai/gpt-4o-mini", "ollama/qwen3:32b"]},
    }
    config = read(groups=groups, keyless=True)
    assert config.groups["quality"].deployments == ()
    assert [row.name for row in config.groups["fast"].deployments] == ["ollama/qwen3:32b"]


def test_a_deployment_of_a_group_may_have_its_own_price() -> None:
    """It counts there, and the provider's own everywhere else."""
    deployments: list[Any] = [{"model": "openai/gpt-4o", "price": {"input": 1, "output": 2}}]
    config = read(groups={"g": {"deployments": deployments}})
    (own,) = config.groups["g"].deployments
    assert own.price is not None
    assert (own.price.input_nusd, own.price.snapshot) == (10**9, "configuration")
    listed = config.providers["openai"].deployment("gpt-4o").price
    assert listed is not None
    assert listed.input_nusd != own.price.input_nusd
    deployments[0]["price"] = {"input": 1}
    assert "g.deployments[0].price: found a mapping; write US dollars" in refusal(
        groups={"g": {"deployments": deployments}}
    )


@pytest.mark.parametrize("word", ["latency", "latency-based-routing", "priority"])
def test_strategies_of_this_version(word: str) -> None:
    """Both spellings of latency are one."""
    group = read(groups={"g": {"deployments": ["ollama/m"], "strategy": word}}).groups["g"]
    assert group.strategy == word.partition("-")[0]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({}, "groups.g: found a mapping; write its deployments"),
        ({"deployments": []}, "groups.g: found a mapping; write its deployments"),
        ({"deployments": ["opnai/m"]}, "deployments[0]: found 'opnai/m'; did you mean 'openai'"),
        ({"deployments": ["gpt-4o"]}, "deployments[0]: found 'gpt-4o'; write provider/model"),
        ({"deployments": ["openai/"]}, "write provider/model"),
        ({"deployments": [{"priority": 1}]}, "deployments[0]: found a mapping; write its model"),
        ({"deployments": [{"model": "ollama/m", "wieght": 1}]}, "[0].wieght: unknown key; did you"),
        (
            {"deployments": ["ollama/m"], "fallbacks": ["gg"]},
            "g.fallbacks: no group is called 'gg'",
        ),
        ({"deployments": ["ollama/m"], "fallbacks": ["g"]}, "in a circle (g -> g)"),
        ({"deployments": [{"model": "ollama/m", "weight": -1}]}, "found -1; write a number, 0 or"),
        ({"deployments": ["ollama/m"], "promises": ["wings"]}, "promises[0]: found 'wings'; write"),
        (
            {"deployments": [{"model": "ollama/m", "lacks": ["tools"]}], "promises": ["tools"]},
            "g.promises: group 'g' promises tools, which every deployment of it lacks",
        ),
        ({"deployments": ["ollama/m"], "strategy": "latncy"}, "did you mean 'latency'"),
        ({"deployments": ["ollama/m"], "retries": -1}, "retries: found -1; write a whole number"),
    ],
)
def test_bad_groups_are_refused(group: Any, message: str) -> None:
    """With the path of the key and what to write instead."""
    assert message in refusal(groups={"g": group})


def test_fallbacks_in_a_circle_are_shown() -> None:
    """The whole way round, wherever it begins."""
    groups = {
        name: {"deployments": ["ollama/m"], "fallbacks": [target]}
        for name, target in [("a", "b"), ("b", "c"), ("c", "b")]
    }
    assert "t.yaml: llm_service.groups.b.fallbacks: " in refusal(groups=groups)
    assert "(b -> c -> b)" in refusal(groups=groups)


@pytest.mark.parametrize(
    "kind", ["context_window_fallbacks", "rate_limit_fallbacks", "content_policy_fallbacks"]
)
def test_fallbacks_by_cause_lead_somewhere(kind: str) -> None:
    """To a group or an alias of one; neither to nothing nor, for the same cause, back."""
    groups: dict[str, Any] = {
        "a": {"deployments": ["ollama/m"], kind: ["other"]},
        "b": {"deployments": ["ollama/n"], "fallbacks": ["a"]},
    }
    assert getattr(read(groups=groups, aliases={"other": "b"}).groups["a"], kind) == ("b",)
    assert f"groups.a.{kind}: no group is called 'other'" in refusal(groups=groups)
    message = refusal(groups=groups, aliases={"other": "next", "next": "a"})
    assert f"groups.a.{kind}: the fallbacks go round in a circle (a -> a)" in message


def test_a_fallback_must_do_what_the_group_promises() -> None:
    """As far as it is certain: what nobody said to be missing counts as there."""
    can, cannot = {"model": "ollama/m"}, {"model": "ollama/n", "lacks": ["images", "audio"]}
    groups: dict[str, Any] = {
        "a": {"deployments": [can], "promises": ["images"], "fallbacks": ["b"]},
        "b": {"deployments": [cannot]},
    }
    assert (
        "groups.a.fallbacks: group 'a' promises images, which every deployment of 'b' lacks; "
        "name a group that can do it"
    ) in refusal(groups=groups)
    groups["b"]["deployments"].append(can)
    assert read(groups=groups).groups["a"].promises == {"images"}


def test_a_context_window_fallback_must_be_longer() -> None:
    """One that can take no more than any of the group helps nobody."""

    def groups(window: int | None) -> dict[str, Any]:
        here = {"model": "ollama/m", "context_window": 8000}
        there = {"model": "ollama/n", "context_window": window}
        return {
            "a": {"deployments": [here], "context_window_fallbacks": ["b"]},
            "b": {"deployments": [there]},
        }

    assert (
        "groups.a.context_window_fallbacks: 'b' takes 8000 tokens at most, 'a' never less than "
        "8000; name a group with a longer context"
    ) in refusal(groups=groups(8000))
    for window in (8001, None):
        assert read(groups=groups(window)).groups["a"].context_window_fallbacks == ("b",)


def test_what_a_model_can_do() -> None:
    """By the price data, by the provider's list, and by the group, the last one counts."""
    models = [{"name": "gpt-4o", "max_output": 4096, "lacks": ["audio"]}, "gpt-4"]
    deployments = [{"model": "openai/gpt-4o", "context_window": 1000}, "openai/gpt-4"]
    config = read(
        providers={"openai": {"api_key": "k", "models": models}, "ollama": {}},
        groups={"g": {"deployments": [*deployments, "ollama/m"]}},
    )
    own, listed, local = config.groups["g"].deployments
    assert (own.context_window, own.max_output, set(own.lacks)) == (1000, 4096, {"audio"})
    assert (listed.context_window, listed.max_output, listed.lacks) == (8192, None, frozenset())
    assert config.providers["openai"].deployment("gpt-4o").context_window == 128_000
    assert local.context_window is None


def test_two_ways_to_the_same_fallback_are_no_circle() -> None:
    """A diamond is fine."""
    groups = {
        "a": {"deployments": ["ollama/m"], "fallbacks": ["b", "c"]},
        "b": {"deployments": ["ollama/m"], "fallbacks": ["d"]},
        "c": {"deployments": ["ollama/m"], "fallbacks": ["d"]},
        "d": {"deployments": ["ollama/m"]},
    }
    assert read(groups=groups).groups["a"].fallbacks == ("b", "c")


def test_aliases_may_be_chained_but_not_closed() -> None:
    """An alias of an alias works; one of itself is refused with the way round."""
    aliases = {"best": "gpt-4", "gpt-4": "openai/gpt-4o"}
    assert read(aliases=aliases).aliases == aliases
    assert "aliases.a: found 'b'; the aliases go round in a circle (a -> b -> a)" in refusal(
        aliases={"a": "b", "b": "a"}
    )
    assert "aliases.a: found 3; write text" in refusal(aliases={"a": 3})


def test_budgets_are_exact() -> None:
    """Dollars become int nano-dollars without a float; what is not said has a default."""
    budgets = [
        {"scope": "tenant:acme", "amount": 100.10, "period": "month"},
        {
            "scope": "deployment:openai/gpt-4o",
            "amount": "0.000000001",
            "period": "total",
            "mode": "strict",
            "unknown_price": "refuse",
            "when_store_down": "open",
            "alert_at": [0.5, 0.8, 1],
        },
        {"scope": "global", "amount": 0, "period": "day", "mode": "soft"},
    ]
    plain, full, zero = read(budgets=budgets).budgets
    assert (plain.scope, plain.amount_nusd, plain.period) == (
        "tenant:acme",
        100_100_000_000,
        "month",
    )
    assert (plain.mode, plain.unknown_price, plain.alert_at) == ("hard", "flag", ())
    assert plain.when_store_down == "closed"
    assert (full.amount_nusd, full.mode, full.unknown_price) == (1, "strict", "refuse")
    assert full.when_store_down == "open"
    assert full.alert_at == (0.5, 0.8, 1.0)
    assert zero.amount_nusd == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scope": "tennant:acme"}, "scope: found 'tennant:acme'; did you mean 'tenant'"),
        ({"scope": "acme"}, "write global, or a kind and a name as in tenant:acme"),
        ({"scope": "tenant:"}, "write global, or a kind"),
        ({"scope": "provider:opnai"}, "no provider is called 'opnai'; did you mean 'openai'"),
        ({"scope": "deployment:x/y"}, "no provider is called 'x'"),
        ({"scope": "provider:openai/gpt-4o"}, "write provider:openai, or deployment:openai/MODEL"),
        ({"scope": "provider:openai/"}, "write provider:openai, or deployment:openai/MODEL"),
        ({"scope": "deployment:openai"}, "write deployment:openai/MODEL, or provider:openai"),
        ({"scope": "deployment:openai/"}, "write deployment:openai/MODEL, or provider:openai"),
        ({"amount": "ten"}, "amount: found 'ten'; write an amount in US dollars"),
        ({"amount": -1}, "amount: found -1"),
        ({"amount": None}, "amount is missing"),
        ({"period": "yearly"}, "period: found 'yearly'; write one of day, week, month, total"),
        ({"mode": "hrad"}, "mode: found 'hrad'; did you mean 'hard'"),
        ({"unknown_price": "ignore"}, "unknown_price: found 'ignore'; write one of flag, refuse"),
        ({"alert_at": [80]}, "alert_at[0]: found 80; write a share of the amount"),
        ({"alert_at": 0.8}, "alert_at: found 0.8; write a list"),
        ({"rolling": "yes"}, "rolling: found 'yes'; write true or false"),
        ({"rolling": True, "period": "total"}, "rolling: found True; a total has no period"),
        ({"cap_output": "yes"}, "cap_output: found 'yes'; write true or false"),
        ({"cap_output": True, "mode": "soft"}, "cap_output: found True; a soft budget refuses"),
        ({"timezone": 1}, "timezone: found 1; write text"),
        ({"timezone": "Berlin"}, "timezone: found 'Berlin'; did you mean 'Europe/Berlin'"),
        ({"timezone": "utc+1"}, "write the name of a time zone, for example Europe/Berlin or UTC"),
        ({"timezone": "America"}, "write the name of a time zone"),  # a folder of them
        ({"timezone": "../UTC"}, "write the name of a time zone"),
        ({"timezone": "a" * 300}, "write the name of a time zone"),
        ({"when_store_down": "opne"}, "when_store_down: found 'opne'; did you mean 'open'"),
        ({"ammount": 5}, "ammount: unknown key; did you mean 'amount'"),
    ],
)
def test_bad_budgets_are_refused(change: dict[str, Any], message: str) -> None:
    """A budget that limits nothing must never look as if it did."""
    good = {"scope": "tenant:acme", "amount": 1, "period": "day"}
    text = refusal(budgets=[{**good, **change}])
    assert text.startswith("t.yaml: llm_service.budgets[0]")
    assert message in text


def test_a_budget_has_periods_of_a_zone_or_rolling_ones() -> None:
    """Without a word they are those of UTC; a key's own budget is no different."""
    fields = {"amount": 1, "period": "day"}
    zoned = {**fields, "timezone": "America/New_York"}
    rolling = {**fields, "rolling": True}
    config = read(
        budgets=[{"scope": "global", **budget} for budget in (fields, zoned, rolling)],
        keys=[{"name": "ci", "key": "k" * 16, "budget": {**zoned, **rolling}}],
    )
    assert [(rule.scope, rule.timezone, rule.rolling) for rule in config.budgets] == [
        ("key:ci", "America/New_York", True),
        ("global", "UTC", False),
        ("global", "America/New_York", False),
        ("global", "UTC", True),
    ]


def test_without_zone_data_only_utc_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    budget = {"scope": "global", "amount": 1, "period": "day"}
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    assert read(budgets=[{**budget, "timezone": "UTC"}]).budgets[0].timezone == "UTC"
    message = refusal(budgets=[{**budget, "timezone": "Asia/Nowhere"}])
    assert "timezone: found 'Asia/Nowhere'; there is no time zone data here" in message


def test_what_follows_when_an_answer_breaks_off_or_is_late() -> None:
    """Off unless somebody says so; `p95` is what the group itself has seen."""
    rows = ["openai/gpt-4o", "ollama/b"]

    def group(**fields: Any) -> Any:
        return read(groups={"g": {"deployments": rows, **fields}}).groups["g"]

    assert (group().midstream, group().hedge) == ("error", None)
    assert group(midstream="continue").midstream == "continue"
    assert group(hedge={"after": "p95"}).hedge == Hedge(after=None, max_share=0.05)
    assert group(hedge={"after": 2.5, "max_share": 1}).hedge == Hedge(after=2.5, max_share=1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"midstream": "retry"}, "midstream: found 'retry'; write one of error, continue"),
        ({"hedge": {"max_share": 0.1}}, "write when, as in {after: p95}"),
        ({"hedge": {"after": "p99"}}, "write p95, or a number of seconds above 0"),
        ({"hedge": {"after": 0}}, "write p95, or a number of seconds above 0"),
        ({"hedge": {"after": 1, "max_share": 0}}, "write a share above 0 and at most 1"),
        ({"hedge": {"after": 1, "max_share": 5}}, "write a share above 0 and at most 1"),
        ({"hedge": {"after": 1, "most": 5}}, "unknown key; write one of after, max_share"),
    ],
)
def test_bad_rules_for_late_answers_are_refused(fields: dict[str, Any], message: str) -> None:
    """With the path of the key and what to write instead."""
    assert message in refusal(groups={"g": {"deployments": ["ollama/b"], **fields}})
