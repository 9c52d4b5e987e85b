"""Who is asked for one call: who can take it, in which order, and where to go after an error."""

import datetime
import json
import timeit
from itertools import cycle
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.routing.asking import CHAIN, OPUS, PROVIDERS, ask, config
from trunkline import dialects
from trunkline.errors import (
    CapabilityMissing,
    ConnectionLost,
    ContentBlocked,
    ContextTooLong,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    TrunklineError,
    UpstreamRateLimited,
)
from trunkline.routing.health import Health
from trunkline.routing.plan import Plan, Planner, Skip
from trunkline.testing import ManualClock
from trunkline.types import Audio, Chat, CountTokens, Embed, Message, Prompt, Text, Texts


def test_who_cannot_take_a_part_is_passed_over() -> None:
    """Where nobody is left the part is named; words of an earlier answer are no sound."""
    sound = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    text = {"type": "text", "text": "What is said?"}
    said = [{"role": "system", "content": "Hi"}, {"role": "user", "content": [text, sound]}]
    body = dialects.load("openai_chat").read(json.dumps({"messages": said}).encode()).body
    groups = {"claude": {"deployments": [OPUS]}}
    providers = {**PROVIDERS, "vllm": {"models": ["llama2"]}}
    planner = Planner(config(fallback_chain=[*CHAIN, "vllm"], providers=providers, groups=groups))
    assert (
        planner.plan(Chat(model="gpt-4", body=body)).candidates[0].deployment.name == "openai/gpt-4"
    )
    assert [
        c.deployment.provider for c in planner.plan(Chat(model=OPUS, body=body)).candidates
    ] == ["vllm"]
    with pytest.raises(CapabilityMissing, match=f"nothing that {OPUS} can take") as caught:
        planner.plan(Chat(model="claude", body=body))
    assert caught.value.param == "messages[1].content[1]"
    answer = Message(role="assistant", parts=(Audio(id="a", transcript="Yes."),))
    assert planner.plan(Chat(model="claude", body=Prompt(messages=(answer,)))).candidates


class Hour:
    """A clock that stands still until it is told the time."""

    def __init__(self, hour: int) -> None:
        self.set(hour)

    def set(self, hour: int) -> None:
        moment = datetime.datetime(2026, 11, 20, hour, tzinfo=datetime.UTC)
        self.ns = int(moment.timestamp()) * 10**9

    def now_ns(self) -> int:
        return self.ns


def test_price_follows_the_hour() -> None:
    """DeepSeek charges by the time of day, and a plan that is remembered must not hide it."""
    built = config(providers={"deepseek": {"api_key": "k"}}, default_provider="deepseek")
    clock = Hour(2)
    planner = Planner(built, clock)  # type: ignore[arg-type]

    def price() -> object:
        return planner.plan(ask("deepseek-chat")).candidates[0].deployment.price

    early = price()
    clock.set(20)
    late = price()
    assert early is not None
    assert late is not None
    assert early != late


def test_the_price_of_a_deployment_in_a_group_wins() -> None:
    """Only there: the same model by its own name costs what the provider's price says."""
    deployments = [{"model": "openai/gpt-4o", "price": {"input": 1, "output": 2}}]
    built = config(
        providers={"openai": {"api_key": "k"}}, groups={"quality": {"deployments": deployments}}
    )
    planner = Planner(built)
    own, listed = (
        planner.plan(ask(name)).candidates[0].deployment for name in ("quality", "openai/gpt-4o")
    )
    assert own.price is not None
    assert own.price.configured
    assert own.price.input_nusd == 10**9
    assert listed.price is not None
    assert not listed.price.configured


def test_plans_are_remembered_and_bounded() -> None:
    """Callers choose the names, so they must not choose how much memory is used."""
    planner = Planner(config(providers={"ollama": {}}, default_provider="ollama"))
    assert planner.plan(ask("m")) is planner.plan(ask("m"))
    for number in range(10_000):
        planner.plan(ask(f"m{number}"))
    assert len(planner._ways) <= 4096


def test_remembered_plan_is_quick() -> None:
    """The best of several rounds, so that a busy machine does not fail it."""
    planner = Planner(config(fallback_chain=CHAIN))
    call = ask("gpt-4o")
    best_s = min(timeit.repeat(lambda: planner.plan(call), number=2000, repeat=7)) / 2000
    assert best_s < 5e-6


def text_of(size_bytes: int, model: str = "g", **fields: Any) -> Chat:
    """Return a call whose text has so many bytes."""
    parts = (Text("x" * size_bytes),)
    body = Prompt(messages=(Message(role="user", parts=parts),), **fields)
    return Chat(model=model, body=body)


