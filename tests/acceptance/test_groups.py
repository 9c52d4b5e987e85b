"""Seeds 001 and 004: groups of deployments behind one name, over real connections."""

import inspect
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine
from tests.unit.config.seeds import FIVE_FALLBACKS, FIVE_GROUPS, TWO_FALLBACKS, TWO_GROUPS
from trunkline import LLMResponse, Trunkline, complete, dialects, errors
from trunkline.config import from_model_list
from trunkline.llm_service import use
from trunkline.testing import Answer, FakeUpstream, Request, Status, answer_hello

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
PICTURE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
DOWN = Status(500, {"error": {"message": "internal", "type": "server_error"}})
CLAUDE = "claude-sonnet-4-20250514"

Seed = Callable[..., Awaitable[Trunkline]]


@pytest.fixture
async def seed(up: FakeUpstream) -> Any:
    """Build lines from a promised list, with every provider at one upstream, told by its path."""
    lines: list[Trunkline] = []

    async def make(groups: list[Any], fallbacks: list[Any], **more: Any) -> Trunkline:
        moved = []
        for entry in groups:
            params = entry["litellm_params"]
            base = f"{up.url}/{params['model'].partition('/')[0]}"
            moved.append({**entry, "litellm_params": {**params, "api_base": f"{base}/v1"}})
        config = from_model_list(moved, fallbacks=fallbacks, num_retries=0, **more)
        lines.append(Trunkline(config))
        use(lines[-1])
        return lines[-1]

    yield make
    use(None)
    for line in lines:
        await line.close()


def asked(up: FakeUpstream) -> list[tuple[str, str]]:
    """Return (provider, model) of every request."""
    return [(request.path.split("/")[1], request.json()["model"]) for request in up.requests]


def failing(*providers: str) -> Callable[[Request], Answer]:
    """Answer for all but these providers."""
    return lambda request: (
        DOWN if request.path.split("/")[1] in providers else answer_hello(request)
    )


@pytest.mark.acceptance("K02")
@pytest.mark.parametrize("name", ["fast", "local", "economy"])
async def test_local_groups_ask_the_local_model(seed: Seed, up: FakeUpstream, name: str) -> None:
    """At the address of the settings, and only there."""
    await seed(FIVE_GROUPS, FIVE_FALLBACKS)
    await complete(name, HELLO, "t")
    assert asked(up) == [("ollama", "qwen3:32b")]
    assert up.requests[0].path == "/ollama/api/chat"


@pytest.mark.acceptance("K02")
async def test_the_short_list_has_a_smaller_model(seed: Seed, up: FakeUpstream) -> None:
    """The two-group form."""
    await seed(TWO_GROUPS, TWO_FALLBACKS)
    await complete("fast", HELLO, "t")
    assert asked(up) == [("ollama", "qwen3:8b")]


@pytest.mark.acceptance("K03", "X05")
async def test_quality_is_claude_then_gpt(seed: Seed, up: FakeUpstream) -> None:
    """Without a strategy the order of the list holds; the second is asked when the first fails."""
    await seed(TWO_GROUPS, TWO_FALLBACKS)
    for _ in range(3):
        await complete("quality", HELLO, "t")
    assert asked(up) == [("anthropic", CLAUDE)] * 3
    up.on(failing("anthropic"))
    assert (await complete("quality", HELLO, "t")).content
    assert asked(up)[3:] == [("anthropic", CLAUDE), ("openai", "gpt-4o")]


@pytest.mark.acceptance("X05")
async def test_with_latency_routing_both_are_equal(seed: Seed, up: FakeUpstream) -> None:
    """Either may be the first, and the other one is asked when it fails."""
    await seed(TWO_GROUPS, TWO_FALLBACKS, routing_strategy="latency-based-routing")
    for _ in range(30):
        await complete("quality", HELLO, "t")
    counted = Counter(provider for provider, _ in asked(up))
    assert set(counted) == {"anthropic", "openai"}
    for down, well in (("anthropic", "openai"), ("openai", "anthropic")):
        up.on(failing(down))
        for _ in range(4):
            await complete("quality", HELLO, "t")
            assert asked(up)[-1][0] == well


