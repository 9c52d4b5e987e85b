"""`trunkline init`: what it writes from what it finds here."""

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import Trunk
from trunkline.discovery import LocalServer


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Local servers that answer, by name; whatever runs on this machine is not asked."""
    names: set[str] = set()
    monkeypatch.setattr(
        "trunkline.cli.setup.local_servers",
        lambda _: [LocalServer(name, "http://localhost:1/v1", ("a:1b",)) for name in names],
    )
    return names


@pytest.mark.parametrize(
    ("variables", "local", "providers"),
    [
        ({}, [], ["demo"]),
        ({}, ["vllm"], ["vllm"]),
        ({"OPENAI_API_KEY": "sk-1234567890"}, [], ["openai"]),
        (
            {"OPENAI_API_KEY": "sk-1234567890", "GEMINI_API_KEY": "AIza-123456"},
            ["ollama"],
            ["openai", "gemini", "ollama"],
        ),
        (
            {
                "LLM_PROVIDER": "openai_compatible",
                "LLM_BASE_URL": "http://localhost:1/v1",
                "OPENAI_API_KEY": "any",
            },
            [],
            ["openai_compatible"],
        ),
        ({"OLLAMA_BASE_URL": "http://localhost:1"}, ["ollama"], ["ollama"]),
        ({"LLM_PROVIDER": "demo"}, ["ollama"], ["demo", "ollama"]),
    ],
)
def test_what_init_writes_is_good(
    variables: dict[str, str],
    local: list[str],
    providers: list[str],
    servers: set[str],
    trunk: Trunk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has what is found here, the names of variables but no key, and `check` takes it."""
    servers.update(local)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = trunk("init", "--json")
    assert (result.exit_code, json.loads(result.stdout)["providers"]) == (0, providers)
    text = Path("trunkline.yaml").read_text()
    assert not any(value in text for value in variables.values() if "12345" in value)
    assert trunk("init", "-", "--json").stdout == result.stdout.replace('"trunkline.yaml"', '"-"')
    checked = trunk("check", "--json")
    assert (checked.exit_code, checked.stderr) == (0, "")
    found = json.loads(checked.stdout)
    assert (found["source"], found["default_provider"]) == ("trunkline.yaml", providers[0])
    assert list(found["providers"]) == providers


@pytest.mark.usefixtures("servers")
def test_init_reads_dotenv_beside_the_file(trunk: Trunk) -> None:
    """What counts when the file is read counts when it is written."""
    Path("app").mkdir()
    Path("app/.env").write_text("ANTHROPIC_API_KEY=sk-ant-1234567890\n")
    assert trunk("init", "app/trunkline.yaml").stdout == "wrote app/trunkline.yaml: anthropic\n"
    assert trunk("check", "-c", "app/trunkline.yaml").exit_code == 0


@pytest.mark.usefixtures("servers")
def test_init_writes_over_nothing(trunk: Trunk) -> None:
    """Unless told to; a place where nothing can be written is an error; "-" prints."""
    Path("trunkline.yaml").write_text("mine")
    assert trunk("init").exit_code == 2
    assert Path("trunkline.yaml").read_text() == "mine"
    printed = trunk("init", "-").stdout
    assert trunk("init", "--force").exit_code == 0
    assert Path("trunkline.yaml").read_text() == printed
    result = trunk("init", "no/such/folder.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no/such/folder.yaml cannot be written" in result.stderr
