"""The binary messages of a stream: headers and payload. The transport has checked the framing.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html 2026-11-20
"""

from __future__ import annotations

from functools import lru_cache

from trunkline.errors import BadAnswer

_HEADERS_AT = 12
_CHECK_BYTES = 4
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Kinds of values and how long they are; 6 (bytes) and 7 (text) say it themselves."""
_TEXT = 7


def opened(raw: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers of a message that are text, and its payload.

    Raises:
        BadAnswer: the message is none.
    """
    payload_at = _HEADERS_AT + int.from_bytes(raw[4:8])
    try:
        headers = _headers(raw[_HEADERS_AT:payload_at])
    except (LookupError, ValueError) as error:
        raise BadAnswer(f"a message of the stream has broken headers ({error})") from None
    return headers, raw[payload_at:-_CHECK_BYTES]


@lru_cache(maxsize=64)
def _headers(data: bytes) -> dict[str, str]:
    """Read headers; those of one kind of message are always the same."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        kind_at = at + 1 + data[at]
        name = data[at + 1 : kind_at].decode()
        kind, at = data[kind_at], kind_at + 1
        if kind in _SIZES:
            at += _SIZES[kind]
            continue
        if kind not in {6, _TEXT}:
            raise ValueError(f"a value of the unknown kind {kind}")
        end = at + 2 + int.from_bytes(data[at : at + 2])
        if end > len(data):
            raise ValueError("a value is longer than its message")
        if kind == _TEXT:
            headers[name] = data[at + 2 : end].decode()
        at = end
    return headers
