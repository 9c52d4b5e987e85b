"""Posting to configured addresses: what may be reached, and what comes of it."""

import random
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from trunkline import egress
from trunkline.egress import Answered, Door, looked_up
from trunkline.testing import FakeUpstream, Json, Status, hang, hang_up

TLS = Path(__file__).parents[1] / "integration/tls"


async def post(url: str, *, allow_private: bool = False) -> Answered:
    """Post two bytes."""
    async with Door(allow_private=allow_private) as door:
        return await door.post(url, b"{}", {"x-a": "b"})


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]",
        "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "localhost",
    ],
)  # fmt: skip
async def test_private_addresses(host: str) -> None:
    """Refused however they are written, and nothing is connected to."""
    answered = await post(f"https://{host}:9/")
    assert answered.status == 0
    assert "is no public address; allow_private: true allows it" in answered.trouble


async def test_addresses_that_are_spelled_otherwise() -> None:
    """Refused: what does not look like an address is none."""
    for host in ("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "\uff1127.0.0.1", "127\u30020.0.1"):
        answered = await post(f"https://{host}:9/")
        assert answered.status == 0
        assert "public address" in answered.trouble or "canonical" in answered.trouble


async def test_a_name_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by what it resolves to, one private address among public ones being enough."""
    resolves(monkeypatch, "93.184.215.14", "127.0.0.1")
    answered = await post("https://billing.example.com/")
    assert "billing.example.com is no public address" in answered.trouble


async def test_what_was_checked_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is resolved once, so a second answer of the name server cannot lead elsewhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    trust = ssl.create_default_context(cafile=str(TLS / "cert.pem"))
    monkeypatch.setattr(egress, "_trust", lambda: trust)
    monkeypatch.setattr(egress, "_public", lambda address: True)
    async with FakeUpstream(tls=context) as up:
        asked = resolves(monkeypatch, "127.0.0.1")
        port = up.url.rpartition(":")[2]
        up.script(Status(204))
        answered = await post(f"https://localhost:{port}/usage?a=1")
    assert answered == Answered(status=204)
    assert asked == ["localhost"]
    assert up.requests[0].path == "/usage?a=1"
    assert up.requests[0].headers["host"] == f"localhost:{port}"


async def test_plain_http() -> None:
    """Refused unless it is allowed."""
    assert "only https://" in (await post("http://93.184.215.14/")).trouble
    async with FakeUpstream() as up:
        up.script(Json({}, 202))
        assert await post(f"{up.url}/x", allow_private=True) == Answered(status=202)
    assert (up.requests[0].body, up.requests[0].headers["x-a"]) == (b"{}", "b")


async def test_no_redirect_is_followed() -> None:
    """It could lead inside."""
    async with FakeUpstream() as up:
        up.script(Status(307, headers={"location": f"{up.url}/other"}))
        assert (await post(up.url, allow_private=True)).status == 307
    assert len(up.requests) == 1


async def test_an_answer_counts_once_its_head_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is huge, cut or never ends changes nothing about it."""
    monkeypatch.setattr(egress, "_POST_TIMEOUT_S", 0.2)
    async with FakeUpstream() as up:
        up.script(
            Status(200, b"x" * 1_000_000),
            Status(200, b"x" * 1000).cut_after(10),
            Status(200, b"x" * 1000).hang_after(10),
        )
        answers = [await post(up.url, allow_private=True) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in words, not raised: silence, a closed connection, nobody there, no such name."""
    monkeypatch.setattr(egress, "_POST_TIMEOUT_S", 0.2)
    async with FakeUpstream() as up:
        up.script(hang(), hang_up())
        late, closed = [await post(up.url, allow_private=True) for _ in range(2)]
    assert late.trouble.startswith("no answer within")
    gone = await post(up.url, allow_private=True)
    unknown = await post("https://no-such-name.invalid/")
    assert {each.status for each in (late, closed, gone, unknown)} == {0}
    assert all(each.trouble for each in (closed, gone, unknown))


async def test_retry_after() -> None:
    """What the receiver asks to wait is told."""
    async with FakeUpstream() as up:
        up.script(Status(503, headers={"retry-after": "7"}))
        answered = await post(up.url, allow_private=True)
    assert answered == Answered(status=503, retry_after_s=7.0)


def resolves(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Have every name resolve to these; return the names that are asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        asked.append(host)
        return [found for each in addresses for found in real(each, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_what_a_local_server_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In size and in time; no redirect is followed, no proxy asked, and nobody is nothing."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(egress, "_TIMEOUT_S", 0.2)
    paths = {
        "/good": Json({"a": 1}),
        "/large": Json("x" * 2_000_000),
        "/moved": Status(302, b"", {"location": "/good"}),
        "/slow": Status(200, b"x" * 50).split(random.Random(1), 4).slow(0.05),
        "/silent": hang(),
        "/gone": hang_up(),
    }
    with FakeUpstream.in_thread(lambda request: paths[request.path]) as up:
        found = looked_up([up.url + path for path in paths] + ["http://127.0.0.1:9/"])
    assert found.pop(f"{up.url}/good") == b'{"a": 1}'
    assert set(found.values()) == {None}
    assert looked_up([]) == {}