def group(*deployments: Any, **fields: Any) -> dict[str, Any]:
    """Return a group."""
    return {"deployments": list(deployments), **fields}


def asked(plan: Plan) -> list[str]:
    """Return whom a plan names."""
    return [candidate.deployment.name for candidate in plan.candidates]


SMALL = {"model": "ollama/small", "context_window": 1000}
LARGE = {"model": "ollama/large", "context_window": 10_000}
TEXT = {"model": "ollama/text", "lacks": ["images", "tools", "schema", "reasoning"]}


@pytest.mark.acceptance("A15")
def test_a_prompt_that_will_not_fit_is_kept_from_where_another_can_take_it() -> None:
    """By a guess; the reason is on the plan."""
    planner = Planner(config(groups={"g": group(SMALL, LARGE)}))
    assert asked(planner.plan(text_of(1000))) == ["ollama/small", "ollama/large"]
    plan = planner.plan(text_of(8000))
    assert asked(plan) == ["ollama/large"]
    (skip,) = plan.skipped
    assert skip.name == "ollama/small"
    assert skip.why.startswith("context of 1000 tokens, the prompt has about 20")


def test_where_it_may_fit_nobody_it_is_sent_unless_it_is_far_too_long() -> None:
    """A guess refuses nothing that might be answered."""
    planner = Planner(config(groups={"g": group(SMALL)}))
    assert asked(planner.plan(text_of(6000))) == ["ollama/small"]
    with pytest.raises(ContextTooLong, match="ollama/small can take 1000 at most") as caught:
        planner.plan(text_of(20_000))
    assert caught.value.param == "messages"
    assert not caught.value.sent


@pytest.mark.acceptance("A15")
@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}], "tools"),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
            "response_format",
        ),
        ("reasoning_effort", "low", "reasoning_effort"),
    ],
)
def test_who_lacks_what_a_call_needs_is_skipped(field: str, value: Any, param: str) -> None:
    """With the reason; where nobody is left, the error names the field as the caller spelled it."""
    planner = Planner(config(groups={"g": group(TEXT, OPUS), "text": group(TEXT)}))
    said = {"messages": [{"role": "user", "content": "Hi"}], field: value}
    body = dialects.load("openai_chat").read(json.dumps(said).encode()).body
    plan = planner.plan(Chat(model="g", body=body))
    assert asked(plan) == [OPUS]
    (need,) = body.needs
    assert plan.skipped == (Skip("ollama/text", f"lacks {need}"),)
    with pytest.raises(CapabilityMissing, match="nothing that ollama/text can take") as caught:
        planner.plan(Chat(model="text", body=body))
    assert caught.value.param == param


def test_who_cannot_write_that_much_is_skipped() -> None:
    """A cap above what a model can write is refused by its provider."""
    short = {"model": "ollama/short", "max_output": 4096}
    planner = Planner(config(groups={"g": group(short, OPUS), "short": group(short)}))
    call = text_of(10, max_output_tokens=5000)
    assert planner.plan(call).skipped == (Skip("ollama/short", "writes 4096 tokens at most"),)
    with pytest.raises(CapabilityMissing, match="write 4096 or less") as caught:
        planner.plan(text_of(10, "short", max_output_tokens=5000))
    assert caught.value.param == "max_output_tokens"


def test_a_fixed_order_is_the_same_plan_until_somebody_rests() -> None:
    """Who rests is asked last, after the fallbacks too, with the reason."""
    health, clock = Health(), ManualClock()
    groups = {"g": group(SMALL, OPUS, fallbacks=["last"]), "last": group("ollama/last")}
    planner = Planner(config(groups=groups), clock, health)
    plan = planner.plan(ask("g"))
    assert planner.plan(ask("g")) is plan
    circuit = health.of("ollama/small").circuit
    for _ in range(20):
        circuit.fail(ConnectionLost("reset"), 0.0, circuit.era)
    circuit.until_s = 7.5
    resting = planner.plan(ask("g"))
    assert asked(resting) == [OPUS, "ollama/last", "ollama/small"]
    assert [candidate.reason for candidate in resting.candidates] == [
        "first of 2",
        "",
        "resting for 8 s",
    ]


def test_who_recovers_comes_after_the_fallbacks_most_of_the_time() -> None:
    """Else the whole group would be upon it at once."""
    health, clock, chances = Health(), ManualClock(), iter([0.09, 0.11])
    groups = {"g": group("ollama/a", fallbacks=["last"]), "last": group("ollama/last")}
    planner = Planner(config(groups=groups), clock, health, lambda: next(chances))
    circuit = health.of("ollama/a").circuit
    for _ in range(20):
        circuit.fail(ConnectionLost("reset"), 0.0, circuit.era)
    circuit.until_s = 0.0
    assert asked(planner.plan(ask("g"))) == ["ollama/a", "ollama/last"]
    plan = planner.plan(ask("g"))
    assert asked(plan) == ["ollama/last", "ollama/a"]
    assert plan.candidates[1].reason == "recovering"


