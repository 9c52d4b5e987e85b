"""Keys of the configuration at a gateway: whatever a made key may be, they may be."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.gateway.talk import ADMIN_KEY, ask, said
from trunkline import Trunkline
from trunkline.config import from_mapping
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing

SECRET = "tl-declared-for-tests"
CALL = b'{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}'


async def call(about: dict[str, Any], headers: dict[str, str], *budgets: Any) -> tuple[int, str]:
    """Make a call with a key that is so declared; return the status and the error's code."""
    key = {"name": "ci", "key": SECRET, **about}
    settings = {"providers": {"demo": {}}, "keys": [key], "budgets": [*budgets]}
    async for gateway in serving(settings):
        sent = {"authorization": f"Bearer {SECRET}", **headers}
        answer = await ask(gateway, "/v1/chat/completions", CALL, sent)
        error = said(answer).get("error") or {"code": ""}
        return answer.status, error["code"]
    raise AssertionError


async def serving(settings: dict[str, Any]) -> AsyncIterator[Gateway]:
    """Give a gateway."""
    async with Trunkline(from_mapping({"llm_service": settings})) as line:
        yield Gateway(line, KeyRing(b"p" * 32, ADMIN_KEY, line.config.keys))


@pytest.mark.parametrize(
    ("about", "status"),
    [
        ({"role": "member"}, 200),
        ({"role": "viewer"}, 403),
        ({"expires_at": "2020-01-31"}, 401),
        ({"expires_at": "2200-01-31T12:00:00Z"}, 200),
        ({"required_tags": ["team"]}, 400),
        ({"models": ["other"]}, 403),
    ],
)
async def test_what_a_declared_key_may(about: dict[str, Any], status: int) -> None:
    """Its role, its end, its tags and its models are looked at."""
    assert (await call(about, {}))[0] == status


async def test_required_tags_that_are_there() -> None:
    """The tag, or one that begins with it and a colon."""
    about = {"required_tags": ["team", "env"]}
    assert (await call(about, {"x-trunkline-tags": "team:blue, env"}))[0] == 200


@pytest.mark.parametrize("kind", ["key", "user", "team", "tenant"])
async def test_who_pays(kind: str) -> None:
    """The key's name and its user, team and tenant: a budget on any of them stops it."""
    about = {"user": "ada", "team": "blue", "tenant": "acme"}
    name = {"key": "ci", **about}[kind]
    spent = {"scope": f"{kind}:{name}", "amount": 0, "period": "day"}
    other = {**spent, "scope": f"{kind}:other"}
    assert await call(about, {}, spent) == (402, "budget_exhausted")
    assert (await call(about, {}, other))[0] == 200
