"""What a call is likely to cost before it is made, learned from the calls before it.

A hold must be large enough that few calls overrun it, and small enough that it starves nobody:
never a fixed huge number. Input is known in bytes; output is the request's own cap or, when that
is absent or far above what this deployment usually writes, a learned high quantile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Raw
from msgspec.json import decode

from trunkline.accounting.price import Bound, in_service_tier
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import (
    AnyPart,
    Audio,
    Call,
    Chat,
    Deployment,
    File,
    Image,
    Need,
    Price,
    Prompt,
    Quote,
)
from trunkline.types.answer import served_tier

_BYTES_PER_TOKEN = 3
"""English JSON has about four; three leaves room for code and other scripts."""
_MEDIA: frozenset[Need] = frozenset({"images", "audio", "files"})
_EXPLAINED: frozenset[Need] = frozenset({"tools", "schema"})
_ADDED_TOKENS = 64
_ADDED_FOR_TOOLS = 2048
"""What providers write around a request at most, with tools or a schema several hundred tokens.
Source: https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview (2026-11-20)"""
_MEDIA_TOKENS = 1600
"""What one picture costs at most with most providers; its bytes say nothing about it."""
_FIRST_GUESS_TOKENS = 512
_MOST_GUESSED_TOKENS = 4096
"""A cap above this is rarely meant: held in full, the first call would not fit a small budget."""
_QUANTILE = 0.95
_MOST_LEARNED = 4096
_ENOUGH_SAMPLES = 20
_LEAST_TOKENS = 16
"""A shorter answer is none."""
_TIER_OPTIONS = ("service_tier", "speed")
_FROM_ANYBODY = {
    "anthropic": {"speed": ""},
    "bedrock": {"serviceTier": "type", "performanceConfig": "latency"},
}
"""Options for a tier that a dialect takes from callers of every other, and the field in them that
names it."""
_names_no_tier = frozenset((*_TIER_OPTIONS, "serviceTier", "performanceConfig")).isdisjoint
_STANDARD_ONLY = ("default", "standard_only")
_RAISED = "priority"
"""What providers may choose of their own accord, where the account there is set up so.
Source: https://developers.openai.com/api/docs/guides/fast-mode (2026-11-20)
Source: https://platform.claude.com/docs/en/api/service-tiers (2026-11-20)"""


def asked_tier(call: Call, deployment: Deployment) -> str:
    """Return the tier, as `Usage.service_tier`, at which to charge an answer that did not say.

    It is the one that the call names, if it has a price: what nobody told is not made unknown,
    or whoever leaves early would pay nothing.
    """
    tier, price = _named(_asked(call, deployment)), deployment.price
    return "" if price is None or in_service_tier(price, tier) is None else tier


def _named(asked: list[Any]) -> str:
    return "-".join(filter(None, map(served_tier, asked)))


def _asked(call: Call, deployment: Deployment) -> list[Any]:
    """Return what a call says about its service tier in words that `deployment` is sent."""
    body = call.body
    said = body.extra if isinstance(body, Prompt) else body.fields
    if _names_no_tier(said):
        return []
    names = _FROM_ANYBODY.get(deployment.dialect, {})
    if isinstance(body, Prompt) or _is_of_one_family(body.dialect, deployment.dialect):
        names = dict.fromkeys(_TIER_OPTIONS, "") | names
    return [_tier_in(said[name], within) for name, within in names.items() if name in said]


def _is_of_one_family(dialect: str, other: str) -> bool:
    """Whether options of one dialect are not dropped by the other."""
    return dialect.partition("_")[0] == other.partition("_")[0]


def _tier_in(said: Any, within: str) -> Any:
    value = decode(said) if isinstance(said, Raw) else said
    if not within:
        return value
    return value.get(within) if isinstance(value, dict) else None


def _tiers(call: Call, deployment: Deployment, price: Price) -> tuple[bool, str, str]:
    """Return whether what is asked for has a price, and which tier is likely, which possible."""
    asked = _asked(call, deployment)
    if not asked:
        return True, "", _RAISED
    if tier := _named(asked):
        priced = in_service_tier(price, tier) is not None
        tier = tier if priced else ""
        return priced, tier, tier
    likely = _RAISED if "auto" in asked else ""
    possible = "" if any(word in _STANDARD_ONLY for word in asked) else _RAISED
    return True, likely, possible


def _size_bytes(call: Call) -> int:
    """Return the size of what is sent; 8 bytes are the most that a character has in JSON."""
    return call.body.size_bytes + 8 * len(call.partial)


def _most_prompt_tokens(call: Call) -> int:
    """A token is at least one byte of the encoded request."""
    body = call.body
    return _size_bytes(call) + (_ADDED_FOR_TOOLS if body.needs & _EXPLAINED else _ADDED_TOKENS)


def _thoughts_tokens(call: Call) -> int | None:
    """Return how many tokens the caller gave to thoughts; None = the request cannot be read."""
    if not isinstance(call, Chat):
        return 0
    try:
        reasoning = call.prompt.reasoning
    except InputError:
        return None
    tokens = reasoning.budget_tokens if reasoning is not None else None
    return max(tokens, 0) if isinstance(tokens, int) else 0  # nobody has checked what it is


def _parts(call: Chat) -> Iterable[AnyPart]:
    """Return all parts; none where they stand beside what only their own provider can read."""
    try:
        return call.prompt.parts()
    except CapabilityMissing:
        return ()


