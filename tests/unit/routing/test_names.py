"""From a caller's words to deployments: every rule of naming, and the way on after a failure."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.config.seeds import FIVE_FALLBACKS, FIVE_GROUPS
from tests.unit.routing.asking import CHAIN, PROVIDERS, ask, config, names, refusal
from trunkline import dialects
from trunkline.config import from_model_list, load
from trunkline.errors import InputError, ModelNotFound
from trunkline.routing.plan import Planner
from trunkline.types import Chat, Prompt, Wire


def test_alias_comes_before_group_and_leads_on() -> None:
    """An alias may stand for an alias, a group or a model."""
    built = config(
        aliases={"best": "top", "top": "quality", "gpt-4": "anthropic/claude-opus"},
        groups={
            "quality": {"deployments": ["ollama/llama2"]},
            "gpt-4": {"deployments": ["ollama/x"]},
        },
    )
    assert names(built, "best") == ["ollama/llama2"]
    assert names(built, "gpt-4") == ["anthropic/claude-opus"]


def test_who_has_text_completions_is_asked_for_them() -> None:
    """By the model's name, and only for a caller who speaks so; plans for others do not mix."""
    provider = {"api_key": "k", "base_url": "http://x/v1"}
    providers = {**PROVIDERS, "vllm": {}, "own": {**provider, "type": "openai_compatible"}}
    groups = {"all": {"deployments": ["vllm/org/base", "anthropic/claude-opus"]}}
    planner = Planner(config(providers=providers, groups=groups))
    text = dialects.load("openai_text").read(b'{"prompt": "Hi"}').body
    chat = dialects.load("openai_chat").read(b'{"messages": [{"role": "system"}]}').body

    def asked(model: str, body: Wire | Prompt) -> list[str]:
        return [c.deployment.dialect for c in planner.plan(Chat(model=model, body=body)).candidates]

    for model in ("gpt-3.5-turbo-instruct", "davinci-002", "ft:babbage-002:me::1"):
        assert asked(f"openai/{model}", text) == ["openai_text"]
    for model in ("openai/gpt-4o", "openai/ft:gpt-4o:me::1", "openrouter/x"):
        assert asked(model, text) == ["openai_chat"]
    assert asked("own/anything", text) == ["openai_text"]
    for _ in range(2):
        assert asked("all", text) == ["openai_text", "anthropic"]
        assert (
            asked("all", chat) == asked("all", Prompt(messages=())) == ["openai_chat", "anthropic"]
        )


def test_group_comes_before_provider_and_model() -> None:
    """Even when its name looks like one."""
    built = config(groups={"openai/gpt-4o": {"deployments": ["ollama/llama2"]}})
    assert names(built, "openai/gpt-4o") == ["ollama/llama2"]


def test_prefix_counts_only_for_configured_providers() -> None:
    """Any model passes then, also one that is not listed; else the whole is a model's name."""
    assert names(config(), "anthropic/claude-next") == ["anthropic/claude-next"]
    assert names(config(), "openrouter/meta-llama/llama-4") == ["openrouter/meta-llama/llama-4"]
    built = config(default_provider="openrouter")
    assert names(built, "meta-llama/llama-4") == ["openrouter/meta-llama/llama-4"]


def test_the_provider_that_lists_a_model_is_asked() -> None:
    """The only one; of several the first of the chain; without a chain the default one."""
    assert names(config(), "claude-opus") == ["anthropic/claude-opus"]
    assert names(config(fallback_chain=["ollama", "openai"]), "gpt-4o")[0] == "ollama/gpt-4o"
    assert names(config(), "gpt-4o") == ["openai/gpt-4o"]
    assert names(config(default_provider="ollama"), "gpt-4o") == ["ollama/gpt-4o"]


def test_default_provider_that_lists_nothing_takes_any_name() -> None:
    """With models listed, an unknown name is an error with near names instead."""
    assert names(config(default_provider="openrouter"), "brand-new") == ["openrouter/brand-new"]
    error = refusal(config(aliases={"opus": "claude-opus"}), "claude-opsu")
    assert isinstance(error, ModelNotFound)
    assert (error.status, error.param) == (404, "model")
    assert "'claude-opsu'; did you mean 'claude-opus'" in error.message


def test_unknown_name_tells_who_is_disabled() -> None:
    """The model may well belong to a provider whose key is missing."""
    providers = {**PROVIDERS, "anthropic": {"api_key": "${MISSING}", "models": ["claude-opus"]}}
    built = config(providers=providers)
    assert "anthropic is disabled: MISSING is not set" in refusal(built, "claude-opus").message
    assert "is disabled: MISSING is not set" in refusal(built, "anthropic/claude-opus").message
    assert "is disabled: MISSING is not set" in refusal(built, "claude-opus", "anthropic").message


