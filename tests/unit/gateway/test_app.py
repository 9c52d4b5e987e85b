"""The application: paths, hosts and origins, errors in each family's shape."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.gateway.talk import ADMIN_KEY, Talk, ask, head
from trunkline import Trunkline
from trunkline.config import Config, from_mapping
from trunkline.errors import (
    AllProvidersUnavailable,
    ConfigError,
    ConnectFailed,
    Overloaded,
    RecordError,
    TrunklineError,
    UpstreamFailed,
)
from trunkline.gateway import relay
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing
from trunkline.types import Call

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
HELLO = [{"role": "user", "content": "Hello!"}]
OLD, NEW = "sk-old-0123456789", "sk-new-0123456789"


def asked(path: str, **more: Any) -> bytes:
    """Return a request body for a path."""
    limit = {"max_tokens": 50} if path == MESSAGES else {}
    return json.dumps({"model": "demo", "messages": HELLO, **limit, **more}).encode()


@pytest.fixture
async def line() -> AsyncIterator[Trunkline]:
    """A line with nothing configured but a name."""
    async with Trunkline.from_config(
        {
            "llm_service": {
                "default_provider": "demo",
                "providers": {"demo": {"models": ["demo", "demo/a b"]}},
                "server": {"hosts": ["Gate.example"], "max_body_mb": 1},
            }
        }
    ) as made:
        yield made


@pytest.fixture
def gateway(line: Trunkline) -> Gateway:
    """A gateway before it."""
    return Gateway(line, KeyRing(b"p" * 32, ADMIN_KEY, ()), "Box.lan")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:4000",
        "127.0.0.1:4000",
        "[::1]",
        "[::1]:4000",
        "10.1.2.3",
        "[fe80::1]",
        "gate.example",
        "GATE.EXAMPLE:443",
        "box.lan:4000",
    ],
)
async def test_hosts_that_are_ours(gateway: Gateway, host: str) -> None:
    """Loopback, addresses, what was configured and what is listened on; the port is no matter."""
    assert (await ask(gateway, "/health", method="GET", headers={"host": host})).status == 200
    same: dict[str, str | None] = {"host": host, "origin": f"https://{host}"}
    assert (await ask(gateway, "/health", method="GET", headers=same)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        None,
        "evil.example",
        "localhost.evil.example",
        "[::1",
        "[::1].evil.example",
        "a, localhost",
        "evil.example/localhost",
        "evil.example#localhost",
        "evil.example:localhost",
        "user@localhost",
        "\xff",
    ],
)
async def test_hosts_that_are_not(gateway: Gateway, host: str | None) -> None:
    """A name that was bent to our address is refused, as is none; nothing is answered."""
    answer = await ask(gateway, "/health", method="GET", headers={"host": host})
    assert (answer.status, json.loads(answer.body)["error"]["param"]) == (403, "host")


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "localhost", "https://[::1"])
async def test_origins_that_are_not(gateway: Gateway, origin: str) -> None:
    """No page of another site gets an answer, with a key or without."""
    for path in ("/health", CHAT):
        answer = await ask(gateway, path, asked(CHAT), {"origin": origin})
        assert (answer.status, json.loads(answer.body)["error"]["param"]) == (403, "origin")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("HEAD", "/health/", 200),
        ("POST", "/health", 405),
        ("GET", "/ready", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/models/", 200),
        ("HEAD", "/v1/models", 200),
        ("GET", "/v1/models/demo", 200),
        ("GET", "/v1/models/demo/a b", 200),
        ("GET", "/v1/models/nope/../demo", 404),
        ("DELETE", "/v1/models/demo", 405),
        ("POST", CHAT, 200),
        ("POST", "/chat/completions/", 200),
        ("GET", CHAT, 405),
        ("OPTIONS", CHAT, 405),
        ("GET", "/v1", 404),
        ("GET", "/", 404),
        ("GET", "/v1/v1/models", 404),
        ("OPTIONS", "*", 404),
        ("GET", "/chat/completionsx", 404),
    ],
)
async def test_paths(gateway: Gateway, method: str, path: str, status: int) -> None:
    """With and without `/v1` and a last slash; HEAD has no body; all else is JSON."""
    answer = await ask(gateway, path, asked(CHAT), method=method)
    assert (answer.status, answer.ended) == (status, True)
    assert (answer.body == b"") == (method == "HEAD")
    if method != "HEAD":
        json.loads(answer.body)
        assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize("path", ["/v1/models", CHAT, MESSAGES, "/nope"])
async def test_nothing_without_a_key(gateway: Gateway, path: str) -> None:
    """Neither a list nor whether a path exists; health is for anybody."""
    nobody: dict[str, str | None] = {"authorization": None}
    method = "GET" if "models" in path else "POST"
    assert (await ask(gateway, path, method=method, headers=nobody)).status == 401
    assert (await ask(gateway, "/health", method="GET", headers=nobody)).status == 200


class Failing:
    """A line that fails with `error`, before its answer or in it."""

    def __init__(self, line: Trunkline, error: Exception) -> None:
        self.config = line.config
        self.error = error

    async def __call__(self, call: Call) -> Any:
        """Fail."""
        raise self.error

    def check_writable(self) -> None:
        """Fail."""
        raise self.error


def failing(line: Trunkline, error: Exception) -> Gateway:
    """Return a gateway before a line that fails."""
    broken: Any = Failing(line, error)
    return Gateway(broken, KeyRing(b"p" * 32, ADMIN_KEY, ()))


def shaped(path: str, body: bytes) -> dict[str, Any]:
    """Check that an error has its family's shape, and return what it says."""
    fields = json.loads(body)
    said: dict[str, Any] = fields["error"]
    if path == MESSAGES:
        assert fields["type"] == "error"
        assert {"type", "message"} <= set(said)
    else:
        assert set(said) == {"message", "type", "code", "param"}
    return said


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_the_unthought_of(
    line: Trunkline, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns nothing of it but that it is in the log."""
    answer = await ask(failing(line, ValueError("secret detail")), path, asked(path))
    assert answer.status == 500
    assert "internal error" in shaped(path, answer.body)["message"]
    assert b"secret" not in answer.body
    assert "secret detail" in caplog.text


BUSY = Overloaded("no slot", retry_after_s=0.2)
DOWN = UpstreamFailed("boom", retry_after_s=1.5)
ERRORS: list[tuple[TrunklineError, int, str | None, str | None]] = [
    (BUSY, 503, "1", None),
    (DOWN, 502, "2", "false"),
    (ConnectFailed("no way", sent=False), 502, None, "false"),
    (AllProvidersUnavailable("all", (("a", BUSY), ("b", DOWN))), 503, "1", "false"),
    (AllProvidersUnavailable("all", (("a", BUSY),)), 503, "1", None),
    (AllProvidersUnavailable("none"), 503, None, None),
    (RecordError("full"), 503, None, None),
]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize(("error", "status", "after", "again"), ERRORS)
async def test_headers_of_errors(
    line: Trunkline,
    path: str,
    error: TrunklineError,
    status: int,
    after: str | None,
    again: str | None,
) -> None:
    """`x-should-retry` is false once a provider was tried; whole seconds; 529 for Anthropic's."""
    answer = await ask(failing(line, error), path, asked(path))
    assert answer.status == (529 if status == 503 and path == MESSAGES else status)
    assert shaped(path, answer.body)["message"] == error.message
    assert answer.headers.get("retry-after") == after
    assert answer.headers.get("x-should-retry") == again


async def test_not_ready(line: Trunkline) -> None:
    """A gateway whose journal cannot be written says so; it is alive all the same."""
    gateway = failing(line, RecordError("disk full at /somewhere"))
    answer = await ask(gateway, "/ready", method="GET")
    assert (answer.status, b"journal" in answer.body, b"somewhere" in answer.body) == (
        503,
        True,
        False,
    )
    assert (await ask(gateway, "/health", method="GET")).status == 200


async def test_degraded(line: Trunkline, gateway: Gateway) -> None:
    """What processes cannot share now is no reason to take no calls, but one to look."""
    answer = await ask(gateway, "/ready", method="GET")
    assert (answer.status, answer.body) == (200, b'{"status":"ready"}')
    line.exchange.trouble = "circuits are not shared: the store is away"
    answer = await ask(gateway, "/ready", method="GET")
    assert answer.status == 200
    assert b'"degraded","why":"circuits are not shared' in answer.body


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_an_error_in_mid_stream(gateway: Gateway, path: str) -> None:
    """The last event is the error, and nothing looks complete."""
    words = [{"role": "user", "content": "/demo fail truncate\nhi"}]
    answer = await ask(gateway, path, asked(path, messages=words, stream=True))
    assert (answer.status, answer.ended) == (200, True)
    last = answer.body.decode().strip().split("\n\n")[-1]
    assert shaped(path, last.partition("data: ")[2].encode())["code"] == "truncated"
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_fault_of_ours_in_mid_stream(
    gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No second head, no end: the connection is cut."""

    def broken(*_: Any) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(relay, "_cost", broken)
    talk = Talk(gateway)
    body = asked(path, stream=True)
    talk.send(head("POST", path, length=len(body)) + body)
    await talk.over()
    assert talk.wire.closing
    assert not talk.answer().ended
    assert "a bug" in caplog.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_caller_who_leaves(
    gateway: Gateway, stream: bool, line: Trunkline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call ends long before its answer would; it is journaled as abandoned."""
    begun: list[bool] = []
    real = relay._headers

    def spy(reply: Any, dialect: Any) -> list[tuple[str, str]]:
        begun.append(True)
        return real(reply, dialect)

    monkeypatch.setattr(relay, "_headers", spy)
    words = [{"role": "user", "content": "/demo tokens 1000\n/demo slow 0.05"}]
    body = asked(CHAT, messages=words, stream=stream)
    talk = Talk(gateway)
    talk.send(head("POST", CHAT, length=len(body)) + body)
    while not begun:  # noqa: ASYNC110 - nobody tells of a reply that has begun
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    talk.leave()
    await talk.over()
    assert bool(talk.wire.written) == stream
    line.flush()
    assert [row.call.outcome for row in line.store.calls(5)] == ["abandoned"]


async def test_headers_that_cannot_be_sent(
    gateway: Gateway, line: Trunkline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name or an upstream's value that is not plain ASCII is left out, never a failure."""
    sent: list[list[tuple[str, str]]] = []
    real = relay._headers

    def spy(reply: Any, dialect: Any) -> list[tuple[str, str]]:
        reply.headers = {"x-request-id": "a\r\nset-cookie: b", "openai-version": "\u20ac"}
        sent.append(real(reply, dialect))
        return sent[-1]

    monkeypatch.setattr(relay, "_headers", spy)
    assert (await ask(gateway, CHAT, asked(CHAT))).status == 200
    headers = dict(sent[0])
    assert "openai-version" not in headers
    assert headers["x-request-id"] == headers["x-trunkline-call-id"]


@pytest.mark.parametrize(
    "value", ["0", "-1", "1.5", "abc", "86400001", "9" * 5000, "\xb2"], ids=lambda v: v[:9]
)
async def test_a_timeout_that_is_none(gateway: Gateway, value: str) -> None:
    """The error names the header and what to write."""
    answer = await ask(gateway, CHAT, asked(CHAT), {"x-trunkline-timeout-ms": value})
    assert answer.status == 400
    assert shaped(CHAT, answer.body)["param"] == "x-trunkline-timeout-ms"


def settings(*keys: str, **server: Any) -> Config:
    """Make a configuration with these keys."""
    named = [{"name": key, "key": key} for key in keys]
    said = {"providers": {"demo": {}}, "keys": named, "server": server}
    return from_mapping({"llm_service": said}, os.environ)


async def test_a_reload(gateway: Gateway) -> None:
    """Keys, hosts and the limit are new; what is listened on stays ours, as does the admin key."""
    gateway.reload(settings(OLD, hosts=["old.example"]))
    kept: dict[str, str | None] = {"x-api-key": OLD, "authorization": None}
    assert (await ask(gateway, CHAT, asked(CHAT), kept)).status == 200
    gateway.reload(settings(NEW, hosts=["new.example"], max_body_mb=2))
    assert (await ask(gateway, CHAT, asked(CHAT), kept)).status == 401
    new: dict[str, str | None] = {"x-api-key": NEW, "authorization": None}
    assert (await ask(gateway, CHAT, asked(CHAT, extra="x" * 2**20), new)).status == 200
    for host, status in {"new.example": 200, "box.lan": 200, "old.example": 403}.items():
        answer = await ask(gateway, "/v1/models", method="GET", headers={"host": host})
        assert answer.status == status


async def test_a_reload_that_fails_changes_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the line refuses is not taken by half."""
    gateway.reload(settings(OLD, hosts=["old.example"]))
    monkeypatch.setenv("TRUNKLINE_DATA", "elsewhere")
    with pytest.raises(ConfigError, match="TRUNKLINE_DATA"):
        gateway.reload(settings(NEW, hosts=["new.example"]))
    for key, host, status in [
        (OLD, "old.example", 200),
        (NEW, "old.example", 401),
        (OLD, "new.example", 403),
    ]:
        shown: dict[str, str | None] = {"x-api-key": key, "authorization": None, "host": host}
        assert (await ask(gateway, CHAT, asked(CHAT), shown)).status == status


async def test_a_stream_goes_on_over_a_reload(gateway: Gateway, line: Trunkline) -> None:
    """Though its key went meanwhile."""
    gateway.reload(settings(OLD))
    words = [{"role": "user", "content": "/demo tokens 5\n/demo slow 0.02"}]
    body = asked(CHAT, messages=words, stream=True)
    talk = Talk(gateway)
    shown: dict[str, str | None] = {"x-api-key": OLD, "authorization": None}
    talk.send(head("POST", CHAT, shown, length=len(body)) + body)
    while not talk.wire.written:  # noqa: ASYNC110 - nobody tells of a piece
        await asyncio.sleep(0.001)
    gateway.reload(settings(NEW))
    assert talk.tasks
    await talk.over()
    assert talk.answer().ended
    assert b"[DONE]" in talk.answer().body
    line.flush()
    [row] = line.store.calls(5)
    assert (row.call.outcome, row.call.key_id) == ("complete", OLD)
