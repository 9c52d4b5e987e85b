"""The way back from the typed view: `Prompt` -> the fields of a request, fitted to a model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from trunkline.claude import Bounds, Traits, thinking
from trunkline.dialects.anthropic.spell import blocks_of
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import Message, Prompt, Tool

Json = dict[str, Any]
DEFAULT_MAX_TOKENS = 4096
"""What is asked for where the caller set no cap: the API wants one."""
_OWN_OPTIONS = frozenset(
    {
        *("cache_control", "container", "mcp_servers", "context_management", "inference_geo"),
        *("speed", "fallbacks", "user_profile_id", "diagnostics"),
    }
)
"""Options no other dialect has: a caller of any who names one means this."""
_TOOL_TAKES = (
    *("cache_control", "defer_loading", "eager_input_streaming", "input_examples"),
    "allowed_callers",
)
_OWN_TOOL = re.compile(r"_20\d{6}$|^mcp_toolset$")
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


class Builder:
    """Spells one prompt for one model. `dropped` names what the model does not take.

    The options of `foreign` prompts, which come from another dialect, stay out, except those that
    only this one has.
    """

    def __init__(self, traits: Traits, *, foreign: bool) -> None:
        self._traits = traits
        self._foreign = foreign
        self.dropped: list[str] = []

    def fields(self, prompt: Prompt) -> Json:
        """Return the top-level fields, all but model and stream; None values are left out.

        Raises:
            InputError: nothing is said, or something no model of Anthropic takes.
            CapabilityMissing: the model knows no schema.
        """
        system, turns = turns_of(prompt.messages)
        if not turns:
            raise InputError(
                "'messages' say nothing; Anthropic's models take no blank text, write some words",
                param="messages",
            )
        tools = [wire for tool in prompt.tools if (wire := self._tool(tool)) is not None]
        fields: Json = {
            "max_tokens": prompt.max_output_tokens,
            "system": _plain(system) or None,
            "messages": [{"role": role, "content": _plain(blocks)} for role, blocks in turns],
            "tools": tools or None,
            "tool_choice": self._tool_choice(prompt) if tools else None,
            "stop_sequences": [stop for stop in prompt.stop if stop.strip()] or None,
            "metadata": self._metadata(prompt),
            "output_config": self._output_config(prompt) or None,
        }
        self._think(fields, prompt, turns)
        if fields["max_tokens"] is None:
            fields["max_tokens"] = DEFAULT_MAX_TOKENS
        self._sample(fields, prompt)
        self._drop(
            ("seed", prompt.seed is not None),
            ("presence_penalty", prompt.presence_penalty is not None),
            ("frequency_penalty", prompt.frequency_penalty is not None),
            ("n", prompt.choices != 1),
        )
        fields = self._options(prompt.extra) | fields
        return {name: value for name, value in fields.items() if value is not None}

    def _drop(self, *options: tuple[str, bool]) -> None:
        self.dropped += [name for name, said in options if said]

    def _options(self, extra: Json) -> Json:
        known = {"output_config", "metadata", "stream_options"}
        if self._foreign:
            known |= {"thinking", "reasoning"}  # `Reasoning` says what they say
        taken = {
            name: value
            for name, value in extra.items()
            if name not in known and (name in _OWN_OPTIONS or not self._foreign)
        }
        self.dropped += [name for name in extra if name not in taken and name not in known]
        return taken

    def _tool(self, tool: Tool) -> Json | None:
        if tool.kind != "function":
            if _OWN_TOOL.search(tool.kind):
                name = {"name": tool.name} if tool.name != tool.kind else {}
                return {"type": tool.kind} | name | tool.extra
            self.dropped.append(f"tools.{tool.name}")
            return None
        wire: Json = {"name": tool.name}
        if tool.description is not None:
            wire["description"] = tool.description
        wire["input_schema"] = {"type": "object"} | tool.parameters
        if tool.strict is not None and self._traits.structured:
            wire["strict"] = tool.strict
        return wire | {name: tool.extra[name] for name in _TOOL_TAKES if name in tool.extra}

    def _tool_choice(self, prompt: Prompt) -> Json | None:
        choice = prompt.tool_choice
        alone = prompt.parallel_tool_calls is False
        if choice is None and not alone:
            return None
        wire = {"type": _CHOICES.get(choice or "auto", "auto")}
        if choice is not None and choice.startswith("tool:"):
            wire = {"type": "tool", "name": choice.removeprefix("tool:")}
        if wire["type"] in {"any", "tool"} and not self._traits.forced_tools:
            self.dropped.append("tool_choice")
            wire = {"type": "auto"}
        if alone and wire["type"] != "none":
            return {**wire, "disable_parallel_tool_use": True}
        return wire

    def _metadata(self, prompt: Prompt) -> Json | None:
        metadata = {} if self._foreign else dict(prompt.extra.get("metadata") or {})
        self._drop(("metadata", self._foreign and "metadata" in prompt.extra))
        if prompt.end_user is not None:
            metadata["user_id"] = prompt.end_user
        return metadata or None

    def _output_config(self, prompt: Prompt) -> Json:
        config = {} if self._foreign else dict(prompt.extra.get("output_config") or {})
        if (wanted := prompt.output_format) is not None:
            if wanted.schema is None:
                self.dropped.append("response_format")
            elif self._traits.structured:
                config["format"] = {"type": "json_schema", "schema": wanted.schema}
            else:
                raise CapabilityMissing(
                    "this model of Anthropic's does not answer by a JSON schema; leave it out, or "
                    "ask another model",
                    param="response_format",
                )
        return config

    def _think(self, fields: Json, prompt: Prompt, turns: list[_Turn]) -> None:
        """Set how hard to think; thinking is a part of the output, so a default cap is raised."""
        if prompt.reasoning is None:
            return
        bounds = Bounds(
            max_tokens=prompt.max_output_tokens,
            forced=(fields["tool_choice"] or {}).get("type") in {"any", "tool"},
            thoughtless=_goes_on_thoughtless(turns),
        )
        said = thinking(prompt.reasoning, self._traits, bounds)
        if said is None:
            self.dropped.append("reasoning_effort")
            return
        if "effort" in said:
            fields["output_config"] = (fields["output_config"] or {}) | {"effort": said["effort"]}
        if "thinking" not in said:
            return
        own = {} if self._foreign else prompt.extra.get("thinking", {})
        if self._foreign and self._traits.hides and said["thinking"]["type"] == "adaptive":
            own = {"display": "summarized"}  # other dialects show what was thought
        fields["thinking"] = said["thinking"] | own
        if fields["max_tokens"] is None and "budget_tokens" in said["thinking"]:
            fields["max_tokens"] = said["thinking"]["budget_tokens"] + DEFAULT_MAX_TOKENS

    def _sample(self, fields: Json, prompt: Prompt) -> None:
        """Set temperature, top_p and top_k: none beside thinking, never the first two together.

        What is out of range is left out, not clamped.
        """
        thinks = fields.get("thinking", {}).get("type") in {"enabled", "adaptive"}
        said = {
            name: value
            for name in ("temperature", "top_p", "top_k")
            if (value := getattr(prompt, name)) is not None
        }
        if thinks or not self._traits.sampling:
            self.dropped += said
            return
        if said.get("temperature", 0) > 1:  # others go up to 2; here it is a 400
            self.dropped.append("temperature")
            del said["temperature"]
        if self._foreign and "temperature" in said and said.pop("top_p", None) is not None:
            self.dropped.append("top_p")
        fields |= said


_Turn = tuple[str, list[Json]]


def turns_of(messages: Iterable[Message]) -> tuple[list[Json], list[_Turn]]:
    """Return the system's blocks in their order, and turns that alternate.

    Messages of one side in a row become one turn, in which results of tools stand first. Where
    there is nothing but a system's words, they are the user's: the API wants one message.
    """
    system: list[Json] = []
    turns: list[_Turn] = []
    for message in messages:
        blocks = blocks_of(message.parts)
        if not blocks:
            continue
        if (cached := message.extra.get("cache_control")) is not None:
            blocks[-1] = blocks[-1] | {"cache_control": cached}
        if message.role in {"system", "developer"}:
            system += blocks
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        turns[-1][1].extend(blocks)
    for role, blocks in turns:
        if role == "user":
            blocks.sort(key=lambda block: block["type"] != "tool_result")
    if turns and turns[-1][0] == "assistant" and turns[-1][1][-1]["type"] == "text":
        last = turns[-1][1][-1]
        last["text"] = last["text"].rstrip()  # the API refuses a beginning that ends in blanks
    return ([], [("user", system)]) if system and not turns else (system, turns)


def _goes_on_thoughtless(turns: list[_Turn]) -> bool:
    if len(turns) < 2 or turns[-1][1][0]["type"] != "tool_result":
        return False
    return turns[-2][1][0]["type"] not in {"thinking", "redacted_thinking"}


def _plain(blocks: list[Json]) -> str | list[Json]:
    """Return a string where the blocks are nothing but one text."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks
