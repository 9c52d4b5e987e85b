"""Every outgoing connection that is not a call to a model: is anybody there, who, and webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Self, cast
from urllib.parse import urlsplit

from msgspec import Struct

from trunkline.codec import retry_after_s
from trunkline.observability.redact import scrub

_TIMEOUT_S = 1.0
_PORTS = {"http": 80, "https": 443}
_POST_TIMEOUT_S = 10.0
_ANSWER_BYTES = 64 * 1024
_LOOKED_UP_BYTES = 1024 * 1024
_NAT64 = IPv6Network("64:ff9b::/96")
"""Source: https://www.rfc-editor.org/rfc/rfc6052 section 2.1 (2026-11-20)."""


def reachable(urls: Mapping[str, str]) -> dict[str, bool]:
    """Tell for each name whether a TCP connection to its URL opens within a second.

    Nothing is sent. An empty URL stands for something inside this process and is reachable; where
    a proxy stands between, the proxy is what is asked.
    """
    if not urls:
        return {}
    # Imported here: it brings a whole HTTP client, and most programs never ask this.
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()

    def answers(url: str) -> bool:
        parts = urlsplit(url)
        proxy = proxies.get(parts.scheme)
        return _answers(proxy if proxy and not proxy_bypass(parts.hostname or "") else url)

    with ThreadPoolExecutor(max_workers=min(16, len(urls)), thread_name_prefix="probe") as pool:
        return dict(zip(urls, pool.map(answers, urls.values()), strict=True))


def looked_up(urls: Sequence[str]) -> dict[str, bytes | None]:
    """Return what each URL answers to a GET, all asked at the same time; None = not 200 in time.

    For servers on this machine: no proxy is used, no redirect followed, no credential sent, and no
    more than a megabyte read, in a second.
    """
    if not urls:
        return {}
    with ThreadPoolExecutor(max_workers=min(32, len(urls)), thread_name_prefix="probe") as pool:
        return dict(zip(urls, pool.map(_body, urls), strict=True))


def _body(url: str) -> bytes | None:
    # Imported here: most programs never ask this.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from time import monotonic

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    until_s = monotonic() + _TIMEOUT_S
    body = b""
    with contextlib.closing(kind(parts.netloc, timeout=_TIMEOUT_S)) as connection:
        try:
            connection.request("GET", parts.path, headers={"accept": "application/json"})
            answer = connection.getresponse()
            while piece := answer.read1(_ANSWER_BYTES):
                body += piece
                if len(body) > _LOOKED_UP_BYTES or monotonic() > until_s:
                    return None
            return body if answer.status == 200 else None
        except (OSError, HTTPException, ValueError):
            return None


def _answers(url: str) -> bool:
    if not url:
        return True
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 80)
        with socket.create_connection((parts.hostname or "", port), timeout=_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False


class Answered(Struct, frozen=True, kw_only=True):
    """What became of a request."""

    status: int = 0
    """0 = there was no answer."""
    retry_after_s: float | None = None
    """How long the other side asks us to wait."""
    trouble: str = ""
    """Why there was none, without credentials."""


class Door:
    """The way out for requests to addresses that somebody wrote into a configuration.

    Unless `allow_private`, only https to public addresses: what the name resolves to is checked and
    is what is connected to. No redirect is followed, no proxy used, no cookie kept. Belongs to one
    loop: `async with Door(...) as door`.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def __aenter__(self) -> Self:
        # Imported here: most programs post nothing.
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        resolver = cast(Any, _Resolver(allow_private=self._allow_private))
        self._session = ClientSession(
            connector=TCPConnector(resolver=resolver, use_dns_cache=False, ssl=_trust()),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(total=_POST_TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Send `body`, and wait at most 10 s for all of it; what goes wrong is in the answer."""
        from yarl import URL

        try:
            # Read once, by the library that connects: what is checked is what is meant.
            target = URL(url)
            if not self._allow_private:
                _check(target.scheme, target.raw_host or "")
            async with self._session.post(
                target, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status, wait_s = answer.status, retry_after_s(answer.headers)
                # That was the answer; the rest is read so that the connection can be used again.
                with contextlib.suppress(Exception):
                    await _read(answer.content)
            return Answered(status=status, retry_after_s=wait_s)
        except TimeoutError:
            return Answered(trouble=f"no answer within {_POST_TIMEOUT_S:.0f} s")
        except Exception as error:  # of aiohttp, of the name, of TLS: none may get any further
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return Answered(trouble=scrub(said, 200))


def _check(scheme: str, host: str) -> None:
    if scheme != "https":
        raise PermissionError(EACCES, "only https:// may be used; allow_private: true allows it")
    with contextlib.suppress(ValueError):  # a name, which is checked when it is resolved
        _refuse_private(host, [host])


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Resolver:
    """Resolves names for aiohttp, which connects to what this returns and to nothing else."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[dict[str, Any]]:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        if not self._allow_private:
            _refuse_private(host, [str(address[0]) for *_, address in found])
        return [
            {
                "hostname": host,
                "host": str(address[0]),
                "port": port,
                "family": kind,
                "proto": proto,
                "flags": socket.AI_NUMERICHOST,
            }
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


def _refuse_private(host: str, addresses: list[str]) -> None:
    """Raise if one of the addresses of `host` is not public; ValueError if one is no address."""
    for text in addresses:
        if not all(map(_public, _meant(ip_address(text.partition("%")[0])))):
            raise PermissionError(
                EACCES, f"{host} is no public address; allow_private: true allows it"
            )


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return the address and those that are wrapped in it."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    wrapped = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        wrapped.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *filter(None, wrapped)]


def _public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast


async def _read(content: Any) -> None:
    """Read an answer, as far as anybody would want to know it."""
    left = _ANSWER_BYTES
    while left > 0 and (piece := await content.read(left)):
        left -= len(piece)
