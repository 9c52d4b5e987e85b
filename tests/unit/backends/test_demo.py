import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from tests.unit.backends.asking import ask, chat, read
from trunkline import dialects
from trunkline.backends.demo.turn import INTRODUCTION, tokens_of
from trunkline.errors import (
    AuthFailed,
    ConnectionLost,
    FirstTokenTimeout,
    InputError,
    ProviderError,
    Refused,
    ReplyClosed,
    Truncated,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.testing import ManualClock
from trunkline.types import (
    Deployment,
    Image,
    Mark,
    Message,
    OutputFormat,
    Reasoning,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

WEATHER = Tool(
    name="get_weather",
    description="Tell the weather.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"],
    },
)
TIME = Tool(name="get_time")


async def text_of(text: str, **prompt: Any) -> str:
    """Return what the demo says to one message."""
    return (await (await read(chat(text, **prompt))).message()).text


async def calls_of(text: str, **prompt: Any) -> list[tuple[str, str]]:
    """Return the tools it calls."""
    message = await (await read(chat(text, **prompt))).message()
    return [(call.name, call.arguments) for call in message.tool_calls]


async def test_it_answers_anybody_the_same_way_and_says_who_it_is() -> None:
    """Any model name; the answer quotes the question, names the demo and how to add a key."""
    first, second = [await read(chat("Hello, world!")) for _ in range(2)]
    assert await first.message() == await second.message()
    text = (await first.message()).text
    assert '"Hello, world!"' in text
    assert "demo provider" in text
    assert "OPENAI_API_KEY" in text
    assert first.upstream_model == "demo"
    assert first.upstream_id == second.upstream_id
    assert (first.outcome, first.finish) == ("complete", "stop")


async def test_it_introduces_itself_once() -> None:
    """From the second turn on the hint about keys is left out."""
    turns = (say("user", "Hi"), say("assistant", "Hello."), say("user", "Again"))
    assert await text_of("", messages=turns) == 'You said "Again".'
    assert (await text_of("Hi")).count(INTRODUCTION) == 1


async def test_a_long_message_is_quoted_only_in_part() -> None:
    """The sentence stays short."""
    assert len(await text_of("long " * 1000)) < 400


@pytest.mark.parametrize("messages", [(), (say("system", "Be kind."),), (say("user", ""),)])
async def test_a_prompt_without_words_is_answered_too(messages: tuple[Message, ...]) -> None:
    """No user message, or an empty one, is no error here."""
    assert (await text_of("", messages=messages)).startswith("You said nothing")


async def test_each_token_is_a_frame_of_its_own() -> None:
    """Words stream one by one with their blanks; joined they are the answer."""
    async with await ask(chat("/demo echo Hello  big, world")) as reply:
        frames = [frame async for frame in reply]
    said = [e.text for f in frames for e in f.events if isinstance(e, TextDelta)]
    assert said == ["Hello", "  big", ",", " world"]
    assert [f.mark for f in frames[1:-1]] == [Mark.SHOWN] * 4
    assert frames[-1].mark == Mark.USAGE | Mark.FINISH | Mark.TERMINAL
    assert all(frame.raw == b"" for frame in frames)


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    """No character is lost or doubled, and no token is empty."""
    assert "".join(tokens_of(text)) == text
    assert "" not in tokens_of(text)


async def test_tokens_are_counted_by_the_documented_rule() -> None:
    """Words and marks of everything said and offered; thoughts and calls count as output."""
    reply = await read(chat("/demo echo a b c.\n/demo think d e"))
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(["/", "demo", "echo", "a", "b", "c", "."]) + 5
    assert (reply.usage.completion_tokens, reply.usage.reasoning_tokens) == (6, 2)
    messages = (
        say("system", "Be brief."),
        Message(role="user", parts=(Text(text="See this"), Image(url="https://a/b.png"))),
        Message(role="assistant", parts=(ToolCall(id="1", name="f", arguments="{}"),)),
        Message(role="tool", parts=(ToolResult(id="1", parts=(Text(text="two words"),)),)),
    )
    usage = (await read(chat(messages=messages))).usage
    assert usage is not None
    assert usage.prompt_tokens == 3 + (2 + 1) + (1 + 2) + 2
    offered = (await read(chat(messages=messages, tools=(TIME,)))).usage
    assert offered is not None
    assert offered.prompt_tokens == usage.prompt_tokens + len(["get_time", "{", "}"])


async def test_it_says_as_many_words_as_it_is_told() -> None:
    """`/demo tokens N` makes exactly N tokens of output."""
    reply = await read(chat("/demo tokens 37"))
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 37
    assert len((await reply.message()).text.split()) == 37
    assert await text_of("/demo tokens 0") == ""


