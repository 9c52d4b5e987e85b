"""Credentials that do not stay the same: fetched off the loop, kept until shortly before their end.

Some are put in the place of a key, others sign each request with the time of the wall clock.

Source: https://googleapis.dev/python/google-auth/latest/reference/google.auth.html 2026-11-20
"""

from __future__ import annotations

import asyncio
import copy
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from trunkline.clock import Clock
from trunkline.errors import AuthFailed, ConnectFailed, ProviderError
from trunkline.observability.redact import know, scrub
from trunkline.types import Deployment, Outgoing, Secret

_EARLY_S = 300.0
"""How long before its end a token is replaced, while calls still use it."""
_SPARE_S = 10.0
"""How long a token must still hold for a call."""
_FAILED_S = 1.0
"""How long a failure is told again before anybody asks for another token."""
_WRONG_S = 240.0
"""How far our clock may be off before signatures are made by the provider's."""
_SPENT = frozenset({"ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient"})
"""What AWS says of keys that are no longer good, some of it with a 403.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html 2026-11-21"""


class Sign(Protocol):
    """Returns a request with its signature; `now_s` is in seconds since the epoch."""

    def __call__(self, outgoing: Outgoing, *, now_s: float) -> Outgoing:
        """Sign."""


class Token(NamedTuple):
    """A credential and its end, in seconds since the epoch."""

    value: str
    until_s: float
    sign: Sign | None = None
    """Set for what never travels itself; `value` says nothing then."""
    secrets: tuple[str, ...] = ()
    """What must never be shown, besides `value`."""


class Credentials:
    """Finds the token of a deployment; one serves all loops and threads.

    Args:
        fetch: gets a new token for a `Deployment.credential`, in a thread; raises `ProviderError`.
    """

    def __init__(self, clock: Clock, fetch: Callable[[str], Token] | None = None) -> None:
        self._clock = clock
        self._fetch = fetch or _fetch
        self._tokens: dict[str, Token] = {}
        self._under_way: dict[tuple[int, str], Future[ProviderError | None]] = {}
        """By process, because a thread does not survive a fork, and by source."""
        self._failed: dict[str, tuple[float, ProviderError]] = {}
        """When a source gave no token, on the monotonic clock, and why."""
        self._ahead_s: dict[str, float] = {}
        """How far a provider's clock is ahead of ours, where that is too far."""

    async def applied(self, deployment: Deployment) -> Deployment:
        """Return `deployment` with the token of its `credential` as its key, if it can be one.

        Raises:
            ProviderError: there is none; nothing was sent.
        """
        source = deployment.credential
        left_s = self._left_s(source)
        if left_s < _SPARE_S:
            error = self._fresh_failure(source)
            if error is None:
                error = await asyncio.wrap_future(self._renewal(source))
            if error is not None:
                error = copy.copy(error)  # every waiting call has its own
                error.deployment = deployment.name
                raise error
        elif left_s < _EARLY_S and self._fresh_failure(source) is None:
            self._renewal(source)  # the old one still holds; who finds it spent is told why
        token = self._tokens[source]
        return deployment if token.sign else replace(deployment, api_key=Secret(token.value))

    def signed(self, outgoing: Outgoing, source: str) -> Outgoing:
        """Return `outgoing` with the signature that `source` asks for, if it asks for one."""
        token = self._tokens.get(source)
        if token is None or token.sign is None:
            return outgoing
        now_s = self._clock.now_ns() / 1e9 + self._ahead_s.get(source, 0.0)
        return token.sign(outgoing, now_s=now_s)

    def compare_clocks(self, source: str, headers: Mapping[str, str]) -> None:
        """Learn from a refusal how late it is there: a signature is good for minutes only."""
        there_s = _date_s(headers) if source else None
        if there_s is not None:
            ahead_s = there_s - self._clock.now_ns() / 1e9
            self._ahead_s[source] = ahead_s if abs(ahead_s) > _WRONG_S else 0.0

    def forget(self, source: str, error: AuthFailed) -> None:
        """Fetch a new token next time if this one was refused, and not only what it may do."""
        token = self._tokens.get(source)
        status, code = error.upstream_status, error.upstream_code or ""
        if token is not None and (status == 401 or code.removesuffix("Exception") in _SPENT):
            self._tokens[source] = token._replace(until_s=0.0)

    def _left_s(self, source: str) -> float:
        token = self._tokens.get(source)
        return -1.0 if token is None else token.until_s - self._clock.now_ns() / 1e9

    def _fresh_failure(self, source: str) -> ProviderError | None:
        """Return why there is no token, if that was found out just now."""
        at_s, error = self._failed.get(source, (0.0, None))
        return error if self._clock.monotonic_s() - at_s < _FAILED_S else None

    def _renewal(self, source: str) -> Future[ProviderError | None]:
        """Return the one fetch that is under way for `source`; it is begun if there is none.

        It has a thread of its own: those of the loop's executor look up the names of hosts, and
        one source that hangs must not keep other providers from being asked.
        """
        mine: Future[ProviderError | None] = Future()
        mine.set_running_or_notify_cancel()  # a call that leaves does not take it from the others
        future = self._under_way.setdefault((os.getpid(), source), mine)
        if future is mine:
            thread = threading.Thread(
                target=self._renew, args=(source, mine), name="trunkline-token", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # there are too many threads
                self._end(source, mine, ConnectFailed(f"no credential: {error}", sent=False))
        return future

    def _renew(self, source: str, future: Future[ProviderError | None]) -> None:
        error: ProviderError | None = None
        try:
            token = self._fetch(source)
            know([token.value, *token.secrets], source)
            self._tokens[source] = token
            self._failed.pop(source, None)
        except ProviderError as known:
            error = known
        except Exception as unknown:
            told = scrub(f"{type(unknown).__name__}: {unknown}", 500)
            error = ConnectFailed(f"no credential could be fetched: {told}", sent=False)
        self._end(source, future, error)

    def _end(
        self, source: str, future: Future[ProviderError | None], error: ProviderError | None
    ) -> None:
        if error is not None:
            self._failed[source] = self._clock.monotonic_s(), error
        del self._under_way[os.getpid(), source]
        future.set_result(error)


def _date_s(headers: Mapping[str, str]) -> float | None:
    """Return when an answer was made, by its header; None = it does not say."""
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return None


def _fetch(source: str) -> Token:
    kind, _, place = source.partition(":")
    if kind == "aws":
        from trunkline.transport import aws

        return aws.fetch(place)
    from trunkline.transport import google

    return google.fetch(place)
