"""What the demo provider says to a prompt: pure, and the same every time."""

from __future__ import annotations

import json
import re
from zlib import crc32

from msgspec import Struct, field

from trunkline.backends.demo.schema import Schema, smallest
from trunkline.errors import (
    AuthFailed,
    FirstTokenTimeout,
    InputError,
    ProviderError,
    Refused,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.types import (
    AnyPart,
    Event,
    FinishReason,
    Message,
    Prompt,
    Refusal,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)

FAILURES: dict[str, type[ProviderError]] = {
    "400": Refused,
    "401": AuthFailed,
    "429": UpstreamRateLimited,
    "500": UpstreamFailed,
    "503": UpstreamOverloaded,
    "timeout": FirstTokenTimeout,
}
MIDWAY = ("midstream", "truncate")
INTRODUCTION = (
    "I am Trunkline's demo provider; set OPENAI_API_KEY or another provider's key for real answers."
)
_THOUGHT = "The demo provider thinks when it is asked to, and then answers."
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])(?:\s+\Z)?|\s+\Z")
_QUOTE_CHARS = 200
_ANY = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


class Orders(Struct, kw_only=True):
    """What the `/demo` lines of a message say; `said` is the rest of it."""

    said: str = ""
    echo: str | None = None
    tokens: int | None = None
    think: str = ""
    tools: list[tuple[str, str]] = field(default_factory=list)
    """Name and arguments; "" = the smallest its schema takes."""
    slow_s: float = 0.0
    fail: str = ""

    @classmethod
    def of(cls, text: str) -> Orders:
        """Read a message.

        Raises:
            InputError: a `/demo` line is no order.
        """
        orders, said = cls(), []
        for line in text.splitlines():
            head, _, order = line.partition(" ")
            if head == "/demo":
                orders._take(order.strip())
            else:
                said.append(line)
        orders.said = "\n".join(said).strip()
        return orders

    def _take(self, order: str) -> None:
        verb, _, rest = order.partition(" ")
        match verb:
            case "echo":
                self.echo = rest
            case "think":
                self.think = rest
            case "tool" if rest:
                name, _, arguments = rest.partition(" ")
                self.tools.append((name, arguments.strip()))
            case "tokens" if re.fullmatch(r"[0-9]{1,5}", rest):
                self.tokens = int(rest)
            case "slow" if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,9})?", rest):
                self.slow_s = float(rest)
            case "fail" if rest in FAILURES or rest in MIDWAY:
                self.fail = rest
            case _:
                raise InputError(
                    f"'/demo {order}' is no order; write echo TEXT, tokens N, think TEXT, "
                    f"tool NAME JSON, slow SECONDS or fail {'|'.join([*FAILURES, *MIDWAY])}",
                    param="messages",
                )