async def test_it_thinks_when_told_or_asked() -> None:
    """A `/demo think` line gives the words, a request for reasoning is enough for a thought."""
    message = await (await read(chat("/demo think of a number\n/demo echo 7"))).message()
    assert message.parts == (Thinking(text="of a number"), Text(text="7"))
    for asked in (Reasoning(effort="low"), Reasoning(budget_tokens=99), Reasoning(enabled=True)):
        assert (await (await read(chat("Hi", reasoning=asked))).message()).thinking
    for asked in (Reasoning(), Reasoning(effort="none"), Reasoning(effort="low", enabled=False)):
        assert not (await (await read(chat("Hi", reasoning=asked))).message()).thinking


async def test_the_cap_on_output_is_kept_to() -> None:
    """Exactly as many tokens as allowed, thoughts included, and the finish says `length`."""
    for cap in (1, 3, 5):
        reply = await read(chat("/demo think a b\n/demo echo c d e f", max_output_tokens=cap))
        assert reply.finish == "length"
        assert reply.usage is not None
        assert reply.usage.completion_tokens == cap
        assert reply.usage.reasoning_tokens == min(cap, 2)
    whole = await read(chat("/demo think a b\n/demo echo c d e f", max_output_tokens=6))
    assert whole.finish == "stop"


async def test_a_cap_that_a_layer_put_on_a_wire_body_is_kept_to() -> None:
    """The body's own cap counts, not the one among the caller's fields."""
    openai = dialects.load("openai_chat")
    body = {"model": "m", "messages": [{"role": "user", "content": "/demo tokens 9"}]}
    call = openai.read(json.encode(body))
    target = Deployment(provider="demo", model="m")
    reply = await read(replace(call, body=replace(call.body, max_output_tokens=4), target=target))
    assert (reply.finish, (await reply.message()).text) == ("length", "demo demo demo demo")


async def test_stop_sequences_and_choices_are_kept_to() -> None:
    """Text ends before the first stop; several choices are the same answer several times."""
    assert await text_of("/demo echo one two three", stop=("", "two")) == "one "
    async with await ask(chat("/demo echo hi", choices=2)) as reply:
        frames = [frame async for frame in reply]
    said = [(e.choice, e.text) for f in frames for e in f.events if isinstance(e, TextDelta)]
    assert said == [(0, "hi"), (1, "hi")]
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 2


async def test_it_calls_a_tool_that_is_named() -> None:
    """`use NAME` or the bare name is enough; the arguments fit the schema."""
    for text in ("use get_weather", "What does get_weather say?", "get_weather!"):
        assert await calls_of(text, tools=(TIME, WEATHER)) == [
            ("get_weather", '{"city": "demo", "days": 1}')
        ]
    assert await calls_of("forget_weather, get_weather2", tools=(WEATHER,)) == []
    reply = await read(chat("use get_weather", tools=(WEATHER,)))
    assert reply.finish == "tool_calls"
    assert (await reply.message()).text == ""


async def test_it_calls_what_an_order_says_exactly_as_written() -> None:
    """Arguments travel character for character, even when they are not JSON; calls may repeat."""
    text = (
        '/demo tool get_weather {"city":  "Oslo"}\n/demo tool nobody {broken\n/demo tool get_time'
    )
    assert await calls_of(text, tools=(WEATHER, TIME)) == [
        ("get_weather", '{"city":  "Oslo"}'),
        ("nobody", "{broken"),
        ("get_time", "{}"),
    ]
    both = await calls_of(text, tools=(WEATHER,), parallel_tool_calls=False)
    assert [name for name, _ in both] == ["get_weather"]


async def test_tool_choice_is_kept_to() -> None:
    """`none` calls nothing, `required` calls something, `tool:NAME` calls that one."""
    tools = (TIME, WEATHER)
    assert await calls_of("use get_time", tools=tools, tool_choice="none") == []
    assert await calls_of("Hi", tools=tools, tool_choice="auto") == []
    assert await calls_of("Hi", tools=tools, tool_choice="required") == [("get_time", "{}")]
    forced = await calls_of("use get_time", tools=tools, tool_choice="tool:get_weather")
    assert [name for name, _ in forced] == ["get_weather"]


async def test_a_tool_loop_ends_with_a_sentence_that_quotes_the_results() -> None:
    """Question, calls, results, answer: the order to call is not followed a second time."""
    asked = say("user", "use get_weather and get_time")
    called = await (await read(chat(messages=(asked,), tools=(TIME, WEATHER)))).message()
    assert len({call.id for call in called.tool_calls}) == 2
    results = tuple(
        Message(
            role="tool",
            parts=(ToolResult(id=c.id, parts=(Text(text=f"12 {c.name}"),), is_error=failed),),
        )
        for c, failed in zip(called.tool_calls, (False, True), strict=True)
    )
    reply = await read(chat(messages=(asked, called, *results), tools=(TIME, WEATHER)))
    assert reply.finish == "stop"
    assert (await reply.message()).text == (
        'The tool get_time says "12 get_time". The tool get_weather failed with "12 get_weather".'
    )


