"""The way from the typed view: `Prompt` -> the fields of a request, fitted to a model.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html 2026-11-20
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html 2026-11-20
"""

from __future__ import annotations

from typing import Any

from msgspec.json import encode as dump

from trunkline.caps import take_cap
from trunkline.claude import Bounds
from trunkline.dialects.bedrock.models import Traits
from trunkline.dialects.bedrock.reasoning import spelled
from trunkline.dialects.bedrock.spell import Speller, Turn
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import Prompt, Tool

Json = dict[str, Any]
_OWN_OPTIONS = frozenset(
    {
        *("additionalModelRequestFields", "additionalModelResponseFieldPaths", "guardrailConfig"),
        *("inferenceConfig", "outputConfig", "performanceConfig", "promptVariables"),
        *("requestMetadata", "serviceTier"),
    }
)
"""Options no other dialect has: a caller of any who names one means this."""
_ELSEWHERE = frozenset({"stream_options", "thinking", "reasoning", "output_config"})
"""Options of other dialects that `Prompt` has a name for, or that only say how to answer."""
_LIMITS = frozenset(
    {
        *("max_tokens", "max_tokens_to_sample", "max_new_tokens", "max_completion_tokens"),
        *("max_output_tokens", "max_gen_len", "maxTokens", "maxTokenCount"),
        *("n", "num_generations", "numResults"),
    }
)
"""What models call the cap and the number of answers among fields of their own. The cap has its
place in `inferenceConfig`, and there is one answer.
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html 2026-11-20"""
_NOT_NOW = "It was called earlier in this conversation and cannot be called now."


