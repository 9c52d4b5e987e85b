"""Where a request goes and the bytes it begins with: proxy, trust, headers. Pure but for reading
the environment and the certificates it names.
"""

from __future__ import annotations

import os
import ssl
import sys
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urlsplit

from trunkline.errors import ConfigError
from trunkline.observability.redact import scrub
from trunkline.types import Outgoing

_PORTS = {"http": 80, "https": 443}
_OURS = frozenset({"accept-encoding", "connection", "content-length", "transfer-encoding"})
"""Headers no dialect and no configuration may set."""
_MOST_STARTS = 64


class Address:
    """Where requests to one URL go, by the environment as it was when it was first used."""

    __slots__ = ("_starts", "headers", "host", "hostname", "port", "proxy", "target", "trust")

    def __init__(self, text: str) -> None:
        """Read the URL and the environment.

        Raises:
            ConfigError: nothing can be sent there.
        """
        try:
            url = urlsplit(text)
            self.hostname, self.port = _place(url)
            """Without the brackets of IPv6."""
            self.proxy = _proxy(url, self.port)
            """The URL of the proxy that the environment names."""
            proxy = urlsplit(self.proxy or "")
            secure = "https" in {url.scheme, proxy.scheme}
            files = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
            self.trust = _trust(*files) if secure else None
            self.target = _target(url)
            """As it stands in the request line."""
        except (ValueError, OSError) as error:
            raise ConfigError(f"cannot use the URL {scrub(text, 200)!r}: {error}") from error
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        self.host = host if self.port == _PORTS[url.scheme] else f"{host}:{self.port}"
        self.headers = {
            "host": self.host,
            "accept-encoding": "identity",  # a compressed stream arrives in lumps
            "user-agent": "trunkline",
        }
        """What every request there begins with."""
        self._starts: dict[tuple[object, ...], bytes] = {}
        """Heads up to the length, by what they were made of: nearly all requests are alike."""
        if url.username:
            self.headers["authorization"] = _basic(url)
        if self.proxy and url.scheme == "http":
            self.target = f"http://{self.host}{self.target}"
            if proxy.username:
                self.headers["proxy-authorization"] = _basic(proxy)

    def head(self, outgoing: Outgoing) -> bytes:
        """Write the request line and the headers; those that describe the connection are ours.

        Raises:
            ConfigError: a header cannot be written.
        """
        said = (outgoing.method, *outgoing.headers.items())
        start = self._starts.get(said)
        if start is None:
            start = self._start(outgoing)
            if len(self._starts) >= _MOST_STARTS:
                self._starts.clear()
            self._starts[said] = start
        return b"%bcontent-length: %d\r\n\r\n" % (start, len(outgoing.body))

    def _start(self, outgoing: Outgoing) -> bytes:
        fields = self.headers.copy()
        for name, value in outgoing.headers.items():
            if (lower := name.lower()) not in _OURS:
                fields[lower] = value
        # One test for all: a line break in a value would let it write headers of its own.
        if "".join(fields.values()).isprintable() and "".join(fields).isprintable():
            lines = [f"{outgoing.method} {self.target} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in fields.items()]
            with suppress(UnicodeEncodeError):
                return ("\r\n".join(lines) + "\r\n").encode("latin-1")
        raise ConfigError(
            f"a header for {self.host} holds a character that HTTP does not allow (a line break "
            "at the end of a key?); check api_key and headers of the provider"
        )


def _place(url: SplitResult) -> tuple[str, int]:
    if url.scheme not in _PORTS or not url.hostname:
        raise ValueError("it needs a scheme, http or https, and a host")
    name = url.hostname
    return name if name.isascii() else name.encode("idna").decode(), url.port or _PORTS[url.scheme]


def _target(url: SplitResult) -> str:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise ValueError("its path holds a character that has to be percent-encoded")
    return target


def _basic(url: SplitResult) -> str:
    pair = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()


def _proxy(url: SplitResult, port: int) -> str | None:
    """Return the proxy that the environment names for `url`, as other tools understand it."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # spares the import of what is large and would not find one either
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if not named or proxy_bypass(f"{url.hostname}:{port}"):
        return None
    named = named if "://" in named else f"http://{named}"
    scheme = urlsplit(named).scheme
    if scheme not in _PORTS:
        raise ValueError(f"its proxy is {scheme}://, only http:// and https:// can be used")
    return named


@lru_cache(maxsize=8)
def _trust(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    """Return the certificates to trust; the arguments are what OpenSSL takes from the environment.

    Not made once for all: what is set after the import counts too.
    """
    for path in filter(None, (cert_file, cert_dir)):
        os.stat(path)  # OpenSSL would trust nobody, and not say why
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
