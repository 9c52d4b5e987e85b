"""The way from the typed view: `Prompt` -> the fields of a request, fitted to a model.

Source: https://docs.ollama.com/api/chat 2026-11-20
Source: https://docs.ollama.com/modelfile#valid-parameters-and-values 2026-11-20
"""

from __future__ import annotations

import re
from typing import Any

from trunkline.caps import take_cap
from trunkline.dialects.ollama.spell import spelled
from trunkline.errors import InputError
from trunkline.types import Prompt, Reasoning, Tool

Json = dict[str, Any]
_OWN = frozenset(
    {
        *("format", "keep_alive", "logprobs", "options", "shift", "think", "top_logprobs"),
        "truncate",
    }
)
"""Fields of a request that no other dialect has, or that mean the same in both."""
_OF_OPTIONS = frozenset(
    {
        *("draft_num_predict", "main_gpu", "min_p", "mirostat", "mirostat_eta", "mirostat_tau"),
        *("num_batch", "num_ctx", "num_gpu", "num_keep", "num_predict", "num_thread"),
        *("penalize_newline", "repeat_last_n", "repeat_penalty", "tfs_z", "typical_p", "use_mmap"),
    }
)
_ELSEWHERE = frozenset({"stream_options", "thinking", "reasoning"})
"""Options of other dialects that `Prompt` has a name for, or that only say how to answer."""
_LEVELS = ("low", "medium", "high")
_THINKS = re.compile(
    r"(gpt-oss|deepseek-(r1|v3\.1)|qwen3(\.\d+)?(?!.*(coder|instruct|embedding)))[^/]*"
)
"""Models of Ollama's library that can be told to think. Any other one might answer 400 to being
told, also one of these names that somebody else made; those that can think do it untold.
Source: https://docs.ollama.com/capabilities/thinking 2026-11-20
Source: https://github.com/CherryHQ/cherry-studio/pull/18744 2026-11-20"""


class Builder:
    """Spells one prompt for one model. `dropped` names what the model does not take.

    The options of `foreign` prompts, which come from another dialect, stay out, except those that
    only this one has.
    """

    def __init__(self, model: str, *, foreign: bool) -> None:
        self._model = model.lower()
        self._foreign = foreign
        self.dropped: set[str] = set()

    def fields(self, prompt: Prompt) -> Json:
        """Return the fields of a request, without model and stream.

        A prompt that is too long for the context is to be refused: unless told so, Ollama takes
        its beginning away and says nothing.
        Source: https://github.com/ollama/ollama/blob/main/api/types.go (ChatRequest) 2026-11-20

        Raises:
            InputError: nothing is said; such a request would only load the model. Or `options` are
                no object.
            CapabilityMissing: a part has no form here.
        """
        messages = spelled(prompt.messages)
        if not messages:
            raise InputError("'messages' say nothing; write some words", param="messages")
        extra = self._options(prompt.extra)
        options = self._sampling(prompt) | extra.pop("options", {})
        cap = take_cap(prompt.max_output_tokens, options, ("num_predict",))
        if cap is not None:  # money is held for as much, whatever else the options say
            options["num_predict"] = cap
        fields: Json = {
            "messages": messages,
            "tools": None if prompt.tool_choice == "none" else self._tools(prompt.tools) or None,
            "format": _format(prompt),
            "think": None if prompt.reasoning is None else self._think(prompt.reasoning),
            "options": options or None,
            "truncate": False,
        }
        choice = prompt.tool_choice
        self._drop(
            ("tool_choice", choice == "required" or (choice or "").startswith("tool:")),
            ("parallel_tool_calls", prompt.parallel_tool_calls is False),
            ("n", prompt.choices != 1),
            ("user", prompt.end_user is not None),
        )
        return {name: value for name, value in fields.items() if value is not None} | extra

    def _drop(self, *options: tuple[str, bool]) -> None:
        self.dropped |= {name for name, said in options if said}

    def _options(self, extra: Json) -> Json:
        """Return the fields that are Ollama's own; its sampling options may stand at the top."""
        fields: Json = {}
        for name, value in extra.items():
            if name == "options":
                if not isinstance(value, dict):
                    problem = "is wrong; write an object of Ollama's options"
                    raise InputError(f"'options' {problem}", param="options")
                fields[name] = fields.get(name, {}) | value
            elif name in _OF_OPTIONS:
                fields.setdefault("options", {}).setdefault(name, value)
            elif name in _OWN or not self._foreign:
                fields[name] = value
            elif name not in _ELSEWHERE:
                self.dropped.add(name)
        return fields

    def _sampling(self, prompt: Prompt) -> Json:
        options: Json = {
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
            "top_k": prompt.top_k,
            "stop": list(prompt.stop) or None,
            "seed": prompt.seed,
            "presence_penalty": prompt.presence_penalty,
            "frequency_penalty": prompt.frequency_penalty,
        }
        return {name: value for name, value in options.items() if value is not None}

    def _tools(self, tools: tuple[Tool, ...]) -> list[Json]:
        self.dropped |= {f"tools.{tool.name}" for tool in tools if tool.kind != "function"}
        return [_tool(tool) for tool in tools if tool.kind == "function"]

    def _think(self, wanted: Reasoning) -> bool | str | None:
        """Return how hard to think, in the model's words: few have more of them than yes and no."""
        if wanted.enabled is False or wanted.effort == "none" or wanted.budget_tokens == 0:
            return False
        if not _THINKS.fullmatch(self._model):
            self.dropped.add("reasoning_effort")
            return None
        if not self._model.startswith("gpt-oss"):
            return True
        level = wanted.effort
        if level is None and (budget := wanted.budget_tokens) is not None:
            level = "low" if budget <= 1024 else "medium" if budget <= 8192 else "high"
        if level is None or level in _LEVELS:
            return level or True
        return "low" if level == "minimal" else "high"


def _format(prompt: Prompt) -> Json | str | None:
    wanted = prompt.output_format
    if wanted is None:
        return None
    return "json" if wanted.schema is None else wanted.schema


def _tool(tool: Tool) -> Json:
    """Spell a function; without a `type` its schema would not be understood."""
    parameters = {"type": "object", "properties": {}} | tool.parameters
    described = {} if tool.description is None else {"description": tool.description}
    function = {"name": tool.name, **described, "parameters": parameters}
    return {"type": "function", "function": function}
