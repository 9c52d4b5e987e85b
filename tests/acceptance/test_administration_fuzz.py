"""Whatever administration is asked: an answer in JSON, never a 5xx, and nothing half done."""

import json
from collections.abc import AsyncIterator
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateways import ADMIN_KEY, administered
from tests.unit.gateway.talk import ask
from trunkline.config import from_mapping
from trunkline.gateway.app import Gateway

pytestmark = pytest.mark.slow

KINDS = ("tenants", "teams", "users", "keys", "budgets")
GOOD: dict[str, dict[str, object]] = {
    "tenants": {"name": "x"},
    "teams": {"name": "x"},
    "users": {},
    "keys": {"name": "x"},
    "budgets": {"scope": "global", "amount_usd": 1, "period": "day"},
}
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "PUT")
FIELDS = (
    *("id", "name", "email", "basic_info", "role", "team_id", "tenant_id", "user_id", "tier"),
    *("models", "expires_at", "may_act_for", "required_tags", "allowance_usd", "allowance_period"),
    *("scope", "amount_usd", "period", "mode", "timezone", "rolling", "unknown_price"),
    *("when_store_down", "alert_at", "grace_s"),
)
PARAMETERS = (
    *("limit", "cursor", "period", "since", "until", "by", "key_id", "user_id", "tenant_id"),
    *("team_id", "model", "deployment", "tag", "status", "scope", "name"),
)

ids = st.sampled_from(("a", "b", "me", "admin")) | st.text(min_size=1, max_size=8)
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
words = st.sampled_from(
    (
        *("a", "b", "*", "user:a", "team:a", "tenant:a", "tag:x", "global", "key:a", "run:r"),
        *("day", "week", "month", "total", "hard", "strict", "soft", "admin", "member", "viewer"),
        *("Europe/Berlin", "1.50", "-1", "2099-01-01", "0001-01-01", "9999-12-31T23:59:59Z"),
        *("all", "today", "user", "key", "complete"),
    )
)
values = words | st.integers(-1, 2**70) | st.lists(words, max_size=2) | odd
bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), values, max_size=3)
queries = st.dictionaries(
    st.sampled_from(PARAMETERS) | st.text(max_size=5),
    words | st.integers(-1, 2**70).map(str) | st.text(max_size=9),
    max_size=3,
)
paths = st.one_of(
    st.sampled_from((*KINDS, "usage", "calls", "users/me")),
    st.tuples(st.sampled_from((*KINDS, "calls")), ids.map(lambda id_: quote(id_, safe=""))).map(
        "/".join
    ),
    st.builds("keys/{}/rotate".format, ids.map(lambda id_: quote(id_, safe=""))),
)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway with a steward."""
    settings = {"default_provider": "demo", "providers": {"demo": {}}}
    async with administered(from_mapping({"llm_service": settings})) as found:
        yield found


@given(
    method=st.sampled_from(METHODS),
    path=paths,
    query=queries,
    body=(bodies | odd).map(json.dumps).map(str.encode) | st.binary(max_size=20),
)
async def test_anything_administration_may_be_asked(
    gateway: Gateway, method: str, path: str, query: dict[str, str], body: bytes
) -> None:
    """Any method, path, query and body: what was made before stays there to be asked about."""
    asked = urlencode(query, errors="surrogatepass")
    answer = await ask(gateway, f"/v1/{path}?{asked}", body, method=method)
    assert answer.status < 500, answer
    assert answer.ended
    assert ADMIN_KEY.encode() not in answer.body
    if method == "HEAD":
        assert answer.body == b""
        return
    fields = json.loads(answer.body)
    if answer.status >= 400:
        assert set(fields["error"]) == {"message", "type", "code", "param"}
        assert fields["error"]["code"] != "internal_error"


@given(kind=st.sampled_from(KINDS), more=bodies)
async def test_what_is_refused_is_not_there(
    gateway: Gateway, kind: str, more: dict[str, object]
) -> None:
    """A list is longer by one after what was made, and as it was after what was not."""

    async def count() -> int:
        found = 0
        cursor = ""
        while True:
            answer = await ask(gateway, f"/v1/{kind}?limit=1000{cursor}", method="GET")
            page = json.loads(answer.body)
            found += len(page["data"])
            if not page["has_more"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    before = await count()
    answer = await ask(gateway, f"/v1/{kind}", json.dumps(GOOD[kind] | more).encode())
    assert answer.status < 500, answer
    assert await count() == before + (answer.status == 200)
