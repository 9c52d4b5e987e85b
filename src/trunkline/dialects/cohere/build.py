"""The way from the typed view: `Prompt` -> the fields of a request, fitted to a model.

Source: https://docs.cohere.com/reference/chat 2026-11-20
"""

from __future__ import annotations

import re
from typing import Any

from trunkline.dialects.cohere.spell import spelled
from trunkline.errors import InputError
from trunkline.types import OutputFormat, Prompt, Reasoning, Tool

Json = dict[str, Any]
_OWN = frozenset({"citation_options", "documents", "logprobs", "priority", "safety_mode"})
"""Fields of a request that no other dialect has, or that mean the same in both."""
_ELSEWHERE = frozenset({"stream_options", "thinking", "reasoning", "strict_tools"})
"""Options that `Prompt` has a name for, or that only say how to answer."""
_THINKS = re.compile(r"command-a-(reasoning|plus)")
"""Models that can be told how to think.
Source: https://docs.cohere.com/docs/reasoning 2026-11-20"""
_MOST_STOPS = 5


class Builder:
    """Spells one prompt for one model. `dropped` names what the model does not take.

    The options of `foreign` prompts, which come from another dialect, stay out, except those that
    only this one has.
    """

    def __init__(self, model: str, *, foreign: bool) -> None:
        self._model = model
        self._foreign = foreign
        self.dropped: set[str] = set()

    def fields(self, prompt: Prompt) -> Json:
        """Return the fields of a request, without model and stream.

        Raises:
            InputError: nothing is said.
            CapabilityMissing: a part has no form here.
        """
        messages = spelled(prompt.messages)
        if not messages:
            raise InputError("'messages' say nothing; write some words", param="messages")
        stops = prompt.stop[:_MOST_STOPS]
        fields: Json = {
            "messages": messages,
            "max_tokens": prompt.max_output_tokens,
            "temperature": prompt.temperature,
            "p": prompt.top_p,
            "k": prompt.top_k,
            "stop_sequences": list(stops) or None,
            "seed": prompt.seed,
            "presence_penalty": prompt.presence_penalty,
            "frequency_penalty": prompt.frequency_penalty,
            "response_format": _format(prompt.output_format),
            "thinking": self._thinking(prompt.reasoning),
            **self._tools(prompt),
        }
        self._drop(
            ("stop", len(stops) < len(prompt.stop)),
            ("parallel_tool_calls", prompt.parallel_tool_calls is False),
            ("n", prompt.choices != 1),
            ("user", prompt.end_user is not None),
        )
        given = {name: value for name, value in fields.items() if value is not None}
        return self._options(prompt.extra) | given

    def _drop(self, *options: tuple[str, bool]) -> None:
        self.dropped |= {name for name, said in options if said}

    def _options(self, extra: Json) -> Json:
        taken = {n: v for n, v in extra.items() if n in _OWN or not self._foreign}
        self.dropped |= extra.keys() - taken.keys() - _ELSEWHERE
        return taken

    def _tools(self, prompt: Prompt) -> Json:
        """Spell tools and the choice among them; a tool that must be called stands there alone.

        `strict_tools` is for all of them or for none.
        """
        self.dropped |= {f"tools.{tool.name}" for tool in prompt.tools if tool.kind != "function"}
        tools = [tool for tool in prompt.tools if tool.kind == "function"]
        choice = prompt.tool_choice or "auto"
        if choice.startswith("tool:"):
            tools = [tool for tool in tools if tool.name == choice.removeprefix("tool:")] or tools
        if not tools:
            return {}
        fields: Json = {"tools": [_tool(tool) for tool in tools]}
        if choice != "auto":
            fields["tool_choice"] = "NONE" if choice == "none" else "REQUIRED"
        if all(tool.strict for tool in tools):
            fields["strict_tools"] = True
        return fields

    def _thinking(self, wanted: Reasoning | None) -> Json | None:
        if wanted is None:
            return None
        if not _THINKS.match(self._model):
            self.dropped.add("reasoning_effort")
            return None
        if wanted.enabled is False or wanted.effort == "none" or wanted.budget_tokens == 0:
            return {"type": "disabled"}
        budget = wanted.budget_tokens
        return {"type": "enabled"} | ({} if budget is None else {"token_budget": budget})


def _format(wanted: OutputFormat | None) -> Json | None:
    if wanted is None:
        return None
    schema = {} if wanted.schema is None else {"json_schema": wanted.schema}
    return {"type": "json_object", **schema}


def _tool(tool: Tool) -> Json:
    parameters = {"type": "object", "properties": {}} | tool.parameters
    described = {} if tool.description is None else {"description": tool.description}
    function = {"name": tool.name, **described, "parameters": parameters}
    return {"type": "function", "function": function}