@pytest.mark.acceptance("K04")
async def test_balanced_is_the_local_model_then_claude(seed: Seed, up: FakeUpstream) -> None:
    """The second is asked when the first fails."""
    await seed(FIVE_GROUPS, FIVE_FALLBACKS)
    await complete("balanced", HELLO, "t")
    assert asked(up) == [("ollama", "qwen3:32b")]
    up.on(failing("ollama"))
    await complete("balanced", HELLO, "t")
    assert asked(up)[1:] == [("ollama", "qwen3:32b"), ("anthropic", CLAUDE)]


@pytest.mark.acceptance("K05")
@pytest.mark.parametrize(
    ("groups", "fallbacks"), [(FIVE_GROUPS, FIVE_FALLBACKS), (TWO_GROUPS, TWO_FALLBACKS)]
)
async def test_quality_falls_back_to_fast(
    seed: Seed, up: FakeUpstream, groups: list[Any], fallbacks: list[Any]
) -> None:
    """When both of its own fail; the row of the call tells the way."""
    line = await seed(groups, fallbacks)
    up.on(failing("anthropic", "openai"))
    assert (await complete("quality", HELLO, "t")).content
    assert [provider for provider, _ in asked(up)] == ["anthropic", "openai", "ollama"]
    line.flush()
    [row] = line.store.calls(10)
    assert [attempt.deployment.partition("/")[0] for attempt in row.attempts] == [
        "anthropic",
        "openai",
        "ollama",
    ]


@pytest.mark.acceptance("K18")
async def test_it_raises_when_all_of_them_fail(seed: Seed, up: FakeUpstream) -> None:
    """With every deployment and what was wrong with it."""
    await seed(FIVE_GROUPS, FIVE_FALLBACKS)
    up.on(failing("anthropic", "openai", "ollama"))
    with pytest.raises(errors.AllProvidersUnavailable) as caught:
        await complete("quality", HELLO, "t")
    assert [name for name, _ in caught.value.causes] == [
        f"anthropic/{CLAUDE}",
        "openai/gpt-4o",
        "ollama/qwen3:32b",
    ]
    with pytest.raises(errors.UpstreamFailed):
        await complete("fast", HELLO, "t")


@pytest.mark.acceptance("K06")
async def test_the_faster_one_is_favoured_once_warm(up: FakeUpstream, make_line: MakeLine) -> None:
    """10 ms against 300 ms: the slow one is tried, then left to the others; the row says why."""
    line = make_line(
        providers={
            name: {"type": "openai_compatible", "base_url": f"{up.url}/{name}/v1"}
            for name in ("slow", "quick")
        },
        groups={"g": {"deployments": ["slow/m", "quick/m"], "strategy": "latency"}},
    )
    late_s = {"slow": 0.3, "quick": 0.01}
    up.on(lambda request: answer_hello(request).late(late_s[request.path.split("/")[1]]))
    for _ in range(25):
        await complete("g", HELLO, "t")
    providers = [provider for provider, _ in asked(up)]
    assert Counter(providers)["slow"] <= 2
    assert set(providers[3:]) == {"quick"}
    line.flush()
    assert any("best of 2" in word for word in line.store.calls(1)[0].call.route)


@pytest.mark.acceptance("K12")
async def test_complete_takes_openai_messages_and_gives_a_response(
    seed: Seed, up: FakeUpstream
) -> None:
    """`complete(model_group, messages, tenant_id, tools=None)`; system text reaches Claude too."""
    assert list(inspect.signature(complete).parameters)[:4] == [
        "model_group",
        "messages",
        "tenant_id",
        "tools",
    ]
    assert inspect.signature(complete).parameters["tools"].default is None
    await seed(FIVE_GROUPS, FIVE_FALLBACKS)
    assert isinstance(await complete("fast", HELLO, "t"), LLMResponse)
    assert isinstance(await complete("quality", HELLO, "t"), LLMResponse)
    to_ollama, to_claude = (request.json() for request in up.requests)
    assert to_ollama["messages"] == HELLO
    assert to_claude["system"] == "Be brief."
    assert [message["role"] for message in to_claude["messages"]] == ["user"]


@pytest.mark.acceptance("K15")
@pytest.mark.parametrize("name", ["fast", "quality"])
async def test_tools_are_sent_only_when_there_are_any(
    seed: Seed, up: FakeUpstream, name: str
) -> None:
    """Neither null nor an empty list reaches a provider."""
    await seed(FIVE_GROUPS, FIVE_FALLBACKS)
    for tools in (None, [], [TOOL]):
        await complete(name, HELLO, "t", tools)
    assert ["tools" in request.json() for request in up.requests] == [False, False, True]


