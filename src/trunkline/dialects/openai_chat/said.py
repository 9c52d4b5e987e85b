"""What an error body says, whatever its shape."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.codec import BROKEN, seconds_in
from trunkline.observability.redact import scrub

Json = dict[str, Any]
_LIMIT_CHARS = 2000
_TITLE = re.compile(r"<title>\s*(.*?)\s*</title>", re.DOTALL | re.IGNORECASE)
_TRY = re.compile(
    r"(?:try again|retry|retry after|available) (?:in|after) (?:(\d+)m(?!s))?([\d.]+) ?(ms|s)"
)
_DELAY = re.compile(r'"retryDelay":\s*"([\d.]+)s"')


class Said(NamedTuple):
    """One error, in one shape; "" where the provider says nothing."""

    status: int
    """The HTTP status, or the one an error inside a 200 names; 0 = none."""
    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    words: str = ""
    """Everything it says, in lower case, for finding words in."""
    retry_s: float | None = None
    """How long to wait, when the text itself says it."""


def said(status: int, body: Any) -> Said:
    """Read an error: bytes as they came, or what is already decoded."""
    if isinstance(body, bytes):
        text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
        try:
            body = load(text)
        except BROKEN:
            return _plain(status, text)
    if isinstance(body, list) and body:  # Gemini's compatible endpoint
        body = body[0]
    if not isinstance(body, dict):
        return _plain(status, body if isinstance(body, str) else "")
    return _read(status, body)


def _plain(status: int, text: str) -> Said:
    """Read what is no JSON: of a web page, its title."""
    words = text.lower()
    if "<html" in words[:500] or words.startswith("<"):
        title = _TITLE.search(text)
        text = f"the provider answered a web page: {title[1] if title else '(no title)'}"
    return Said(status, scrub(text, _LIMIT_CHARS), words=words[:_LIMIT_CHARS])


def _read(status: int, body: Json) -> Said:
    """Read an object: nested (OpenAI), a string (xAI, Ollama), flat (Mistral, Cohere), `detail`."""
    error = body.get("error") or body.get("errors") or body
    if isinstance(error, list):
        error = error[0]
    if not isinstance(error, dict):
        error = body | {"message": error}
    told = error.get("message") or error.get("detail") or error.get("msg") or ""
    message = _text(told)
    code, kind = error.get("code"), error.get("type") or error.get("error_type")
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and metadata.get("raw"):  # OpenRouter: what its upstream said
        message = f"{message}: {_text(metadata['raw'])}"
    whole = dump(body)[: 4 * _LIMIT_CHARS].decode("utf-8", "replace")
    param = error.get("param")
    return Said(
        status=status or _status(error),
        message=scrub(message, _LIMIT_CHARS),  # scrubbed before it is cut: no half of a key
        code="" if code is None else str(code),
        type=str(kind or error.get("status") or ""),
        param=param if isinstance(param, str) and param else None,
        words=whole.lower(),
        retry_s=_told_to_wait(whole),
    )


def _text(told: Any) -> str:
    """Return words; of validation errors (pydantic's list) each with its place."""
    if isinstance(told, str):
        return told
    if isinstance(told, dict) and "detail" in told:
        return _text(told["detail"])
    if isinstance(told, list) and all(isinstance(one, dict) and "msg" in one for one in told):
        return "; ".join(f"{'.'.join(map(str, one.get('loc', ())))}: {one['msg']}" for one in told)
    return dump(told).decode()


def _status(error: Json) -> int:
    """Return the HTTP status an error inside a 200 stands for."""
    for name in ("status_code", "code", "status"):
        value = error.get(name)
        value = int(value) if isinstance(value, str) and value.isdigit() else value
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return 0


def _told_to_wait(text: str) -> float | None:
    if delay := _DELAY.search(text):
        return seconds_in(delay[1])
    if told := _TRY.search(text.lower()):
        wait = seconds_in(told[2])
        if wait is not None:
            return 60 * int(told[1] or 0) + (wait / 1000 if told[3] == "ms" else wait)
    return None
