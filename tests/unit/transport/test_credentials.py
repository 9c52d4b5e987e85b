"""Tokens: fetched once, off the loop, replaced before their end, and never made up."""

import threading

import pytest

from trunkline.errors import AuthFailed, ConnectFailed
from trunkline.testing import ManualClock
from trunkline.transport.credentials import Credentials, Token
from trunkline.types import Deployment

ROW = Deployment(provider="vertex", model="m", credential="google:")


class Issuer:
    """Gives numbered tokens that hold for an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.threads: list[str] = []
        self.asked = threading.Semaphore(0)
        self.may = threading.Event()
        self.may.set()
        self.trouble: Exception | None = None

    def __call__(self, source: str) -> Token:
        self.threads.append(threading.current_thread().name)
        self.asked.release()
        assert self.may.wait(10)
        if self.trouble is not None:
            raise self.trouble
        return Token(f"{source}{len(self.threads)}", self.clock.now_ns() / 1e9 + 3600)


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still."""
    return ManualClock()


@pytest.fixture
def issuer(clock: ManualClock) -> Issuer:
    """Whoever gives tokens."""
    return Issuer(clock)


def key(deployment: Deployment) -> str:
    """Return the key that is sent."""
    assert deployment.api_key is not None
    return deployment.api_key.reveal()


async def test_a_token_is_fetched_once_and_in_a_thread(clock: ManualClock, issuer: Issuer) -> None:
    """The loop never waits for it; each source has its own."""
    credentials = Credentials(clock, issuer)
    assert [key(await credentials.applied(ROW)) for _ in range(3)] == ["google:1"] * 3
    other = Deployment(provider="v", model="m", credential="google:/x")
    assert key(await credentials.applied(other)) == "google:/x2"
    assert threading.main_thread().name not in issuer.threads


async def test_a_token_near_its_end_is_replaced_while_calls_use_it(
    clock: ManualClock, issuer: Issuer
) -> None:
    """Nobody waits, and only one asks for the next."""
    credentials = Credentials(clock, issuer)
    await credentials.applied(ROW)
    assert issuer.asked.acquire(timeout=10)
    clock.advance(3400)
    issuer.may.clear()
    assert [key(await credentials.applied(ROW)) for _ in range(3)] == ["google:1"] * 3
    assert issuer.asked.acquire(timeout=10)
    issuer.may.set()
    wait_for_threads()
    assert key(await credentials.applied(ROW)) == "google:2"
    assert len(issuer.threads) == 2


async def test_trouble_with_the_next_token_is_no_trouble_yet(
    clock: ManualClock, issuer: Issuer
) -> None:
    """The old one is used to its end; then the call is told why there is none."""
    credentials = Credentials(clock, issuer)
    await credentials.applied(ROW)
    issuer.trouble = ConnectFailed("no token", sent=False)
    clock.advance(3400)
    assert key(await credentials.applied(ROW)) == "google:1"
    wait_for_threads()
    clock.advance(199)
    with pytest.raises(ConnectFailed) as caught:
        await credentials.applied(ROW)
    assert not caught.value.sent
    assert caught.value.deployment == "vertex/m"


async def test_a_refused_token_is_not_used_again(clock: ManualClock, issuer: Issuer) -> None:
    """It may have been taken back; what was never fetched can be forgotten as well."""
    credentials = Credentials(clock, issuer)
    credentials.forget("google:")
    await credentials.applied(ROW)
    credentials.forget("google:")
    assert key(await credentials.applied(ROW)) == "google:2"


async def test_no_token_at_all(clock: ManualClock, issuer: Issuer) -> None:
    """The first call fails with what the issuer said."""
    issuer.trouble = AuthFailed("no credentials", sent=False)
    with pytest.raises(AuthFailed, match="no credentials"):
        await Credentials(clock, issuer).applied(ROW)


def wait_for_threads() -> None:
    """Wait for whoever fetches a token."""
    for thread in threading.enumerate():
        if thread.name == "trunkline-token":
            thread.join(10)
