"""What users implement or pass: requests, answers, providers of their own, a user service.

A provider of your own is either an `LLMProvider` (subclass it) or anything with the three methods
of `BaseLLMProvider`. Make it known under a name, here or in your package's metadata:

    register_provider("my_provider", MyProvider)

    [project.entry-points."trunkline.providers"]
    my_provider = "my_package:MyProvider"
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from trunkline.errors import ConfigError, InputError
from trunkline.types.usage_event import UsageEvent

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# --- what is asked and answered ------------------------------------------------------------------


@dataclass
class LLMRequest:
    """A call for `LLMService.generate`, and what an `LLMProvider` of your own is asked."""

    messages: list[dict[str, Any]]
    """In OpenAI's format."""
    model: str
    temperature: float = 0.7
    max_tokens: int = 2000
    stream: bool = False
    provider: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """The caller's own. An `LLMProvider` finds under `parameters` every other option of the call
    (`tools`, `response_format`, `top_p`, ...) by OpenAI's names."""


@dataclass
class LLMResponse:
    """An answer; in a stream, a piece of one: `content` and `tool_calls` are what is new."""

    content: str
    """The text; "" when the answer is only tool calls."""
    model: str = ""
    provider: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    """`prompt_tokens`, `completion_tokens` (includes reasoning) and `total_tokens`."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """A provider of your own may put `finish_reason` here."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    """In OpenAI's format."""
    thoughts: Any = field(default=None, kw_only=True)
    """None, a text, or a JSON-able dict with any of `reasoning_content`, `blocks`, `tool_calls`."""


@dataclass
class ChatMessage:
    """One turn of a chat; `content` is a text or a list of parts in OpenAI's format."""

    role: str
    content: str | list[dict[str, Any]] | None
    name: str | None = field(default=None, kw_only=True)
    tool_calls: list[dict[str, Any]] | None = field(default=None, kw_only=True)
    tool_call_id: str | None = field(default=None, kw_only=True)


@dataclass
class ChatResponse:
    """The answer to `LLMService.chat`."""

    reply: str
    model: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    """`prompt_tokens`, `completion_tokens` and `total_tokens`."""


# --- what users implement ------------------------------------------------------------------------


@dataclass
class Embeddings:
    """Vectors, one for each text, in the order of the texts."""

    vectors: list[list[float]]
    model: str
    provider: str
    usage: dict[str, int] | None = None
    """`prompt_tokens` and `total_tokens`; where the provider did not say, an estimate."""


@dataclass
class TokenCount:
    """How many tokens a prompt has."""

    tokens: int
    estimated: bool
    """True = the provider does not count, or could not be asked in its words."""