class Learned:
    """A running estimate of one quantile: each sample moves it a step up or down."""

    __slots__ = ("samples", "tokens")

    def __init__(self) -> None:
        self.samples = 0
        self.tokens = float(_FIRST_GUESS_TOKENS)

    def add(self, tokens: int) -> None:
        """Learn from one answer of `tokens` output tokens."""
        self.samples += 1
        share = 0.5 if self.samples < _ENOUGH_SAMPLES else 0.05
        if tokens >= self.tokens:
            self.tokens = min(tokens, self.tokens + max(tokens, 16) * share)
        else:
            self.tokens -= max(self.tokens, 16.0) * share * (1 - _QUANTILE)


class Estimates:
    """Learned output lengths per deployment, and the quotes made from them."""

    def __init__(self, *, proving: bool = False) -> None:
        self.proving = proving
        """Whether quotes carry a proven bound: some budget is strict."""
        self._learned: dict[str, Learned] = {}
        self._bounds: dict[tuple[str, str], Bound] = {}

    def quote(self, call: Call, deployment: Deployment) -> Quote:
        """Return the estimate and, where there is one, the proven bound for one attempt.

        Both cover the standard service tier beside the one that is asked for: a provider may serve
        less than it was asked. Where the choice is left to it, it may be `priority`: likely when
        the request says `auto`, possible unless it insists on the standard one. A tier without a
        known price has the estimate of the standard one, so that no call goes up without a hold.
        """
        price, body = deployment.price, call.body
        input_tokens = self.read_tokens(call, deployment)
        if price is None:
            return Quote(None, None)
        priced, likely, possible = _tiers(call, deployment, price)
        bound = self._bound(deployment, price, likely)
        estimate = bound.nusd(input_tokens, self.output_tokens(call, deployment.name))
        proven, cap = None, body.max_output_tokens
        provable = self.proving and priced and body.bounded and not body.needs & _MEDIA
        if provable and cap is not None:
            bound = self._bound(deployment, price, possible)
            proven = bound.nusd(_most_prompt_tokens(call), cap * body.choices)
        return Quote(estimate, proven, priced)

    def cap(
        self, call: Call, deployment: Deployment, left_nusd: int, *, proven: bool
    ) -> int | None:
        """Return the cap on the output with which `quote` comes to `left_nusd` at most.

        None where no answer worth having is left, or no more than the thoughts it was given a
        number of tokens for: providers refuse such a request.

        Args:
            call: one whose quote is above that.
            proven: whether the proven bound is meant, not the estimate.
        """
        price, body = deployment.price, call.body
        thoughts_tokens = _thoughts_tokens(call)
        if price is None or left_nusd <= 0 or thoughts_tokens is None:
            return None
        _, likely, possible = _tiers(call, deployment, price)
        bound = self._bound(deployment, price, possible if proven else likely)
        input_tokens = _most_prompt_tokens(call)
        if not proven:
            input_tokens = self.read_tokens(call, deployment)
        most = (body.max_output_tokens or 0) * body.choices
        if not proven:
            most = self.output_tokens(call, deployment.name)
        cap = bound.output_tokens(input_tokens, left_nusd, most) // body.choices
        return cap if cap >= thoughts_tokens + _LEAST_TOKENS else None

    def _bound(self, deployment: Deployment, price: Price, tier: str) -> Bound:
        """Return the bound for the standard service tier and `tier`."""
        bound = self._bounds.get((deployment.name, tier))
        if bound is None or bound.price is not price:
            if len(self._bounds) >= _MOST_LEARNED:
                self._bounds.clear()
            bound = self._bounds[deployment.name, tier] = Bound(price, tier)
        return bound

    def read_tokens(self, call: Call, deployment: Deployment) -> int:
        """Estimate all that is read: what the provider holds may fill the model's context.

        Raises:
            InputError: as `prompt_tokens` does.
        """
        tokens = self.prompt_tokens(call)
        if isinstance(call, Chat) and call.body.stored:
            return max(tokens, deployment.context_window or 0)
        return tokens

    def prompt_tokens(self, call: Call) -> int:
        """Estimate the prompt's tokens from its bytes, those of pictures and the like apart.

        Raises:
            InputError: the request holds media and cannot be read.
        """
        text_bytes, media_tokens = call.body.size_bytes + len(call.partial), 0
        if isinstance(call, Chat) and call.body.needs & _MEDIA:
            for part in _parts(call):
                if isinstance(part, Image | Audio | File):
                    text_bytes = max(text_bytes - len(part.data or ""), 0)
                    media_tokens += _MEDIA_TOKENS
        return text_bytes // _BYTES_PER_TOKEN + media_tokens + 8

    def output_tokens(self, call: Call, deployment: str) -> int:
        """Estimate the tokens of all the answer's choices.

        Of a deployment that little is known of yet, an answer is taken to be as long as it may
        be, within reason: a burst of calls must not spend what no one of them was held for.
        """
        learned = self._learned.get(deployment)
        cap = call.body.max_output_tokens
        usual = int(learned.tokens) + 1 if learned is not None else _FIRST_GUESS_TOKENS
        if cap is not None:
            if learned is None or learned.samples < _ENOUGH_SAMPLES:
                usual = max(usual, _MOST_GUESSED_TOKENS)
            usual = min(cap, usual)
        return usual * call.body.choices

    def learn(self, deployment: str, completion_tokens: int) -> None:
        """Remember how long an answer was."""
        learned = self._learned.get(deployment)
        if learned is None:
            if len(self._learned) >= _MOST_LEARNED:  # callers may invent model names
                self._learned.clear()
            learned = self._learned[deployment] = Learned()
        learned.add(completion_tokens)
