"""Seed 000's functions, end to end against a scripted provider."""

import inspect
import json
import logging
from contextlib import aclosing
from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.testing import FakeUpstream, Json, Sse, Status, chat_answer, chat_chunk, chat_chunks

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]


async def ask(**more: Any) -> tuple[str, Any]:
    """Call with the usual arguments."""
    given: dict[str, Any] = {
        "provider": "openai",
        "model": "gpt-4",
        "messages": HELLO,
        "parameters": {},
    }
    return await call_llm(**(given | more))


@pytest.mark.acceptance("G04")
def test_call_llm_has_the_seed_signature() -> None:
    """Names, order and defaults are the seed's, and it is a coroutine function."""
    parameters = inspect.signature(call_llm).parameters
    assert list(parameters) == [
        "provider",
        "model",
        "messages",
        "parameters",
        "tools",
        "user_service",
        "user_id",
        "user_basic_info",
    ]
    assert [p.default for p in parameters.values()][4:] == [None] * 4
    assert all(p.default is inspect.Parameter.empty for p in list(parameters.values())[:4])
    assert inspect.iscoroutinefunction(call_llm)


@pytest.mark.acceptance("G05")
async def test_a_plain_answer_is_a_pair_without_thoughts(line: Trunkline, up: FakeUpstream) -> None:
    """The result is a tuple of the text and None."""
    up.script(Json(chat_answer("Hi there.")))
    result = await ask()
    assert result == ("Hi there.", None)
    assert isinstance(result, tuple)


