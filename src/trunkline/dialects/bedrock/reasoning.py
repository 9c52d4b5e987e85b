"""How hard to think -> the words one model has for it, and what it answers to besides.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/inference-reasoning.html 2026-11-20
Source: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html 2026-11-20
Source: https://platform.claude.com/docs/en/build-with-claude/thinking 2026-11-20
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from trunkline.dialects.bedrock.models import EFFORTS, Traits
from trunkline.types import Reasoning

Json = dict[str, Any]
LEAST_BUDGET_TOKENS = 1024
_BUDGETS_TOKENS = {"minimal": 1024, "low": 2048, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_MEDIUM_TOKENS = 8192


class Bounds(Struct, frozen=True, kw_only=True):
    """What the rest of a request leaves room for."""

    max_tokens: int | None
    """The cap on output, of which thinking is a part."""
    forced: bool
    """A tool must be called; then there is no thinking."""
    thoughtless: bool
    """In the middle of a loop of tools that began without a thought."""


def spelled(wanted: Reasoning, traits: Traits, bounds: Bounds) -> Json | None:
    """Return `effort` for `outputConfig`, and `fields` for the model; None = it has no words."""
    if traits.vendor == "amazon":
        return _nova(wanted, traits, bounds)
    if traits.vendor == "openai":
        effort = _effort(wanted, traits.efforts)
        return {"fields": {"reasoning_effort": effort}} if effort else None
    effort = _effort(wanted, traits.efforts)
    said: Json = {} if effort is None else {"effort": effort}
    if _is_off(wanted):
        return _off(said, traits)
    if traits.budgets and (wanted.budget_tokens is not None or not traits.adaptive):
        budget = _budget_tokens(wanted, bounds)
        if budget is None:
            return None
        return {"fields": {"thinking": {"type": "enabled", "budget_tokens": budget}}}
    if not traits.adaptive:
        return None
    shown = {"display": "summarized"} if traits.hides else {}
    return said if bounds.forced else said | {"fields": {"thinking": {"type": "adaptive"} | shown}}


def _is_off(wanted: Reasoning) -> bool:
    return wanted.enabled is False or wanted.effort == "none"


def _nova(wanted: Reasoning, traits: Traits, bounds: Bounds) -> Json | None:
    """Spell Nova's words; it takes no cap on output beside its hardest thinking."""
    if not traits.efforts:
        return {} if _is_off(wanted) else None
    if _is_off(wanted):
        return {"fields": {"reasoningConfig": {"type": "disabled"}}}
    effort = _effort(wanted, traits.efforts) or "medium"
    if effort == "high" and bounds.max_tokens is not None:
        effort = "medium"
    return {"fields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}}


def _off(said: Json, traits: Traits) -> Json:
    """Turn thinking off that comes unasked; where it cannot be, ask for little of it."""
    if not traits.unasked:
        return said
    if not traits.may_be_off:
        return {"effort": "low"}
    off = {"fields": {"thinking": {"type": "disabled"}}}
    return off if said.get("effort") in {"xhigh", "max"} else said | off


def _effort(wanted: Reasoning, efforts: tuple[str, ...]) -> str | None:
    """Return the word of the model's that comes nearest to another one, or to a cap in tokens."""
    word = wanted.effort
    if word is None and (budget := wanted.budget_tokens) is not None:
        word = "low" if budget <= 2048 else "medium" if budget <= _MEDIUM_TOKENS else "high"
    if word == "minimal":
        word = "low"
    if word in EFFORTS and word not in efforts:
        word = "high"
    return word if word in efforts else None


def _budget_tokens(wanted: Reasoning, bounds: Bounds) -> int | None:
    """Return a budget that fits below the cap on output; None = there is no room for thinking.

    A loop of tools must have begun with a thought, which a caller of another dialect cannot show.
    """
    if bounds.forced or bounds.thoughtless:
        return None
    meant = _BUDGETS_TOKENS.get(wanted.effort or "", _MEDIUM_TOKENS)
    budget = max(wanted.budget_tokens or meant, LEAST_BUDGET_TOKENS)
    if bounds.max_tokens is not None:
        budget = min(budget, bounds.max_tokens - 1)
    return budget if budget >= LEAST_BUDGET_TOKENS else None
