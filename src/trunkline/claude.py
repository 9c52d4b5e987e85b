"""What each family of Claude takes, and its words for how hard to think: wherever it is asked.

Prompts are fitted to it that were not written for it. Of a model nobody here knows nothing is
assumed but that it takes what all once took.
Source: https://platform.claude.com/docs/en/build-with-claude/thinking 2026-11-20
Source: https://platform.claude.com/docs/en/build-with-claude/effort 2026-11-20
Source: https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5 2026-11-20
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from msgspec import Struct

from trunkline.types import Reasoning

Json = dict[str, Any]

_NAME = re.compile(
    r"claude-(?:(?P<family>opus|sonnet|haiku|fable|mythos)-)?(?P<major>\d{1,2})"
    r"(?:[-.](?P<minor>\d{1,2}))?(?!\d)(?:-(?P<late>opus|sonnet|haiku))?"
)
_LEAST_BUDGET_TOKENS = 1024
_BUDGETS_TOKENS = {"minimal": 1024, "low": 2048, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_MEDIUM_TOKENS = 8192
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


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


def version_of(model: str) -> tuple[str, tuple[int, int]] | None:
    """Return the family and the version in the name of a model; None = it has none."""
    found = _NAME.search(model)
    if found is None:
        return None
    return found["family"] or found["late"] or "", (int(found["major"]), int(found["minor"] or 0))


@lru_cache(maxsize=256)
def traits_of(model: str) -> Traits:
    """Return what the model of this name takes."""
    found = version_of(model)
    if found is None:
        return Traits()
    family, version = found
    structured = version >= (4, 5) or (family, version) == ("opus", (4, 1))
    if version < (4, 6):
        return Traits(budgets=version >= (3, 7), prefix=True, structured=structured)
    efforts = _EFFORTS
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


class Bounds(Struct, frozen=True, kw_only=True):
    """What the rest of a request leaves room for."""

    max_tokens: int | None
    """The cap on output, of which thinking is a part."""
    forced: bool
    """A tool must be called; then there is no thinking."""
    thoughtless: bool
    """In the middle of a loop of tools that began without a thought."""


def thinking(wanted: Reasoning, traits: Traits, bounds: Bounds) -> Json | None:
    """Return `thinking` and `effort` as far as they are to be said; None = the model cannot."""
    effort = nearest_effort(wanted, traits.efforts)
    said = {} if effort is None else {"effort": effort}
    if wanted.enabled is False or wanted.effort == "none":
        return _off(said, traits)
    if traits.budgets and (wanted.budget_tokens is not None or not traits.adaptive):
        budget = _budget_tokens(wanted, bounds)
        if budget is None:
            return None
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if not traits.adaptive:
        return None
    return said if bounds.forced else said | {"thinking": {"type": "adaptive"}}


def _off(said: Json, traits: Traits) -> Json:
    """Turn thinking off that comes unasked; where it cannot be, ask for little of it."""
    if not traits.unasked:
        return said
    if not traits.may_be_off:
        return {"effort": "low"}
    off = {"thinking": {"type": "disabled"}}
    return off if said.get("effort") in {"xhigh", "max"} else said | off


def nearest_effort(wanted: Reasoning, efforts: tuple[str, ...]) -> str | None:
    """Return the word of the model's that comes nearest to another one, or to a cap in tokens."""
    word = wanted.effort
    if word is None and (budget := wanted.budget_tokens) is not None:
        word = "low" if budget <= 2048 else "medium" if budget <= _MEDIUM_TOKENS else "high"
    if word == "minimal":
        word = "low"
    if word in _EFFORTS and word not in efforts:
        word = "high"
    return word if word in efforts else None


def _budget_tokens(wanted: Reasoning, bounds: Bounds) -> int | None:
    """Return a budget that fits below the cap on output; None = there is no room for thinking.

    A loop of tools must have begun with a thought, which a caller of another dialect cannot show.
    """
    if bounds.forced or bounds.thoughtless:
        return None
    meant = _BUDGETS_TOKENS.get(wanted.effort or "", _MEDIUM_TOKENS)
    budget = max(wanted.budget_tokens or meant, _LEAST_BUDGET_TOKENS)
    if bounds.max_tokens is not None:
        budget = min(budget, bounds.max_tokens - 1)
    return budget if budget >= _LEAST_BUDGET_TOKENS else None
