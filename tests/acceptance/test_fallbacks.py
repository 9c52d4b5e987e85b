"""Fallbacks by cause and second attempts, over real sockets: who is asked, told and billed."""

from typing import Any

import aiohttp
import pytest

from tests.acceptance.conftest import MakeLine
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline, errors
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    chat_usage,
    hang,
)
from trunkline.types import Chat, Prompt, say

DOWN = Status(500, {"error": {"message": "internal", "type": "server_error"}})


def line_of(up: FakeUpstream, make_line: MakeLine, **groups: Any) -> Trunkline:
    """Build a line of three providers at one upstream, told apart by their path."""
    price = {"input": 1, "output": 1}
    providers = {
        name: {
            "type": "openai",
            "api_key": "k" * 20,
            "base_url": f"{up.url}/{name}/v1",
            "retries": 0,
            "models": [{"name": "m", "price": price}],
        }
        for name in ("one", "two", "three")
    }
    return make_line(default_provider="one", providers=providers, groups=groups)


def by_path(up: FakeUpstream, **answers: Answer) -> None:
    """Have each provider answer in its way."""
    up.on(lambda request: answers[request.path.split("/")[1]])


def asked(up: FakeUpstream) -> list[str]:
    """Return who was asked, in order."""
    return [request.path.split("/")[1] for request in up.requests]


async def ask(line: Trunkline, *, stream: bool = False) -> str:
    """Ask the group `g`; return the words of the answer."""
    call = Chat(model="g", body=Prompt(messages=(say("user", "hi"),)), stream=stream)
    async with await line(call) as reply:
        return (await reply.message()).text


def error(status: int, code: str) -> Answer:
    """Return an error of a provider."""
    return Status(status, {"error": {"message": "no", "code": code}})


GOOD = Json(chat_answer("good"))
CAUSES = {
    "context_window_fallbacks": error(400, "context_length_exceeded"),
    "rate_limit_fallbacks": error(429, "rate_limit_exceeded"),
    "content_policy_fallbacks": error(400, "content_policy_violation"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", list(CAUSES))
async def test_a_group_for_each_cause(
    up: FakeUpstream, make_line: MakeLine, kind: str, stream: bool
) -> None:
    """After that error, the group named for it; after any other, the usual fallback."""
    line = line_of(
        up,
        make_line,
        g={"deployments": ["one/m"], kind: ["h"], "fallbacks": ["i"]},
        h={"deployments": ["two/m"]},
        i={"deployments": ["three/m"]},
    )
    by_path(up, one=CAUSES[kind], two=GOOD, three=GOOD)
    assert await ask(line, stream=stream) == "good"
    assert asked(up) == ["one", "two"]
    up.requests.clear()
    by_path(up, one=DOWN, two=GOOD, three=GOOD)
    assert await ask(line, stream=stream) == "good"
    assert asked(up) == ["one", "three"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_that_the_policy_stopped(
    up: FakeUpstream, make_line: MakeLine, stream: bool
) -> None:
    """Another group is asked before its first word is shown; both attempts are billed."""
    line = line_of(
        up,
        make_line,
        g={"deployments": ["one/m"], "content_policy_fallbacks": ["h"]},
        h={"deployments": ["two/m"]},
    )
    stopped = chat_chunks("", usage=chat_usage(10, 0), finish="content_filter")
    whole = Json(chat_answer("", finish="content_filter"))
    by_path(up, one=Sse(stopped) if stream else whole, two=GOOD)
    assert await ask(line, stream=stream) == "good"
    line.flush()
    [row] = line.store.calls(10)
    assert [attempt.finish for attempt in row.attempts] == ["content_filter", "stop"]
    assert row.call.cost_state == "exact"


@pytest.mark.acceptance("K18")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_when_the_group_and_all_fallbacks_fail(
    up: FakeUpstream, make_line: MakeLine, stream: bool
) -> None:
    """The error has the cause of each, in the order in which they were asked."""
    line = line_of(
        up,
        make_line,
        g={"deployments": ["one/m", "two/m"], "fallbacks": ["h"]},
        h={"deployments": ["three/m"]},
    )
    by_path(up, one=DOWN, two=error(429, "rate_limit_exceeded"), three=error(401, "invalid"))
    with pytest.raises(errors.AllProvidersUnavailable) as caught:
        await ask(line, stream=stream)
    assert [(name, type(cause)) for name, cause in caught.value.causes] == [
        ("one/m", errors.UpstreamFailed),
        ("two/m", errors.UpstreamRateLimited),
        ("three/m", errors.AuthFailed),
    ]
    line.flush()
    [row] = line.store.calls(10)
    assert row.call.route == (
        "one/m: upstream_failed",
        "two/m: upstream_rate_limited",
        "three/m: upstream_auth_failed",
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_second_attempt_and_what_both_cost(
    up: FakeUpstream, make_line: MakeLine, stream: bool
) -> None:
    """The row has both, the one that was cut as cancelled and estimated; its connection is gone."""
    hedge = {"after": 0.05, "max_share": 1}
    line = line_of(up, make_line, g={"deployments": ["one/m", "two/m"], "hedge": hedge})
    good = Sse(chat_chunks("good", usage=chat_usage(10, 5)))
    by_path(up, one=hang(), two=good if stream else GOOD)
    assert await ask(line, stream=stream) == "good"
    await up.wait_idle()
    line.flush()
    [row] = line.store.calls(10)
    outcomes = {attempt.deployment: attempt for attempt in row.attempts}
    assert outcomes["one/m"].outcome == "cancelled"
    assert outcomes["one/m"].cost.state == "estimated"
    assert outcomes["one/m"].cost.nusd
    assert outcomes["two/m"].cost.nusd == 15_000
    assert row.call.cost_nusd == sum(attempt.cost.nusd or 0 for attempt in row.attempts)
    assert (row.call.deployment, row.call.attempts, row.call.finish) == ("two/m", 2, "stop")


async def test_headers_name_who_was_first(up: FakeUpstream, make_line: MakeLine) -> None:
    """And how many attempts it took; when all are spent, the SDK is told not to try again."""
    hedge = {"after": 0.05, "max_share": 1}
    line = line_of(up, make_line, g={"deployments": ["one/m", "two/m"], "hedge": hedge})
    by_path(up, one=hang(), two=GOOD)
    body = {"model": "g", "messages": [{"role": "user", "content": "hi"}]}
    async with running(line) as url, aiohttp.ClientSession(headers={"x-api-key": ADMIN_KEY}) as web:
        async with web.post(f"{url}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200
            assert answer.headers["x-trunkline-deployment"] == "two/m"
            assert answer.headers["x-trunkline-attempts"] == "2"
        by_path(up, one=DOWN, two=DOWN)
        async with web.post(f"{url}/v1/chat/completions", json=body) as answer:
            assert answer.status == 503
            assert answer.headers["x-should-retry"] == "false"
