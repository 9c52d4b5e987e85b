"""The environment alone: which providers there are, and which one is asked."""

from pathlib import Path

import pytest

from trunkline import interfaces
from trunkline.config import Config, from_mapping, load
from trunkline.errors import ConfigError


class MyProvider:
    """The least that a provider of one's own must have."""

    async def chat(self) -> None:
        """Answer."""

    async def stream_chat(self) -> None:
        """Answer in parts."""

    async def count_tokens(self) -> None:
        """Count."""


@pytest.fixture
def my_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered provider, forgotten afterwards."""
    monkeypatch.setattr(interfaces._registry, "given", {})
    interfaces.register_provider("my_provider", MyProvider())


def switch(**environ: str) -> Config:
    """Read a configuration from variables alone."""
    return from_mapping({}, environ, source="environment")


@pytest.mark.acceptance("T02")
@pytest.mark.usefixtures("my_provider")
@pytest.mark.parametrize(
    ("name", "environ", "backend", "base_url"),
    [
        ("openai", {"OPENAI_API_KEY": "k"}, "http", "https://api.openai.com/v1"),
        ("anthropic", {"ANTHROPIC_API_KEY": "k"}, "http", "https://api.anthropic.com/v1"),
        ("openai_compatible", {"LLM_BASE_URL": "http://h:11434/v1"}, "http", "http://h:11434/v1"),
        ("groq", {"GROQ_API_KEY": "k"}, "http", "https://api.groq.com/openai/v1"),
        ("my_provider", {}, "custom:my_provider", ""),
    ],
)
def test_llm_provider_chooses(
    name: str, environ: dict[str, str], backend: str, base_url: str
) -> None:
    """Each documented name and a registered one; any model name passes, as it is."""
    config = switch(LLM_PROVIDER=name, **environ)
    deployment = config.providers[name].deployment("a-model-nobody-heard-of")

    assert config.default_provider == name
    assert config.providers[name].open
    assert (deployment.name, deployment.backend, deployment.base_url) == (
        f"{name}/a-model-nobody-heard-of",
        backend,
        base_url,
    )


@pytest.mark.acceptance("T02")
def test_unknown_llm_provider_lists_the_known_ones() -> None:
    """The error names the variable, what it holds, near names and all others."""
    with pytest.raises(ConfigError) as caught:
        switch(LLM_PROVIDER="anthropc")
    message = str(caught.value)
    assert "LLM_PROVIDER: found 'anthropc'" in message
    assert "did you mean 'anthropic'?" in message
    assert "openai_compatible" in message


@pytest.mark.usefixtures("my_provider")
def test_registered_names_are_offered_too() -> None:
    """Whoever mistypes a name of their own is told it."""
    with pytest.raises(ConfigError, match="did you mean 'my_provider'"):
        switch(LLM_PROVIDER="my_provder")


@pytest.mark.acceptance("T02")
def test_llm_provider_may_come_from_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.env` in the working directory is enough."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LLM_PROVIDER=ollama\nLLM_DEFAULT_MODEL=qwen3:8b\n")
    config = load(None, {})
    assert (config.default_provider, config.default_model) == ("ollama", "qwen3:8b")


def test_no_key_for_the_chosen_provider_is_fatal() -> None:
    """The variable to set is named."""
    with pytest.raises(
        ConfigError, match=r"default provider 'openai' .*: OPENAI_API_KEY is not set"
    ):
        switch(LLM_PROVIDER="openai")


def test_openai_compatible_needs_an_address_and_no_key() -> None:
    """LLM_BASE_URL says where; a dummy key is taken, none is as well."""
    with pytest.raises(ConfigError, match="set LLM_BASE_URL"):
        switch(LLM_PROVIDER="openai_compatible", OPENAI_API_KEY="dummy")
    config = switch(LLM_PROVIDER="openai_compatible", LLM_BASE_URL="http://localhost:8000")
    template = config.providers["openai_compatible"].template
    assert (template.base_url, template.api_key) == ("http://localhost:8000/v1", None)


def test_a_bad_address_names_the_variable() -> None:
    """Whoever never wrote a file is not sent to one."""
    with pytest.raises(ConfigError, match="LLM_BASE_URL: found 'localhost:8000'"):
        switch(LLM_PROVIDER="openai_compatible", LLM_BASE_URL="localhost:8000")


def test_a_dummy_key_configures_nobody_else() -> None:
    """With `openai_compatible`, OPENAI_API_KEY is that server's and must not go to OpenAI."""
    config = switch(
        LLM_PROVIDER="openai_compatible", LLM_BASE_URL="http://h/v1", OPENAI_API_KEY="ollama"
    )
    assert list(config.providers) == ["openai_compatible"]


def test_every_key_configures_its_provider_and_the_first_is_the_default() -> None:
    """Failing over to another provider is nothing that a key alone asks for."""
    config = switch(GEMINI_API_KEY="g", ANTHROPIC_API_KEY="a", OLLAMA_BASE_URL="http://h:1")
    assert list(config.providers) == ["anthropic", "gemini", "ollama"]
    assert config.default_provider == "anthropic"
    assert config.fallback_chain == ()
    assert config.providers["ollama"].template.base_url == "http://h:1/v1"


