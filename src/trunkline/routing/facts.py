"""What the strategies may know of a call."""

from __future__ import annotations

from msgspec.json import encode

from trunkline.errors import InputError
from trunkline.routing.able import prompt_tokens
from trunkline.routing.strategies import Facts
from trunkline.types import Call, Chat

_USUAL_OUTPUT_TOKENS = 256
_MOST_OUTPUT_TOKENS = 1024
"""A cap far above this is rarely meant."""


def facts_of(call: Call, now_s: float, *, sized: bool, sticky: bool) -> Facts:
    """Return the facts; the prompt's length and prefix, which cost a look into it, if asked for."""
    body = call.body
    return Facts(
        prompt_tokens(call) if sized else 0,
        min(body.max_output_tokens or _USUAL_OUTPUT_TOKENS, _MOST_OUTPUT_TOKENS) * body.choices,
        _prefix(call) if sticky else b"",
        now_s,
    )


def _prefix(call: Call) -> bytes:
    """Return what comes before the first answer: tools, system text, and what is first asked.

    It stays the same through a conversation, and is what providers look their caches up by.
    """
    if not isinstance(call, Chat):
        return b""
    try:
        prompt = call.prompt
    except InputError:  # whoever encodes it says what is wrong
        return b""
    first = next((n for n, m in enumerate(prompt.messages) if m.role == "user"), 0)
    return encode((prompt.tools, prompt.messages[: first + 1]))
