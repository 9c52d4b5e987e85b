"""What an attempt costs follows from how it went: the rule of the meter, row by row."""

import pytest
from msgspec.structs import replace

from tests.scripted import SILENCE, end, finish, frame, text, usage
from tests.unit.layers.bench import Bench
from tests.unit.layers.double import (
    PRICE,
    STREAM,
    WHOLE,
    Answer,
    ask,
    live,
)
from trunkline.accounting.estimate import Estimates
from trunkline.accounting.price import cost, output_tokens_from_frames
from trunkline.errors import (
    AttemptTimeout,
    AuthFailed,
    BadAnswer,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    FirstTokenTimeout,
    InputError,
    UpstreamRateLimited,
)
from trunkline.types import (
    Begun,
    Deployment,
    Ended,
    Finish,
    Mark,
    Outcome,
    Price,
    Prompt,
    Usage,
    UsageReport,
    say,
)

INPUT = Estimates().prompt_tokens(ask())
"""What the prompt of `ask()` is estimated at."""


def nusd(prompt_tokens: int, completion_tokens: int) -> int | None:
    """Price tokens."""
    return cost(Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens), PRICE).nusd


SHOWN = output_tokens_from_frames(2, 2, 1)
"""What two frames of one letter are estimated at."""
TWO = (text("h"), text("i"))
BROKEN = ConnectionLost("reset")
SENT_ONLY = (INPUT, 0, "estimated")
NOTHING = (0, 0, "exact")

Row = tuple[Answer, str, Outcome, tuple[int, int, str]]
TABLE: dict[str, Row] = {
    # reported usage is exact, also when the caller did not wait for the end
    "whole": (WHOLE, "", "complete", (1, 2, "exact")),
    "streamed": (STREAM, "", "complete", (1, 2, "exact")),
    "broken after finish and usage": (
        (*TWO, finish(), usage(7), BROKEN), "", "failed", (1, 7, "exact"),
    ),
    "cancelled after finish and usage": (
        (*TWO, finish(), usage(7), SILENCE), "", "cancelled", (1, 7, "exact"),
    ),
    # an answer that did not say is estimated from what was received
    "complete without usage": (
        (*TWO, finish(), end()), "", "complete", (INPUT, SHOWN, "estimated"),
    ),
    "broken": ((*TWO, BROKEN), "", "failed", (INPUT, SHOWN, "estimated")),
    "truncated": (TWO, "", "failed", (INPUT, SHOWN, "estimated")),
    "abandoned": (
        (*TWO, SILENCE), "abandoned", "abandoned",
        (INPUT, output_tokens_from_frames(1, 1, 1), "estimated"),
    ),
    "cancelled": ((*TWO, SILENCE), "", "cancelled", (INPUT, SHOWN, "estimated")),
    # usage told on the way is a lower bound
    "broken, more was told than shown": (
        (*TWO, usage(7), BROKEN), "", "failed", (1, 7, "estimated"),
    ),
    "cancelled, more was shown than told": (
        (usage(1), *TWO, SILENCE), "", "cancelled", (1, SHOWN, "estimated"),
    ),
    # no answer began: billed only if somebody may have begun to work on it
    "time-out after the send": (FirstTokenTimeout("silence"), "", "failed", SENT_ONLY),
    "attempt too long": (AttemptTimeout("late"), "", "failed", SENT_ONLY),
    "lost after the send": (ConnectionLost("reset"), "", "failed", SENT_ONLY),
    "garbage under a 200": (BadAnswer("html", upstream_status=200), "", "failed", SENT_ONLY),
    "cancelled before the answer": (SILENCE, "", "cancelled", SENT_ONLY),
    "a fault of ours": (LookupError("bug"), "", "failed", SENT_ONLY),
    "refused: 429": (
        UpstreamRateLimited("slow down", upstream_status=429), "", "failed", NOTHING,
    ),
    "refused: 401": (AuthFailed("no", upstream_status=401), "", "failed", NOTHING),
    "redirected": (BadAnswer("moved", upstream_status=302), "", "failed", NOTHING),
    "never sent": (ConnectFailed("no route", sent=False), "", "failed", NOTHING),
    "lost before the send": (ConnectionLost("reset", sent=False), "", "failed", NOTHING),
    "not encoded": (InputError("no such tool"), "", "failed", NOTHING),
    "no such address": (ConfigError("no URL"), "", "failed", NOTHING),
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE)
async def test_what_an_attempt_costs(row: str) -> None:
    """The rule of the module, row by row; each settles once and leaves nothing held."""
    answer, how, outcome, (prompt_tokens, completion_tokens, state) = TABLE[row]
    bench = Bench(answer)
    error = await live(bench.service, bench.call(), how)
    ended = bench.one()
    assert ended.outcome == outcome
    assert ended.usage == Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    assert (ended.cost_nusd, ended.cost_state) == (nusd(prompt_tokens, completion_tokens), state)
    assert (ended.error_code is None) == (error is None)


