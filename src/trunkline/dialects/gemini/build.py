"""The way from the typed view: `Prompt` -> the fields of a request, fitted to a model.

Source: https://ai.google.dev/api/generate-content 2026-11-20
"""

from __future__ import annotations

from typing import Any

from trunkline.caps import take_cap
from trunkline.dialects.gemini.models import Traits
from trunkline.dialects.gemini.reasoning import spelled
from trunkline.dialects.gemini.schema import taken
from trunkline.dialects.gemini.spell import Speller
from trunkline.errors import InputError
from trunkline.types import Prompt, Tool

Json = dict[str, Any]
_OWN_OPTIONS = {
    "cachedContent": "cachedContent",
    "cached_content": "cachedContent",
    "labels": "labels",
    "safetySettings": "safetySettings",
    "safety_settings": "safetySettings",
}
"""Options no other dialect has, in both spellings that Google takes."""
_OF_GENERATION = {
    name: name
    for name in (
        *("audioTimestamp", "enableEnhancedCivicAnswers", "imageConfig", "logprobs"),
        *("mediaResolution", "responseLogprobs", "responseModalities", "responseMimeType"),
        *("responseSchema", "responseJsonSchema", "routingConfig", "speechConfig"),
        "thinkingConfig",
    )
}
_OWN_TOOLS = {
    **{name: name for name in ("codeExecution", "computerUse", "enterpriseWebSearch")},
    **{name: name for name in ("fileSearch", "googleMaps", "googleSearch", "urlContext")},
    **{name: name for name in ("googleSearchRetrieval", "mcpServers", "retrieval")},
    "google_search": "googleSearch",
    "google_maps": "googleMaps",
    "url_context": "urlContext",
    "code_execution": "codeExecution",
}
"""Tools that the provider runs: what they are called here -> their field."""
_CAPS = ("maxOutputTokens", "max_output_tokens")
_CANDIDATES = ("candidateCount", "candidate_count")
"""In both spellings that Google takes."""
_CHOICES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_ELSEWHERE = frozenset({"stream_options", "thinking", "reasoning"})
"""Options of other dialects that `Prompt` has a name for, or that only say how to answer."""


class Builder:
    """Spells one prompt for one model. `dropped` names what the model does not take.

    The options of `foreign` prompts, which come from another dialect, stay out, except those that
    only this one has.
    """

    def __init__(self, traits: Traits, *, foreign: bool) -> None:
        self._traits = traits
        self._foreign = foreign
        self.dropped: set[str] = set()

    def fields(self, prompt: Prompt) -> Json:
        """Return the fields of a request.

        Raises:
            InputError: nothing is said.
        """
        system, turns = Speller(prompt.messages, self._traits).turns()
        if not turns:
            raise InputError(
                "'messages' say nothing; Gemini takes no empty text, write some words",
                param="messages",
            )
        extra = self._options(prompt.extra)
        tools = self._tools(prompt.tools)
        fields: Json = {
            "contents": [{"role": role, "parts": parts} for role, parts in turns],
            "systemInstruction": {"parts": system} if system else None,
            "tools": tools or None,
            "toolConfig": self._tool_config(prompt) if tools else None,
            "generationConfig": self._generation(prompt, extra) or None,
        }
        self._drop(
            ("parallel_tool_calls", prompt.parallel_tool_calls is False),
            ("user", prompt.end_user is not None),
        )
        return extra | {name: value for name, value in fields.items() if value is not None}

    def _drop(self, *options: tuple[str, bool]) -> None:
        self.dropped |= {name for name, said in options if said}

    def _options(self, extra: Json) -> Json:
        """Return the top-level options; `generationConfig` among them has those of that object."""
        options: Json = {}
        for name, value in extra.items():
            if name in _OWN_OPTIONS:
                options[_OWN_OPTIONS[name]] = value
            elif name == "generationConfig" and isinstance(value, dict):
                options[name] = value | options.get(name, {})
            elif name in _OF_GENERATION and not (self._foreign and name == "logprobs"):
                options.setdefault("generationConfig", {})[name] = value
            elif not self._foreign:
                options[name] = value
            elif name not in _ELSEWHERE:
                self.dropped.add(name)
        return options

    def _generation(self, prompt: Prompt, extra: Json) -> Json:
        config: Json = {
            "temperature": prompt.temperature,
            "topP": prompt.top_p,
            "topK": prompt.top_k,
            "stopSequences": [stop for stop in prompt.stop if stop] or None,
            "seed": prompt.seed,
            "presencePenalty": prompt.presence_penalty,
            "frequencyPenalty": prompt.frequency_penalty,
        }
        if (wanted := prompt.output_format) is not None:
            config["responseMimeType"] = "application/json"
            if wanted.schema is not None:
                config["responseJsonSchema"] = self._schema("response_format", wanted.schema)
        if prompt.reasoning is not None:
            said = spelled(prompt.reasoning, self._traits)
            config["thinkingConfig"] = said or None
            self._drop(("reasoning_effort", said is None))
        said_here = {name: value for name, value in config.items() if value is not None}
        merged: Json = said_here | (extra.pop("generationConfig", None) or {})
        return self._limited(prompt, merged)

    def _limited(self, prompt: Prompt, config: Json) -> Json:
        """Write how much may be answered last: money is held for as much as the prompt says."""
        cap = take_cap(prompt.max_output_tokens, config, _CAPS)
        counts = [config.pop(name) for name in _CANDIDATES if name in config]
        other = any(count != prompt.choices for count in counts)
        self._drop(("generationConfig.candidateCount", other))
        limits = {
            "maxOutputTokens": cap,
            "candidateCount": prompt.choices if prompt.choices != 1 else None,
        }
        return config | {name: value for name, value in limits.items() if value is not None}

    def _schema(self, where: str, schema: Json) -> Json:
        left_out: set[str] = set()
        wire = taken(schema, left_out)
        self.dropped |= {f"{where}.{keyword}" for keyword in left_out}
        return wire

    def _tools(self, tools: tuple[Tool, ...]) -> list[Json]:
        """Return the functions as one tool, and each tool of the provider's own."""
        functions: list[Json] = []
        own: list[Json] = []
        for tool in tools:
            if tool.kind == "function":
                functions.append(self._function(tool))
            elif tool.kind in _OWN_TOOLS:
                own.append({_OWN_TOOLS[tool.kind]: tool.extra.get(tool.kind, tool.extra)})
            else:
                self.dropped.add(f"tools.{tool.name}")
        return ([{"functionDeclarations": functions}] if functions else []) + own

    def _function(self, tool: Tool) -> Json:
        wire: Json = {"name": tool.name}
        if tool.description is not None:
            wire["description"] = tool.description
        if tool.parameters.keys() - {"type", "properties", "additionalProperties", "required"} or (
            tool.parameters.get("properties")
        ):  # an object without properties is refused
            schema = {"type": "object"} | tool.parameters
            wire["parametersJsonSchema"] = self._schema(f"tools.{tool.name}", schema)
        return wire

    def _tool_config(self, prompt: Prompt) -> Json | None:
        choice = prompt.tool_choice
        if choice is None:
            return None
        calling: Json = {"mode": _CHOICES.get(choice, "AUTO")}
        if choice.startswith("tool:"):
            name = choice.removeprefix("tool:")
            calling = {"mode": "ANY", "allowedFunctionNames": [name]}
        return {"functionCallingConfig": calling}
