"""What each family of Claude takes, as data: for prompts that were not written for it.

A request of this dialect is relayed as it is, whatever the model; only one that is spelled anew is
fitted. Of a model nobody here knows nothing is assumed but that it takes what all once took.
Source: https://platform.claude.com/docs/en/build-with-claude/thinking 2026-11-20
Source: https://platform.claude.com/docs/en/build-with-claude/effort 2026-11-20
Source: https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5 2026-11-20
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

_NAME = re.compile(
    r"claude-(?:(?P<family>opus|sonnet|haiku|fable|mythos)-)?(?P<major>\d{1,2})"
    r"(?:[-.](?P<minor>\d{1,2}))?(?!\d)(?:-(?P<late>opus|sonnet|haiku))?"
)
EFFORTS = ("low", "medium", "high", "xhigh", "max")


class Traits(Struct, frozen=True, kw_only=True):
    """What one model takes."""

    budgets: bool = False
    """Thinks up to a cap in tokens."""
    adaptive: bool = False
    """Decides itself how much to think; `efforts` steer it."""
    unasked: bool = False
    """Thinks when nobody asks it to."""
    may_be_off: bool = True
    """Thinking that comes unasked can be turned off."""
    hides: bool = False
    """Shows what it thought only when asked for a summary."""
    efforts: tuple[str, ...] = ()
    sampling: bool = True
    """Takes temperature, top_p and top_k."""
    forced_tools: bool = True
    prefix: bool = False
    """Goes on with an assistant's message that stands last, unless it thinks. Newer models answer
    400 to it.
    Source: https://platform.claude.com/docs/en/about-claude/models/migration-guide 2026-11-20"""
    structured: bool = True
    """Takes a JSON schema for the answer, and strict tools."""


@lru_cache(maxsize=256)
def traits_of(model: str) -> Traits:
    """Return what the model of this name takes."""
    found = _NAME.search(model)
    if found is None:
        return Traits()
    family = found["family"] or found["late"] or ""
    version = (int(found["major"]), int(found["minor"] or 0))
    structured = version >= (4, 5) or (family, version) == ("opus", (4, 1))
    if version < (4, 6):
        return Traits(budgets=version >= (3, 7), prefix=True, structured=structured)
    efforts = EFFORTS
    if version == (4, 6):
        efforts = ("low", "medium", "high", *(("max",) if family == "opus" else ()))
    bound = family in {"fable", "mythos"} or (family != "haiku" and version >= (5, 5))
    return Traits(
        budgets=version == (4, 6),
        adaptive=True,
        unasked=version >= (5, 0),
        may_be_off=not bound,
        hides=version >= (4, 7),
        efforts=efforts,
        sampling=version < (4, 7),
        forced_tools=not (bound and family != "sonnet" and version >= (5, 1)),
    )