@pytest.mark.parametrize("row", TABLE)
async def test_without_a_price_the_cost_is_unknown(row: str) -> None:
    """Never 0, but for what certainly cost nothing."""
    answer, how, _, told = TABLE[row]
    bench = Bench(answer)
    await live(bench.service, bench.call(Deployment(provider="p", model="m")), how)
    ended = bench.one()
    wanted = (0, "exact") if told == NOTHING else (None, "unknown")
    assert (ended.cost_nusd, ended.cost_state) == wanted
    assert bench.book.of(Begun)[0].hold_nusd is None


async def test_an_estimate_keeps_the_classes_that_were_told() -> None:
    """Cached tokens stay cached when the answer breaks off after they were reported."""
    said = Usage(
        prompt_tokens=100, cache_read_tokens=60, cache_write_1h_tokens=5, audio_input_tokens=3
    )
    report = frame("usage", Mark.USAGE, UsageReport(usage=said))
    bench = Bench((report, *TWO, BROKEN))
    await live(bench.service, bench.call(), "")
    used = bench.one().usage
    assert used.completion_tokens == SHOWN
    assert (used.cache_read_tokens, used.cache_write_1h_tokens, used.audio_input_tokens) == (
        60,
        5,
        3,
    )


@pytest.mark.parametrize("answer", [(*TWO, BROKEN), BROKEN], ids=["broken", "lost"])
async def test_a_guess_is_made_in_the_service_tier_that_was_asked_for(answer: Answer) -> None:
    """Nobody said which one was served; the standard one where the tier has no known price."""
    cheap = Price(input_nusd=1_000_000, output_nusd=1_000_000)
    price = replace(PRICE, service_tiers=(("flex", cheap),))
    bench = Bench(answer, answer)
    for tier in ("flex", "scale"):
        body = Prompt(messages=(say("user", "hello"),), extra={"service_tier": tier})
        await live(
            bench.service,
            bench.call(Deployment(provider="p", model="m", price=price), body=body),
            "",
        )
    flex, scale = bench.book.of(Ended)
    assert (flex.usage.service_tier, scale.usage.service_tier) == ("flex", "")
    assert (flex.cost_nusd, flex.cost_state) == (flex.usage.total_tokens, "estimated")
    assert scale.cost_state == "estimated"
    assert scale.cost_nusd == cost(scale.usage, PRICE).nusd


@pytest.mark.parametrize("choices", [1, 3])
async def test_a_guess_is_never_longer_than_the_answer_may_be(choices: int) -> None:
    """A strict budget holds no more than that; what the provider itself says counts."""
    long = text("many words in a single frame, of which nobody knows how many tokens they are")
    bench = Bench((long, BROKEN), (usage(70), long, BROKEN))
    body = Prompt(messages=(say("user", "hi"),), max_output_tokens=5, choices=choices)
    for _ in range(2):
        await live(bench.service, bench.call(body=body), "")
    guessed, told = (ended.usage.completion_tokens for ended in bench.book.of(Ended))
    assert (guessed, told) == (5 * choices, 70)


CENT = 10_000_000_000_000


