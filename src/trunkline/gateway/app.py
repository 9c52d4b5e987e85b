"""The application: which path does what, who may, and errors in the family's own shape."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from trunkline import dialects
from trunkline.client import Trunkline
from trunkline.config import Config, Server
from trunkline.dialects import Dialect
from trunkline.errors import (
    Forbidden,
    RecordError,
    TrunklineError,
    UnknownPath,
    WrongMethod,
)
from trunkline.gateway.holders import Holder
from trunkline.gateway.http import Hangup, Request
from trunkline.gateway.keys import KeyRing
from trunkline.gateway.relay import STOPPING, refusal, relay
from trunkline.gateway.surfaces import admin, metrics, models, routing

logger = logging.getLogger("trunkline.gateway")

_CALLS = {
    "/chat/completions": "openai_chat",
    "/completions": "openai_text",
    "/messages": "anthropic",
    "/messages/count_tokens": "anthropic_counting",
    "/responses": "openai_responses",
    "/embeddings": "openai_embeddings",
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_SEEN = 1024
_AUTHORITY = re.compile(r"(\[[^\[\]\s]+\]|[^\[\]\s:/?#@,]+)(?::\d*)?")


class Gateway:
    """A line behind HTTP; `hosts` are names it answers to besides the configured ones."""

    def __init__(self, line: Trunkline, keys: KeyRing, *hosts: str) -> None:
        self.on_change: Callable[[], Awaitable[object]] | None = None
        """Called after a change that was asked for here, before its answer."""
        self.waiting = ""
        """Why no call is answered yet; `follow` ends it."""
        self._line = line
        self._keys = keys
        self._more_hosts = hosts
        self._apply(line.config.server)

    def reload(self, config: Config) -> None:
        """Take another configuration: its keys, hosts, limit, and all that the line makes of it.

        Requests under way go on with what they have. What the process listens on stays as it is.

        Raises:
            ConfigError: see `Trunkline.reload`; nothing has changed then.
        """
        keys = self._keys.renewed(config.keys)
        self._line.reload(config)
        self._keys = keys
        self._apply(config.server)

    def follow(self, keys: Mapping[bytes, Holder]) -> None:
        """Take the keys made at run time, by digest, for those taken before."""
        self._keys.follow(keys)
        self.waiting = ""

    def _apply(self, server: Server) -> None:
        names = (server.host, *server.hosts, *self._more_hosts)
        self._hosts = _LOOPBACK | {name.lower() for name in names}
        self._seen: set[str] = set()
        """Host headers that were found to be ours."""
        self._limit_bytes = server.max_body_mb * 1024 * 1024

    async def respond(self, request: Request) -> None:
        """Answer one request, whatever it is."""
        path = request.path.rstrip("/")
        path = path.removeprefix("/v1") if path.startswith("/v1/") else path
        try:
            await self._dispatch(request, path)
        except Hangup:
            return
        except asyncio.CancelledError:
            await _refuse(request, path, STOPPING)
            raise
        except TrunklineError as error:
            await _refuse(request, path, error)
        except Exception:
            logger.exception("a request failed in a way nobody thought of")
            await _refuse(request, path, TrunklineError("internal error; it is in the log"))

    async def _dispatch(self, request: Request, path: str) -> None:
        self._check_origin(request)
        if path == "/health":
            _only(request, path)
            request.answer(200, b'{"status":"ok"}')
        elif path == "/ready":
            _only(request, path)
            await self._ready(request)
        elif path in _CALLS:
            _only(request, path)
            if self.waiting:
                raise RecordError(self.waiting)
            holder = self._keys.holder(request.headers)
            await relay(request, dialects.load(_CALLS[path]), self._line, holder, self._limit_bytes)
        elif path == "/models" or path.startswith("/models/"):
            _only(request, path)
            await self._models(request, path, self._keys.holder(request.headers))
        elif path == "/metrics":
            _only(request, path)
            await metrics.answer(request, self._keys, self._line.config.data_dir)
        elif routing.methods(path):
            _only(request, path)
            holder = self._keys.holder(request.headers)
            await routing.answer(request, path, self._line, holder, self._limit_bytes)
        elif admin.methods(path):
            _only(request, path)
            await self._administer(request, path, self._keys.holder(request.headers))
        else:
            self._keys.holder(request.headers)
            raise UnknownPath(f"there is nothing at {request.path[:200]!r}{_why(path)}")

    async def _administer(self, request: Request, path: str, holder: Holder) -> None:
        status, body = await admin.ask(request, path, holder, self._line.config.data_dir)
        if request.method not in {"GET", "HEAD"} and self.on_change is not None:
            await self.on_change()
        request.answer(status, body)

    async def _models(self, request: Request, path: str, holder: Holder) -> None:
        name = path.removeprefix("/models").lstrip("/")
        if name:
            body = models.single(self._line, holder, name)
        else:
            body = models.listing(self._line, holder, request.query)
        request.answer(200, body)

    async def _ready(self, request: Request) -> None:
        if self.waiting:
            request.answer(503, b'{"status":"the database cannot be read"}')
            return
        try:
            self._line.check_writable()
        except RecordError:
            request.answer(503, b'{"status":"the journal cannot be written"}')
        else:
            line = self._line
            troubles = line.state.limiter.buckets.trouble, line.exchange.trouble
            trouble = "; ".join(filter(None, troubles))
            said = {"status": "degraded", "why": trouble} if trouble else {"status": "ready"}
            request.answer(200, msgspec.json.encode(said))

    def _check_origin(self, request: Request) -> None:
        """Refuse what a web page of somebody else, or a name that was bent to us, may send."""
        said = request.headers.get("host", "")
        if said in self._seen and "origin" not in request.headers:
            return
        host = _hostname(said)
        if host not in self._hosts and not _is_address(host):
            raise Forbidden(
                f"host: found {host[:99]!r}, which is not ours; add it to server.hosts",
                param="host",
            )
        origin = request.headers.get("origin")
        if origin is not None and _hostname(origin.partition("://")[2]) not in self._hosts | {host}:
            raise Forbidden(
                f"origin: found {origin[:99]!r}; no other site may call", param="origin"
            )
        if len(self._seen) < _MOST_SEEN:
            self._seen.add(said)


async def _refuse(request: Request, path: str, error: TrunklineError) -> None:
    if request.started:
        return  # too late to say anything: the connection is cut, never ended well
    dialect = _family(request, path)
    body, headers = refusal(dialect, error)
    if isinstance(error, WrongMethod):
        headers.append(("allow", ", ".join(_methods(path))))
    status = 529 if error.status == 503 and dialect.NAME.startswith("anthropic") else error.status
    request.answer(status, body, headers)


def _family(request: Request, path: str) -> Dialect:
    """Return whose shape an error has: the path's, where families share it the caller's."""
    anthropic = path.startswith("/messages") or "anthropic-version" in request.headers
    return dialects.load(_CALLS.get(path) or ("anthropic" if anthropic else "openai_chat"))


def _why(path: str) -> str:
    if not path.startswith("/responses/"):
        return ""
    return "; no answer is kept here, send the whole conversation as 'input'"


def _methods(path: str) -> tuple[str, ...]:
    if path in _CALLS:
        return ("POST",)
    return admin.methods(path) or routing.methods(path) or ("GET", "HEAD")


def _only(request: Request, path: str) -> None:
    methods = _methods(path)
    if request.method not in methods:
        raise WrongMethod(f"{request.path} takes {' or '.join(methods)}, not {request.method}")


def _hostname(authority: str) -> str:
    found = _AUTHORITY.fullmatch(authority)
    return found[1].strip("[]").lower() if found else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