@pytest.mark.acceptance("A15")
@pytest.mark.parametrize(
    ("messages", "tools"),
    [(HELLO, [TOOL]), ([{"role": "user", "content": PICTURE}], None)],
    ids=["tools", "a picture"],
)
async def test_who_cannot_take_the_call_is_not_asked(
    up: FakeUpstream, make_line: MakeLine, messages: list[Any], tools: list[Any] | None
) -> None:
    """Nothing is sent to it; who is left out is on the row; nobody left names the field."""
    plain = {"name": "m", "lacks": ["tools", "images"]}
    at = {"type": "openai_compatible", "retries": 0}
    line = make_line(
        providers={
            "plain": {**at, "base_url": f"{up.url}/plain/v1", "models": [plain]},
            "able": {**at, "base_url": f"{up.url}/able/v1"},
        },
        groups={
            "g": {"deployments": ["plain/m", "able/m"]},
            "only": {"deployments": ["plain/m"]},
        },
    )
    await complete("g", messages, "t", tools)
    await complete("g", HELLO, "t")
    assert [provider for provider, _ in asked(up)] == ["able", "plain"]
    with pytest.raises(errors.CapabilityMissing, match="plain/m") as caught:
        await complete("only", messages, "t", tools)
    assert caught.value.param == ("tools" if tools else "messages[0].content[0]")
    line.flush()
    routes = [" ".join(row.call.route) for row in line.store.calls(10)]
    assert any("plain/m" in route and "lacks" in route for route in routes)


@pytest.mark.acceptance("A15")
@pytest.mark.parametrize(
    ("dialect", "field", "wanted", "off"),
    [
        ("openai_chat", "reasoning_effort", "low", "none"),
        ("openai_responses", "reasoning", {"effort": "low"}, {"effort": "none"}),
        ("anthropic", "thinking", {"type": "adaptive"}, {"type": "disabled"}),
    ],
)
async def test_who_does_not_think_is_not_asked_to(
    up: FakeUpstream, make_line: MakeLine, dialect: str, field: str, wanted: Any, off: Any
) -> None:
    """Another one is, or the error names the caller's field; to ask for no thoughts is no need."""
    at = {"type": "openai_compatible", "base_url": f"{up.url}/v1", "retries": 0}
    line = make_line(
        providers={
            "plain": {**at, "models": [{"name": "m", "lacks": ["reasoning"]}]},
            "able": {**at, "models": ["r"]},
        },
        groups={"g": {"deployments": ["plain/m", "able/r"]}},
    )

    async def ask(model: str, said: Any) -> None:
        content = {"input": "Hi"} if dialect == "openai_responses" else {"messages": HELLO}
        body = json.dumps({"model": model, "max_tokens": 9, field: said, **content})
        async with await line(dialects.load(dialect).read(body.encode())) as reply:
            await reply.message()

    await ask("g", wanted)
    await ask("g", off)
    assert [request.json()["model"] for request in up.requests] == ["r", "m"]
    with pytest.raises(errors.CapabilityMissing) as caught:
        await ask("m", wanted)
    assert caught.value.param == field


@pytest.mark.acceptance("A21")
async def test_load_is_shared_by_weight(up: FakeUpstream, make_line: MakeLine) -> None:
    """Three calls to one; a weight of 0 gets none while the others answer."""
    make_line(
        providers={
            name: {"type": "openai_compatible", "base_url": f"{up.url}/{name}/v1", "retries": 0}
            for name in "abc"
        },
        groups={
            "g": {
                "strategy": "weighted",
                "deployments": [
                    {"model": "a/m", "weight": 3},
                    {"model": "b/m", "weight": 1},
                    {"model": "c/m", "weight": 0},
                ],
            }
        },
    )
    for _ in range(200):
        await complete("g", HELLO, "t")
    counted = Counter(provider for provider, _ in asked(up))
    assert counted["c"] == 0
    assert 120 <= counted["a"] <= 178
    up.on(failing("a", "b"))
    await complete("g", HELLO, "t")
    assert asked(up)[-1] == ("c", "m")