def test_a_fixed_order_gives_way_to_silence() -> None:
    """Nobody need wait for the time-out of the first."""
    health, clock = Health(), ManualClock()
    planner = Planner(config(groups={"g": group("ollama/a", "ollama/b")}), clock, health)
    vital = health.of("ollama/a")
    for _ in range(20):
        vital.pace.hear(0.0, 0.25)
    vital.busy = 1
    vital.ask(0.0)
    clock.advance(0.9)
    assert asked(planner.plan(ask("g"))) == ["ollama/a", "ollama/b"]
    clock.advance(0.2)
    assert asked(planner.plan(ask("g"))) == ["ollama/b", "ollama/a"]


def test_a_strategy_decides_for_each_call() -> None:
    """By what is known then; the fallbacks come after it, with a choice of their own."""
    health, clock = Health(), ManualClock()
    groups = {
        "g": group("ollama/a", "ollama/b", strategy="latency", fallbacks=["last"]),
        "last": group("ollama/c", "ollama/d", strategy="latency"),
    }
    planner = Planner(config(groups=groups), clock, health)
    for fast in ("bc", "ad"):
        for name in "abcd":
            for _ in range(60):
                health.of(f"ollama/{name}").pace.hear(0.0, 0.5 if name in fast else 5.0)
        plan = planner.plan(ask("g"))
        assert [name[-1] for name in asked(plan)[::2]] == list(fast)
        assert plan.candidates[0].reason.startswith("latency 0.5")
        assert plan.candidates[2].note == "group last instead of g"


