"""Take credentials out of any text, in every sink; never raises.

Two nets: the configured secrets themselves, wherever they stand, and the shapes that keys of the
field have. `scrub` is for text that leaves the process (errors, logs), `scrub_mapping` for
structured fields. What is masked wrongly costs a word of a message, what is missed costs a key;
but token counts, model names and prose have to stay readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MASK = "***"

# A lookbehind keeps each search linear: what a shape may contain cannot start it again.
_SHAPES = re.compile(
    r"""(?ax)
    \b(?:sk|rk|pk)-[\w\-]{8,}                    # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-)
    | \b(?:tl|xai|pplx|csk|nvapi)-[\w\-]{16,}    # ours, xAI, Perplexity, Cerebras, NVIDIA
    | \b(?:hf|gsk|r8|fw|tgp_v1)_[\w\-]{16,}      # Hugging Face, Groq, Replicate, Fireworks, ...
    | \bAIza[\w\-]{20,}                          # Google
    | \bya29\.[\w\-.]{10,}                       # Google OAuth
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}               # AWS key ids
    | \b(?:gh[oprsu]|github_pat)_[A-Za-z0-9_]{20,}
    | (?<![\w\-])eyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?                 # JWT
    | (?<=://)[^/?\#\s"'<>]+(?=@)                # user:password in a URL
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----(?s:.*?)(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """
)
_NAMED = re.compile(
    r"""(?ix)
    (   authorization [\\"']* \s* [:=] \s* [\\"']* (?:[a-z]+ [ ]+)?
    |   (?:api[-_]?key|password|passwd|secret|access[-_]?key) [\\"']* \s* [:=] \s* [\\"']*
    |   token [\\"']* \s* [:=] \s* [\\"']* (?! [\d.]+ (?![^\s"',;&})\]]) )   # a count is no key
    )
    (?! (?:none|null|true|false) \b )
    [^\s"',;&})\]]{4,}
    | ( cookie [\\"']* \s* [:=] \s* [\\"']* ) [^\r\n"']{4,}
    """
)
_SCHEME = re.compile(
    r"""(?x)
    \b ((?i:bearer|basic)) \s+
    (?= \S*\d | \S*[a-z][A-Z] | \S{20} )         # "basic authentication" is prose
    [A-Za-z0-9._~+/\-]{6,}=*
    """
)
_SECRET_NAME = re.compile(
    r"""(?ix)
    (?: authorization | api[-_]?key | access[-_]?key | private[-_]?key | passw(?:or)?d | secret
    |   secret[-_]?key | credentials? | cookie
    |   (?:access|refresh|auth|session|security|bearer)[-_]?token | ^token
    ) $
    """
)
_SHORTEST_WORD_CHARS = 16
_spellings: dict[str, frozenset[str]] = {}
"""By where the secrets come from."""
_known: tuple[str, ...] = ()
"""All of them. Longest first, so that no secret is hidden behind another that begins like it."""


def know(secrets: Iterable[str], source: str = "") -> None:
    """Remember secrets, so that they are masked wherever they appear.

    Also as JSON, `repr` and URLs spell them. What may be an ordinary word is left out, such as the
    "ollama" that stands for a key where none is needed.

    Args:
        source: where they come from, if that gives others later: those it gave before are
            forgotten then. "" = the configuration, whose secrets are kept.
    """
    global _known  # noqa: PLW0603 - read by every thread, so replaced whole
    known = set() if source else set(_spellings.get("", ()))
    for secret in secrets:
        if len(secret) >= 6 and not (secret.isalpha() and len(secret) < _SHORTEST_WORD_CHARS):
            known |= {
                secret,
                json.dumps(secret)[1:-1],
                repr(secret)[1:-1],
                quote(secret, "", None, "replace"),
            }
    _spellings[source] = frozenset(known)
    every = frozenset[str]().union(*list(_spellings.values()))
    _known = tuple(sorted(every, key=len, reverse=True))


def scrub(text: object, limit_chars: int = 4000) -> str:
    """Return `text` without credentials, at most `limit_chars` long."""
    try:
        if isinstance(text, bytes | bytearray | memoryview):
            text = bytes(text).decode("utf-8", "replace")
        clean = str(text)
        for secret in _known:
            clean = clean.replace(secret, MASK)
        clean = clean[: 2 * limit_chars]  # shapes cost time; a whole body is not worth it
        clean = _SHAPES.sub(MASK, clean)
        clean = _NAMED.sub(rf"\1\2{MASK}", clean)
        clean = _SCHEME.sub(rf"\1 {MASK}", clean)
    except Exception:
        return MASK
    return clean if len(clean) <= limit_chars else clean[: limit_chars - 3] + "..."


def scrub_mapping(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `fields` whose values hold no credentials, however deep."""
    try:
        return _scrub_fields(fields, depth=0)
    except Exception:
        return {}


def _scrub_fields(fields: Mapping[Any, Any], *, depth: int) -> dict[str, Any]:
    return {scrub(name): _scrub_field(name, value, depth=depth) for name, value in fields.items()}


def _scrub_field(name: object, value: Any, *, depth: int) -> Any:
    if value is None or isinstance(value, bool) or not _SECRET_NAME.search(str(name)):
        return _scrub_value(value, depth=depth)
    return MASK


def _scrub_value(value: Any, *, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < 8:
        if isinstance(value, Mapping):
            return _scrub_fields(value, depth=depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return [_scrub_value(inner, depth=depth + 1) for inner in value]
    return scrub(value)
