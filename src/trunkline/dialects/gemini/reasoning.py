"""How hard to think -> the words one model has for it.

Source: https://ai.google.dev/gemini-api/docs/thinking 2026-11-20
Source: https://ai.google.dev/gemini-api/docs/openai#thinking 2026-11-20
"""

from __future__ import annotations

from typing import Any

from trunkline.dialects.gemini.models import Traits
from trunkline.types import Reasoning

Json = dict[str, Any]
_BUDGETS_TOKENS = {"minimal": 1024, "low": 1024, "medium": 8192}
_MOST_TOKENS = 24_576
_LEAST_TOKENS = 128
"""As little as a model can think that cannot be told not to."""


def spelled(wanted: Reasoning, traits: Traits) -> Json | None:
    """Return a `thinkingConfig`; None = the model cannot think, or not be told how hard."""
    off = wanted.enabled is False or wanted.effort == "none" or wanted.budget_tokens == 0
    if traits.budgets:
        if off:
            return {"thinkingBudget": 0 if traits.may_be_off else _LEAST_TOKENS}
        return {"includeThoughts": True} | _budget(wanted)
    if not traits.levels:
        return {} if off else None
    if off:
        return {"thinkingLevel": traits.levels[0].upper()}
    level = _level(wanted, traits.levels)
    return {"includeThoughts": True} | ({} if level is None else {"thinkingLevel": level.upper()})


def _budget(wanted: Reasoning) -> Json:
    if wanted.budget_tokens is not None:
        return {"thinkingBudget": wanted.budget_tokens}
    if wanted.effort is None:
        return {}
    return {"thinkingBudget": _BUDGETS_TOKENS.get(wanted.effort, _MOST_TOKENS)}


def _level(wanted: Reasoning, levels: tuple[str, ...]) -> str | None:
    """Return the model's word that comes nearest to another one, or to a cap in tokens."""
    word = wanted.effort
    if word is None and (budget := wanted.budget_tokens) is not None and budget > 0:
        word = "low" if budget <= 1024 else "medium" if budget <= 8192 else "high"
    if word is None or word in levels:
        return word
    return levels[0] if word in {"minimal", "low"} else levels[-1]