class Builder:
    """Spells one prompt for one model. `dropped` names what the model does not take.

    The options of `foreign` prompts, which come from another dialect, stay out, except those that
    only this one has. Any other option is the model's own.
    """

    def __init__(self, traits: Traits, *, foreign: bool) -> None:
        self._traits = traits
        self._foreign = foreign
        self.dropped: set[str] = set()

    def fields(self, prompt: Prompt) -> Json:
        """Return the fields of a request.

        Raises:
            InputError: nothing is said.
            CapabilityMissing: a part has no form here, or the model knows no schema.
        """
        speller = Speller(prompt.messages, self._traits)
        system, turns = speller.turns()
        if not turns:
            raise InputError(
                "'messages' say nothing; Bedrock takes no blank text, write some words",
                param="messages",
            )
        tools = self._tools(prompt, speller)
        choice = self._tool_choice(prompt) if tools else None
        fields: Json = {
            "messages": [{"role": role, "content": blocks} for role, blocks in turns],
            "system": system or None,
            "toolConfig": _tool_config(tools or _called(turns), choice),
        }
        thought = self._thought(prompt, turns, forced=choice is not None and "auto" not in choice)
        parts: dict[str, Json] = {
            "inferenceConfig": self._inference(prompt, thought),
            "additionalModelRequestFields": self._of_model(prompt, thought),
            "outputConfig": self._output(prompt, thought),
        }
        self._drop(prompt)
        self.dropped |= speller.dropped
        options = self._options(prompt.extra, parts)
        self._limit(prompt, parts)
        return options | {name: value for name, value in (fields | parts).items() if value}

    def _drop(self, prompt: Prompt) -> None:
        self.dropped |= {
            name
            for name, said in (
                ("frequency_penalty", prompt.frequency_penalty is not None),
                ("n", prompt.choices != 1),
                ("parallel_tool_calls", prompt.parallel_tool_calls is False),
                ("presence_penalty", prompt.presence_penalty is not None),
                ("seed", prompt.seed is not None),
                ("user", prompt.end_user is not None),
            )
            if said
        }

    def _options(self, extra: Json, parts: dict[str, Json]) -> Json:
        """Return the options without a name elsewhere; those that add to `parts` go there."""
        options: Json = {}
        for name, value in extra.items():
            if name in parts and isinstance(value, dict):
                parts[name] |= value
            elif name in _OWN_OPTIONS:
                options[name] = value
            elif name in _ELSEWHERE:
                pass
            elif self._foreign:
                self.dropped.add(name)
            else:
                parts["additionalModelRequestFields"][name] = value
        return options

    def _limit(self, prompt: Prompt, parts: dict[str, Json]) -> None:
        """Write the cap last, and once: money is held for as much as the prompt says."""
        inference, of_model = parts["inferenceConfig"], parts["additionalModelRequestFields"]
        cap = take_cap(prompt.max_output_tokens, inference, ("maxTokens",))
        if cap is not None:
            inference["maxTokens"] = cap
        for name in _LIMITS & of_model.keys():
            del of_model[name]
            self.dropped.add(f"additionalModelRequestFields.{name}")
        for place, value in of_model.items():
            if isinstance(value, dict) and (said := _LIMITS & value.keys()):
                of_model[place] = {key: value[key] for key in value if key not in said}
                self.dropped |= {f"additionalModelRequestFields.{place}.{name}" for name in said}

    def _tools(self, prompt: Prompt, speller: Speller) -> list[Json]:
        """Return the tools. None may be called where the caller says so: there is no such word."""
        if prompt.tool_choice == "none":
            return []
        wires: list[Json] = []
        for tool in prompt.tools:
            if tool.kind == "function":
                wires.append({"toolSpec": self._spec(tool)})
                wires += speller.cache_point(tool.extra, "tools")
            elif tool.kind == "systemTool":
                wires.append({"systemTool": {"name": tool.name}})
            else:
                self.dropped.add(f"tools.{tool.name}")
        return wires

    def _spec(self, tool: Tool) -> Json:
        schema = {"type": "object", "properties": {}} | tool.parameters
        spec: Json = {"name": tool.name, "inputSchema": {"json": schema}}
        if tool.description:
            spec["description"] = tool.description
        if tool.strict is not None and self._traits.structured:
            spec["strict"] = tool.strict
        return spec

    def _tool_choice(self, prompt: Prompt) -> Json | None:
        choice = prompt.tool_choice
        if choice is None or choice == "auto":
            return None if choice is None else {"auto": {}}
        if not self._traits.forced_tools:
            self.dropped.add("tool_choice")
            return None
        if choice.startswith("tool:"):
            return {"tool": {"name": choice.removeprefix("tool:")}}
        return {"any": {}}

    def _thought(self, prompt: Prompt, turns: list[Turn], *, forced: bool) -> Json:
        """Return how hard to think, in the words of the model."""
        if prompt.reasoning is None:
            return {}
        bounds = Bounds(
            max_tokens=prompt.max_output_tokens, forced=forced, thoughtless=_is_thoughtless(turns)
        )
        said = spelled(prompt.reasoning, self._traits, bounds)
        if said is None:
            self.dropped.add("reasoning_effort")
        return said or {}

    def _inference(self, prompt: Prompt, thought: Json) -> Json:
        """Return the sampling and where to stop; what is out of range is left out."""
        config: Json = {}
        thinks = _thinks(thought)
        for name, wire, value in (
            ("temperature", "temperature", prompt.temperature),
            ("top_p", "topP", prompt.top_p),
        ):
            if value is None:
                continue
            if thinks or not self._traits.sampling or not 0 <= value <= 1:
                self.dropped.add(name)
            else:
                config[wire] = value
        if self._foreign and self._traits.vendor == "anthropic" and config.keys() >= _NOT_BOTH:
            del config["topP"]  # newer models refuse both together
            self.dropped.add("top_p")
        if stops := [stop for stop in prompt.stop if stop.strip()]:
            config["stopSequences"] = stops
        return config

    def _of_model(self, prompt: Prompt, thought: Json) -> Json:
        """Return what only this model's vendor has a name for."""
        fields: Json = dict(thought.get("fields", {}))
        if prompt.top_k is None:
            return fields
        if self._traits.vendor == "anthropic" and self._traits.sampling and not _thinks(thought):
            fields["top_k"] = prompt.top_k
        elif self._traits.vendor == "amazon":
            fields["inferenceConfig"] = {"topK": prompt.top_k}
        else:
            self.dropped.add("top_k")
        return fields

    def _output(self, prompt: Prompt, thought: Json) -> Json:
        config: Json = {"effort": thought["effort"]} if "effort" in thought else {}
        wanted = prompt.output_format
        if wanted is None:
            return config
        if wanted.schema is None:
            self.dropped.add("response_format")
            return config
        if not (self._traits.structured or self._traits.may_be_structured):
            raise CapabilityMissing(
                "this model of Bedrock's does not answer by a JSON schema; leave it out, or ask "
                "another model",
                param="response_format",
            )
        schema: Json = {"schema": dump(wanted.schema).decode(), "name": wanted.name}
        if wanted.description:
            schema["description"] = wanted.description
        config["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}
        return config


_NOT_BOTH = {"temperature", "topP"}


def _thinks(thought: Json) -> bool:
    """Whether sampling has to be left alone: beside thinking, and beside Nova's hardest."""
    fields = thought.get("fields", {})
    kind = fields.get("thinking", {}).get("type")
    return kind in {"enabled", "adaptive"} or (
        fields.get("reasoningConfig", {}).get("maxReasoningEffort") == "high"
    )


def _is_thoughtless(turns: list[Turn]) -> bool:
    if len(turns) < 2 or "toolResult" not in turns[-1][1][0]:
        return False
    return "reasoningContent" not in turns[-2][1][0]


def _tool_config(tools: list[Json], choice: Json | None) -> Json | None:
    if not tools:
        return None
    return {"tools": tools} | ({"toolChoice": choice} if choice is not None else {})


def _called(turns: list[Turn]) -> list[Json]:
    """Return the tools that were called: where any was, some must be named, or it is refused."""
    blocks = [block for _, blocks in turns for block in blocks]
    names = [block["toolUse"]["name"] for block in blocks if "toolUse" in block]
    if not names and any("toolResult" in block for block in blocks):
        names = ["unknown"]
    return [
        {
            "toolSpec": {
                "name": name,
                "description": _NOT_NOW,
                "inputSchema": {"json": {"type": "object", "properties": {}}},
            }
        }
        for name in dict.fromkeys(names)
    ]
