"""Holds large enough that few calls overrun them, small enough that they starve nobody."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from trunkline.accounting.estimate import Estimates, Learned, asked_tier
from trunkline.accounting.price import bound, cost
from trunkline.dialects import load
from trunkline.errors import InputError
from trunkline.types import (
    Audio,
    Chat,
    Deployment,
    File,
    Image,
    Message,
    Part,
    Price,
    Prompt,
    Quote,
    Text,
    Tool,
    ToolResult,
    Usage,
    Wire,
    say,
)

PRICE = Price(
    input_nusd=3_000_000_000, output_nusd=15_000_000_000, cache_write_1h_nusd=6_000_000_000
)
TARGET = Deployment(provider="p", model="m", price=PRICE)
FIRST_GUESS = 512


def ask(*parts: Part, cap: int | None = None, choices: int = 1, words: str = "hello") -> Chat:
    """Make a call of words and parts."""
    message = Message(role="user", parts=(Text(text=words), *parts))  # type: ignore[arg-type]
    return Chat(
        model="m",
        body=Prompt(messages=(message,), max_output_tokens=cap, choices=choices),
    )


def taught(*answers: int) -> Estimates:
    """Make estimates that have seen these answers of `TARGET`."""
    estimates = Estimates()
    for tokens in answers:
        estimates.learn(TARGET.name, tokens)
    return estimates


# --- output ---------------------------------------------------------------------------------------


def test_the_first_guess_is_not_huge() -> None:
    """Of a deployment nobody knows: 512 tokens, or what the request allows up to 4,096."""
    assert Estimates().output_tokens(ask(), TARGET.name) == FIRST_GUESS
    assert Estimates().output_tokens(ask(cap=2_000), TARGET.name) == 2_000
    assert Estimates().output_tokens(ask(cap=128_000), TARGET.name) == 4_096


def test_a_few_short_answers_promise_nothing() -> None:
    """Until there are twenty, what a request allows is held, so that a burst cannot overspend."""
    assert taught(1).output_tokens(ask(cap=2_000), TARGET.name) == 2_000
    assert taught(*[1] * 19).output_tokens(ask(cap=2_000), TARGET.name) == 2_000
    assert taught(*[1] * 20).output_tokens(ask(cap=2_000), TARGET.name) < 512
    assert taught(9_000).output_tokens(ask(cap=20_000), TARGET.name) > 4_096


def test_the_requests_own_cap_is_never_exceeded() -> None:
    """More than asked for cannot come."""
    assert Estimates().output_tokens(ask(cap=16), TARGET.name) == 16
    assert taught(*[5000] * 50).output_tokens(ask(cap=16), TARGET.name) == 16


def test_every_choice_is_an_answer() -> None:
    """Four choices may each be as long as one."""
    assert Estimates().output_tokens(ask(cap=16, choices=4), TARGET.name) == 64


@pytest.mark.parametrize(("length", "answers"), [(60_000, 30), (5000, 30), (300, 150), (40, 900)])
def test_a_steady_length_is_learned(length: int, answers: int) -> None:
    """Long answers are learned at once, short ones by and by, to between once and twice that."""
    learned = taught(*[length] * answers).output_tokens(ask(), TARGET.name)
    assert length <= learned <= 2 * length


def test_the_estimate_is_a_high_quantile() -> None:
    """Nineteen of twenty answers fit into the hold, and it stays near what they need."""
    dice = random.Random(7)
    lengths = [int(dice.expovariate(1 / 200)) for _ in range(6000)]
    learned = Learned()
    over = 0
    for number, length in enumerate(lengths):
        over += number >= 1000 and length > learned.tokens
        learned.add(length)
    assert 0.02 < over / 5000 < 0.09
    assert 300 < learned.tokens < 1200  # the true quantile is 599


@given(st.lists(st.integers(0, 10**6), max_size=60))
def test_an_estimate_is_always_a_positive_number(lengths: list[int]) -> None:
    """Whatever was learned."""
    most = max([*lengths, FIRST_GUESS])
    assert 1 <= taught(*lengths).output_tokens(ask(), TARGET.name) <= most + 1


def test_deployments_are_learned_apart() -> None:
    """One that talks much does not make the others dear."""
    assert taught(*[9000] * 9).output_tokens(ask(), "p/other") == FIRST_GUESS


# --- input ----------------------------------------------------------------------------------------


@given(st.text(max_size=3000))
def test_input_is_estimated_from_its_bytes(words: str) -> None:
    """A third of the bytes, and never nothing."""
    call = ask(words=words)
    estimate = Estimates().prompt_tokens(call)
    assert estimate >= 8
    assert abs(estimate - call.body.size_bytes / 3) < 9


MEDIA = [
    Image(data="A" * 300_000, media_type="image/png"),
    Audio(data="A" * 300_000, format="wav"),
    File(data="A" * 300_000, media_type="application/pdf"),
    ToolResult(id="call_1", parts=(Image(data="A" * 300_000),)),
]


@pytest.mark.parametrize("part", MEDIA, ids=lambda part: type(part).__name__)
def test_a_picture_is_not_counted_as_text(part: Part) -> None:
    """Its base64 would be a hundred thousand tokens; it costs about as much as a page."""
    plain = Estimates().prompt_tokens(ask())
    assert plain + 1600 <= Estimates().prompt_tokens(ask(part)) < plain + 2000


def test_media_of_a_wire_request_are_found_in_its_typed_view() -> None:
    """A request that came as bytes is read only when it holds media."""
    read: list[int] = []

    def parse(fields: object) -> Prompt:
        read.append(1)
        return Prompt(messages=(Message(role="user", parts=(Image(data="A" * 30_000),)),))

    def wire(size_bytes: int, needs: frozenset[str]) -> Chat:
        return Chat(
            model="m",
            body=Wire(
                dialect="d",
                fields={"messages": Raw(b"[]")},
                parse=parse,
                message_count=1,
                size_bytes=size_bytes,
                max_output_tokens=None,
                needs=needs,  # type: ignore[arg-type]
            ),
        )

    assert Estimates().prompt_tokens(wire(300, frozenset())) == 108
    assert read == []
    assert Estimates().prompt_tokens(wire(30_300, frozenset({"images"}))) == 1708
    assert read == [1]


def test_a_wire_request_that_cannot_be_read_is_refused_before_it_is_quoted() -> None:
    """Also where there is no price, so that no hold and no record is left behind."""

    def parse(fields: object) -> Prompt:
        raise InputError("messages[0].content[0]: no such part", param="messages")

    body = Wire(
        dialect="d",
        fields={},
        parse=parse,
        message_count=1,
        size_bytes=300,
        max_output_tokens=None,
        needs=frozenset({"images"}),
    )
    for target in (TARGET, Deployment(provider="p", model="m")):
        with pytest.raises(InputError):
            Estimates().quote(Chat(model="m", body=body), target)


# --- quotes ---------------------------------------------------------------------------------------


def test_no_price_is_no_quote() -> None:
    """Unknown is not 0."""
    quote = Estimates(proving=True).quote(ask(cap=5), Deployment(provider="p", model="m"))
    assert (quote.estimate_nusd, quote.proven_nusd) == (None, None)


def test_the_estimate_is_priced_at_the_dearest_class() -> None:
    """Tokens may turn out to be written to a cache."""
    call = ask(cap=100)
    estimates = Estimates()
    assert estimates.quote(call, TARGET).estimate_nusd == bound(
        PRICE, input_tokens=estimates.prompt_tokens(call), output_tokens=100
    )


@given(
    words=st.text(max_size=200),
    cap=st.integers(1, 1000),
    choices=st.integers(1, 4),
    share=st.floats(0, 1),
    tools=st.integers(0, 3),
)
def test_a_proof_holds_whatever_the_provider_does(
    words: str, cap: int, choices: int, share: float, tools: int
) -> None:
    """One token for each byte sent and the cap for each choice, all in the dearest class."""
    messages = (say("user", words),)
    body = Prompt(
        messages=messages,
        max_output_tokens=cap,
        choices=choices,
        tools=tuple(Tool(name=f"t{n}") for n in range(tools)),
    )
    quote = Estimates(proving=True).quote(Chat(model="m", body=body), TARGET)
    worst = Usage(
        prompt_tokens=len(words.encode()),
        cache_write_tokens=round(len(words.encode()) * share),
        cache_write_1h_tokens=round(len(words.encode()) * share),
        completion_tokens=cap * choices,
    )
    charged = cost(worst, PRICE).nusd
    assert quote.proven_nusd is not None
    assert charged is not None
    assert charged <= quote.proven_nusd
    assert quote.estimate_nusd is not None
    assert quote.estimate_nusd <= quote.proven_nusd


@pytest.mark.parametrize("part", MEDIA, ids=lambda part: type(part).__name__)
def test_media_have_no_proof(part: Part) -> None:
    """Nobody can say from its bytes what a picture costs, wherever it stands."""
    assert Estimates(proving=True).quote(ask(part, cap=10), TARGET).proven_nusd is None


@pytest.mark.parametrize(
    ("dialect", "more"),
    [
        ("openai_chat", {"web_search_options": {}}),
        ("openai_chat", {"service_tier": "priority"}),
        ("openai_chat", {"tools": [{"type": "web_search"}]}),
        ("openai_chat", {"modalities": ["audio"]}),
        ("openai_text", {"unknown": 1}),
        ("anthropic", {"thread": {"type": "continue", "id": "t"}}),
        ("anthropic", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("anthropic", {"mcp_servers": []}),
        ("anthropic", {"container": "c"}),
        ("anthropic", {"inference_geo": "us"}),
    ],
)
def test_what_only_the_provider_knows_has_no_proof(dialect: str, more: dict[str, object]) -> None:
    """Its own tools, what it stores, other tiers of prices: the bytes say nothing of those."""
    own = {"type": "function", "function": {"name": "f"}}
    usual: dict[str, dict[str, object]] = {
        "openai_chat": {"messages": [{"role": "user", "content": "Hi"}], "tools": [own]},
        "openai_text": {"prompt": "Hi"},
        "anthropic": {
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"name": "f", "input_schema": {}}],
        },
    }
    read = load(dialect).read
    estimates = Estimates(proving=True)
    plain = {"model": "m", "max_tokens": 5, "metadata": {"user_id": "u"}, **usual[dialect]}
    assert estimates.quote(read(json.dumps(plain).encode()), TARGET).proven_nusd is not None
    assert estimates.quote(read(json.dumps(plain | more).encode()), TARGET).proven_nusd is None


@pytest.mark.parametrize("kind", ["function", "web_search"])
def test_typed_tools_that_the_provider_runs_have_no_proof(kind: str) -> None:
    """Nor have options that nobody here has heard of."""
    body = Prompt(
        messages=(say("user", "Hi"),),
        max_output_tokens=5,
        tools=(Tool(name="f", kind=kind),),
        extra={"metadata": {}} if kind == "function" else {},
    )
    proven = Estimates(proving=True).quote(Chat(model="m", body=body), TARGET).proven_nusd
    assert (proven is None) == (kind != "function")
    odd = Prompt(messages=body.messages, max_output_tokens=5, extra={"background": True})
    assert Estimates(proving=True).quote(Chat(model="m", body=odd), TARGET).proven_nusd is None


def test_without_a_cap_there_is_no_proof() -> None:
    """An answer without an end has no bound."""
    assert Estimates(proving=True).quote(ask(), TARGET).proven_nusd is None


def test_a_proof_is_made_only_for_strict_budgets() -> None:
    """Nobody else asks for it."""
    assert Estimates().quote(ask(cap=10), TARGET).proven_nusd is None


# --- service tiers --------------------------------------------------------------------------------

DEAR = Price(input_nusd=6_000_000_000, output_nusd=30_000_000_000)
CHEAP = Price(input_nusd=1_000_000_000, output_nusd=5_000_000_000)
IN_TIERS = replace(PRICE, service_tiers=(("flex", CHEAP), ("priority", DEAR)))
STANDARD_ONLY, RAISED = (PRICE,), (PRICE, DEAR)


def tiered(dialect: str = "openai_chat", **options: Any) -> Chat:
    """Make a call with options, as it comes off a wire."""
    asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, **options}
    chat: Chat = load(dialect).read(json.dumps(asked).encode())
    return chat


def dearest(prices: tuple[Price, ...], input_tokens: int) -> int:
    """Return the most that five tokens of answer cost at any of `prices`."""
    return max(bound(p, input_tokens=input_tokens, output_tokens=5) or 0 for p in prices)


@pytest.mark.parametrize(
    ("options", "likely", "possible"),
    [
        ({}, STANDARD_ONLY, RAISED),
        ({"service_tier": "auto"}, RAISED, RAISED),
        ({"service_tier": "default"}, STANDARD_ONLY, STANDARD_ONLY),
        ({"service_tier": "standard_only"}, STANDARD_ONLY, STANDARD_ONLY),
        ({"service_tier": "priority"}, RAISED, RAISED),
        ({"service_tier": "flex"}, (PRICE, CHEAP), (PRICE, CHEAP)),
        ({"service_tier": 5}, STANDARD_ONLY, RAISED),
    ],
)
def test_the_tier_that_is_asked_for_is_held(
    options: dict[str, Any], likely: tuple[Price, ...], possible: tuple[Price, ...]
) -> None:
    """With the standard one, which may be served instead; where the provider chooses, `priority`.

    To be safe it is proven with `priority` where the request leaves it open, and likely without.
    """
    estimates, call = Estimates(proving=True), tiered(**options)
    quote = estimates.quote(call, replace(TARGET, price=IN_TIERS))
    assert quote.priced
    assert quote.estimate_nusd == dearest(likely, estimates.prompt_tokens(call))
    assert quote.proven_nusd == dearest(possible, call.body.size_bytes + 64)
    typed = Chat(model="m", body=call.prompt)
    assert estimates.quote(typed, replace(TARGET, price=IN_TIERS)).estimate_nusd == dearest(
        likely, estimates.prompt_tokens(typed)
    )


@pytest.mark.parametrize("options", [{"service_tier": "scale"}, {"speed": "fast"}])
def test_a_tier_without_a_price_is_held_as_standard_and_has_no_proof(
    options: dict[str, Any],
) -> None:
    """So that a budget can refuse it, and one that does not has something to hold."""
    estimates, call = Estimates(proving=True), tiered(**options)
    target = replace(TARGET, price=IN_TIERS)
    standard_nusd = dearest(STANDARD_ONLY, estimates.prompt_tokens(call))
    assert estimates.quote(call, target) == Quote(standard_nusd, None, priced=False)


@pytest.mark.parametrize(
    ("dialect", "options", "tier"),
    [
        ("bedrock", {"serviceTier": {"type": "priority"}}, "priority"),
        ("bedrock", {"performanceConfig": {"latency": "optimized"}}, "optimized"),
        (
            "bedrock",
            {"performanceConfig": {"latency": "optimized"}, "serviceTier": {"type": "flex"}},
            "flex-optimized",
        ),
        ("bedrock", {"performanceConfig": {"latency": "standard"}}, ""),
        ("bedrock", {"serviceTier": "priority", "performanceConfig": None}, ""),
        ("bedrock", {"service_tier": "flex"}, ""),
        ("openai_chat", {"serviceTier": {"type": "priority"}}, ""),
        ("anthropic", {"speed": "fast"}, "fast"),
    ],
)
def test_a_tier_is_known_in_whatever_dialect_it_is_asked_for(
    dialect: str, options: dict[str, Any], tier: str
) -> None:
    """Bedrock and Anthropic take words of their own from every caller; others do not read them."""
    call, target = tiered(**options), replace(TARGET, dialect=dialect)
    assert Estimates().quote(call, target).priced is (tier == "")
    priced = replace(target, price=replace(PRICE, service_tiers=((tier, DEAR),)))
    assert Estimates().quote(call, priced).priced
    assert asked_tier(call, priced) == tier


def test_an_answer_that_did_not_say_is_charged_in_the_tier_asked_for() -> None:
    """Where it has a price, and where the deployment was sent the option at all."""
    target = replace(TARGET, price=IN_TIERS)
    assert asked_tier(tiered(service_tier="flex"), target) == "flex"
    assert asked_tier(tiered(service_tier="auto"), target) == ""
    assert asked_tier(tiered(service_tier="flex"), TARGET) == ""
    assert asked_tier(tiered(service_tier="flex"), replace(target, price=None)) == ""
    assert asked_tier(tiered("anthropic", service_tier="flex"), target) == ""
    assert asked_tier(tiered(service_tier="flex"), replace(target, dialect="anthropic")) == ""
    fast = replace(
        target, dialect="anthropic", price=replace(PRICE, service_tiers=(("fast", DEAR),))
    )
    assert asked_tier(tiered("anthropic", speed="fast"), fast) == "fast"


def test_what_only_its_provider_can_read_is_estimated_by_its_bytes() -> None:
    """A picture beside an earlier answer that OpenAI holds does not keep a call from OpenAI."""
    picture = {"type": "input_image", "image_url": "https://x.test/a.png"}
    asked = {
        "input": [{"role": "user", "content": [picture]}],
        "previous_response_id": "resp_1",
    }
    call = load("openai_responses").read(json.dumps(asked).encode())
    assert 0 < Estimates().prompt_tokens(call) < 1000


def test_what_the_provider_holds_may_fill_the_context() -> None:
    """It is read and charged for, whatever few bytes name it; where no size is known they count."""
    asked = {"input": "Go on", "previous_response_id": "resp_1", "max_output_tokens": 20}
    call = load("openai_responses").read(json.dumps(asked).encode())
    plain = load("openai_text").read(b'{"prompt": "Go on", "max_tokens": 20}')
    target = Deployment(provider="p", model="m", context_window=100_000, price=PRICE)
    estimates = Estimates()
    assert estimates.read_tokens(call, target) == 100_000
    assert (estimates.quote(call, target).estimate_nusd or 0) > PRICE.input_nusd // 10
    assert estimates.read_tokens(call, replace(target, context_window=None)) < 100
    assert estimates.read_tokens(plain, target) < 100
