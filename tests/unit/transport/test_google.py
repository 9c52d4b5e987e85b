"""Tokens of Google Cloud, by google-auth against an issuer on loopback."""

import json
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from trunkline.clock import SystemClock
from trunkline.errors import AuthFailed, ConnectFailed
from trunkline.testing import FakeUpstream, Json, Raw, Status, content_answer
from trunkline.transport import Transport
from trunkline.transport.google import fetch
from trunkline.types import Chat, Deployment, Prompt, say

TOKEN = Json({"access_token": "ya29.first", "expires_in": 3600, "token_type": "Bearer"})


def account(folder: Path, url: str) -> str:
    """Write the key of a service account whose tokens come from `url`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "account.json"
    content = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "robot@p.test",
        "token_uri": f"{url}/token",
    }
    path.write_text(json.dumps(content))
    return str(path)


def test_a_service_account_gets_a_token(tmp_path: Path) -> None:
    """It signs what it asks with its key, for the scope of the cloud."""
    with FakeUpstream.in_thread() as up:
        up.script(TOKEN)
        token = fetch(account(tmp_path, up.url))
        [request] = up.requests
    assert token.value == "ya29.first"
    assert token.until_s == pytest.approx(time.time() + 3600, abs=30)
    form = parse_qs(request.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert len(form["assertion"][0].split(".")) == 3


def test_a_refusal_says_why(tmp_path: Path) -> None:
    """The issuer's reason, and what to do."""
    with FakeUpstream.in_thread() as up:
        up.script(Status(400, b'{"error": "invalid_grant", "error_description": "account gone"}'))
        with pytest.raises(AuthFailed, match="account gone") as caught:
            fetch(account(tmp_path, up.url))
    assert not caught.value.sent


def test_an_issuer_out_of_reach_may_be_asked_again(tmp_path: Path) -> None:
    """Nothing was sent to the provider."""
    with FakeUpstream.in_thread() as up:
        gone = up.url
    with pytest.raises(ConnectFailed) as caught:
        fetch(account(tmp_path, gone))
    assert not caught.value.sent


@pytest.mark.parametrize(
    "answer",
    [
        Raw(b"garbage garbage\r\n\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}"),
        Status(503, b"{}"),
    ],
)
def test_an_issuer_in_trouble_may_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Raw | Status
) -> None:
    """That it answers nonsense, half or 503 says nothing about the credentials."""
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    with FakeUpstream.in_thread() as up:
        up.on(lambda _: answer)
        with pytest.raises(ConnectFailed, match="no token from Google") as caught:
            fetch(account(tmp_path, up.url))
    assert not caught.value.sent


@pytest.mark.parametrize("content", ["{}", '{"type": "external_account"}', "[]", "{"])
def test_a_file_without_usable_credentials(tmp_path: Path, content: str) -> None:
    """It is said what to write instead."""
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(AuthFailed, match=r"write credentials_file, .* \(\.env does not count\)"):
        fetch(str(tmp_path / "odd.json"))


def test_the_machines_own_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Google's variable names a file."""
    with FakeUpstream.in_thread() as up:
        up.script(TOKEN)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", account(tmp_path, up.url))
        assert fetch("").value == "ya29.first"


def test_without_google_auth_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not installed with the core."""
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(AuthFailed, match=r"trunkline\[vertex\]"):
        fetch("")


async def test_a_call_is_sent_with_the_token(tmp_path: Path) -> None:
    """The transport puts it in the key's place; one that is refused is fetched anew."""
    async with FakeUpstream() as up:
        deployment = Deployment(
            provider="vertex",
            model="gemini-3.5-flash",
            dialect="gemini",
            base_url=f"{up.url}/v1/projects/p/locations/global",
            credential=f"google:{account(tmp_path, up.url)}",
            quirks=frozenset({"vertex"}),
        )
        chat = Chat(model="m", target=deployment, body=Prompt(messages=(say("user", "Hi"),)))
        second = Json({"access_token": "ya29.second", "expires_in": 3600, "token_type": "Bearer"})
        refused = Status(401, b'{"error": {"code": 401, "status": "UNAUTHENTICATED"}}')
        up.script(TOKEN, refused, second, Json(content_answer()))
        transport = Transport(SystemClock())
        with pytest.raises(AuthFailed):
            await transport.send(chat)
        assert (await (await transport.send(chat)).message()).text == "Hello."
        await transport.close()
    sent = [one.headers.get("authorization") for one in up.requests if "projects" in one.path]
    assert sent == ["Bearer ya29.first", "Bearer ya29.second"]
