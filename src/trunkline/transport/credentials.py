"""Credentials that do not stay the same: fetched off the loop, kept until shortly before their end.

Some are put in the place of a key, others sign each request with the time of the wall clock.

Source: https://googleapis.dev/python/google-auth/latest/reference/google.auth.html 2026-11-20
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from trunkline.clock import Clock
from trunkline.errors import ProviderError
from trunkline.observability.redact import know
from trunkline.types import Deployment, Outgoing, Secret

_EARLY_S = 300.0
"""How long before its end a token is replaced, while calls still use it."""
_SPARE_S = 10.0
"""How long a token must still hold for a call."""


_WRONG_S = 240.0
"""How far our clock may be off before signatures are made by the provider's."""


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


class Credentials:
    """Finds the token of a deployment; one serves all loops and threads.

    Args:
        fetch: gets a new token for a `Deployment.credential`, in a thread; raises `ProviderError`.
    """

    def __init__(self, clock: Clock, fetch: Callable[[str], Token] | None = None) -> None:
        self._clock = clock
        self._fetch = fetch or _fetch
        self._tokens: dict[str, Token] = {}
        self._under_way: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}
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
            try:
                await asyncio.to_thread(self._renew, source, _SPARE_S)
            except ProviderError as error:
                error.deployment = deployment.name
                raise
        elif left_s < _EARLY_S and source not in self._under_way:
            self._under_way.add(source)
            threading.Thread(
                target=self._renew_early, args=(source,), name="trunkline-token", daemon=True
            ).start()
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

    def forget(self, source: str) -> None:
        """Fetch a new token next time: this one was refused."""
        token = self._tokens.get(source)
        if token is not None:
            self._tokens[source] = token._replace(until_s=0.0)

    def _left_s(self, source: str) -> float:
        token = self._tokens.get(source)
        return -1.0 if token is None else token.until_s - self._clock.now_ns() / 1e9

    def _renew(self, source: str, needed_s: float) -> None:
        """Fetch a token unless another thread has done so meanwhile."""
        with self._locks.setdefault(source, threading.Lock()):
            if self._left_s(source) < needed_s:
                token = self._fetch(source)
                know([token.value])
                self._tokens[source] = token

    def _renew_early(self, source: str) -> None:
        try:
            self._renew(source, _EARLY_S)
        except ProviderError:
            pass  # the old one still holds; who finds it spent is told why
        finally:
            self._under_way.discard(source)


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
