"""Local servers: each is known by its own endpoints, on whatever port; nobody else is."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from trunkline.config import load
from trunkline.config.environment import Environment
from trunkline.discovery import (
    LocalServer,
    entries,
    local_servers,
    ollama_place,
    usual_places,
)
from trunkline.testing import FakeUpstream, Json, Request, Status, hang
from trunkline.testing.answers import Answer, html

NOBODY = Environment({})
OLLAMA = {
    "/api/version": {"version": "0.40.12"},
    "/api/tags": {
        "models": [
            {"name": "qwen3:8b", "details": {"family": "qwen3"}},
            {"name": "all-minilm:latest", "details": {"family": "bert"}},
            {"name": "nomic-embed-text", "details": None},
            {"name": "embed-odd", "details": ["bert"]},
            {"name": 3},
            "odd",
        ]
    },
    "/v1/models": {"object": "list", "data": [{"id": "qwen3:8b", "owned_by": "library"}]},
}
LMSTUDIO = {
    "/api/v0/models": {
        "object": "list",
        "data": [
            {"id": "qwen2-vl-7b", "type": "vlm"},
            {"id": "meta-llama-3.1-8b", "type": "llm"},
            {"id": "bge", "type": "embeddings"},
        ],
    }
}
LOCALAI = {
    "/.well-known/localai.json": {"version": "v4.9.0", "endpoints": {}},
    "/v1/models": {"object": "list", "data": [{"id": "gpt-4", "object": "model"}]},
}


def owned(owner: str) -> dict[str, Any]:
    """Make what a server answers that is only known by its list of models."""
    return {"/v1/models": {"object": "list", "data": [{"id": "m", "owned_by": owner}]}}


@pytest.fixture
def start() -> Iterator[Any]:
    """Start servers; each answers these paths, and any other one with 404 unless told otherwise."""
    with ExitStack() as kept:

        def made(paths: dict[str, Any], other: Answer | None = None) -> FakeUpstream:
            def answer(request: Request) -> Answer:
                if request.path in paths:
                    return Json(paths[request.path])
                return other or Status(404, {"error": "not found"})

            return kept.enter_context(FakeUpstream.in_thread(answer))

        yield made


@pytest.mark.parametrize(
    ("paths", "name", "models"),
    [
        (OLLAMA, "ollama", ("qwen3:8b",)),
        (LMSTUDIO, "lmstudio", ("qwen2-vl-7b", "meta-llama-3.1-8b")),
        (LOCALAI, "localai", ("gpt-4",)),
        (owned("vllm"), "vllm", ("m",)),
        (owned("llamacpp"), "llamacpp", ("m",)),
        ({"/api/version": {"version": "1"}, "/api/tags": {"models": None}}, "ollama", ()),
    ],
)
def test_a_server_says_who_it_is(
    paths: dict[str, Any], name: str, models: tuple[str, ...], start: Any
) -> None:
    """And which models it has for chats."""
    up = start(paths)
    assert local_servers(NOBODY, [up.url]) == [LocalServer(name, f"{up.url}/v1", models)]
    assert all(
        request.method == "GET" and "authorization" not in request.headers
        for request in up.requests
    )


@pytest.mark.parametrize(
    ("paths", "other"),
    [
        ({}, None),
        ({}, html()),
        ({}, Json({"error": "Unexpected endpoint"})),  # LM Studio's way to say 404
        ({"/api/version": {"version": "0.6"}}, html()),  # Open WebUI
        (owned("trunkline"), None),
        ({"/v1/models": [], "/api/tags": {"models": []}}, None),
        (OLLAMA, Status(302, b"", {"location": "/elsewhere"})),
    ],
)
def test_anybody_else_is_nobody(paths: dict[str, Any], other: Answer | None, start: Any) -> None:
    """A web page, our own gateway, an error at 200: none is taken for a server that it is not."""
    found = local_servers(NOBODY, [start(paths, other).url])
    assert [server.name for server in found] == (["ollama"] if paths is OLLAMA else [])


def test_all_are_asked_at_the_same_time(start: Any) -> None:
    """One that hangs costs a second in all; the order is that of the rows, and each counts once."""
    up = [start(paths) for paths in (owned("vllm"), OLLAMA, owned("vllm"))]
    silent = [start({}, hang()) for _ in range(3)]
    began = time.monotonic()
    found = local_servers(NOBODY, [one.url for one in (*silent, *up)])
    assert time.monotonic() - began < 4
    assert [(server.name, server.base_url) for server in found] == [
        ("ollama", f"{up[1].url}/v1"),
        ("vllm", f"{up[0].url}/v1"),
    ]


def test_nothing_listens(start: Any) -> None:
    """Then nothing is asked; and neither where looking is turned off."""
    up = start(OLLAMA)
    assert local_servers(Environment({"TRUNKLINE_DISCOVERY": "off"}), [up.url]) == []
    assert up.requests == []
    assert local_servers(NOBODY, ["http://127.0.0.1:9"]) == []
    assert local_servers(NOBODY, []) == []


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("127.0.0.1:9999", "http://127.0.0.1:9999"),
        ("0.0.0.0", "http://localhost:11434"),
        ("0.0.0.0:9", "http://localhost:9"),
        (":9", "http://localhost:9"),
        ("[::]:9", "http://localhost:9"),
        ("[::1]", "http://[::1]:11434"),
        ("box", "http://box:11434"),
        ("http://box", "http://box:80"),
        ("https://box/path", "https://box:443"),
        ("box:x", None),
    ],
)
def test_ollama_host_is_an_address_or_what_to_listen_on(host: str, place: str | None) -> None:
    """Read as Ollama's own client reads it."""
    assert ollama_place(host) == place
    found = usual_places(Environment({"OLLAMA_HOST": host}))
    assert (place or "http://localhost:11434") in found


def test_the_usual_places() -> None:
    """Those of the rows, each once."""
    assert usual_places(NOBODY) == [
        f"http://localhost:{port}" for port in (11434, 1234, 8080, 8000)
    ]


def test_with_nothing_configured_a_found_server_is_used(start: Any) -> None:
    """It is the default, with its models, and that is said."""
    up = start(OLLAMA)
    environ = {"OLLAMA_HOST": up.url}

    def found(environment: Environment) -> dict[str, Any]:
        every = entries(environment)
        return {"ollama": every["ollama"]}  # whatever else runs on this machine

    config = load(environ=environ, found=found)
    assert (config.default_provider, config.source) == ("ollama", "environment")
    assert config.providers["ollama"].models == ("qwen3:8b",)
    assert config.providers["ollama"].template.dialect == "ollama"
    [said] = config.warnings
    assert f"ollama is used, which answers at {up.url}/v1" in said


@pytest.mark.parametrize(
    "environ", [{"OPENAI_API_KEY": "sk-1234567890"}, {"LLM_PROVIDER": "demo"}, {}]
)
def test_what_is_configured_counts(environ: dict[str, str]) -> None:
    """Nobody is looked for beside a key or a provider that was chosen; demo is used if none is."""
    asked: list[Environment] = []

    def found(environment: Environment) -> dict[str, Any]:
        asked.append(environment)
        return {}

    config = load(environ=environ, found=found)
    assert list(config.providers) == ["demo" if "OPENAI_API_KEY" not in environ else "openai"]
    assert len(asked) == (not environ)
    assert config.warnings == ()