@pytest.mark.parametrize(
    ("told", "price_nusd", "more", "state"),
    [
        (Usage(completion_tokens=2), None, (1, 0), "estimated"),
        (Usage(completion_tokens=2), CENT, (1, 10_000_000), "estimated"),
        (Usage(completion_tokens=2), 0, (0, 0), "exact"),
        (Usage(completion_tokens=2, web_search_requests=3), CENT, (3, 30_000_000), "exact"),
        (Usage(completion_tokens=2, web_search_requests=3), None, (3, 0), "estimated"),
    ],
    ids=["no price", "priced", "free", "told", "told, no price"],
)
async def test_searches_that_were_asked_for(
    told: Usage, price_nusd: int | None, more: tuple[int, int], state: str
) -> None:
    """OpenAI tells of none: one was made, and a cost without its fee is no exact one."""
    price = replace(PRICE, web_search_nusd=price_nusd)
    bench = Bench((*TWO, finish(), frame("u", Mark.USAGE, UsageReport(usage=told)), end()))
    body = Prompt(messages=(say("user", "hi"),), extra={"web_search_options": {}})
    await live(
        bench.service, bench.call(Deployment(provider="p", model="m", price=price), body=body), ""
    )
    ended, (searches, fee_nusd) = bench.one(), more
    tokens_nusd = cost(replace(told, web_search_requests=0), PRICE).nusd or 0
    assert ended.usage.web_search_requests == searches
    assert ended.cost_nusd == tokens_nusd + fee_nusd
    assert ended.cost_state == state


async def test_a_cost_that_leaves_a_fee_out_is_no_exact_one() -> None:
    """The tokens are charged as they were told; what a tool of the provider's cost nobody says."""
    told = Usage(prompt_tokens=3, completion_tokens=2)
    report = frame("u", Mark.USAGE, UsageReport(usage=told, apart=True))
    bench = Bench((*TWO, finish(), report, end()))
    await live(bench.service, bench.call(), "")
    ended = bench.one()
    assert (ended.cost_nusd, ended.cost_state) == (nusd(3, 2), "estimated")


@pytest.mark.parametrize("status", ["queued", "in_progress"])
@pytest.mark.parametrize("price", [PRICE, None])
async def test_an_answer_that_goes_on_out_of_sight_costs_its_hold(
    status: str, price: Price | None
) -> None:
    """Nobody here will hear how long it was; without a price that is unknown, as ever."""
    last = Finish(reason="unknown", raw=status)
    bench = Bench((frame("queued", Mark.SHOWN | Mark.FINISH | Mark.TERMINAL, last),))
    await live(bench.service, bench.call(Deployment(provider="p", model="m", price=price)), "")
    ended, hold_nusd = bench.one(), bench.book.of(Begun)[0].hold_nusd
    assert ended.cost_nusd == hold_nusd
    assert ended.cost_state == ("unknown" if price is None else "estimated")
    assert (hold_nusd is None) is (price is None)


async def test_searches_that_cannot_be_true_are_not_believed() -> None:
    """A million searches in one answer must not empty a budget."""
    report = frame("usage", Mark.USAGE, UsageReport(usage=Usage(web_search_requests=10**6)))
    bench = Bench((*TWO, finish(), report, end()))
    await live(bench.service, bench.call(), "")
    assert bench.one().usage == Usage(prompt_tokens=INPUT, completion_tokens=SHOWN)
    assert bench.one().cost_state == "estimated"


async def test_lengths_are_learned_from_whole_answers_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken answer says nothing about how long answers are; n choices are n answers."""
    bench = Bench((*TWO, usage(4000), BROKEN), (*TWO, finish(), usage(4000), end()))
    learned: list[tuple[str, int]] = []
    monkeypatch.setattr(bench.estimates, "learn", lambda *told: learned.append(told))
    for choices in (1, 1, 4):
        body = Prompt(messages=(say("user", "hi"),), choices=choices)
        await live(bench.service, bench.call(body=body), "")
    assert learned == [("p/m", 4000), ("p/m", 1000)]
