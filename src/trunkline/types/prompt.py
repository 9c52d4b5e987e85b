"""What a chat call asks: typed (`Prompt`), or as it came off a wire (`Wire`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from msgspec import Raw, Struct
from msgspec.json import encode as _json
from msgspec.structs import replace

from trunkline.types.message import AnyPart, Audio, File, Image, Message, Part, ToolResult

Need = Literal["tools", "images", "audio", "files", "schema", "reasoning"]


OWN_TOOLS = frozenset({"function", "custom"})
"""Kinds of tools that the caller runs; what others read and cost, only the provider knows."""
HARMLESS = frozenset(
    {
        *("logit_bias", "logprobs", "top_logprobs", "metadata", "store", "stream_options"),
        *("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "user", "verbosity"),
        *("cache_control", "min_p", "repetition_penalty", "service_tier"),
    }
)
"""Options without a name here that add nothing to what is read, written or charged; what a
`service_tier` costs, `accounting.estimate` knows."""
STORED = frozenset(
    {
        *("cachedContent", "cached_content", "conversation", "previous_response_id", "prompt"),
        "thread",
    }
)
"""Options that name a text which the provider holds and reads before this one."""


class Tool(Struct, frozen=True, kw_only=True):
    """A tool the model may ask for; `parameters` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] = {}
    strict: bool | None = None
    kind: str = "function"
    extra: dict[str, Any] = {}


class OutputFormat(Struct, frozen=True, kw_only=True):
    """JSON instead of prose: any object, or one that fits `schema`."""

    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class Reasoning(Struct, frozen=True, kw_only=True):
    """How hard to think: a word (`effort`), a cap in tokens, or off."""

    effort: str | None = None
    budget_tokens: int | None = None
    enabled: bool | None = None

    @property
    def wanted(self) -> bool:
        """Whether thoughts are asked for, and not only that there be none."""
        return not (self.enabled is False or self.effort == "none" or self.budget_tokens == 0)


class Prompt(Struct, frozen=True, kw_only=True, dict=True):
    """A chat request in no provider's words.

    `extra` holds options of the caller's dialect that have no name here; they reach a provider
    only when it speaks that dialect.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    """`auto`, `none`, `required`, or `tool:NAME`."""
    parallel_tool_calls: bool | None = None
    output_format: OutputFormat | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    end_user: str | None = None
    """Whom the caller acts for, in the caller's own words; never decides who pays."""
    choices: int = 1
    extra: dict[str, Any] = {}

    @property
    def message_count(self) -> int:
        """How many messages are sent."""
        return len(self.messages)

    @property
    def bounded(self) -> bool:
        """Whether a bound can be proven; see `Wire.bounded`."""
        return self.extra.keys() <= HARMLESS and all(tool.kind in OWN_TOOLS for tool in self.tools)

    @property
    def stored(self) -> str:
        """The option that names what the provider reads besides; "" = none."""
        return next((name for name in self.extra if name in STORED), "")

    def parts(self) -> Iterator[AnyPart]:
        """Yield every part that is sent, those inside tool results too."""
        for message in self.messages:
            for part in message.parts:
                yield part
                if isinstance(part, ToolResult):
                    yield from part.parts

    @cached_property
    def size_bytes(self) -> int:
        """Size as JSON; an upper bound of the prompt tokens of text."""
        return len(_json(self.messages)) + len(_json(self.tools)) + len(_json(self.output_format))

    @cached_property
    def needs(self) -> frozenset[Need]:
        """What a deployment must be able to do to take this."""
        kinds: dict[type[Part], Need] = {Image: "images", Audio: "audio", File: "files"}
        needs = {kinds[type(part)] for part in self.parts() if type(part) in kinds}
        if self.tools:
            needs.add("tools")
        if self.output_format and self.output_format.schema is not None:
            needs.add("schema")
        if self.reasoning and self.reasoning.wanted:
            needs.add("reasoning")
        return frozenset(needs)


class Wire(Struct, frozen=True, kw_only=True, dict=True):
    """A chat request as it came: every top-level field undecoded, typed only when asked.

    A deployment that speaks the same dialect is sent these bytes again, with only the model and
    the stream fields changed, so unknown fields survive.
    """

    dialect: str
    fields: Mapping[str, Raw]
    parse: Callable[[Mapping[str, Raw]], Prompt]
    message_count: int
    size_bytes: int
    max_output_tokens: int | None
    needs: frozenset[Need]
    choices: int = 1
    end_user: str | None = None
    bounded: bool = False
    """True = all that the provider reads is in these bytes, and nothing in them is charged apart:
    no tools that it runs itself, nothing it has stored."""
    thoughts: bool = True
    """False = no message carries thoughts of earlier answers or their proofs; some providers refuse
    them."""
    headers: Mapping[str, str] = {}
    """The caller's headers that say something in this dialect, in lower case; no credentials."""

    @property
    def stored(self) -> str:
        """The option that names what the provider reads besides; "" = none."""
        if STORED.isdisjoint(self.fields):
            return ""
        named = sorted(STORED & self.fields.keys())
        if self.dialect == "openai_text":
            named.remove("prompt")  # the text itself
        return next(iter(named), "")

    @cached_property
    def prompt(self) -> Prompt:
        """The typed view, decoded on first use; raises `InputError` naming the field.

        Its cap on output is that of this struct, which a layer may have lowered.
        """
        prompt, cap = self.parse(self.fields), self.max_output_tokens
        return prompt if prompt.max_output_tokens == cap else replace(prompt, max_output_tokens=cap)
