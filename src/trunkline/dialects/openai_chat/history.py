"""Old messages as some providers insist on having them: pure functions over a request's messages.

What they do not touch stays as it came, byte for byte.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.json import encode as dump

Messages = list[dict[str, Raw]]
_MESSAGES = Decoder(Messages)
_CALLS = Decoder(list[dict[str, Raw]])
_TEXT = Decoder(str)
_NULL = b"null"
_PROOFS = "extra_content"
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", _PROOFS)
_SHORT = re.compile(r"[a-zA-Z0-9]{9}")
_BRIDGE = {"role": Raw(b'"assistant"'), "content": Raw(b'"OK."')}


def opened(messages: Any) -> Messages:
    """Return messages, as they came or as they were built, each by its fields."""
    return _MESSAGES.decode(messages if isinstance(messages, Raw) else dump(messages))


def without_reasoning(messages: Messages) -> Messages:
    """Take reasoning off old assistant messages, and its proofs off their calls."""
    left = [{k: v for k, v in message.items() if k not in _REASONING} for message in messages]
    for message in left:
        if _PROOFS.encode() in bytes(message.get("tool_calls", _NULL)):
            calls = _CALLS.decode(message["tool_calls"])
            for call in calls:
                call.pop(_PROOFS, None)
            message["tool_calls"] = Raw(dump(calls))
    return left


def with_short_ids(messages: Messages) -> Messages:
    """Give calls of other providers ids of nine letters and digits, and their results the same."""
    for message in messages:
        if "tool_call_id" in message:
            message["tool_call_id"] = _shortened(message["tool_call_id"])
        if bytes(message.get("tool_calls", _NULL)) != _NULL:
            calls = _CALLS.decode(message["tool_calls"])
            for call in calls:
                if "id" in call:
                    call["id"] = _shortened(call["id"])
            message["tool_calls"] = Raw(dump(calls))
    return messages


def _shortened(raw: Raw) -> Raw:
    if not bytes(raw).startswith(b'"') or _SHORT.fullmatch(id_ := _TEXT.decode(raw)):
        return raw
    digest = hashlib.sha256(id_.encode()).digest()
    return Raw(dump(base64.b32encode(digest)[:9].decode()))


def with_replies_to_tools(messages: Messages) -> Messages:
    """Put a word of the assistant between a tool's result and what a user said next."""
    bridged: Messages = []
    for message in messages:
        role = bytes(message["role"])
        if bridged and role == b'"user"' and bytes(bridged[-1]["role"]) == b'"tool"':
            bridged.append(_BRIDGE)
        bridged.append(message)
    return bridged