class LLMProvider(ABC):
    """A provider of your own, request by request."""

    @abstractmethod
    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Answer `request` as a whole."""

    @abstractmethod
    def stream_generate(
        self, request: LLMRequest
    ) -> AsyncIterator[LLMResponse] | Awaitable[AsyncIterator[LLMResponse]]:
        """Answer `request` in pieces; the last may carry the usage.

        Write it as an async generator, or as a coroutine that returns an async iterator.
        """

    @abstractmethod
    def get_available_models(self) -> list[str]:
        """List the models this provider answers for."""

    @abstractmethod
    async def health_check(self) -> bool:
        """Tell whether the provider can be reached; called in a thread and loop of its own."""


@runtime_checkable
class BaseLLMProvider(Protocol):
    """A provider of your own, message by message.

    `chat` and `stream_chat` may take further options by name: those of `temperature`, `max_tokens`,
    `tools`, `response_format`, ... that a method has parameters for are passed.
    """

    def chat(
        self, messages: list[ChatMessage], model: str | None = None
    ) -> Awaitable[ChatResponse]:
        """Answer as a whole; write it `async def`."""

    def stream_chat(
        self, messages: list[ChatMessage], model: str | None = None
    ) -> AsyncIterator[str] | Awaitable[AsyncIterator[str]]:
        """Answer in pieces of text."""

    def count_tokens(self, text: str) -> int | Awaitable[int]:
        """Count the tokens of `text`."""


@runtime_checkable
class UserService(Protocol):
    """Who may spend, and what was spent; either method may be `async def`."""

    def require_allowance(self, user_id: str, basic_info: dict[str, Any] | None = None) -> object:
        """Raise if the user may not spend any more; called before every call."""

    def add_usage(
        self, user_id: str, cost: float, basic_info: dict[str, Any] | None = None
    ) -> object:
        """Take note of what a call cost, in USD."""


UsageHook = Callable[[list[UsageEvent]], Awaitable[object] | object]
"""A function that is told what calls used; it may be `async def`, and raises if it could not take
what it was given. See `docs/reference/webhooks.md`."""

# --- the registry --------------------------------------------------------------------------------

ENTRY_POINTS = "trunkline.providers"
HOOK_ENTRY_POINTS = "trunkline.usage_hooks"
PROVIDER_METHODS = ("generate", "stream_generate", "get_available_models", "health_check")
CHAT_METHODS = ("chat", "stream_chat", "count_tokens")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def register_provider(name: str, provider: object) -> None:
    """Make a provider of your own known as `name`; registering a name again replaces it.

    Args:
        name: letters, digits, `.`, `_` and `-`; what `LLM_PROVIDER` and `provider/model` say.
        provider: an instance, or a class or factory that takes no arguments.

    Raises:
        InputError: the name cannot be used, or the provider lacks a method.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # type: ignore[redundant-expr]
        raise InputError(
            f"{name!r} cannot be a provider's name: use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit",
            param="name",
        )
    _registry.given[name] = _made(name, provider)


def registered() -> Mapping[str, object]:
    """Return the providers made known here or by an installed package; one named here wins.

    An entry point is loaded when its name is looked up, so a broken package hurts only its users.
    """
    return _registry


def is_loaded(name: str) -> bool:
    """Tell whether the provider `name` is here already, so that looking at it loads nothing."""
    return name in _registry.given


class _Registry(Mapping[str, object]):
    """Name -> provider; finds the entry points on first use."""

    def __init__(self) -> None:
        self.given: dict[str, object] = {}
        self._offered: dict[str, EntryPoint] | None = None

    @property
    def offered(self) -> dict[str, EntryPoint]:
        if self._offered is None:
            from importlib.metadata import entry_points  # slow to import, so only here

            self._offered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        return self._offered

    def __getitem__(self, name: str) -> object:
        if name not in self.given:
            point = self.offered[name]
            try:
                self.given[name] = _made(name, point.load())
            except Exception as error:
                raise ConfigError(
                    f"entry point '{name} = {point.value}' of group '{ENTRY_POINTS}' cannot be "
                    f"used: {error}; mend or uninstall the package that declares it"
                ) from error
        return self.given[name]

    def __contains__(self, name: object) -> bool:
        return name in self.given or name in self.offered  # asking must not load

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.offered, *self.given]))

    def __len__(self) -> int:
        return len({*self.offered, *self.given})


_registry = _Registry()


def _made(name: str, provider: object) -> object:
    """Return a provider's instance after checking that it can answer."""
    if isinstance(provider, type):
        _check(name, provider)
    if callable(provider) and (isinstance(provider, type) or _lacks(provider)):
        try:
            provider = provider()
        except TypeError as error:
            raise InputError(
                f"provider {name!r} cannot be made without arguments ({error}); "
                "register an instance instead",
                param="provider",
            ) from error
    _check(name, provider)
    return provider


def _check(name: str, provider: object) -> None:
    if lacks := _lacks(provider):
        raise InputError(
            f"provider {name!r} lacks {', '.join(lacks)}; it needs all of "
            f"{', '.join(CHAT_METHODS)}, or, as a subclass of trunkline.LLMProvider, all of "
            f"{', '.join(PROVIDER_METHODS)}",
            param="provider",
        )


def _lacks(provider: object) -> list[str]:
    kind = provider if isinstance(provider, type) else type(provider)
    if issubclass(kind, LLMProvider):
        return sorted(kind.__abstractmethods__)
    return [method for method in CHAT_METHODS if not callable(getattr(provider, method, None))]
