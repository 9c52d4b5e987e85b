"""Administration, the worker's part: who may, what is asked of the steward, how errors are told."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.unit.gateway.talk import ADMIN_KEY, Answer, ask, said
from trunkline import Trunkline
from trunkline.gateway.app import Gateway
from trunkline.gateway.holders import Holder
from trunkline.gateway.keys import KeyRing
from trunkline.gateway.surfaces import admin
from trunkline.gateway.uplink import Asker, Question, take
from trunkline.journal.bell import socket_path
from trunkline.types import Principal

WHO = Principal(key_id="key_m", user_id="ada", team_id="red", tenant_id="acme")
BODY = b'{"name": "x"}'
ADMINISTRATION = [
    ("POST", "/v1/keys"),
    ("GET", "/keys"),
    ("GET", "/v1/users/ada"),
    ("PATCH", "/v1/users/ada"),
    ("DELETE", "/v1/budgets/bud_1"),
    ("POST", "/v1/keys/key_1/rotate"),
]


class Played:
    """A steward that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.status = 200
        self.answer = b'{"object":"list"}'

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question."""
        self.asked.append(await take(reader))
        head = f"HTTP/1.1 {self.status} x\r\ncontent-length: {len(self.answer)}\r\n\r\n"
        writer.write(head.encode() + self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway with a member's key and a viewer's."""
    ring = KeyRing(b"p" * 32, ADMIN_KEY, ())
    roles: Any = ("member", "viewer", "admin")
    ring.follow({ring._digest(role): Holder(name=role, principal=WHO, role=role) for role in roles})
    async with Trunkline.from_config({"llm_service": {"providers": {"demo": {}}}}) as line:
        line.config.data_dir.mkdir(exist_ok=True)
        yield Gateway(line, ring)


@pytest.fixture
async def steward(gateway: Gateway) -> AsyncIterator[Played]:
    """A steward of the gateway's data folder."""
    played = Played()
    path = socket_path(gateway._line.config.data_dir)
    async with await asyncio.start_unix_server(played.respond, path):
        yield played


async def put(
    gateway: Gateway, method: str, path: str, body: bytes = b"", **headers: str | None
) -> Answer:
    """Ask the gateway; a header's name is written with underscores."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(gateway, path, body, sent, method)


async def test_what_the_steward_is_asked(gateway: Gateway, steward: Played) -> None:
    """The same, quoted, with who asks; its answer is ours."""
    answer = await put(gateway, "PATCH", "/users/a%20b?x=%26%C3%A9", BODY, x_api_key=None)
    assert (answer.status, answer.body) == (200, b'{"object":"list"}')
    assert steward.asked == [
        Question(
            method="PATCH",
            path="/v1/users/a%20b?x=%26%C3%A9",
            body=BODY,
            asker=Asker(id="admin", role="admin"),
        )
    ]
    await put(gateway, "GET", "/v1/usage?by=day", authorization="Bearer member")
    assert steward.asked[1].asker == Asker(
        id="key_m", role="member", user_id="ada", team_id="red", tenant_id="acme"
    )


@pytest.mark.parametrize("role", ["member", "viewer"])
@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
async def test_administration_is_for_administrators(
    gateway: Gateway, steward: Played, role: str, method: str, path: str
) -> None:
    """Others are refused before the steward hears of it; a key with the role admin is not."""
    answer = await put(gateway, method, path, BODY, authorization=f"Bearer {role}")
    assert answer.status == 403
    assert said(answer)["error"]["code"] == "forbidden"
    assert steward.asked == []
    assert (await put(gateway, method, path, BODY, authorization="Bearer admin")).status == 200
    assert len(steward.asked) == 1


@pytest.mark.parametrize("role", ["member", "viewer"])
@pytest.mark.parametrize("path", ["/users/me", "/usage", "/calls", "/calls/call_1"])
async def test_what_anybody_may_ask(
    gateway: Gateway, steward: Played, role: str, path: str
) -> None:
    """The steward shows each what is his own; without a key nobody gets so far."""
    answer = await put(gateway, "HEAD", path, authorization=f"Bearer {role}")
    assert (answer.status, answer.body) == (200, b"")
    assert [each.method for each in steward.asked] == ["GET"]
    assert (await put(gateway, "GET", path, authorization=None)).status == 401
    assert len(steward.asked) == 1


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("PUT", "/v1/keys", "GET, HEAD, POST"),
    ("POST", "/v1/keys/key_1", "GET, HEAD, PATCH, DELETE"),
    ("GET", "/v1/keys/key_1/rotate", "POST"),
    ("DELETE", "/v1/users/me", "GET, HEAD"),
    ("POST", "/usage", "GET, HEAD"),
    ("DELETE", "/calls/call_1", "GET, HEAD"),
])  # fmt: skip
async def test_methods(gateway: Gateway, method: str, path: str, allowed: str) -> None:
    """A wrong one is told which there are."""
    answer = await put(gateway, method, path, BODY)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/keys/a/b", "/users/a/rotate", "/keys//rotate", "/usage/x"])
def test_no_such_path(path: str) -> None:
    """Nothing is there."""
    assert admin.methods(path) == ()


@pytest.mark.parametrize("family", [None, "2023-06-01"])
async def test_an_error_of_the_steward(
    gateway: Gateway, steward: Played, family: str | None
) -> None:
    """In the shape of the caller's family, with its status, code and param."""
    steward.status = 409
    refusal = admin.Refusal(code="conflict", message="there is one already", param="scope")
    steward.answer = msgspec.json.encode(refusal)
    answer = await put(gateway, "POST", "/v1/budgets", BODY, anthropic_version=family)
    assert answer.status == 409
    fields = json.loads(answer.body)
    assert fields["error"]["message"] == "there is one already"
    if family is None:
        assert (fields["error"]["code"], fields["error"]["param"]) == ("conflict", "scope")
    else:
        assert fields["type"] == "error"


async def test_the_steward_is_away(gateway: Gateway) -> None:
    """It is said, and when to try again."""
    answer = await put(gateway, "GET", "/v1/keys")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "the steward is away" in said(answer)["error"]["message"]


@pytest.mark.parametrize(("path", "body", "kind", "status"), [
    ("/v1/keys", BODY, "text/plain", 415),
    ("/v1/keys", b"x" * (2**20 + 1), "application/json", 413),
    (f"/v1/keys?{'x' * 20_000}", BODY, "application/json", 400),
])  # fmt: skip
async def test_what_is_not_passed_on(
    gateway: Gateway, steward: Played, path: str, body: bytes, kind: str, status: int
) -> None:
    """A body of another kind or more than a MiB, and a query too long."""
    assert (await put(gateway, "POST", path, body, content_type=kind)).status == status
    assert steward.asked == []


async def test_a_rotation_needs_no_body(gateway: Gateway, steward: Played) -> None:
    """Nor a content type then; everything else does."""
    rotated = await put(gateway, "POST", "/v1/keys/key_1/rotate", content_type=None)
    assert (rotated.status, steward.asked[0].body) == (200, b"")
    assert (await put(gateway, "POST", "/v1/keys", content_type=None)).status == 415


async def test_a_change_is_known_here_when_it_is_answered(
    gateway: Gateway, steward: Played
) -> None:
    """The worker looks at the database first; after a mere look it does not."""
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(steward.asked))

    gateway.on_change = look
    await put(gateway, "GET", "/v1/keys")
    assert looks == []
    await put(gateway, "POST", "/v1/keys", BODY)
    await put(gateway, "DELETE", "/v1/keys/key_1")
    assert looks == [2, 3]