class Turn:
    """The demo's answer to `prompt`.

    Raises:
        InputError: a `/demo` line or a schema cannot be read.
    """

    def __init__(self, prompt: Prompt, max_output_tokens: int | None) -> None:
        self.prompt = prompt
        messages = prompt.messages
        asked = [n for n, message in enumerate(messages) if message.role == "user" and message.text]
        since = asked[-1] if asked else 0
        parts = [part for message in messages[since:] for part in message.parts]
        self._results = [part for part in parts if isinstance(part, ToolResult)]
        texts = [p.text for p in messages[since].parts if isinstance(p, Text)] if asked else []
        self.id = f"demo_{crc32(repr(texts).encode()):08x}"
        self.orders = Orders.of("\n".join(texts))
        self.calls = self._calls()
        whole = self._whole()
        self.events: list[Event] = whole[:max_output_tokens]
        """What is said, one event for each token."""
        self.finish: FinishReason = "tool_calls" if self.calls else "stop"
        if len(self.events) < len(whole):
            self.finish = "length"
        self.usage = Usage(
            prompt_tokens=self._prompt_tokens(),
            completion_tokens=len(self.events) * prompt.choices,
            reasoning_tokens=sum(type(e) is ThinkingDelta for e in self.events) * prompt.choices,
        )

    def _calls(self) -> list[ToolCall]:
        prompt, wanted = self.prompt, list(self.orders.tools)
        choice = prompt.tool_choice or "auto"
        if self._results or choice == "none":
            return []
        offered = {tool.name: tool for tool in prompt.tools}
        if not wanted:
            wanted = [(name, "") for name in offered if _names(self.orders.said, name)]
        if choice == "required" and not wanted:
            wanted = [(name, "") for name in offered][:1]
        if forced := choice.partition("tool:")[2]:
            wanted = [call for call in wanted if call[0] == forced] or [(forced, "")]
        if prompt.parallel_tool_calls is False:
            del wanted[1:]
        return [
            _call(f"call_demo_{prompt.message_count}_{n}", name, arguments, offered.get(name))
            for n, (name, arguments) in enumerate(wanted)
        ]

    def _whole(self) -> list[Event]:
        events: list[Event] = [ThinkingDelta(text=token) for token in tokens_of(self._thought())]
        events += [TextDelta(text=token) for token in tokens_of(self._text())]
        for index, call in enumerate(self.calls):
            events.append(ToolCallDelta(index=index, id=call.id, name=call.name, kind=call.kind))
            events += [
                ToolCallDelta(index=index, arguments=token, kind=call.kind)
                for token in tokens_of(call.arguments)
            ]
        return events

    def _thought(self) -> str:
        asked = self.prompt.reasoning
        if self.orders.think or asked is None or asked.enabled is False or asked.effort == "none":
            return self.orders.think
        return _THOUGHT if asked.enabled or asked.effort or asked.budget_tokens else ""

    def _text(self) -> str:
        orders, form = self.orders, self.prompt.output_format
        if orders.echo is not None:
            text = orders.echo
        elif orders.tokens is not None:
            text = " ".join(["demo"] * orders.tokens)
        elif self.calls:
            text = ""
        elif form is not None:
            text = _fit(form.schema or _ANY, "response_format")
        else:
            text = self._sentence()
        for stop in filter(None, self.prompt.stop):
            text = text.partition(stop)[0]
        return text

    def _sentence(self) -> str:
        messages = self.prompt.messages
        if self._results:
            names = {call.id: call.name for message in messages for call in message.tool_calls}
            return " ".join(
                f"The tool {names.get(result.id, result.id)} "
                f"{'failed with' if result.is_error else 'says'} "
                f"{_quote(Message(role='tool', parts=result.parts).text)}."
                for result in self._results
            )
        said = self.orders.said
        sentence = f"You said {_quote(said)}." if said else "You said nothing in words."
        met = any(message.role == "assistant" for message in messages)
        return sentence if met else f"{sentence} {INTRODUCTION}"

    def _prompt_tokens(self) -> int:
        said = sum(_size_tokens(part) for m in self.prompt.messages for part in m.parts)
        return said + sum(
            len(tokens_of(f"{tool.name} {tool.description or ''} {json.dumps(tool.parameters)}"))
            for tool in self.prompt.tools
        )


def tokens_of(text: str) -> list[str]:
    """Split `text` into tokens; joined again they are `text`."""
    return _TOKEN.findall(text)


def _size_tokens(part: AnyPart) -> int:
    if isinstance(part, Text | Refusal | Thinking):
        return len(tokens_of(part.text))
    if isinstance(part, ToolCall):
        return 1 + len(tokens_of(part.arguments))
    if isinstance(part, ToolResult):
        return sum(map(_size_tokens, part.parts))
    return 1


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _call(call_id: str, name: str, arguments: str, tool: Tool | None) -> ToolCall:
    kind = tool.kind if tool else "function"
    arguments = arguments or _fit(tool.parameters if tool else {}, "tools")
    return ToolCall(id=call_id, name=name, arguments=arguments, kind=kind)


def _fit(schema: Schema, param: str) -> str:
    try:
        return json.dumps(smallest(schema), ensure_ascii=False)
    except ValueError as error:
        raise InputError(f"{param}: {error}; correct the JSON Schema", param=param) from error


def _quote(text: str) -> str:
    return f'"{text if len(text) <= _QUOTE_CHARS else text[:_QUOTE_CHARS] + "..."}"'
