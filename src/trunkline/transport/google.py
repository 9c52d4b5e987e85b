"""Access tokens of Google Cloud, by google-auth (the extra `vertex`).

Source: https://google-auth.readthedocs.io/en/latest/user-guide.html 2026-11-20
"""

from __future__ import annotations

import datetime
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any

from trunkline.errors import AuthFailed, ConnectFailed
from trunkline.observability.redact import scrub
from trunkline.transport.credentials import Token

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_TIMEOUT_S = 20.0


def fetch(path: str) -> Token:
    """Get a token from the credentials in the file at `path`; "" = Google's usual places.

    It blocks: call it in a thread.

    Raises:
        AuthFailed: google-auth is not installed, there are no credentials, or they were refused.
        ConnectFailed: whoever gives tokens could not be reached.
    """
    try:
        from google.auth import exceptions
    except ImportError:
        raise AuthFailed(
            "Google's credentials need google-auth; pip install 'trunkline[vertex]'", sent=False
        ) from None
    try:
        credentials = _credentials(path)
        credentials.refresh(_ask)
    except (exceptions.GoogleAuthError, OSError, ValueError, AttributeError) as error:
        told = f"no token from Google: {scrub(str(error), 500)}"
        if isinstance(error, exceptions.TransportError) or getattr(error, "retryable", False):
            raise ConnectFailed(told, sent=False) from None
        raise AuthFailed(
            f"{told}; write credentials_file, run 'gcloud auth application-default login', or set "
            "GOOGLE_APPLICATION_CREDENTIALS in the process's environment (.env does not count)",
            sent=False,
        ) from None
    expiry = credentials.expiry.replace(tzinfo=datetime.UTC)  # google-auth leaves the zone out
    return Token(credentials.token, expiry.timestamp())


def _credentials(path: str) -> Any:
    import google.auth
    from google.oauth2 import credentials, service_account

    if not path:
        return google.auth.default(scopes=_SCOPES)[0]
    content = json.loads(Path(path).read_text("utf-8"))
    kind = content.get("type")
    if kind == "service_account":
        return service_account.Credentials.from_service_account_info(content, scopes=_SCOPES)
    if kind == "authorized_user":
        return credentials.Credentials.from_authorized_user_info(content, _SCOPES)
    raise ValueError(
        f"{path} has credentials of type {kind!r}; only service_account and authorized_user are "
        "read from a file, name any other in GOOGLE_APPLICATION_CREDENTIALS"
    )


class _Answer:
    """What google-auth asks of an answer; its headers are found in any case."""

    def __init__(self, status: int, headers: Message, data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


def _ask(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: Any,
) -> _Answer:
    """Make one request for google-auth, which brings no client of its own without `requests`."""
    from google.auth import exceptions

    asked = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(asked, timeout=timeout or _TIMEOUT_S) as answer:
            return _Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return _Answer(error.code, error.headers, error.read())
    except (OSError, http.client.HTTPException) as error:
        raise exceptions.TransportError(error) from error