def test_sticky_follows_a_conversation() -> None:
    """What comes after the first question changes nothing, the question itself does."""
    names_ = [f"ollama/{name}" for name in "abcdefgh"]
    planner = Planner(config(groups={"g": group(*names_, strategy="sticky")}))

    def home(*turns: str) -> str:
        messages = [{"role": "system", "content": "Be brief."}]
        roles = ("user", "assistant")
        messages += [{"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]
        body = dialects.load("openai_chat").read(json.dumps({"messages": messages}).encode()).body
        return asked(planner.plan(Chat(model="g", body=body)))[0]

    assert home("Hi") == home("Hi", "Hello!", "Go on")
    assert len({home(str(number)) for number in range(50)}) > 4


@pytest.mark.parametrize(
    ("kind", "error", "own"),
    [
        ("context_window_fallbacks", ContextTooLong("too long"), False),
        ("content_policy_fallbacks", ContentBlocked("no"), False),
        ("rate_limit_fallbacks", UpstreamRateLimited("429"), True),
        ("rate_limit_fallbacks", QuotaExhausted("no money"), True),
        ("rate_limit_fallbacks", RateLimited("ours"), True),
        ("rate_limit_fallbacks", Overloaded("full"), True),
    ],
)
def test_an_error_may_have_its_own_way(kind: str, error: TrunklineError, own: bool) -> None:
    """Where somebody else of the group may have room, they come first; other errors go on."""
    groups = {
        "g": group("ollama/a", "ollama/b", fallbacks=["usual"], **{kind: ["special"]}),
        "usual": group("ollama/usual"),
        "special": group("ollama/special", fallbacks=["after"]),
        "after": group("ollama/after"),
    }
    plan = Planner(config(groups=groups)).plan(ask("g"))
    assert asked(plan) == ["ollama/a", "ollama/b", "ollama/usual"]
    way = plan.instead(error)
    assert way is not None
    expected = ["ollama/special", "ollama/after"]
    if own:
        expected = ["ollama/a", "ollama/b", *expected, "ollama/usual"]
    assert [candidate.deployment.name for candidate in way] == expected
    assert plan.instead(ConnectionLost("reset")) is None


VECTORS = {
    "openai": {"api_key": "k"},
    "azure": {"type": "openai_compatible", "base_url": "http://a"},
}


def embedding(model: str) -> Embed:
    """Return a call for a vector."""
    return Embed(
        model=model,
        body=Texts(dialect="openai_embeddings", fields={}, inputs=("a",), size_bytes=9),
    )


def test_vectors_turn_only_to_the_same_model() -> None:
    """Those of another model would be taken for the same space, and nobody would ever notice."""
    turns = {"context_window_fallbacks": ["other"], "rate_limit_fallbacks": ["other", "same"]}
    groups = {
        "g": group("openai/small", **turns),
        "other": group("openai/large"),
        "same": group("azure/small"),
    }
    planner = Planner(config(providers=VECTORS, groups=groups))
    plan = planner.plan(embedding("g"))
    assert plan.instead(ContextTooLong("too long")) is None
    way = plan.instead(UpstreamRateLimited("429"))
    assert way is not None
    assert [candidate.deployment.name for candidate in way] == ["openai/small", "azure/small"]


def test_a_count_turns_to_nobody() -> None:
    """The count of another model is another number."""
    groups = {"g": group(OPUS, rate_limit_fallbacks=["b"]), "b": group("openai/gpt-4")}
    call = CountTokens(model="g", body=Prompt(messages=()))
    plan = Planner(config(groups=groups)).plan(call)
    assert asked(plan) == [OPUS]
    assert plan.instead(UpstreamRateLimited("429")) is None


def test_vectors_are_asked_for_by_the_strategy_of_the_group() -> None:
    """Weights and tiers count as they do for chats."""
    rows = [
        {"model": "openai/small", "weight": 1},
        {"model": "azure/small", "weight": 1},
        {"model": "azure/org/small", "priority": 1},
    ]
    groups = {"g": {"strategy": "weighted", "deployments": rows}}
    chances = cycle([0.1, 0.9, 0.5, 0.9, 0.1, 0.5])
    planner = Planner(config(providers=VECTORS, groups=groups), chance=lambda: next(chances))
    orders = [asked(planner.plan(embedding("g"))) for _ in range(2)]
    assert sorted(orders) == [
        ["azure/small", "openai/small", "azure/org/small"],
        ["openai/small", "azure/small", "azure/org/small"],
    ]


def test_a_way_that_nobody_on_it_can_take_is_none() -> None:
    """The usual one is left then."""
    groups = {
        "g": group(OPUS, rate_limit_fallbacks=["b"], content_policy_fallbacks=["b"]),
        "b": group(TEXT),
    }
    said = {
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    body = dialects.load("openai_chat").read(json.dumps(said).encode()).body
    plan = Planner(config(groups=groups)).plan(Chat(model="g", body=body))
    assert plan.instead(ContentBlocked("no")) is None


def test_too_long_for_one_is_too_long_for_those_that_are_no_longer() -> None:
    """Whatever had been guessed."""
    same = {"model": "ollama/same", "context_window": 1000}
    plan = Planner(config(groups={"g": group(SMALL, same, LARGE, "ollama/x")})).plan(ask("g"))
    error = ContextTooLong("too long")
    assert plan.instead(error) is None
    error.deployment = "ollama/small"
    way = plan.instead(error)
    assert way is not None
    assert [each.deployment.name for each in way] == ["ollama/large", "ollama/x"]


def test_a_plan_can_be_explained() -> None:
    """Everybody with a score and a reason, and those that are left out."""
    health, clock = Health(), ManualClock()
    groups = {"g": group(TEXT, "ollama/a", "ollama/b", strategy="latency")}
    planner = Planner(config(groups=groups, aliases={"best": "g"}), clock, health)
    health.of("ollama/a").pace.hear(0.0, 0.5)
    health.of("ollama/b").pace.hear(0.0, 0.25)
    body = dialects.load("openai_chat").read(
        b'{"messages": [{"role": "user", "content": "Hi"}], '
        b'"tools": [{"type": "function", "function": {"name": "f"}}]}'
    )
    told = planner.explain(replace(body, model="best"))
    assert (told.group, told.strategy) == ("g", "latency")
    assert [(one.name, one.why, one.score) for one in told.candidates] == [
        ("ollama/b", "latency 0.25 s, best of 2", 0.25),
        ("ollama/a", "latency 0.50 s, number 2 of 2", 0.5),
    ]
    assert told.skipped == (Skip("ollama/text", "lacks tools"),)
    plain = planner.explain(ask("openai/gpt-4o"))
    assert (plain.group, plain.strategy) == (None, "priority")


def test_what_only_its_provider_can_read_is_nobodys_lack() -> None:
    """Who cannot take pictures is not refused a call that nobody here can read."""
    asked = {
        "model": OPUS,
        "previous_response_id": "resp_1",
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}],
            }
        ],
    }
    chat = dialects.load("openai_responses").read(json.dumps(asked).encode())
    lists = [{"name": "claude-opus", "lacks": ["images"], "context_window": 100}]
    providers = {**PROVIDERS, "anthropic": {"api_key": "k", "models": lists}}
    plan = Planner(config(providers=providers)).plan(chat)
    assert plan.candidates[0].deployment.name == OPUS
