"""Seeds 001 and 004: `complete` and its `LLMResponse`."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import LLMResponse, Trunkline, complete, errors
from trunkline.testing import FakeUpstream, Json, Sse, Status, chat_answer, chat_chunk

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "x"}'}}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


@pytest.mark.acceptance("K14")
async def test_a_request_is_logged_with_group_and_tenant(
    line: Trunkline, up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """The info record "LLM request" carries model_group and tenant_id."""
    with caplog.at_level(logging.INFO, "trunkline"):
        await complete("gpt-4o", MESSAGES, tenant_id="t-1")
        line.flush()
    request = next(record for record in caplog.records if record.message == "LLM request")
    assert request.levelno == logging.INFO
    assert request.__dict__["model_group"] == "gpt-4o"
    assert request.__dict__["tenant_id"] == "t-1"


@pytest.mark.acceptance("K16")
@pytest.mark.parametrize(
    "calls",
    [
        [CALL],
        [{**CALL, "index": 0}],
        [{"id": "c1", "function": {"name": "look_up", "arguments": {"q": "x"}}}],
    ],
    ids=["plain", "with index", "arguments as an object"],
)
async def test_tool_calls_are_normalised(
    line: Trunkline, up: FakeUpstream, calls: list[dict[str, Any]]
) -> None:
    """Whatever the provider's shape, the result is id, type and function with text arguments."""
    up.script(Json(chat_answer(None, tool_calls=calls, finish="tool_calls")))
    response = await complete("gpt-4o", MESSAGES, "t-1", tools=[TOOL])
    [call] = response.tool_calls
    assert set(call) == {"id", "type", "function"}
    assert (call["id"], call["type"], call["function"]["name"]) == ("c1", "function", "look_up")
    assert call["function"]["arguments"].replace(" ", "") == '{"q":"x"}'


@pytest.mark.acceptance("K16")
async def test_missing_tool_calls_are_an_empty_list(line: Trunkline, up: FakeUpstream) -> None:
    """null and absent both give []."""
    up.script(Json(chat_answer("a")), Json(chat_answer("b", tool_calls=None)))
    assert (await complete("gpt-4o", MESSAGES, "t-1")).tool_calls == []
    assert (await complete("gpt-4o", MESSAGES, "t-1")).tool_calls == []


@pytest.mark.acceptance("K17")
async def test_text_and_tool_answers(line: Trunkline, up: FakeUpstream) -> None:
    """Text: content and no tool calls. Tools: calls, and content "" when the provider gave None."""
    up.script(
        Json(chat_answer("Hi.")),
        Json(chat_answer(None, tool_calls=[CALL], finish="tool_calls")),
    )
    text = await complete("gpt-4o", MESSAGES, "t-1")
    tools = await complete("gpt-4o", MESSAGES, "t-1", [TOOL])
    assert isinstance(text, LLMResponse)
    assert (text.content, text.tool_calls) == ("Hi.", [])
    assert (tools.content, tools.tool_calls) == ("", [CALL])


@pytest.mark.acceptance("X04")
async def test_text_beside_tool_calls_is_kept(line: Trunkline, up: FakeUpstream) -> None:
    """The seed dropped it; we do not."""
    up.script(Json(chat_answer("Looking.", tool_calls=[CALL], finish="tool_calls")))
    response = await complete("gpt-4o", MESSAGES, "t-1", [TOOL])
    assert (response.content, response.tool_calls) == ("Looking.", [CALL])


async def test_tools_go_out_only_when_there_are_some(line: Trunkline, up: FakeUpstream) -> None:
    """Present when given; absent for None and []."""
    for tools in ([TOOL], None, []):
        await complete("gpt-4o", MESSAGES, "t-1", tools)
    assert ["tools" in request.json() for request in up.requests] == [True, False, False]


async def test_a_failure_is_raised(line: Trunkline, up: FakeUpstream) -> None:
    """With nobody left to ask, the provider's failure reaches the caller."""
    up.script(Status(500, {"error": {"message": "boom"}}))
    with pytest.raises(errors.UpstreamFailed, match="boom"):
        await complete("gpt-4o", MESSAGES, "t-1")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Sse([chat_chunk({"content": "Hel"}), {"error": {"message": "down", "code": 503}}]),
        lambda: Sse([chat_chunk({"content": "Hel"})], done=False),
    ],
    ids=["error event", "cut"],
)
async def test_a_stream_that_breaks_is_never_a_success(
    line: Trunkline, up: FakeUpstream, answer: Callable[[], Sse]
) -> None:
    """An SSE answer to a whole request that ends early raises, whatever came before."""
    up.script(answer())
    with pytest.raises(errors.ProviderError):
        await complete("gpt-4o", MESSAGES, "t-1")


@pytest.mark.acceptance("K13")
async def test_the_tenant_pays(
    make_line: MakeLine, up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """Each tenant's rows, events and budget have what its own calls cost, and nothing else."""
    line = make_line(
        default_provider="openai",
        providers={"openai": openai_at(up)},
        budgets=[{"scope": "tenant:t-1", "amount": 1, "period": "day"}],
    )
    with caplog.at_level(logging.INFO, "trunkline"):
        for tenant in ("t-1", "t-2", "t-1"):
            await complete("gpt-4o", MESSAGES, tenant_id=tenant)
        line.flush()
    rows = {row.value: row for row in line.store.usage("tenant", None)}
    assert {name: (row.requests, row.total_tokens) for name, row in rows.items()} == {
        "t-1": (2, 30),
        "t-2": (1, 15),
    }
    told = [record.__dict__ for record in caplog.records if record.message == "LLM response"]
    assert [event["tenant_id"] for event in told] == ["t-1", "t-2", "t-1"]
    paid_nusd = sum(event["cost_nusd"] for event in told if event["tenant_id"] == "t-1")
    [account] = line.ledger.accounts()
    assert account.settled_nusd == rows["t-1"].cost_nusd == paid_nusd > 0
