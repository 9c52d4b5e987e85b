"""How hard to think -> the words one model has for it, and what it answers to besides.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/inference-reasoning.html 2026-11-20
Source: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html 2026-11-20
Source: https://platform.claude.com/docs/en/build-with-claude/thinking 2026-11-20
"""

from __future__ import annotations

from typing import Any

from trunkline.claude import Bounds, nearest_effort, thinking
from trunkline.dialects.bedrock.models import Traits
from trunkline.types import Reasoning

Json = dict[str, Any]


def spelled(wanted: Reasoning, traits: Traits, bounds: Bounds) -> Json | None:
    """Return `effort` for `outputConfig`, and `fields` for the model; None = it has no words."""
    if traits.vendor == "amazon":
        return _nova(wanted, traits, bounds)
    if traits.vendor == "openai":
        effort = nearest_effort(wanted, traits.efforts)
        return {"fields": {"reasoning_effort": effort}} if effort else None
    said = thinking(wanted, traits, bounds)
    if said is None or "thinking" not in said:
        return said
    own = said.pop("thinking")
    if traits.hides and own["type"] == "adaptive":
        own |= {"display": "summarized"}
    return said | {"fields": {"thinking": own}}


def _is_off(wanted: Reasoning) -> bool:
    return wanted.enabled is False or wanted.effort == "none"


def _nova(wanted: Reasoning, traits: Traits, bounds: Bounds) -> Json | None:
    """Spell Nova's words; it takes no cap on output beside its hardest thinking."""
    if not traits.efforts:
        return {} if _is_off(wanted) else None
    if _is_off(wanted):
        return {"fields": {"reasoningConfig": {"type": "disabled"}}}
    effort = nearest_effort(wanted, traits.efforts) or "medium"
    if effort == "high" and bounds.max_tokens is not None:
        effort = "medium"
    return {"fields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}}
