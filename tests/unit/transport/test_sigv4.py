"""Signatures of AWS: the same as botocore's, whatever is signed."""

import datetime
from typing import Any
from unittest import mock

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.transport.sigv4 import Keys, Scope, signed
from trunkline.types import Outgoing

SCOPE = Scope("eu-central-1", "bedrock")
NOW_S = 1_800_000_000.0
words = st.text(alphabet="abcXYZ019-._~", min_size=1, max_size=12)
steps = st.one_of(
    words, words.map(lambda w: f"{w}%3A0"), words.map(lambda w: f"{w}%2F{w}"), st.just("..")
)
paths = st.lists(steps, max_size=5).map(lambda found: "/" + "/".join(found))
queries = st.lists(st.tuples(words, words), max_size=3).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
texts = st.text(alphabet="abc  XYZ/+=,;", max_size=20).map(str.strip)
extra = st.dictionaries(words.map(lambda w: f"x-amz-meta-{w.lower()}"), texts, max_size=3)
hosts = st.sampled_from(["bedrock-runtime.x.amazonaws.com", "x.test:8080", "[::1]:9000", "[::1]"])


def by_botocore(outgoing: Outgoing, keys: Keys) -> dict[str, str]:
    """Sign with botocore, at the same time."""
    request = AWSRequest(outgoing.method, outgoing.url, dict(outgoing.headers), outgoing.body)
    auth = SigV4Auth(
        Credentials(keys.id, keys.secret, keys.session or None), SCOPE.service, SCOPE.region
    )
    now = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        auth.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_signatures_are_those_of_botocore(data: st.DataObject) -> None:
    """Paths that are encoded already, queries, headers, session tokens and bodies of any kind."""
    query = data.draw(queries)
    url = f"https://{data.draw(hosts)}{data.draw(paths)}{'?' + query if query else ''}"
    headers = {"content-type": "application/json"} | data.draw(extra)
    outgoing = Outgoing(url=url, headers=headers, body=data.draw(st.binary(max_size=50)))
    keys = Keys("AKIDEXAMPLE", data.draw(words), data.draw(st.sampled_from(["", "to/ken+=="])))
    ours = signed(outgoing, keys, SCOPE, NOW_S).headers
    theirs = by_botocore(outgoing, keys)
    assert ours["authorization"] == theirs["authorization"]
    for name in ("x-amz-date", "x-amz-security-token"):
        assert ours.get(name) == theirs.get(name)


def test_what_a_proxy_may_change_is_not_signed() -> None:
    """And a key that stood there gives way to the signature."""
    headers = {"Accept": "a", "Authorization": "Bearer x", "user-agent": "u", "Host": "other.test"}
    outgoing = Outgoing(url="https://x.test/a", headers=headers, body=b"")
    made: dict[str, Any] = signed(outgoing, Keys("AK", "s"), SCOPE, NOW_S).headers
    assert "SignedHeaders=host;x-amz-date, " in made["authorization"]
    assert made["accept"] == "a"
    assert outgoing.headers == headers


def test_keys_do_not_show_themselves() -> None:
    """Neither in a message nor in a traceback."""
    assert "hunter2" not in repr(Keys("AK", "hunter2", "hunter2"))
