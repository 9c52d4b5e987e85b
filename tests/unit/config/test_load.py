"""Finding and reading a file, `.env` beside it, and what is wrong with either."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.config.seeds import ADR, KEYS
from trunkline.config import Config, from_mapping, load
from trunkline.errors import ConfigError
from trunkline.types import RateLimit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "trunkline.yaml") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.acceptance("A10")
def test_promised_yaml_loads_verbatim(folder: Path) -> None:
    """The root, the default provider, the chain, and each provider's models are as written."""
    config = load(write(folder, ADR), KEYS)

    assert config.default_provider == "openai"
    assert config.fallback_chain == ("openai", "anthropic", "ollama")
    assert list(config.providers) == ["openai", "anthropic", "ollama"]
    assert config.providers["openai"].models == ("gpt-3.5-turbo", "gpt-4", "gpt-4-turbo")
    assert config.providers["ollama"].models == ("llama2", "codellama", "mistral")
    assert config.warnings == ()


@pytest.mark.acceptance("A11")
def test_promised_yaml_reaches_the_deployments(folder: Path) -> None:
    """Key, address, rates and time-out are what a call will meet, with the usual ones if none."""
    config = load(write(folder, ADR), KEYS)
    openai = config.providers["openai"].deployment("gpt-4")
    anthropic = config.providers["anthropic"].deployment("claude-3-haiku")
    ollama = config.providers["ollama"].deployment("llama2")

    assert openai.api_key is not None
    assert openai.api_key.reveal() == KEYS["OPENAI_API_KEY"]
    assert openai.base_url == "https://api.openai.com/v1"
    limit = RateLimit(scope="provider:openai", requests_per_minute=60, tokens_per_minute=40000)
    assert openai.rates == (limit,)
    assert openai.limits.timeout_s == 600
    assert anthropic.base_url == "https://api.anthropic.com/v1"
    assert ollama.base_url == "http://localhost:11434/v1"
    assert ollama.limits.timeout_s == 120


@pytest.mark.acceptance("A12")
def test_missing_variable_disables_its_provider_and_a_missing_default_is_fatal(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A variable is filled in; one that is missing is named; a value shows up nowhere."""
    path = write(folder, ADR)

    config = load(path, {"OPENAI_API_KEY": "sk-openai-0123456789"})
    assert config.providers["openai"].template.api_key is not None
    assert config.providers["openai"].template.api_key.reveal() == "sk-openai-0123456789"
    assert "anthropic" not in config.providers
    assert config.warnings == (
        f"{path}: provider 'anthropic' is disabled: ANTHROPIC_API_KEY is not set",
    )

    with pytest.raises(ConfigError, match=r"default provider 'openai'.*OPENAI_API_KEY is not set"):
        load(path, {"ANTHROPIC_API_KEY": "sk-ant-0123456789"})

    shown = repr(config) + "".join(capsys.readouterr()) + caplog.text
    assert "0123456789" not in shown


def test_all_missing_names_stand_in_one_line() -> None:
    """Somebody who sets up a provider is told everything that is missing at once."""
    data = {
        "default_provider": "ollama",
        "providers": {
            "ollama": None,
            "openai": {"api_key": "${KEY}", "headers": {"x-team": "${TEAM}-${KEY}"}},
        },
    }
    config = from_mapping({"llm_service": data}, {})
    assert config.disabled == {"openai": "KEY, TEAM are not set"}
    assert len(config.warnings) == 1


def test_file_is_looked_for_in_the_documented_order(folder: Path) -> None:
    """An argument, else TRUNKLINE_CONFIG, else ./trunkline.yaml, else the environment alone."""

    def model(path: Path | None = None, environ: dict[str, str] | None = None) -> str | None:
        return load(path, environ or {}).default_model

    assert load(None, {}).source == "environment"
    text = "llm_service: {default_model: %s, providers: {ollama: {}}}"
    write(folder, text % "here")
    named = write(folder, text % "named", "named.yaml")
    other = write(folder, text % "other", "other.yaml")

    assert model() == "here"
    assert model(None, {"TRUNKLINE_CONFIG": str(other)}) == "other"
    assert model(named, {"TRUNKLINE_CONFIG": str(other)}) == "named"


def test_dotenv_is_read_beside_the_file_and_the_process_wins(folder: Path) -> None:
    """`.env` of the configuration's folder counts, not of the working directory."""
    (folder / "etc").mkdir()
    path = write(folder, ADR, "etc/trunkline.yaml")
    write(folder, "OPENAI_API_KEY=from-the-wrong-place\n", ".env")
    write(folder, "OPENAI_API_KEY=from-dotenv\nANTHROPIC_API_KEY=a-key-in-dotenv\n", "etc/.env")

    config = load(path, {"ANTHROPIC_API_KEY": "from-process"})
    keys = [config.providers[name].template.api_key for name in ("openai", "anthropic")]
    assert [key and key.reveal() for key in keys] == ["from-dotenv", "from-process"]


def test_odd_line_of_dotenv_is_a_warning(folder: Path) -> None:
    """The line is named, what stands in it is not repeated."""
    write(folder, "LLM_DEFAULT_MODEL=m\nsk-what-is-this\n", ".env")
    config = load(None, {})
    assert config.default_model == "m"
    assert config.warnings == (".env line 2 is not NAME=value and is ignored",)


def test_empty_file_leaves_everything_to_the_environment(folder: Path) -> None:
    """A file with nothing in it, or only comments, is as good as none."""
    config = load(write(folder, "# nothing yet\n"), {"OPENAI_API_KEY": "sk-0123456789"})
    assert config.default_provider == "openai"


def test_data_folder_comes_from_the_environment() -> None:
    """TRUNKLINE_DATA, else .trunkline in the home directory."""
    assert from_mapping({}, {"TRUNKLINE_DATA": "/srv/data"}).data_dir == Path("/srv/data")
    assert from_mapping({}, {}).data_dir == Path.home() / ".trunkline"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("llm_service:\n  providers: [\n", "trunkline.yaml line 3, column 1: this is not YAML"),
        ("llm_service: {a: 1\n  b: 2", "this is not YAML"),
        ("llm_service: \x00", "this is not YAML"),
        ("llm_service: {providers: {ollama: {}}, providers: {}}", "line 1: the key 'providers' st"),
        ("llm_service: !!python/object:os.x {}", "this is not YAML"),
        ("- a\n- b\n", "found a list; write a mapping"),
        ("llm_service: &a {default_model: *a}", "this is not YAML"),
        ("llm_service: {default_model: 2026-13-45}", "this is not YAML (a value that cannot be re"),
        ("llm_service: {default_model: 2026-11-20}", "found datetime.date(2026, 11, 20); write te"),
        ("llm_service: {[a]: b}", "this is not YAML"),
        ("llm_service: nonsense", "llm_service: found 'nonsense'; write a mapping"),
        ("llm_service: {1: x}", "llm_service: the key 1 is no name"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(folder: Path, text: str, message: str) -> None:
    """The error says where and what, without a traceback of the parser."""
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), {})
    assert message in str(caught.value)
    assert "trunkline.yaml" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    """Missing, a folder, not text: each is told."""
    (folder / "latin1.yaml").write_bytes(b"llm_service: {default_model: caf\xe9}")
    for name, message in {
        "none.yaml": "there is no such file",
        ".": "cannot be read (IsADirectoryError)",
        "latin1.yaml": "cannot be read (UnicodeDecodeError)",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load(folder / name, {})
        assert message in str(caught.value)


def test_syntax_error_does_not_quote_the_file(folder: Path) -> None:
    """A secret on the line that YAML stumbles over stays where it is."""
    path = write(folder, 'llm_service:\n  api_key: "hunter2-hunter2" hunter2-hunter2\n')
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["cache", "agents"])
def test_keys_of_a_later_version_are_refused(key: str) -> None:
    """Nothing is ignored in silence, not even what is planned."""
    with pytest.raises(ConfigError, match=rf"llm_service\.{key}: '{key}' is not available in this"):
        from_mapping({"llm_service": {key: {}}}, {})