async def test_json_is_given_when_it_is_asked_for() -> None:
    """The smallest value of the schema; any object without one."""
    schema = OutputFormat(schema=WEATHER.parameters)
    assert json.decode(await text_of("Hi", output_format=schema)) == {"city": "demo", "days": 1}
    assert json.decode(await text_of("Hi", output_format=OutputFormat())) == {"answer": "demo"}


async def test_a_schema_that_is_none_is_refused() -> None:
    """The error names the field."""
    bad = {"type": "object", "properties": 3, "required": ["a"]}
    with pytest.raises(InputError, match="response_format") as raised:
        await ask(chat("Hi", output_format=OutputFormat(schema=bad)))
    assert raised.value.param == "response_format"


@pytest.mark.parametrize(
    ("how", "kind", "status"),
    [
        ("400", Refused, 400),
        ("401", AuthFailed, 401),
        ("429", UpstreamRateLimited, 429),
        ("500", UpstreamFailed, 500),
        ("503", UpstreamOverloaded, 503),
        ("timeout", FirstTokenTimeout, None),
    ],
)
async def test_it_fails_before_the_answer(
    how: str, kind: type[ProviderError], status: int | None
) -> None:
    """The error is the one a provider's would become, and nothing was shown."""
    with pytest.raises(kind) as raised:
        await ask(chat(f"Hi\n/demo fail {how}"))
    assert type(raised.value) is kind
    assert raised.value.upstream_status == status
    assert (raised.value.retry_after_s is not None) == (how == "429")


@pytest.mark.parametrize(("how", "kind"), [("midstream", ConnectionLost), ("truncate", Truncated)])
async def test_it_fails_in_the_middle(how: str, kind: type[ProviderError]) -> None:
    """Half of the answer is shown before the error."""
    reply = await ask(chat(f"/demo tokens 10\n/demo fail {how}"))
    with pytest.raises(kind):
        await reply.message()
    assert (reply.shown_frames, reply.outcome) == (5, "failed")
    assert reply.usage is None


@pytest.mark.parametrize(
    "order",
    ["", "dance", "tokens", "tokens -1", "tokens 100000", "slow", "slow nan", "fail 418", "tool"],
)
async def test_an_unknown_order_is_refused(order: str) -> None:
    """The message repeats it and lists every order; nothing fails over for it."""
    with pytest.raises(InputError, match=re.escape(f"'/demo {order}'")) as raised:
        await ask(chat(f"/demo {order}"))
    assert "tool NAME JSON" in str(raised.value)
    assert raised.value.param == "messages"


async def test_only_whole_lines_of_the_last_user_message_are_orders() -> None:
    """Earlier turns, other words and other roles give none."""
    assert '"/demonstrate it"' in await text_of("/demonstrate it")
    turns = (say("user", "/demo echo old"), say("assistant", "old"), say("user", "new"))
    assert await text_of("", messages=turns) == 'You said "new".'
    assert (await text_of("", messages=(say("system", "/demo echo x"),))).startswith("You said")


async def test_slow_waits_before_each_token() -> None:
    """Tokens come at the clock's pace, the first one included."""
    clock = ManualClock()
    at_s = []

    async def run() -> None:
        async with await ask(chat("/demo echo a b c\n/demo slow 0.5"), clock=clock) as reply:
            at_s.append(clock.monotonic_s())
            async for frame in reply:
                if frame.mark & Mark.SHOWN:
                    at_s.append(clock.monotonic_s())

    task = asyncio.create_task(run())
    await clock.elapse(10)
    await task
    assert at_s == [0.5, 0.5, 1.0, 1.5]


async def test_a_wait_for_the_first_token_can_be_cancelled() -> None:
    """A deadline layer cancels `send`; nothing is left waiting on the clock."""
    clock = ManualClock()
    task = asyncio.create_task(ask(chat("/demo slow 1000"), clock=clock))
    await clock.elapse(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.pending == 0


async def test_closing_from_another_task_ends_a_pending_read() -> None:
    """The reader gets `ReplyClosed` at once, and no timer stays behind."""
    clock = ManualClock()
    opening = asyncio.create_task(ask(chat("/demo echo a b\n/demo slow 9"), clock=clock))
    await clock.elapse(9)
    reply = await opening
    reader = asyncio.create_task(reply.message())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await reply.aclose()
    with pytest.raises(ReplyClosed):
        await reader
    assert clock.pending == 0


async def test_it_answers_a_body_that_came_over_the_wire() -> None:
    """Orders are read from whatever face the call came in by."""
    openai = dialects.load("openai_chat")
    content = [{"type": "text", "text": "/demo echo from"}, {"type": "text", "text": "parts"}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    call = replace(openai.read(json.encode(body)), target=Deployment(provider="demo", model="m"))
    assert (await (await read(call)).message()).text == "from"
