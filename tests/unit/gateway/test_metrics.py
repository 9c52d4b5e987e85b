"""`GET /metrics`: for the administrator and for this machine, and only while a steward is there."""

import pytest

from tests.unit.gateway.talk import ask
from trunkline import Trunkline
from trunkline.config import from_mapping
from trunkline.gateway.app import Gateway
from trunkline.gateway.keys import KeyRing
from trunkline.gateway.surfaces import metrics

ADMIN, CALLER = "an-admin-key-for-tests", "a-key-for-a-caller"
FAR = {"x-forwarded-for": "10.1.2.3"}


@pytest.fixture
def gateway() -> Gateway:
    """A gateway with a caller's key."""
    keys = [{"name": "ci", "key": CALLER}]
    config = from_mapping({"llm_service": {"keys": keys}})
    return Gateway(Trunkline(config), KeyRing(b"p" * 32, ADMIN, config.keys))


@pytest.fixture
def steward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who answers in the steward's place."""

    async def answer(data_dir: object, path: str) -> tuple[int, bytes]:
        return 200, b"trunkline_workers 1\n"

    monkeypatch.setattr(metrics, "ask", answer)


@pytest.mark.usefixtures("steward")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": None}, 200),
        ({"authorization": f"Bearer {CALLER}"}, 200),
        ({"authorization": None, **FAR}, 401),
        ({"authorization": None, "via": "1.1 a"}, 401),
        ({"authorization": f"Bearer {CALLER}", **FAR}, 403),
        ({"authorization": f"Bearer {ADMIN}", **FAR}, 200),
    ],
)
async def test_who_may(gateway: Gateway, headers: dict[str, str | None], status: int) -> None:
    """Who asks from this machine for itself needs no key; a proxy on it speaks for others."""
    answer = await ask(gateway, "/metrics", headers=headers, method="GET")
    assert answer.status == status
    if status == 200:
        assert answer.body == b"trunkline_workers 1\n"
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_the_steward_is_away(gateway: Gateway) -> None:
    """503 as JSON; the next look may find it again."""
    answer = await ask(gateway, "/metrics", method="GET")
    assert (answer.status, answer.headers["content-type"]) == (503, "application/json")
    assert b"away" in answer.body


async def test_nothing_can_be_posted(gateway: Gateway) -> None:
    """It is a page to read."""
    assert (await ask(gateway, "/metrics")).status == 405
