"""The way back from the typed view: `Prompt` -> the fields of a request."""

from __future__ import annotations

from typing import Any

from trunkline.dialects.openai_chat.responses.spell import items_of, own_of
from trunkline.types import OutputFormat, Prompt, Reasoning, Text, Tool
from trunkline.types.prompt import OWN_TOOLS

Json = dict[str, Any]
_THOUGHTS = "reasoning.encrypted_content"
_SHARED = frozenset(
    {
        *("metadata", "service_tier", "store", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    }
)
"""Options that chat completions know by the same name."""
_SPELLED = frozenset({"verbosity", "reasoning", "stream_options", "thinking"})
"""Options of others that are said in another way here, or not to the model."""


class Builder:
    """Spells one prompt. `dropped` names what this API has no place for.

    The options of `foreign` prompts, which come from another dialect, stay out, but for those of
    chat completions that have the same name here (`family`).
    """

    def __init__(self, *, foreign: bool, family: bool) -> None:
        self._foreign = foreign
        self._family = family
        self.dropped: list[str] = []

    def fields(self, prompt: Prompt) -> Json:
        """Return the top-level fields, all but model and stream; None values are left out.

        Nothing is stored unless the caller says so; then thoughts must come back with the next
        request, so their encrypted form is asked for.
        Source: https://platform.openai.com/docs/guides/reasoning 2026-11-20
        """
        fields: Json = {
            "instructions": _instructions(prompt),
            "input": items_of(prompt.messages),
            "tools": [wire for tool in prompt.tools if (wire := self._tool(tool))] or None,
            "tool_choice": _tool_choice(prompt),
            "parallel_tool_calls": prompt.parallel_tool_calls,
            "text": self._text(prompt) or None,
            "reasoning": self._reasoning(prompt) or None,
            "max_output_tokens": prompt.max_output_tokens,
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
            "user": prompt.end_user,
        }
        unknown = ("top_k", "seed", "presence_penalty", "frequency_penalty")
        self.dropped += [name for name in unknown if getattr(prompt, name) is not None]
        self.dropped += ["stop"] if prompt.stop else []
        self.dropped += ["n"] if prompt.choices != 1 else []
        fields = self._options(prompt.extra) | {
            name: value for name, value in fields.items() if value is not None
        }
        if not fields.get("store"):
            asked = fields.get("include") or ()
            fields |= {"store": False, "include": [*dict.fromkeys((*asked, _THOUGHTS))]}
        return fields

    def _options(self, extra: Json) -> Json:
        if not self._foreign:
            self.dropped += ["background"] if extra.get("background") else []
            return {name: extra[name] for name in extra if name != "background"}
        taken = {name: extra[name] for name in _SHARED & extra.keys() if self._family}
        self.dropped += sorted(extra.keys() - taken.keys() - _SPELLED)
        return taken

    def _text(self, prompt: Prompt) -> Json:
        text: Json = {} if self._foreign else dict(prompt.extra.get("text") or {})
        if self._family and isinstance(said := prompt.extra.get("verbosity"), str):
            text["verbosity"] = said
        if prompt.output_format is not None:
            text["format"] = _format(prompt.output_format)
        return text

    def _reasoning(self, prompt: Prompt) -> Json:
        """Say how hard to think; a summary is asked for only where the caller asks for one.

        OpenAI gives summaries to verified organisations alone and answers 400 to all others.
        Source: https://github.com/continuedev/continue/issues/9666 2026-11-20
        """
        said = prompt.extra.get("reasoning")
        beside: Json = said if isinstance(said, dict) else {}
        if self._foreign:
            summary = beside.get("summary") if self._family else None
            beside = {"summary": summary} if summary else {}
        effort = _effort(prompt.reasoning)
        return beside | ({"effort": effort} if effort else {})

    def _tool(self, tool: Tool) -> Json | None:
        own = own_of(tool.extra)
        if tool.kind not in OWN_TOOLS:
            if "type" in own:
                return own
            if self._family:  # a caller who writes it into a chat means this
                return {"type": tool.kind} | tool.extra
            self.dropped.append(f"tools.{tool.name}")
            return None
        wire: Json = {"type": tool.kind, "name": tool.name}
        if tool.description is not None:
            wire["description"] = tool.description
        if tool.kind == "custom":
            inner = tool.extra.get("custom")
            form = inner.get("format") if self._family and isinstance(inner, dict) else None
            return wire | ({"format": _grammar(form)} if form else {}) | own
        if tool.parameters or self._foreign:
            wire["parameters"] = tool.parameters or {"type": "object", "properties": {}}
        if tool.strict is not None or self._foreign:
            wire["strict"] = bool(tool.strict)  # this API is strict where nothing is said
        return wire | own


def _instructions(prompt: Prompt) -> str | None:
    first = prompt.messages[0] if prompt.messages else None
    if first is None or not own_of(first.extra).get("instructions"):
        return None
    return "".join(part.text for part in first.parts if isinstance(part, Text))


def _grammar(form: Any) -> Any:
    """Take a grammar out of the object in which chat completions have it."""
    inner = form.get("grammar") if isinstance(form, dict) else None
    return {"type": "grammar", **inner} if isinstance(inner, dict) else form


def _tool_choice(prompt: Prompt) -> str | Json | None:
    choice = prompt.tool_choice
    if choice is None or not choice.startswith("tool:"):
        return choice
    name = choice.removeprefix("tool:")
    kind = next((tool.kind for tool in prompt.tools if tool.name == name), "function")
    return {"type": kind, "name": name}


def _format(wanted: OutputFormat) -> Json:
    if wanted.schema is None:
        return {"type": "json_object"}
    form: Json = {"type": "json_schema", "name": wanted.name, "schema": wanted.schema}
    beside = {"strict": wanted.strict, "description": wanted.description}
    return form | {name: value for name, value in beside.items() if value is not None}


def _effort(reasoning: Reasoning | None) -> str | None:
    """Say how hard to think; a cap in tokens becomes the nearest word."""
    if reasoning is None:
        return None
    budget = reasoning.budget_tokens
    if reasoning.effort or budget is None or reasoning.enabled is False:
        return reasoning.effort
    return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