def test_no_model_means_the_default_one() -> None:
    """default_model by all the rules, else the first that the default provider lists."""
    assert names(config(), "") == ["openai/gpt-4o"]
    assert names(config(default_model="claude-opus"), "") == ["anthropic/claude-opus"]
    groups = {"fast": {"deployments": ["ollama/llama2"]}}
    assert names(config(default_model="fast", groups=groups), "") == ["ollama/llama2"]
    for name in ("vllm", None):
        built = config(default_provider=name, providers={**PROVIDERS, "vllm": {}})
        error = refusal(built, "")
        assert error.param == "model"
        assert "default_model" in error.message


def test_no_model_for_a_named_provider() -> None:
    """default_model belongs to the default provider only; another gives its own first one."""
    built = config(default_model="gpt-4", providers={**PROVIDERS, "vllm": {}})
    assert names(built, "", "openai") == ["openai/gpt-4"]
    assert names(built, "", "anthropic") == ["anthropic/claude-haiku"]
    assert "lists none" in refusal(built, "", "vllm").message
    groups = {"fast": {"deployments": ["ollama/llama2"]}}
    assert names(config(default_model="fast", groups=groups), "", "openai") == ["openai/gpt-4o"]


def test_no_model_for_a_provider_that_lists_none() -> None:
    """The usual one of the catalog, whatever its name looks like; no call falls back to it."""
    keys = {name: {"api_key": "k"} for name in ("openai", "anthropic", "groq")}
    built = config(providers=keys, default_provider="groq", fallback_chain=["groq", "openai"])
    assert names(built, "") == ["groq/openai/gpt-oss-20b"]
    assert names(built, "", "anthropic") == ["anthropic/claude-haiku-5-5"]
    assert names(built, "any") == ["groq/any"]
    preferred = config(providers=keys, default_model="gpt-4")
    assert names(preferred, "") == names(preferred, "", "openai") == ["openai/gpt-4"]


def test_named_provider_is_asked_for_exactly_that_model() -> None:
    """No alias, no group, no other provider's list has a say."""
    built = config(aliases={"gpt-4": "anthropic/claude-opus"})
    assert names(built, "gpt-4", "openai") == ["openai/gpt-4"]
    assert names(built, "claude-opus", "openai") == ["openai/claude-opus"]


def test_prefix_beside_a_named_provider() -> None:
    """Its own is taken off, another's is a contradiction, unless its models have such names."""
    assert names(config(), "openai/gpt-4o", "openai") == ["openai/gpt-4o"]
    error = refusal(config(), "anthropic/claude-opus", "openai")
    assert error.status == 400
    assert "belongs to provider 'anthropic', but 'openai' was named" in error.message
    assert names(config(), "ft/mine", "openai") == ["openai/ft/mine"]
    assert names(config(), "openai/gpt-4o", "openrouter") == ["openrouter/openai/gpt-4o"]
    listed = {"groq": {"api_key": "k", "models": ["groq/compound"]}}
    assert names(config(providers={**PROVIDERS, **listed}), "groq/compound", "groq") == [
        "groq/groq/compound"
    ]


def test_unknown_provider_is_told_near_names() -> None:
    """With the field at fault."""
    error = refusal(config(), "gpt-4o", "opnai")
    assert (error.status, error.param) == (400, "provider")
    assert "did you mean 'openai'" in error.message


def test_chain_goes_on_after_the_first_provider() -> None:
    """By model_map, the same model, or the first one listed; who lists nothing is left out."""
    built = config(fallback_chain=CHAIN, model_map={"gpt-4o": {"anthropic": "claude-opus"}})
    plan = Planner(built).plan(ask("gpt-4o"))
    assert [(c.deployment.name, c.note) for c in plan.candidates] == [
        ("openai/gpt-4o", None),
        ("anthropic/claude-opus", "model_map: claude-opus of anthropic instead of gpt-4o"),
        ("ollama/gpt-4o", None),
    ]
    plan = Planner(built).plan(ask("gpt-4"))
    assert [(c.deployment.name, c.note) for c in plan.candidates] == [
        ("openai/gpt-4", None),
        (
            "anthropic/claude-haiku",
            "first listed model claude-haiku of anthropic instead of gpt-4",
        ),
        ("ollama/llama2", "first listed model llama2 of ollama instead of gpt-4"),
    ]


def test_chain_is_never_walked_backwards() -> None:
    """What comes before the first provider is not tried."""
    assert names(config(fallback_chain=CHAIN), "claude-opus") == [
        "anthropic/claude-opus",
        "ollama/llama2",
    ]


