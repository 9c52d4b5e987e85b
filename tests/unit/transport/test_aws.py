"""Keys of AWS: where they are looked for, in AWS's order, and what is said when there are none."""

import json
import sys
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.unit.transport.test_credentials import key
from trunkline.errors import AuthFailed, ConnectFailed
from trunkline.testing import FakeUpstream, ManualClock, Status
from trunkline.transport import aws
from trunkline.transport.credentials import Credentials, Token
from trunkline.types import Deployment, Outgoing

SIGNING = "aws:eu-central-1"
ROW = Deployment(provider="bedrock", model="m", credential=SIGNING)
ASKED = Outgoing(url="https://x.test/model/m/converse", headers={}, body=b"{}")
CONFIG = """
[profile team]
aws_access_key_id = AKTEAM
aws_secret_access_key = secret-of-the-team
"""
SHARED = """
[default]
aws_access_key_id = AKFILE
aws_secret_access_key = secret%of-the-file
aws_session_token = token-of-the-file
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shared files of our own, no variables, and no machine to ask."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name, text in (("SHARED_CREDENTIALS", SHARED), ("CONFIG", CONFIG)):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setenv(f"AWS_{name}_FILE", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws._session.cache_clear()
    return tmp_path


def signer(place: str) -> tuple[str, str]:
    """Return whose key signs for `place`, and the session token that goes along."""
    token = aws.fetch(place)
    assert token.sign is not None
    headers = token.sign(ASKED, now_s=0.0).headers
    id_ = headers["authorization"].partition("Credential=")[2].partition("/")[0]
    return id_, headers.get("x-amz-security-token", "")


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both halves must be there; a profile that was written counts for more."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
    assert signer("us-east-1") == ("AKFILE", "token-of-the-file")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-env")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-env")
    assert signer("us-east-1") == ("AKENV", "token-of-env")
    assert signer("us-east-1:team") == ("AKTEAM", "")
    assert aws.fetch("us-east-1").secrets == ("secret-of-env", "token-of-env")


def test_profiles_stand_in_the_shared_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default one, or the one that AWS_PROFILE names."""
    assert signer("us-east-1") == ("AKFILE", "token-of-the-file")
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert signer("us-east-1") == ("AKTEAM", "")


def test_botocore_knows_the_other_ways(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a process that gives keys; without botocore the message says what to install."""
    keys = {"Version": 1, "AccessKeyId": "AKP", "SecretAccessKey": "sss", "SessionToken": "ttt"}
    (home / "keys").write_text(json.dumps(keys))
    (home / "CONFIG").write_text(f"[profile role]\ncredential_process = cat {home / 'keys'}\n")
    assert signer("us-east-1:role") == ("AKP", "ttt")
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(AuthFailed, match=r"\.env does not count.*trunkline\[bedrock\]") as caught:
        aws.fetch("us-east-1:role")
    assert not caught.value.sent


ROLE = """
[profile role]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = default
region = us-east-1
"""
ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>AKROLE</AccessKeyId><SecretAccessKey>sss</SecretAccessKey>
<SessionToken>rrr</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""
DENIED = """<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error>
</ErrorResponse>"""


def test_roles_are_assumed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By botocore, with the keys of another profile; a refusal and a lost connection differ."""
    (home / "CONFIG").write_text(ROLE)
    (home / "SHARED_CREDENTIALS").write_text(SHARED + SHARED.replace("default", "role"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    xml = {"content-type": "text/xml"}
    with FakeUpstream.in_thread() as up:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", up.url)
        up.script(Status(403, DENIED, xml).closing(), Status(200, ASSUMED, xml).closing())
        with pytest.raises(AuthFailed, match="not you"):
            aws.fetch("us-east-1:role")
        assert signer("us-east-1:role") == ("AKROLE", "rrr")
    aws._session.cache_clear()
    with pytest.raises(ConnectFailed, match="connect"):
        aws.fetch("us-east-1:role")


@pytest.mark.parametrize(
    ("text", "profile", "why"),
    [("", "", "no AWS keys anywhere"), ("", "nobody", "nobody"), ("[x\n", "", "cannot be read")],
)
def test_why_there_are_no_keys(home: Path, text: str, profile: str, why: str) -> None:
    """Nothing anywhere, a profile that is none, a file that is none."""
    for name in ("SHARED_CREDENTIALS", "CONFIG"):
        (home / name).write_text(text)
    with pytest.raises(AuthFailed, match=why) as caught:
        aws.fetch(f"us-east-1:{profile}")
    assert not caught.value.sent


async def test_keys_sign_and_are_never_sent() -> None:
    """The deployment keeps no key; the request is signed with the time of the clock."""
    clock = ManualClock()
    credentials = Credentials(clock)
    assert await credentials.applied(ROW) == ROW
    first = credentials.signed(ASKED, SIGNING).headers
    clock.advance(60)
    second = credentials.signed(ASKED, SIGNING).headers
    assert first["x-amz-date"] != second["x-amz-date"]
    assert "secret" not in str(first)
    assert credentials.signed(ASKED, "") is ASKED


async def test_a_wrong_clock_is_corrected() -> None:
    """The time of a refusal counts where it is minutes away; afterwards ours again."""
    clock = ManualClock()
    credentials = Credentials(clock)
    await credentials.applied(ROW)
    right = credentials.signed(ASKED, SIGNING).headers["x-amz-date"]
    credentials.compare_clocks(SIGNING, {"date": "Fri, 20 Nov 2026 10:20:30 GMT"})
    assert credentials.signed(ASKED, SIGNING).headers["x-amz-date"] == "20261120T102030Z"
    credentials.compare_clocks(SIGNING, {"date": "soon"})
    credentials.compare_clocks("", {"date": "Fri, 20 Nov 2026 11:00:00 GMT"})
    assert credentials.signed(ASKED, SIGNING).headers["x-amz-date"] == "20261120T102030Z"
    there = clock.now_ns() / 1e9 + 5
    credentials.compare_clocks(SIGNING, {"date": formatdate(there, usegmt=True)})
    assert credentials.signed(ASKED, SIGNING).headers["x-amz-date"] == right


async def test_tokens_still_take_the_place_of_a_key() -> None:
    """Only what signs stays behind."""
    clock = ManualClock()
    credentials = Credentials(clock, lambda _: Token("t", clock.now_ns() / 1e9 + 3600))
    assert key(await credentials.applied(ROW)) == "t"
    assert credentials.signed(ASKED, SIGNING) is ASKED
