"""What each family of models takes, as data. Of a name nobody here knows little is assumed.

Source: https://ai.google.dev/gemini-api/docs/thinking 2026-11-20
Source: https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/guides/gemini-3-5-flash
2026-11-20
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

_NAME = re.compile(
    r"gemini-(?:(?P<major>\d{1,2})(?:\.(?P<minor>\d{1,2}))?(?![\d.])|(?=[a-z-]+-latest))"
    r"-?(?P<kind>[a-z-]*)"
)
_NEWEST = (3, 5)
"""What the aliases that end in `-latest` are at least."""


class Traits(Struct, frozen=True, kw_only=True):
    """What one model takes."""

    version: tuple[int, int] = (0, 0)
    """(0, 0) = nobody knows."""
    levels: tuple[str, ...] = ()
    """The words for how hard to think."""
    budgets: bool = False
    """Takes a cap in tokens on thinking instead."""
    may_be_off: bool = False
    """Thinking can be turned off."""
    system: bool = True
    """Takes a system instruction."""
    ids: bool = True
    """Knows the ids of calls. Vertex AI does from Gemini 3 on, and answers 400 before that.
    Source: https://github.com/anomalyco/opencode/pull/50504 2026-11-21"""

    @property
    def signs(self) -> bool:
        """Whether calls come signed, and must be when they are sent back."""
        return self.version >= (3, 0)


@lru_cache(maxsize=256)
def traits_of(model: str, *, vertex: bool = False) -> Traits:
    """Return what the model of this name takes; `vertex` = at Vertex AI."""
    if vertex:
        traits = traits_of(model)
        return replace(traits, ids=traits.version >= (3, 0))
    found = _NAME.search(model)
    if found is None:
        return Traits(system="gemma-3" not in model)
    version = (int(found["major"]), int(found["minor"] or 0)) if found["major"] else _NEWEST
    pro = "pro" in found["kind"]
    if re.search(r"image|tts|audio|live|embedding", found["kind"]) or version < (2, 5):
        return Traits(version=version)
    if version < (3, 0):
        return Traits(version=version, budgets=True, may_be_off=not pro)
    levels = ("low", "medium", "high") if pro else ("minimal", "low", "medium", "high")
    return Traits(version=version, levels=levels if version > (3, 0) or not pro else levels[::2])
