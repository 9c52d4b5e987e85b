"""What an attempt used and cost; it follows from how it went.

Reported usage is exact, unless it leaves out searches that were asked for, or what else is charged
apart. An answer that broke off, or did not say, is estimated from what was received; one that the
provider goes on with out of sight costs what it was held for. An attempt that never left, or that
the provider refused, cost nothing; one whose fate nobody knows is estimated as well.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from trunkline.accounting.estimate import Estimates, asked_tier
from trunkline.accounting.price import Bound, cost, output_tokens_from_frames
from trunkline.errors import ProviderError, was_sent
from trunkline.reply import Reply
from trunkline.types import Call, Cost, Deployment, Prompt, Usage

_SEARCH = "web_search_options"
"""With it OpenAI's chat completions search before they answer; their usage is silent on the fee.
Source: https://platform.openai.com/docs/guides/tools-web-search?api-mode=chat (2026-11-20)."""
_UNDER_WAY = ("queued", "in_progress")
"""Words for an answer that the provider goes on with, out of sight, and charges.
Source: https://platform.openai.com/docs/guides/background (2026-11-20)."""
_MOST_TOKENS = 1_000_000_000
_MOST_SEARCHES = 10_000
_MOST_REPORTED_NUSD = 100_000 * 1_000_000_000


def weigh(
    call: Call,
    target: Deployment,
    estimates: Estimates,
    error: BaseException | None,
    reply: Reply | None,
) -> tuple[Usage, Cost]:
    """Return what an attempt used and cost, so far where its answer is not over."""
    if reply is None:
        if not _may_be_billed(error):
            return Usage(), Cost(0)
        usage = Usage(
            prompt_tokens=estimates.read_tokens(call, target), service_tier=asked_tier(call, target)
        )
        return usage, cost(usage, target.price, estimated=True)
    told = reply.usage if reply.usage is not None and _credible(reply.usage) else None
    usage = told or Usage(service_tier=asked_tier(call, target))
    whole = reply.outcome == "complete" or reply.finish is not None
    if told is not None and whole:
        estimates.learn(target.name, usage.completion_tokens // call.body.choices)
        searched = _SEARCH in _options(call) and _search_is_missing(usage, target)
        if searched:  # at least once
            usage = replace(usage, web_search_requests=1)
        return usage, cost(usage, target.price, estimated=searched or reply.apart)
    if told is None and reply.finish_raw in _UNDER_WAY:
        return _as_held(call, target, estimates)
    shown = output_tokens_from_frames(
        reply.shown_frames, reply.shown_bytes, reply.least_frame_bytes
    )
    if (cap := call.body.max_output_tokens) is not None:
        shown = min(shown, cap * call.body.choices)  # a guess is never above what a proof allows
    usage = replace(
        usage,
        prompt_tokens=usage.prompt_tokens or estimates.read_tokens(call, target),
        completion_tokens=max(usage.completion_tokens, shown),
    )
    return usage, cost(usage, target.price, estimated=True)


def _options(call: Call) -> Collection[str]:
    body = call.body
    return body.extra if isinstance(body, Prompt) else body.fields


def _search_is_missing(usage: Usage, target: Deployment) -> bool:
    """Whether a search that was asked for is not in what was told, and may have cost something."""
    told = usage.web_search_requests or usage.reported_cost_nusd is not None
    free = target.price is not None and target.price.web_search_nusd == 0
    return not told and not free and target.dialect.startswith("openai")


def _as_held(call: Call, target: Deployment, estimates: Estimates) -> tuple[Usage, Cost]:
    """Return what an answer is taken to come to of which nobody here will hear more."""
    quote = estimates.quote(call, target)
    usage = Usage(
        prompt_tokens=estimates.read_tokens(call, target),
        completion_tokens=estimates.output_tokens(call, target.name),
    )
    if quote.estimate_nusd is None:
        return usage, Cost(None, "unknown")
    return usage, Cost(max(quote.estimate_nusd, quote.proven_nusd or 0), "estimated")


def _credible(usage: Usage) -> bool:
    """Whether a report can be true; one that cannot must not empty a budget."""
    reported_nusd = usage.reported_cost_nusd or 0
    return (
        usage.total_tokens <= _MOST_TOKENS
        and usage.web_search_requests <= _MOST_SEARCHES
        and reported_nusd <= _MOST_REPORTED_NUSD
    )


def _may_be_billed(error: BaseException | None) -> bool:
    refused = isinstance(error, ProviderError) and (error.upstream_status or 200) >= 300
    return was_sent(error) and not refused


def most(call: Call, target: Deployment, usage: Usage) -> int | None:
    """Return the most, in nano-USD, that an answer can cost whose prompt is known from `usage`.

    None where the call or the price sets no bound.
    """
    cap, price = call.body.max_output_tokens, target.price
    if cap is None or price is None:
        return None
    return Bound(price, usage.service_tier).nusd(usage.prompt_tokens, cap * call.body.choices)
