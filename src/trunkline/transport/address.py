"""Where a request goes and the bytes it begins with: proxy, trust, headers. Pure but for reading
the environment and the certificates it names.
"""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from trunkline.errors import ConfigError
from trunkline.observability.redact import scrub
from trunkline.types import Outgoing

_OURS = frozenset({"accept-encoding", "connection", "content-length", "transfer-encoding"})
"""Headers no dialect and no configuration may set."""


class Address:
    """Where requests to one URL go, by the environment as it was when it was first used."""

    __slots__ = ("headers", "host", "proxy", "target", "trust", "url")

    def __init__(self, text: str) -> None:
        """Read the URL and the environment.

        Raises:
            ConfigError: nothing can be sent there.
        """
        try:
            self.url = url = URL(text, encoded=True)
            if url.scheme not in {"http", "https"} or not url.host:
                raise ValueError("it needs a scheme, http or https, and a host")
            self.proxy = proxy = _proxy(url)
            secure = "https" in {url.scheme, proxy.scheme if proxy else ""}
            files = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
            self.trust = _trust(*files) if secure else None
        except (ValueError, OSError) as error:
            raise ConfigError(f"cannot use the URL {scrub(text, 200)!r}: {error}") from error
        self.host = url.host_port_subcomponent or ""
        self.target = url.raw_path_qs
        """As it stands in the request line."""
        self.headers = {
            "host": self.host,
            "accept-encoding": "identity",  # a compressed stream arrives in lumps
            "user-agent": "trunkline",
        }
        """What every request there begins with."""
        if url.user:
            self.headers["authorization"] = _basic(url)
        if proxy is not None and url.scheme == "http":
            self.target = str(url.with_user(None).with_fragment(None))
            if proxy.user:
                self.headers["proxy-authorization"] = _basic(proxy)

    def head(self, outgoing: Outgoing) -> bytes:
        """Write the request line and the headers; those that describe the connection are ours.

        Raises:
            ConfigError: a header cannot be written.
        """
        fields = self.headers.copy()
        for name, value in outgoing.headers.items():
            if (lower := name.lower()) not in _OURS:
                fields[lower] = value
        fields["content-length"] = str(len(outgoing.body))
        # One test for all: a line break in a value would let it write headers of its own.
        if "".join(fields.values()).isprintable() and "".join(fields).isprintable():
            lines = [f"{outgoing.method} {self.target} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in fields.items()]
            with suppress(UnicodeEncodeError):
                return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        raise ConfigError(
            f"a header for {self.host} holds a character that HTTP does not allow (a line break "
            "at the end of a key?); check api_key and headers of the provider"
        )


def _basic(url: URL) -> str:
    return "Basic " + b64encode(f"{url.user}:{url.password or ''}".encode()).decode()


def _proxy(url: URL) -> URL | None:
    """Return the proxy that the environment names for `url`, as other tools understand it."""
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if not named or proxy_bypass(f"{url.host}:{url.port}"):
        return None
    proxy = URL(named if "://" in named else f"http://{named}")
    if proxy.scheme not in {"http", "https"}:
        raise ValueError(f"its proxy is {proxy.scheme}://, only http:// and https:// can be used")
    return proxy


@lru_cache(maxsize=8)
def _trust(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    """Return the certificates to trust; the arguments are what OpenSSL takes from the environment.

    aiohttp's own context is as old as its import and misses what was set since.
    """
    for path in filter(None, (cert_file, cert_dir)):
        os.stat(path)  # OpenSSL would trust nobody, and not say why
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