def test_model_map_reaches_providers_that_list_nothing() -> None:
    """A mapping is enough to be asked."""
    built = config(fallback_chain=CHAIN, model_map={"gpt-4": {"openrouter": "openai/gpt-4"}})
    assert "openrouter/openai/gpt-4" in names(built, "gpt-4")


def test_named_provider_fails_over_only_as_part_of_the_chain() -> None:
    """Whoever names a provider outside the chain means that one."""
    chain = ["openai", "ollama"]
    assert names(config(fallback_chain=chain), "gpt-4", "openai") == [
        "openai/gpt-4",
        "ollama/llama2",
    ]
    assert names(config(fallback_chain=chain), "claude-opus", "anthropic") == [
        "anthropic/claude-opus"
    ]


def test_disabled_providers_are_passed_over() -> None:
    """A step of the chain whose key is missing is no candidate."""
    providers = {**PROVIDERS, "anthropic": {"api_key": "${MISSING}", "models": ["claude-opus"]}}
    built = config(providers=providers, fallback_chain=CHAIN)
    assert names(built, "gpt-4") == ["openai/gpt-4", "ollama/llama2"]


def test_group_goes_on_to_its_fallbacks() -> None:
    """Depth first, each group and each deployment once, and no chain after it."""
    built = config(
        fallback_chain=CHAIN,
        groups={
            "a": {"deployments": ["openai/gpt-4o"], "fallbacks": ["b", "c"]},
            "b": {"deployments": ["anthropic/x", "openai/gpt-4o"], "fallbacks": ["d"]},
            "c": {"deployments": ["ollama/c"], "fallbacks": ["d"]},
            "d": {"deployments": ["ollama/d"]},
        },
    )
    plan = Planner(built).plan(ask("a"))
    assert [(c.deployment.name, c.note) for c in plan.candidates] == [
        ("openai/gpt-4o", None),
        ("anthropic/x", "group b instead of a"),
        ("ollama/d", "group d instead of a"),
        ("ollama/c", "group c instead of a"),
    ]


def test_promised_groups_lead_where_they_should() -> None:
    """quality: Anthropic, OpenAI, then the local model; balanced: local, then Anthropic."""
    built = from_model_list(FIVE_GROUPS, fallbacks=FIVE_FALLBACKS, environ={})
    claude, gpt, local = "anthropic/claude-sonnet-4-20250514", "openai/gpt-4o", "ollama/qwen3:32b"
    assert names(built, "quality") == [claude, gpt, local]
    assert names(built, "balanced") == [local, claude]
    assert [names(built, name) for name in ("local", "fast", "economy")] == [[local]] * 3
    assert names(built, "gpt-4o") == [gpt]
    assert isinstance(refusal(built, "gpt-5"), ModelNotFound)


def test_group_with_every_provider_disabled_says_why() -> None:
    """It is not an unknown name, and it never gives an empty plan."""
    built = config(
        providers={**PROVIDERS, "xai": None}, groups={"g": {"deployments": ["xai/grok"]}}
    )
    assert "group 'g' is disabled (xai: XAI_API_KEY is not set)" in refusal(built, "g").message


@given(
    st.text(max_size=30) | st.sampled_from(["openai/", "/", "//x", "ollama//", "quality", "a/b/c"]),
    st.none() | st.sampled_from([*PROVIDERS, "", "x"]),
)
def test_any_name_gives_a_plan_or_a_clear_error(model: str, provider: str | None) -> None:
    """Never an empty plan, never the same deployment twice, never another kind of error."""
    built = config(fallback_chain=CHAIN, groups={"quality": {"deployments": ["ollama/llama2"]}})
    try:
        found = names(built, model, provider)
    except InputError as error:
        found = [error.param or ""]
    assert found
    assert all(found)
    assert len(found) == len(set(found))


def test_a_known_provider_that_is_not_configured_is_told_how_to_be() -> None:
    """Its variable where the environment decides, the file where there is one; its name here."""
    nothing = load(environ={})
    assert "set OPENAI_API_KEY; " in str(refusal(nothing, "m", "openai"))
    assert "set OLLAMA_BASE_URL; " in str(refusal(nothing, "m", "ollama"))
    assert "set LLM_PROVIDER=lmstudio; " in str(refusal(nothing, "m", "lmstudio"))
    assert "add it to the providers in configuration; " in str(refusal(config(), "m", "groq"))
    gemini = load(environ={"GEMINI_API_KEY": "k-12345"})
    assert "it is called 'gemini' here; " in str(refusal(gemini, "m", "google"))
