"""Administration, usage and calls: who may ask; what it comes to is the steward's business."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from msgspec import Struct

from trunkline import errors
from trunkline.errors import Forbidden, InputError, Overloaded, RecordError, TrunklineError
from trunkline.gateway.holders import Holder
from trunkline.gateway.http import Request
from trunkline.gateway.uplink import Asker, Question, put

KINDS = frozenset({"tenants", "teams", "users", "keys", "budgets"})
_LOOK = ("GET", "HEAD")
_MOST_S = 30.0
_MOST_BODY_BYTES = 1024 * 1024
_MOST_PATH_BYTES = 16 * 1024
_AWAY = (
    "the steward is away, or was too slow to answer; try again in a second. Look first whether "
    "what was asked for has been done"
)
_CLASSES = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, InputError | RecordError)
}


class Refusal(Struct, frozen=True, kw_only=True):
    """An error as the steward tells it."""

    code: str
    message: str
    param: str | None = None

    def error(self) -> TrunklineError:
        """Return it as what it was there."""
        return _CLASSES.get(self.code, TrunklineError)(self.message, param=self.param)


def methods(path: str) -> tuple[str, ...]:
    """Return the methods that `path`, without `/v1`, takes; empty = it is none of these."""
    match path.split("/")[1:]:
        case ["usage" | "calls"] | ["calls", _] | ["users", "me"]:
            return _LOOK
        case [kind] if kind in KINDS:
            return (*_LOOK, "POST")
        case [kind, id_] if kind in KINDS and id_:
            return (*_LOOK, "PATCH", "DELETE")
        case ["keys", id_, "rotate"] if id_:
            return ("POST",)
    return ()


async def ask(request: Request, path: str, holder: Holder, data_dir: Path) -> tuple[int, bytes]:
    """Ask the steward what a path of `methods` asks for; return status and body.

    Raises:
        Forbidden: the holder may not.
        Overloaded: the steward is away.
        InputError: or another that the steward tells of.
    """
    if not holder.admin and not _everybodys(path):
        raise Forbidden("administration is for the administrator's key, and keys with role admin")
    question = Question(
        method="GET" if request.method in _LOOK else request.method,
        path=_target(path, request.query),
        body=await _body(request, path),
        asker=Asker(
            id=holder.id,
            role=holder.role,
            tier=holder.tier,
            user_id=holder.principal.user_id,
            team_id=holder.principal.team_id,
            tenant_id=holder.principal.tenant_id,
        ),
    )
    try:
        status, body = await put(data_dir, question, _MOST_S)
    except OSError:
        raise Overloaded(_AWAY, retry_after_s=1.0) from None
    if status >= 400:
        raise msgspec.json.decode(body, type=Refusal).error()
    return status, body


def _everybodys(path: str) -> bool:
    """Tell whether anybody may ask, the steward showing each no more than what is his own."""
    return path in {"/users/me", "/usage", "/calls"} or path.startswith("/calls/")


def _target(path: str, query: bytes) -> str:
    """Return path and query as a request line takes them, whatever they were."""
    asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    target = f"/v1{quote(path, errors='replace')}?{urlencode(asked, errors='replace')}"
    if len(target) > _MOST_PATH_BYTES:
        raise InputError(f"the path and the query are longer than {_MOST_PATH_BYTES} bytes")
    return target


async def _body(request: Request, path: str) -> bytes:
    if request.method not in {"POST", "PATCH"}:
        return b""
    headers = request.headers
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    if empty and path.endswith("/rotate"):
        return b""  # all it could say has a default
    return await request.json_body(_MOST_BODY_BYTES)