@pytest.mark.acceptance("G05", "X04")
async def test_tool_calls_are_thoughts_and_text_beside_them_is_kept(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Text next to tool calls is not dropped, and thoughts can be written as JSON."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    up.script(Json(chat_answer("Let me look.", tool_calls=[call], finish="tool_calls")))
    content, thoughts = await ask()
    assert content == "Let me look."
    assert thoughts == {"tool_calls": [call]}
    json.dumps(thoughts)


@pytest.mark.acceptance("G07")
async def test_the_model_goes_out_without_a_prefix(line: Trunkline, up: FakeUpstream) -> None:
    """`openai/gpt-4` under provider openai is gpt-4 on the wire; another prefix is refused."""
    await ask()
    await ask(model="openai/gpt-4")
    assert [request.json()["model"] for request in up.requests] == ["gpt-4", "gpt-4"]


@pytest.mark.acceptance("G07")
async def test_a_foreign_prefix_is_a_clear_error(up: FakeUpstream, make_line: MakeLine) -> None:
    """A prefix that names another configured provider contradicts the argument."""
    make_line(default_provider="openai", providers={"openai": openai_at(up), "vllm": {}})
    with pytest.raises(errors.InputError, match="vllm"):
        await ask(model="vllm/llama")
    assert up.requests == []


@pytest.mark.acceptance("G08")
async def test_messages_go_out_as_given(line: Trunkline, up: FakeUpstream) -> None:
    """Roles and contents reach the provider, the system prompt in its place."""
    await ask()
    assert up.requests[0].json()["messages"] == HELLO


@pytest.mark.acceptance("G09")
async def test_parameters_reach_the_provider(line: Trunkline, up: FakeUpstream) -> None:
    """Values are equal, None values are left out, an empty dict works."""
    given = {"temperature": 0.7, "max_tokens": 500, "top_p": 0.9, "stop": None}
    await ask(parameters=given)
    await ask(parameters={})
    first, second = (request.json() for request in up.requests)
    assert {name: first[name] for name in ("temperature", "max_tokens", "top_p")} == {
        "temperature": 0.7,
        "max_tokens": 500,
        "top_p": 0.9,
    }
    assert "stop" not in first
    assert set(second) == {"model", "messages"}


@pytest.mark.acceptance("G10")
async def test_tools_reach_the_provider(line: Trunkline, up: FakeUpstream) -> None:
    """Tools go out in the provider's format, and not at all when there are none."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    await ask(tools=[tool])
    await ask(tools=[])
    assert up.requests[0].json()["tools"] == [tool]
    assert "tools" not in up.requests[1].json()


@pytest.mark.acceptance("G15", "X03")
async def test_no_user_means_no_user_row(line: Trunkline, up: FakeUpstream) -> None:
    """A thousand calls without a user succeed and leave no row of a user."""
    for _ in range(1000):
        await ask(user_service=None, user_id=None)
    line.flush()
    assert sum(row.requests for row in line.store.usage("model", None)) == 1000
    assert [row for row in line.store.usage("user", None) if row.value is not None] == []


@pytest.mark.acceptance("G21")
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_becomes_thoughts(line: Trunkline, up: FakeUpstream, field: str) -> None:
    """The format is recognised without a flag from the caller."""
    thought: dict[str, Any] = {field: "Six times seven."}
    up.script(Json(chat_answer("42", **thought)))
    content, thoughts = await ask()
    assert content == "42"
    assert thoughts["reasoning_content"] == "Six times seven."


@pytest.mark.acceptance("G25")
async def test_errors_are_logged_and_raised_unchanged(
    line: Trunkline, up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """The class from the tree arrives, and the log has it."""
    up.script(Status(400, {"error": {"message": "bad temperature", "type": "invalid"}}))
    with pytest.raises(errors.Refused, match="bad temperature") as caught:
        await ask()
    assert type(caught.value) is errors.Refused
    event = next(record for record in caplog.records if record.message == "LLM error")
    assert event.__dict__["error_type"] == "Refused"


@pytest.mark.acceptance("G25")
async def test_an_error_of_the_user_service_is_raised_unchanged(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Whatever `require_allowance` raises reaches the caller, and nothing is sent."""

    class Broke(Exception):
        pass

    class Service:
        def require_allowance(self, user_id: str, basic_info: Any = None) -> None:
            raise Broke

        def add_usage(self, user_id: str, cost: float, basic_info: Any = None) -> None:
            raise AssertionError("nothing was used")

    with pytest.raises(Broke):
        await ask(user_service=Service(), user_id="u")
    assert up.requests == []


@pytest.mark.acceptance("G26")
async def test_parameters_a_model_does_not_take_are_dropped(
    line: Trunkline, up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenAI has no top_k: the call succeeds without it and a warning names it."""
    with caplog.at_level(logging.WARNING, "trunkline"):
        await ask(parameters={"top_k": 5, "temperature": 1})
        line.flush()
    body = up.requests[0].json()
    assert "top_k" not in body
    assert body["temperature"] == 1
    warning = next(record for record in caplog.records if record.message == "LLM warning")
    assert list(warning.__dict__["dropped_parameters"]) == ["top_k"]


@pytest.mark.acceptance("G27", "D08")
async def test_nothing_is_printed_and_no_prompt_or_key_is_logged(
    line: Trunkline,
    up: FakeUpstream,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By default stdout and stderr stay empty; no log, error or file has a prompt or a key."""
    caplog.set_level(logging.DEBUG)
    up.script(
        Json(chat_answer()), Status(401, {"error": {"message": "bad key sk-test-1234567890"}})
    )
    await ask(messages=[{"role": "user", "content": "my-private-prompt"}])
    with pytest.raises(errors.AuthFailed) as caught:
        await ask(messages=[{"role": "user", "content": "my-private-prompt"}])
    line.flush()
    captured = capfd.readouterr()
    assert captured.out == ""
    said = caplog.text + captured.err + str(caught.value)
    said += "".join(str(record.__dict__) for record in caplog.records)
    assert "my-private-prompt" not in said
    assert "sk-test-1234567890" not in said
    files = [path for path in line.config.data_dir.rglob("*") if path.is_file()]
    assert files
    written = b"".join(path.read_bytes() for path in files)
    assert b"upstream_auth_failed" in written
    assert b"my-private-prompt" not in written
    assert b"sk-test-1234567890" not in written


@pytest.mark.acceptance("G28")
def test_stream_llm_has_the_seed_signature() -> None:
    """Names, order and defaults are the seed's, and it is an async generator function."""
    parameters = inspect.signature(stream_llm).parameters
    assert list(parameters) == [
        "provider",
        "model",
        "messages",
        "parameters",
        "user_service",
        "user_id",
        "user_basic_info",
    ]
    assert [p.default for p in parameters.values()][4:] == [None] * 3
    assert inspect.isasyncgenfunction(stream_llm)


@pytest.mark.acceptance("G28")
async def test_every_chunk_has_a_choice(line: Trunkline, up: FakeUpstream) -> None:
    """Chunks without choices on the wire (usage, Azure's first) never reach the reader as such."""
    first = {**chat_chunk({}), "choices": [], "id": "", "object": ""}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    up.script(Sse([first, *chat_chunks("Once upon a time.", usage=usage)]))
    chunks = [
        chunk
        async for chunk in stream_llm(
            provider="openai", model="gpt-4", messages=HELLO, parameters={"temperature": 0.9}
        )
    ]
    assert all(chunk.choices for chunk in chunks)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Once upon a time."
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage == usage
    assert up.requests[0].json()["stream"] is True


async def test_a_reader_who_stops_early_closes_the_stream(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Leaving the loop closes the upstream, and what was received is in the records."""
    up.script(Sse(chat_chunks("one two three four five six seven"), delay_s=0.01))
    async with aclosing(
        stream_llm(provider="openai", model="gpt-4", messages=HELLO, parameters={})
    ) as chunks:
        async for chunk in chunks:
            if (chunk.choices[0].delta.content or "").startswith("two"):
                break
    await up.wait_idle()
    line.flush()
    [row] = line.store.calls(10)
    assert row.call.outcome == "abandoned"
    assert row.call.cost_state == "estimated"
    assert 0 < row.call.completion_tokens < 7


async def test_the_user_service_is_asked_before_and_charged_once_after(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Order and arguments are the seed's; the cost is price times tokens; async works too."""
    said: list[tuple[Any, ...]] = []

    class Service:
        def require_allowance(self, user_id: str, basic_info: Any = None) -> None:
            said.append(("require", user_id, basic_info, len(up.requests)))

        async def add_usage(self, user_id: str, cost: float, basic_info: Any = None) -> None:
            said.append(("add", user_id, cost, basic_info))

    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    up.script(Json(chat_answer("ok", usage=usage)))
    info = {"name": "Ada"}
    await ask(user_service=Service(), user_id="user-123", user_basic_info=info, model="gpt-4o")
    price = line.config.providers["openai"].deployment("gpt-4o").price
    assert price is not None
    cost_usd = (1000 * price.input_nusd + 100 * price.output_nusd) / 10**15
    assert said == [
        ("require", "user-123", info, 0),
        ("add", "user-123", pytest.approx(cost_usd), info),
    ]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": object()}]}, None),
        ({"parameters": {"temperature": "hot"}}, "temperature"),
        ({"parameters": {"stream": True}}, "parameters.stream"),
        ({"parameters": ["temperature"]}, "parameters"),
        ({"provider": 3}, "provider"),
        ({"user_id": 7}, "user_id"),
        ({"tools": "f"}, "tools"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(
    line: Trunkline, up: FakeUpstream, change: dict[str, Any], param: str | None
) -> None:
    """The error is an InputError that names the field; nothing was sent."""
    with pytest.raises(errors.InputError) as caught:
        await ask(**change)
    assert caught.value.param == param
    assert up.requests == []


async def test_an_unknown_model_names_its_neighbours(up: FakeUpstream, make_line: MakeLine) -> None:
    """With a list of models a typo is answered with near names."""
    make_line(
        default_provider="openai", providers={"openai": openai_at(up, models=["gpt-4o", "gpt-4"])}
    )
    with pytest.raises(errors.ModelNotFound, match="gpt-4o"):
        await ask(provider=None, model="gpt-4oo")
