"""The nouns: secrets stay secret, prompts know what they need, trails add up."""

import base64
import json
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.types import (
    Attempt,
    Audio,
    Chat,
    Cost,
    Deployment,
    Event,
    File,
    Frame,
    Image,
    Mark,
    Memo,
    Message,
    OutputFormat,
    Prompt,
    Reasoning,
    Secret,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    Trail,
    Usage,
    Wire,
    say,
)

KEY = "sk-do-not-show-me"

# --- Secret ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        ascii,
        "{}".format,
        "%s".__mod__,
        lambda s: repr([s]),
        lambda s: f"{s!r:>30}",
    ],
)
def test_a_secret_does_not_show_itself(show: object) -> None:
    """Whoever prints it sees a mask, also inside of something else."""
    assert callable(show)
    for thing in (Secret(KEY), Deployment(provider="p", model="m", api_key=Secret(KEY))):
        assert KEY not in show(thing)
        assert "***" in show(thing)


@pytest.mark.parametrize(
    "save", [json.dumps, msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps, vars]
)
def test_a_secret_is_not_saved(save: object) -> None:
    """No serialiser takes it, and what they say of it does not tell it."""
    assert callable(save)
    with pytest.raises(TypeError) as caught:
        save(Secret(KEY))
    assert KEY not in str(caught.value)


def test_a_secret_is_revealed_on_request_only() -> None:
    """`reveal` is the one way; equal secrets are equal."""
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    assert {secret, Secret(KEY)} == {secret}
    assert secret != Secret("other")
    assert secret != KEY


# --- Prompt and messages -----------------------------------------------------------------------


def prompt_of(*parts: Image | Audio | File | Text, **options: object) -> Prompt:
    """Ask with one message of `parts`."""
    return msgspec.structs.replace(
        Prompt(messages=(say("system", "be brief"), Message(role="user", parts=parts))), **options
    )


@pytest.mark.parametrize(
    ("prompt", "needs"),
    [
        (prompt_of(Text(text="hi")), set()),
        (prompt_of(Image(url="https://x/y.png"), Text(text="hi")), {"images"}),
        (prompt_of(Audio(data="QQ=="), File(id="f")), {"audio", "files"}),
        (prompt_of(tools=(Tool(name="t"),)), {"tools"}),
        (prompt_of(output_format=OutputFormat()), set()),
        (prompt_of(output_format=OutputFormat(schema={"type": "object"})), {"schema"}),
        (prompt_of(output_format=OutputFormat(schema={})), {"schema"}),
        (prompt_of(reasoning=Reasoning(effort="high")), {"reasoning"}),
        (prompt_of(reasoning=Reasoning(effort="none")), set()),
        (prompt_of(reasoning=Reasoning(enabled=False, effort="high")), set()),
        (prompt_of(reasoning=Reasoning(budget_tokens=0)), set()),
    ],
)
def test_needs(prompt: Prompt, needs: set[str]) -> None:
    """A prompt needs what its parts and options cannot do without."""
    assert prompt.needs == needs


@given(st.lists(st.text(), max_size=5), st.text(), st.binary(max_size=99))
def test_size_bounds_what_is_said(words: list[str], schema: str, picture: bytes) -> None:
    """`size_bytes` is at least every byte of text, tool, schema and picture that is sent."""
    data = base64.b64encode(picture).decode()
    prompt = Prompt(
        messages=(
            *(say("user", text) for text in words),
            Message(role="user", parts=(Image(data=data),)),
        ),
        tools=(Tool(name="t", parameters={"description": schema}),),
        output_format=OutputFormat(schema={"title": schema}),
    )
    said = sum(len(text.encode()) for text in words)
    assert prompt.size_bytes >= said + 2 * len(schema.encode()) + len(data)
    assert prompt.message_count == len(words) + 1


def test_a_wire_is_parsed_once_and_only_when_asked() -> None:
    """A request that is passed on as it came is never decoded."""
    parsed: list[object] = []

    def parse(fields: object) -> Prompt:
        parsed.append(fields)
        return prompt_of(Text(text="hi"))

    fields = {"messages": msgspec.Raw(b"[]")}
    wire = Wire(
        dialect="d",
        fields=fields,
        parse=parse,
        message_count=1,
        size_bytes=2,
        max_output_tokens=None,
        needs=frozenset(),
    )
    chat = Chat(model="m", body=wire)
    assert (chat.kind, parsed) == ("chat", [])
    assert chat.prompt is chat.prompt
    assert parsed == [fields]
    assert Chat(model="m", body=chat.prompt).prompt is chat.prompt


def test_a_message_tells_its_parts_apart() -> None:
    """Text, thinking and tool calls are read without knowing the order of parts."""
    first, second = ToolCall(id="1", name="f"), ToolCall(id="2", name="g")
    parts = Text(text="a"), first, Thinking(text="hm"), Text(text="b"), second
    message = Message(role="assistant", parts=parts)
    assert (message.text, message.thinking, message.tool_calls) == ("ab", "hm", (first, second))
    assert say("user", "hi") == Message(role="user", parts=(Text(text="hi"),))


# --- Trail, Usage, Frame -----------------------------------------------------------------------


def trail_of(*costs: Cost) -> Trail:
    """Make a trail of one attempt per cost."""
    attempts = [Attempt(n=n, deployment="p/m", started_ns=0, cost=c) for n, c in enumerate(costs)]
    return Trail(started_ns=0, started_s=0.0, attempts=attempts)


@pytest.mark.parametrize(
    ("costs", "total"),
    [
        ([], Cost(0, "exact")),
        ([Cost(5), Cost(7)], Cost(12, "exact")),
        ([Cost(5), Cost(7, "estimated"), Cost(1)], Cost(13, "estimated")),
        ([Cost(0), Cost(0)], Cost(0, "exact")),
        ([Cost(5), Cost(None, "unknown")], Cost(None, "unknown")),
        ([Cost(None, "unknown"), Cost(7, "estimated")], Cost(None, "unknown")),
    ],
)
def test_a_trail_costs_the_sum_of_its_attempts(costs: list[Cost], total: Cost) -> None:
    """One estimate makes the sum an estimate, one unknown makes it unknown, never zero."""
    assert trail_of(*costs).cost == total


def test_an_attempt_costs_an_unknown_amount_until_somebody_says_so() -> None:
    """The default is not zero, and each trail has lists of its own."""
    trail = trail_of()
    trail.attempts.append(Attempt(n=1, deployment="p/m", started_ns=0))
    assert trail.cost == Cost(None, "unknown")
    assert trail_of().attempts == []


def test_total_tokens() -> None:
    """Reasoning and cached tokens are inside the two sums, not beside them."""
    usage = Usage(prompt_tokens=3, completion_tokens=4, reasoning_tokens=4, cache_read_tokens=3)
    assert usage.total_tokens == 7


def test_a_frame_is_decoded_once_and_only_when_asked() -> None:
    """The bytes are kept as they came; their meaning is worked out on demand."""
    decoded: list[bytes] = []

    def decode(raw: bytes, memo: Memo) -> tuple[Event, ...]:
        decoded.append(raw)
        return (TextDelta(text="hi"),)

    frame = Frame(b"raw", int(Mark.SHOWN | Mark.TERMINAL), decode, Memo())
    assert (frame.raw, frame.terminal, decoded) == (b"raw", True, [])
    assert frame.events is frame.events
    assert decoded == [b"raw"]
    assert not Frame(b"", int(Mark.SHOWN), events=()).terminal
