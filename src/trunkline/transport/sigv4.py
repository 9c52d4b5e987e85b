"""AWS Signature Version 4 over the headers of one request; pure, the time is given.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
2026-11-20
"""

from __future__ import annotations

import hmac
import time
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from trunkline.types import Outgoing

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED = frozenset({"content-type", "host"})
"""Signed beside all that begins with `x-amz-`; whatever a proxy may change is not."""
_USUAL_PORTS = {"http": 80, "https": 443}


class Keys(NamedTuple):
    """What requests are signed with; `session` is "" for keys that do not end."""

    id: str
    secret: str
    session: str = ""

    def __repr__(self) -> str:
        return "Keys('***')"


class Scope(NamedTuple):
    """For what a signature is good."""

    region: str
    service: str


def signed(outgoing: Outgoing, keys: Keys, scope: Scope, now_s: float) -> Outgoing:
    """Return the request with its signature; `now_s` is in seconds since the epoch."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    where = f"{at[:8]}/{scope.region}/{scope.service}/aws4_request"
    said = {name.lower(): value for name, value in outgoing.headers.items()}
    said |= {"x-amz-date": at} | ({"x-amz-security-token": keys.session} if keys.session else {})
    fields = {"host": _host(outgoing.url)} | said
    names = sorted(name for name in fields if name in _SIGNED or name.startswith("x-amz-"))
    request = _canonical(outgoing, {name: fields[name] for name in names})
    text = "\n".join((_ALGORITHM, at, where, sha256(request.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for step in where.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    said["authorization"] = (
        f"{_ALGORITHM} Credential={keys.id}/{where}, SignedHeaders={';'.join(names)}, "
        f"Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"
    )
    return replace(outgoing, headers=said)


def _canonical(outgoing: Outgoing, fields: dict[str, str]) -> str:
    """Write the request as AWS does before it signs; its path is percent-encoded once more."""
    url = urlsplit(outgoing.url)
    queries = sorted(part.partition("=")[::2] for part in url.query.split("&") if part)
    return "\n".join(
        (
            outgoing.method,
            quote(_plain(url.path), safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in queries),
            *(f"{name}:{' '.join(value.split())}" for name, value in fields.items()),
            "",
            ";".join(fields),
            sha256(outgoing.body).hexdigest(),
        )
    )


def _plain(path: str) -> str:
    """Return the path without empty steps, `.` and `..`."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in {"", "."}:
            steps.append(step)
    end = "/" if path.endswith("/") and steps else ""
    return f"/{'/'.join(steps)}{end}"


def _host(text: str) -> str:
    """Return the header `host`, as the transport writes it."""
    url = urlsplit(text)
    name = url.hostname or ""
    name = name if name.isascii() else name.encode("idna").decode()
    name = f"[{name}]" if ":" in name else name
    port = url.port or _USUAL_PORTS[url.scheme]
    return name if port == _USUAL_PORTS[url.scheme] else f"{name}:{port}"
