"""The ASGI application: which path does what, who may, and errors in the family's own shape."""

from __future__ import annotations

import ipaddress
import logging
import re

from trunkline import dialects
from trunkline.client import Trunkline
from trunkline.dialects import Dialect
from trunkline.errors import Forbidden, RecordError, TrunklineError, UnknownPath, WrongMethod
from trunkline.gateway.http import Event, Hangup, Receive, Request, Send
from trunkline.gateway.keys import Holder, KeyRing
from trunkline.gateway.relay import refusal, relay
from trunkline.gateway.surfaces import models

logger = logging.getLogger("trunkline")

_CHATS = {"/chat/completions": "openai_chat", "/messages": "anthropic"}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_AUTHORITY = re.compile(r"(\[[^\[\]\s]+\]|[^\[\]\s:/?#@,]+)(?::\d*)?")


class Gateway:
    """A line behind HTTP; `hosts` are names it answers to besides the configured ones."""

    def __init__(self, line: Trunkline, keys: KeyRing, *hosts: str) -> None:
        self._line = line
        self._keys = keys
        server = line.config.server
        self._limit_bytes = server.max_body_mb * 1024 * 1024
        self._hosts = _LOOPBACK | {name.lower() for name in (server.host, *server.hosts, *hosts)}

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one connection event of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(Request(scope, receive, send))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._line.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, request: Request) -> None:
        path = request.path.rstrip("/")
        path = path.removeprefix("/v1") if path.startswith("/v1/") else path
        try:
            await self._dispatch(request, path)
        except Hangup:
            return
        except TrunklineError as error:
            await _refuse(request, path, error)
        except Exception:
            logger.exception("a request failed in a way nobody thought of")
            await _refuse(request, path, TrunklineError("internal error; it is in the log"))

    async def _dispatch(self, request: Request, path: str) -> None:
        self._check_origin(request)
        if path == "/health":
            _only(request, "GET", "HEAD")
            await request.answer(200, b'{"status":"ok"}')
        elif path == "/ready":
            _only(request, "GET", "HEAD")
            await self._ready(request)
        elif path in _CHATS:
            _only(request, "POST")
            holder = self._keys.holder(request.headers)
            await relay(request, dialects.load(_CHATS[path]), self._line, holder, self._limit_bytes)
        elif path == "/models" or path.startswith("/models/"):
            _only(request, "GET", "HEAD")
            await self._models(request, path, self._keys.holder(request.headers))
        else:
            self._keys.holder(request.headers)
            raise UnknownPath(f"there is nothing at {request.path[:200]!r}")

    async def _models(self, request: Request, path: str, holder: Holder) -> None:
        name = path.removeprefix("/models").lstrip("/")
        if name:
            body = models.single(self._line, holder, name)
        else:
            body = models.listing(self._line, holder)
        await request.answer(200, body)

    async def _ready(self, request: Request) -> None:
        try:
            self._line.check_writable()
        except RecordError:
            await request.answer(503, b'{"status":"the journal cannot be written"}')
        else:
            await request.answer(200, b'{"status":"ready"}')

    def _check_origin(self, request: Request) -> None:
        """Refuse what a web page of somebody else, or a name that was bent to us, may send."""
        host = _hostname(request.headers.get("host", ""))
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


async def _refuse(request: Request, path: str, error: TrunklineError) -> None:
    if request.started:  # too late to say anything: the connection is cut, never ended well
        raise error
    dialect = _family(request, path)
    body, headers = refusal(dialect, error)
    status = 529 if dialect.NAME == "anthropic" and error.status == 503 else error.status
    await request.answer(status, body, headers)


def _family(request: Request, path: str) -> Dialect:
    """Return whose shape an error has: the path's, where families share it the caller's."""
    anthropic = path.startswith("/messages") or "anthropic-version" in request.headers
    return dialects.load(_CHATS.get(path) or ("anthropic" if anthropic else "openai_chat"))


def _only(request: Request, *methods: str) -> None:
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