def test_keys_outside_the_root_are_led_home() -> None:
    """Somebody who forgot the root is told where the key belongs."""
    with pytest.raises(ConfigError, match="providers: put it under 'llm_service:'"):
        from_mapping({"providers": {}}, {})


def test_typo_at_the_root_names_the_near_key() -> None:
    """The file, the path of the key, and what was meant."""
    with pytest.raises(
        ConfigError, match=r"x\.yaml: llm_service\.fallback_chian: .*mean 'fallback_chain'\?"
    ):
        from_mapping({"llm_service": {"fallback_chian": []}}, {}, source="x.yaml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"default_provider": "olama"}, "default_provider: found 'olama'; .*mean 'ollama'"),
        ({"fallback_chain": ["ollama", "x"]}, r"fallback_chain\[1\]: found 'x'; no such provider"),
        ({"fallback_chain": ["ollama", "ollama"]}, r"fallback_chain\[1\]: .*stands twice"),
        ({"fallback_chain": "ollama"}, "fallback_chain: found 'ollama'; write a list"),
        ({"model_map": {"m": {"x": "y"}}}, r"model_map\.m\.x: found 'x'; no such provider"),
        ({"model_map": {"m": {"ollama": 3}}}, r"model_map\.m\.ollama: found 3; write text"),
        ({"default_model": ["m"]}, "default_model: found a list; write text"),
    ],
)
def test_names_at_the_root_must_lead_somewhere(data: dict[str, object], message: str) -> None:
    """What is not configured cannot be a default, a step of the chain or a mapping's target."""
    with pytest.raises(ConfigError, match=message):
        from_mapping({"llm_service": {"providers": {"ollama": {}}, **data}}, {})


def test_model_map_is_kept() -> None:
    """Model -> provider -> the model to ask that provider for."""
    mapping = {"gpt-4": {"ollama": "llama2"}}
    data = {"providers": {"ollama": {}}, "model_map": mapping}
    assert from_mapping({"llm_service": data}, {}).model_map == mapping


def test_the_only_provider_is_the_default() -> None:
    """With one provider there is nothing to choose; with two somebody has to."""

    def default(*names: str) -> str | None:
        config = from_mapping({"llm_service": {"providers": dict.fromkeys(names)}}, {})
        return config.default_provider

    assert default("ollama") == "ollama"
    assert default("ollama", "vllm") is None


def test_config_is_frozen() -> None:
    """A stack that was built from it never changes under a call."""
    config: Config = from_mapping({}, {})
    with pytest.raises(AttributeError):
        config.default_model = "other"  # type: ignore[misc]


def test_import_brings_neither_yaml_nor_a_client() -> None:
    """Importing configuration costs the standard library and msgspec."""
    code = (
        "import sys, trunkline.config; heavy = {'yaml', 'aiohttp', 'tomllib', 'importlib.metadata'}"
        "; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
