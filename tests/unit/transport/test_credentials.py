"""Tokens: fetched once, off the loop, replaced before their end, and never made up."""

import asyncio
import threading

import pytest

from trunkline.errors import AuthFailed, ConnectFailed, ProviderError
from trunkline.observability.redact import scrub
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
    spent = AuthFailed("", upstream_status=403, upstream_code="ExpiredTokenException")
    credentials.forget("google:", spent)
    for n, error in enumerate([AuthFailed("", upstream_status=401), spent], start=1):
        assert key(await credentials.applied(ROW)) == f"google:{n}"
        credentials.forget("google:", error)
    assert key(await credentials.applied(ROW)) == "google:3"


async def test_what_a_token_may_not_do_is_no_reason_for_another(
    clock: ManualClock, issuer: Issuer
) -> None:
    """One forbidden model does not take the token from all the others."""
    credentials = Credentials(clock, issuer)
    await credentials.applied(ROW)
    error = AuthFailed("", upstream_status=403, upstream_code="AccessDeniedException")
    credentials.forget("google:", error)
    assert key(await credentials.applied(ROW)) == "google:1"


async def test_only_the_newest_token_of_a_source_is_remembered(clock: ManualClock) -> None:
    """Tokens come by the hour; to look for all there ever were would take longer and longer."""
    values = ["first-token-1234567", "second-token-123456"]
    until_s = clock.now_ns() / 1e9 + 3600
    credentials = Credentials(clock, lambda _: Token(values.pop(0), until_s))
    await credentials.applied(ROW)
    assert scrub("first-token-1234567") == "***"
    credentials.forget("google:", AuthFailed("", upstream_status=401))
    await credentials.applied(ROW)
    assert scrub("first-token-1234567 second-token-123456") == "first-token-1234567 ***"


async def test_no_token_at_all(clock: ManualClock, issuer: Issuer) -> None:
    """The first call fails with what the issuer said."""
    issuer.trouble = AuthFailed("no credentials", sent=False)
    with pytest.raises(AuthFailed, match="no credentials"):
        await Credentials(clock, issuer).applied(ROW)


async def test_a_source_that_hangs_keeps_nothing_else_waiting(
    clock: ManualClock, issuer: Issuer
) -> None:
    """All calls wait for one fetch, which takes none of the threads that look up hosts."""
    credentials = Credentials(clock, issuer)
    issuer.may.clear()
    waiting = [asyncio.create_task(failure(credentials, f"m{n}")) for n in range(64)]
    await asyncio.to_thread(issuer.asked.acquire)
    waiting[0].cancel()
    issuer.trouble = ConnectFailed("no token", sent=False)
    issuer.may.set()
    errors = await asyncio.gather(*waiting[1:])
    assert [error.deployment for error in errors] == [f"vertex/m{n}" for n in range(1, 64)]
    assert issuer.threads == ["trunkline-token"]


async def test_a_failure_is_told_for_a_second(clock: ManualClock, issuer: Issuer) -> None:
    """Whoever comes right after it does not wait for the same again."""
    credentials = Credentials(clock, issuer)
    issuer.trouble = AuthFailed("no credentials", sent=False)
    for _ in range(3):
        assert (await failure(credentials, "m")).message == "no credentials"
    assert len(issuer.threads) == 1
    clock.advance(1)
    issuer.trouble = None
    assert key(await credentials.applied(ROW)) == "google:2"


async def test_whatever_breaks_is_a_failure_of_the_provider(
    clock: ManualClock, issuer: Issuer
) -> None:
    """So that another one is asked; nothing was sent."""
    credentials = Credentials(clock, issuer)
    issuer.trouble = KeyError("expiry")
    error = await failure(credentials, "m")
    assert isinstance(error, ConnectFailed)
    assert "KeyError" in error.message
    assert not error.sent
    issuer.trouble = None
    clock.advance(1)
    await credentials.applied(ROW)
    issuer.trouble = KeyError("expiry")
    clock.advance(3400)
    assert key(await credentials.applied(ROW)) == "google:2"
    wait_for_threads()  # and pytest finds no exception in a thread


async def test_no_thread_is_a_failure_too(
    clock: ManualClock, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a fetch that never began."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    credentials = Credentials(clock, issuer)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert "new thread" in (await failure(credentials, "m")).message
    clock.advance(1)
    assert key(await credentials.applied(ROW)) == "google:1"


async def failure(credentials: Credentials, model: str) -> ProviderError:
    """Return why a call gets no token."""
    with pytest.raises(ProviderError) as caught:
        await credentials.applied(Deployment(provider="vertex", model=model, credential="google:"))
    return caught.value


def wait_for_threads() -> None:
    """Wait for whoever fetches a token."""
    for thread in threading.enumerate():
        if thread.name == "trunkline-token":
            thread.join(10)
