"""What comes back: a `Frame` off the wire, the `Event`s inside it, and `Usage`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "error", "pause", "unknown"
]


BUDGET_CUT = "budget"
"""The word (`Finish.raw`) for an answer that was ended because its budget had no more."""


class Usage(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Tokens, normalised: whatever a provider's arithmetic, these inclusions hold.

    The journal has it as a list, so new fields may only be added at the end.
    """

    prompt_tokens: int = 0
    """All input; includes `cache_read_tokens`, `cache_write_tokens` and `audio_input_tokens`."""
    completion_tokens: int = 0
    """All output; includes `reasoning_tokens` and `audio_output_tokens`."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    """Includes `cache_write_1h_tokens`."""
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    reported_cost_nusd: int | None = None
    """What the provider itself says this cost, where it says so."""
    service_tier: str = ""
    """The tier of prices that the provider says it served, in its own word (`flex`, `priority`,
    `batch`, ...); "" = its standard one, or it did not say. See `served_tier`."""
    web_search_requests: int = 0
    """Searches that the provider made for the answer and charges apart."""

    @property
    def total_tokens(self) -> int:
        """Prompt plus completion."""
        return self.prompt_tokens + self.completion_tokens


_TIER = re.compile(r"[a-z0-9_.-]{1,32}")
_STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})


def served_tier(said: Any) -> str:
    """Return a provider's word for a service tier as `Usage.service_tier` has it.

    All words for the standard tier become "", and so does `auto`, which is what was asked for and
    not what was served. What cannot be a word is `other`: a tier nobody knows is not the standard
    one.

    Source: https://platform.openai.com/docs/api-reference/chat/object (2026-11-20)
    Source: https://platform.claude.com/docs/en/api/service-tiers (2026-11-20)
    Source: https://console.groq.com/docs/service-tiers (2026-11-20)
    """
    if not isinstance(said, str):
        return ""
    tier = said.strip().lower()
    if tier in _STANDARD_TIERS:
        return ""
    return tier if _TIER.fullmatch(tier) else "other"


class Event(Struct, frozen=True, kw_only=True):
    """One meaning inside a frame; `choice` is 0 unless several answers were asked for."""

    choice: int = 0


class Started(Event, frozen=True):
    """The provider's own id and model name for this answer."""

    id: str | None = None
    model: str | None = None


class TextDelta(Event, frozen=True):
    """More words."""

    text: str
    block: int | None = None
    """Deltas with another number belong to another part; None continues the last."""
    extra: dict[str, Any] = {}


class RefusalDelta(Event, frozen=True):
    """More words of a refusal."""

    text: str


class ThinkingDelta(Event, frozen=True):
    """More thought; a signature belongs to the block it closes."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    spelling: str | None = None
    block: int | None = None
    """Deltas with another number belong to another block; None continues the last."""
    extra: dict[str, Any] = {}


class ToolCallDelta(Event, frozen=True):
    """A piece of the tool call number `index`; `id` and `name` come with its first piece."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    kind: str = "function"
    extra: dict[str, Any] = {}


class AudioDelta(Event, frozen=True):
    """A piece of spoken answer; `data` is base64."""

    id: str | None = None
    data: str = ""
    transcript: str = ""
    expires_at: int | None = None


class Embedded(Event, frozen=True):
    """The vectors of an embeddings call, one for each text, in the order of the texts."""

    vectors: tuple[list[float] | str, ...]
    """Each is a list of numbers, or as base64 the 32-bit floats, least significant byte first."""


class Counted(Event, frozen=True):
    """How many tokens a prompt has."""

    tokens: int
    estimated: bool = False
    """True = nobody was asked who knows."""


class Extra(Event, frozen=True):
    """Fields of the message that have no name here, by their wire names."""

    fields: dict[str, Any]


class UsageReport(Event, frozen=True):
    """The usage so far; a later one replaces it."""

    usage: Usage
    apart: bool = False
    """Whether the provider ran a tool that it charges by something that is not in `usage`, and does
    not say what it cost."""


class Finish(Event, frozen=True):
    """Why the answer ended; `raw` is the provider's own word."""

    reason: FinishReason
    raw: str | None = None
    extra: dict[str, Any] = {}
    """What the provider says beside its word: which stop sequence, which policy, ..."""


class Mark:
    """What is known of a frame without decoding it: bits of an int.

    Not an enum: every frame is tested several times, and `&` of an `IntFlag` costs a microsecond.
    """

    NONE = 0
    SHOWN = 1
    """Carries something a caller can see; the first such frame ends the time for failing over."""
    USAGE = 2
    FINISH = 4
    TERMINAL = 8
    """The provider will say nothing more."""


class Memo(Struct, eq=False):
    """What decoding one answer must remember from frame to frame. One per attempt."""

    quirks: frozenset[str] = frozenset()
    wanted: int = 0
    """How many choices or vectors were asked for; 0 = not known."""
    finished: bool = False
    """A finish reason was seen for every choice, so the end of the stream is an end."""
    calls: dict[Any, int] = {}
    """How this provider names its tool calls -> our index."""
    lead: bytes = b""
    """How the last frame began, up to its words: most frames of a stream begin alike."""
    scratch: dict[str, Any] = {}

    def hear(self, events: tuple[Event, ...], mark: int) -> None:
        """Note which choices began or ended in a frame that is marked so."""
        if self.wanted == 1:
            self.finished = self.finished or bool(mark & Mark.FINISH)
            return
        begun, ended = self.scratch.setdefault("choices", (set(), set()))
        for event in events:
            if isinstance(event, Finish):
                ended.add(event.choice)
            elif not isinstance(event, Started | Extra | UsageReport):
                begun.add(event.choice)
        self.finished = bool(ended) and begun <= ended


Decode = Callable[[bytes, Memo], tuple[Event, ...]]


class Frame:
    """One unit off the wire: its own bytes, and its events when somebody asks."""

    __slots__ = ("_decode", "_events", "_memo", "mark", "raw", "told")

    def __init__(
        self,
        raw: bytes,
        mark: int,
        decode: Decode | None = None,
        memo: Memo | None = None,
        events: tuple[Event, ...] | None = None,
        *,
        told: tuple[Event, ...] | None = None,
    ) -> None:
        self.raw = raw
        """The bytes as they came, framing included."""
        self.mark = mark
        self.told = told
        """Its usage, finish and start where these were read without the rest; None = in `events`.
        """
        self._decode = decode
        self._memo = memo
        self._events = events

    @property
    def events(self) -> tuple[Event, ...]:
        """The meanings in their order; decoded once. Ask for all frames in order, or for none."""
        if self._events is None:
            assert self._decode is not None
            assert self._memo is not None
            self._events = self._decode(self.raw, self._memo)
        return self._events

    @property
    def terminal(self) -> bool:
        """Whether the answer ends with this frame."""
        return bool(self.mark & Mark.TERMINAL)
