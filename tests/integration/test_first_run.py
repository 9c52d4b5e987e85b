"""The first run with nothing but a key: what `trunkline serve` prints works, as it is."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving import once, starting
from trunkline import catalog
from trunkline.testing import Answer, FakeUpstream, Json, Status, ollama_answer
from trunkline.testing.upstream import Request

pytestmark = pytest.mark.slow


@pytest.fixture
def started() -> Iterator[Any]:
    """Start gateways; none outlives the test."""
    with starting() as start:
        yield start


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUpstream]:
    """Plays both providers that say by a variable where they are."""
    with FakeUpstream.in_thread() as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{upstream.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"{upstream.url}/v1")
        yield upstream


def run(line: str) -> tuple[str, Any]:
    """Run a printed request in a shell, as a reader would; return the status and the answer."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    curl = line.removeprefix("try: ").replace("curl ", r"curl -sS -w '\n%{http_code}' ", 1)
    done = subprocess.run(["sh", "-c", curl], capture_output=True, timeout=30, check=True)
    answer, _, status = done.stdout.decode().rpartition("\n")
    return status, json.loads(answer)


def calls(up: FakeUpstream) -> list[Request]:
    """Return the requests that are calls; the gateway also asks for the list of models."""
    return [request for request in up.requests if request.method == "POST"]


def usual(provider: str) -> str:
    """Return the usual model of a provider."""
    row = catalog.row(provider)
    assert row is not None
    return row.usual_model


KEYS = {"OPENAI_API_KEY": "sk-openai-0123456789", "ANTHROPIC_API_KEY": "sk-ant-0123456789"}


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_key_is_enough(
    provider: str, started: Any, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed curl, a request without a model, and `trunkline call` get the usual model."""
    name = f"{provider.upper()}_API_KEY"
    monkeypatch.setenv(name, KEYS[name])
    process = started()
    printed = process.said[2]
    unnamed = printed.replace(f'"model": "{provider}/{usual(provider)}", ', "")
    assert unnamed != printed
    for line in (printed, unnamed):
        status, answer = run(line)
        assert (status, answer["choices"][0]["message"]["content"]) == ("200", "Hello.")
    assert process.end() == (0, "")
    assert once("call", "Hello") == (0, "Hello.\n", "")
    assert [request.json()["model"] for request in calls(up)] == [usual(provider)] * 3
    assert KEYS[name] in str(calls(up)[0].headers)


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, usual("openai")),
        ({"LLM_PROVIDER": "anthropic"}, usual("anthropic")),
        ({"LLM_DEFAULT_MODEL": "gpt-of-mine"}, "gpt-of-mine"),
    ],
    ids=["the first provider", "the one that was chosen", "a model that was named"],
)
def test_keys_of_two_providers(
    variables: dict[str, str], asked: str, started: Any, up: FakeUpstream
) -> None:
    """The default provider is asked, for its usual model unless one was named."""
    process = started(**KEYS, **variables)
    status, _ = run(process.said[2])
    assert status == "200"
    assert [request.json()["model"] for request in calls(up)] == [asked]
    assert process.end() == (0, "")


def answer_ollama(request: Request) -> Answer:
    """Be an Ollama with one model."""
    known: dict[str, Any] = {
        "/api/version": {"version": "0.40.12"},
        "/api/tags": {"models": [{"name": "tiny:1b", "details": {"family": "llama"}}]},
        "/api/chat": ollama_answer("Found."),
    }
    return Json(known[request.path]) if request.path in known else Status(404)


@pytest.mark.acceptance("A03")
def test_a_local_server_is_found(started: Any) -> None:
    """With nothing configured it answers, by a name that the example has, and that is said."""
    with FakeUpstream.in_thread(answer_ollama) as server:
        variables = {"TRUNKLINE_DISCOVERY": "", "OLLAMA_HOST": server.url}
        process = started(**variables)
        assert '"model": "tiny:1b"' in process.said[2]
        status, answer = run(process.said[2])
        assert (status, answer["choices"][0]["message"]["content"]) == ("200", "Found.")
        asked = [request for request in server.requests if request.path == "/api/chat"]
        assert [request.json()["model"] for request in asked] == ["tiny:1b"]
        code, said = process.end()
    assert code == 0
    assert f"ollama is used, which answers at {server.url}/v1" in said


def test_a_server_that_has_no_usual_model(started: Any, up: FakeUpstream) -> None:
    """Nobody knows what it has: the example says so, and a call without a name is a clear error."""
    variables = {"LLM_PROVIDER": "openai_compatible", "LLM_BASE_URL": f"{up.url}/v1"}
    process = started(**variables)
    assert '"model": "NAME-A-MODEL"' in process.said[2]
    status, answer = run(process.said[2].replace('"model": "NAME-A-MODEL", ', ""))
    assert status == "400"
    assert "'openai_compatible' lists none; name one" in answer["error"]["message"]
    assert answer["error"]["param"] == "model"
    assert not calls(up)
    assert process.end() == (0, "")


def test_models_shows_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a name that can be asked for, with its price, before whatever else may be asked."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    code, out, err = once("models", "--json")
    assert (code, err) == (0, "")
    rows = [(row["name"], row["kind"], row["provider"]) for row in json.loads(out)]
    assert rows == [
        (f"openai/{usual('openai')}", "usual", "openai"),
        (None, "any", "openai"),
        (f"anthropic/{usual('anthropic')}", "usual", "anthropic"),
        (None, "any", "anthropic"),
    ]
    assert all(row["input_usd"] for row in json.loads(out) if row["kind"] == "usual")
    _, out, _ = once("check")
    assert f"provider openai: any model, {usual('openai')} when none is named\n" in out