def test_llm_provider_is_the_default_whatever_else_is_set() -> None:
    """The others can still be named."""
    config = switch(LLM_PROVIDER="anthropic", OPENAI_API_KEY="o", ANTHROPIC_API_KEY="a")
    assert config.default_provider == "anthropic"
    assert set(config.providers) == {"anthropic", "openai"}


@pytest.mark.acceptance("K08")
def test_lower_case_settings_are_the_same() -> None:
    """An application's `openai_api_key` is OPENAI_API_KEY."""
    config = switch(openai_api_key="o", anthropic_api_key="a", ollama_base_url="http://h:1")
    assert list(config.providers) == ["openai", "anthropic", "ollama"]
    key = config.providers["anthropic"].template.api_key
    assert key is not None
    assert key.reveal() == "a"


def test_nothing_set_means_demo() -> None:
    """The first call works before any account exists, and costs nothing."""
    config = switch()
    demo = config.providers["demo"]
    row = demo.deployment("any-name")
    assert config.default_provider == "demo"
    assert (demo.models, demo.open) == (("demo",), True)
    assert (row.backend, row.dialect) == ("demo", "events")
    assert row.price is not None
    assert (row.price.input_nusd, row.price.output_nusd) == (0, 0)


@pytest.mark.usefixtures("my_provider")
def test_demo_is_gone_once_anything_is_configured() -> None:
    """A key, an address or a registered provider; named, it comes back."""
    assert "demo" not in switch(OPENAI_API_KEY="k").providers
    assert list(switch().providers) == ["my_provider"]
    assert switch(LLM_PROVIDER="demo", OPENAI_API_KEY="k").default_provider == "demo"


@pytest.mark.usefixtures("my_provider")
def test_registered_providers_can_be_named_in_a_file() -> None:
    """Under their own name or another, with a list of models and time-outs, but no address."""
    data: dict[str, dict[str, object]] = {
        "mine": {"type": "my_provider", "models": ["m"], "timeout": 5},
        "ollama": {},
    }
    config = from_mapping({"llm_service": {"providers": data}}, {})
    assert list(config.providers) == ["mine", "ollama", "my_provider"]
    assert config.providers["mine"].template.backend == "custom:my_provider"
    assert config.providers["mine"].limits.timeout_s == 5
    data["mine"]["base_url"] = "http://h"
    with pytest.raises(ConfigError, match=r"mine\.base_url: .*needs no connection"):
        from_mapping({"llm_service": {"providers": data}}, {})


def test_file_wins_over_the_environment_and_says_so() -> None:
    """A variable left over from another program changes no routing, but is not ignored silently."""
    data = {"default_provider": "ollama", "default_model": "m", "providers": {"ollama": {}}}
    environ = {"LLM_PROVIDER": "openai", "LLM_DEFAULT_MODEL": "gpt-4o"}
    config = from_mapping({"llm_service": data}, environ)
    assert (config.default_provider, config.default_model) == ("ollama", "m")
    assert [warning.split()[0] for warning in config.warnings] == list(environ)


def test_environment_fills_what_the_file_leaves_open() -> None:
    """Default provider and model, keys and addresses."""
    data: dict[str, object] = {"providers": {"openai": {}, "ollama": {}}}
    environ = {
        "LLM_PROVIDER": "openai",
        "LLM_DEFAULT_MODEL": "gpt-4o",
        "OPENAI_API_KEY": "k",
        "OLLAMA_BASE_URL": "http://h:1",
    }
    config = from_mapping({"llm_service": data}, environ)
    assert (config.default_provider, config.default_model) == ("openai", "gpt-4o")
    assert config.providers["openai"].template.api_key is not None
    assert config.providers["ollama"].template.base_url == "http://h:1/v1"
    with pytest.raises(ConfigError, match="LLM_PROVIDER: found 'groq'; no such provider is conf"):
        from_mapping({"llm_service": data}, {**environ, "LLM_PROVIDER": "groq"})


def test_file_without_providers_takes_those_of_the_environment() -> None:
    """A file may hold budgets alone."""
    budget = {"scope": "global", "amount": 5, "period": "day"}
    config = from_mapping({"llm_service": {"budgets": [budget]}}, {"OPENAI_API_KEY": "k"})
    assert list(config.providers) == ["openai"]
    assert len(config.budgets) == 1


def test_an_address_that_nobody_uses_is_told() -> None:
    """LLM_BASE_URL without LLM_PROVIDER must not look as if prompts went there."""
    config = switch(LLM_BASE_URL="http://h/v1", OPENAI_API_KEY="k")
    assert config.default_provider == "openai"
    assert "set LLM_PROVIDER=openai_compatible" in config.warnings[0]
    assert switch(LLM_BASE_URL="http://h/v1").default_provider == "openai_compatible"
