import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from tests.unit.backends.asking import ask, chat, read
from trunkline import dialects, interfaces
from trunkline.errors import (
    AttemptTimeout,
    BadAnswer,
    CapabilityMissing,
    ConfigError,
    ConnectionLost,
    ProviderError,
    RateLimited,
    ReplyClosed,
)
from trunkline.interfaces import (
    ChatMessage,
    ChatResponse,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    register_provider,
)
from trunkline.types import (
    Image,
    Message,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    say,
)

MINE = "custom:mine"
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "_registry", interfaces._Registry())


class ByRequest(LLMProvider):
    """Answers what it is given; keeps the requests; streams as an async generator."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.requests: list[LLMRequest] = []
        self.closed = 0
        register_provider("mine", self)

    async def generate(self, request: LLMRequest) -> LLMResponse:
        self.requests.append(request)
        if isinstance(self.pieces[0], BaseException):
            raise self.pieces[0]
        return self.pieces[0]  # type: ignore[no-any-return]

    async def stream_generate(self, request: LLMRequest) -> AsyncIterator[LLMResponse]:
        self.requests.append(request)
        try:
            for piece in self.pieces:
                if isinstance(piece, BaseException):
                    raise piece
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                    continue
                yield piece
        finally:
            await asyncio.sleep(0)
            self.closed += 1

    def get_available_models(self) -> list[str]:
        return ["some-model"]

    async def health_check(self) -> bool:
        return True


class ByCoroutine(ByRequest):
    """Streams as a coroutine that returns an async iterator."""

    async def stream_generate(  # type: ignore[override]
        self, request: LLMRequest
    ) -> AsyncIterator[LLMResponse]:
        return ByRequest.stream_generate(self, request)


class ByMessage:
    """Echoes; counts characters as tokens."""

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self.options: dict[str, Any] = {}

    async def chat(
        self, messages: list[ChatMessage], model: str | None = None, **options: Any
    ) -> ChatResponse:
        self.messages, self.options = messages, {"model": model, **options}
        return ChatResponse(str(messages[-1].content))

    async def stream_chat(self, messages: list[ChatMessage]) -> AsyncIterator[str]:
        for word in str(messages[-1].content).split(" "):
            yield word

    def count_tokens(self, text: str) -> int:
        return len(text)


async def texts_of(**how: Any) -> list[str]:
    """Return the text of each frame of a streamed answer."""
    async with await ask(chat("hi", stream=True, **how), MINE) as reply:
        frames = [frame async for frame in reply]
    return [e.text for f in frames for e in f.events if isinstance(e, TextDelta)]


async def test_a_request_carries_what_the_caller_asked() -> None:
    """OpenAI-format messages, the model, the limits, and everything else under `parameters`."""
    provider = ByRequest(LLMResponse("Hello.", "real-model", "mine", USAGE))
    prompt: dict[str, Any] = {
        "messages": (
            say("system", "Be brief."),
            Message(role="user", parts=(Text(text="See"), Image(url="https://a/b.png"))),
            Message(role="assistant", parts=(ToolCall(id="c1", name="f"),)),
            Message(role="tool", parts=(ToolResult(id="c1", parts=(Text(text="42"),)),)),
        ),
        "tools": (Tool(name="f", parameters={"type": "object"}),),
        "temperature": 0.2,
        "max_output_tokens": 9,
        "top_p": 0.5,
    }
    reply = await read(replace(chat(**prompt), metadata={"trace": "t"}), MINE)
    [request] = provider.requests
    assert (request.model, request.provider, request.stream) == ("some-model", "mine", False)
    assert (request.temperature, request.max_tokens) == (0.2, 9)
    system, user, assistant, tool = request.messages
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["text", "image_url"]
    assert assistant["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert (tool["role"], tool["tool_call_id"], tool["content"]) == ("tool", "c1", "42")
    assert request.metadata["trace"] == "t"
    assert request.metadata["parameters"]["top_p"] == 0.5
    assert request.metadata["parameters"]["tools"][0]["function"]["name"] == "f"
    assert request.metadata["parameters"].keys() <= {"top_p", "tools", "n"}
    assert (await reply.message()).text == "Hello."
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (5, 7)
    assert (reply.outcome, reply.finish, reply.upstream_model) == ("complete", "stop", "real-model")


async def test_a_request_keeps_the_defaults_where_the_caller_said_nothing() -> None:
    """The dataclass's own temperature and cap apply."""
    provider = ByRequest(LLMResponse("x"))
    await read(chat("hi"), MINE)
    assert (provider.requests[0].temperature, provider.requests[0].max_tokens) == (0.7, 2000)


async def test_a_body_of_the_wire_reaches_the_provider() -> None:
    """The caller's own OpenAI request, and the cap that a layer put on it."""
    provider = ByRequest(LLMResponse("x"))
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 3}
    call = dialects.load("openai_chat").read(json.encode(body))
    call = replace(call, body=replace(call.body, max_output_tokens=4), target=chat().target)
    await read(call, MINE)
    assert provider.requests[0].messages == body["messages"]
    assert provider.requests[0].max_tokens == 4
    assert provider.requests[0].metadata == {"parameters": {"seed": 3}}


@pytest.mark.parametrize("kind", [ByRequest, ByCoroutine])
async def test_a_stream_may_be_written_either_way(kind: type[ByRequest]) -> None:
    """Pieces are deltas; the last one's usage is the answer's."""
    provider = kind(LLMResponse("Hel"), LLMResponse("lo"), LLMResponse("", usage=USAGE))
    assert await texts_of() == ["Hel", "lo"]
    assert provider.requests[0].stream is True
    reply = await read(chat("hi", stream=True), MINE)
    assert (await reply.message()).text == "Hello"
    assert reply.usage is not None
    assert reply.usage.total_tokens == 12
    assert provider.closed == 2


async def test_a_provider_by_messages_is_asked_with_what_it_takes() -> None:
    """`ChatMessage` objects, and by name those options that its method has parameters for."""
    provider = ByMessage()
    register_provider("mine", provider)
    call = chat("hello you", temperature=0.1, max_output_tokens=3, top_p=0.5)
    reply = await read(call, MINE)
    assert provider.messages == [ChatMessage("user", "hello you")]
    options = {"model": "some-model", "temperature": 0.1, "max_tokens": 3, "top_p": 0.5}
    assert provider.options == options
    assert call.trail is not None
    assert call.trail.dropped == ()
    assert (await reply.message()).text == "hello you"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (9, 9)
    call = replace(call, stream=True)
    assert (await (await read(call, MINE)).message()).text == "helloyou"
    assert call.trail is not None
    assert call.trail.dropped == ("temperature", "max_tokens", "top_p")


async def test_tokens_may_be_counted_by_a_coroutine() -> None:
    """`count_tokens` is asked only where no usage was told, and may be `async def`."""

    class Counting(ByMessage):
        async def count_tokens(self, text: str) -> int:  # type: ignore[override]
            return 3

    register_provider("mine", Counting())
    usage = (await read(chat("hi"), MINE)).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 3)


async def test_a_streamed_piece_may_be_text_or_an_object() -> None:
    """A str, a ChatResponse, an LLMResponse, or anything with `content` or `reply`."""
    ByRequest("a", ChatResponse("b"), LLMResponse("c"), SimpleNamespace(content="d"))
    assert await texts_of() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"input_tokens": 2, "output_tokens": 3}, (2, 3)),
        (SimpleNamespace(prompt_tokens=2, completion_tokens=3), (2, 3)),
        ({"prompt_tokens": 2}, None),
        ({"prompt_tokens": -2, "completion_tokens": "3"}, None),
        (None, None),
    ],
)
async def test_usage_is_read_under_either_name_or_stays_unknown(
    usage: Any, tokens: tuple[int, int] | None
) -> None:
    """OpenAI's and Anthropic's names; half an account is none, never zero."""
    ByRequest(LLMResponse("x", usage=usage))
    told = (await read(chat("hi"), MINE)).usage
    assert (told and (told.prompt_tokens, told.completion_tokens)) == tokens


async def test_thoughts_and_tool_calls_are_kept() -> None:
    """Both spellings of thoughts; calls in OpenAI's format, arguments as text or as an object."""
    other = {"id": "c2", "function": {"name": "g", "arguments": {"b": 2}}}
    ByRequest(LLMResponse("", tool_calls=[CALL, other], thoughts={"reasoning_content": "hm"}))
    reply = await read(chat("hi"), MINE)
    assert (await reply.message()).parts == (
        Thinking(text="hm"),
        ToolCall(id="c1", name="f", arguments='{"a": 1}'),
        ToolCall(id="c2", name="g", arguments='{"b":2}'),
    )
    assert reply.finish == "tool_calls"
    ByRequest(LLMResponse("x", thoughts="hm"))
    assert (await (await read(chat("hi"), MINE)).message()).thinking == "hm"


async def test_streamed_tool_calls_come_whole_or_in_fragments() -> None:
    """A fragment says its index; a whole call gets the next one."""
    fragments = [
        LLMResponse("", tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f"}}]),
        LLMResponse("", tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
        LLMResponse("", tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    ]
    ByRequest(*fragments)
    message = await (await read(chat("hi", stream=True), MINE)).message()
    assert message.tool_calls == (ToolCall(id="c1", name="f", arguments='{"a": 1}'),)
    ByRequest(LLMResponse("", tool_calls=[CALL]), LLMResponse("", tool_calls=[CALL]))
    message = await (await read(chat("hi", stream=True), MINE)).message()
    assert len(message.tool_calls) == 2


async def test_the_providers_finish_reason_counts() -> None:
    """It is read from the metadata; a word nobody knows stays as the raw reason."""
    ByRequest(LLMResponse("x", metadata={"finish_reason": "length"}))
    assert (await read(chat("hi"), MINE)).finish == "length"
    ByRequest(LLMResponse("x", metadata={"finish_reason": "tired"}))
    reply = await read(chat("hi"), MINE)
    assert (reply.finish, reply.finish_raw) == ("stop", "tired")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeyError("oops"), ProviderError),
        (TimeoutError("slow"), AttemptTimeout),
        (ConnectionResetError("gone"), ConnectionLost),
    ],
)
async def test_what_a_provider_raises_becomes_ours(
    error: Exception, kind: type[ProviderError], stream: bool
) -> None:
    """It is raised before there is a reply, may fail over, and keeps the original as its cause."""
    ByRequest(error)
    with pytest.raises(kind) as raised:
        await ask(chat("hi", stream=stream), MINE)
    assert type(raised.value) is kind
    assert raised.value.__cause__ is error
    assert raised.value.fail_over
    assert f"provider 'mine' raised {type(error).__name__}" in str(raised.value)


async def test_credentials_in_a_providers_error_are_not_repeated() -> None:
    """The text is scrubbed before it goes anywhere."""
    ByRequest(RuntimeError("bad key sk-abcdefgh12345678"))
    with pytest.raises(ProviderError) as raised:
        await ask(chat("hi"), MINE)
    assert "sk-abcdefgh" not in str(raised.value)


async def test_our_own_errors_pass_unchanged() -> None:
    """A provider may speak the tree itself."""
    error = RateLimited("later", retry_after_s=3)
    ByRequest(error)
    with pytest.raises(RateLimited) as raised:
        await ask(chat("hi"), MINE)
    assert raised.value is error


async def test_an_error_in_the_middle_comes_after_the_reply() -> None:
    """What was said is shown; then the reply fails."""
    ByRequest(LLMResponse("Hel"), ValueError("oops"))
    reply = await ask(chat("hi", stream=True), MINE)
    with pytest.raises(ProviderError, match="ValueError: oops"):
        await reply.message()
    assert (reply.outcome, reply.shown_frames) == ("failed", 1)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([42], "gave int"),
        ([LLMResponse(b"x")], "gave LLMResponse"),  # type: ignore[arg-type]
        ([None], "gave NoneType"),
        ([LLMResponse("", tool_calls=[{"name": "f"}])], "OpenAI's format"),
        ([LLMResponse("", tool_calls=["f"])], "OpenAI's format"),  # type: ignore[list-item]
        ([LLMResponse("", tool_calls=[{"function": {}}])], "OpenAI's format"),
        ([], "gave no answer"),
    ],
)
async def test_an_answer_of_no_known_shape_is_a_bad_answer(pieces: list[Any], words: str) -> None:
    """The message says what came and what to return instead."""
    ByRequest(*pieces)
    with pytest.raises(BadAnswer, match=words):
        await ask(chat("hi", stream=True), MINE)


async def test_a_stream_that_is_no_iterator_is_a_bad_answer() -> None:
    """Returning a list from `stream_chat` is told apart from a failure."""

    class Listing(ByMessage):
        async def stream_chat(self, messages: list[ChatMessage]) -> list[str]:  # type: ignore[override]
            return ["a"]

    register_provider("mine", Listing())
    with pytest.raises(BadAnswer, match="async iterator, not list"):
        await ask(chat("hi", stream=True), MINE)


async def test_a_count_that_is_no_number_is_a_bad_answer() -> None:
    """A wrong count never becomes money."""

    class Miscounting(ByMessage):
        def count_tokens(self, text: str) -> int:
            return "many"  # type: ignore[return-value]

    register_provider("mine", Miscounting())
    with pytest.raises(BadAnswer, match="count_tokens must return an int"):
        await read(chat("hi"), MINE)


async def test_an_empty_answer_is_an_answer() -> None:
    """A model may say nothing."""
    ByRequest(LLMResponse(""))
    reply = await read(chat("hi"), MINE)
    assert ((await reply.message()).text, reply.finish) == ("", "stop")


async def test_leaving_early_closes_the_providers_generator() -> None:
    """`aclose` runs the generator's own clean-up to its end."""
    provider = ByRequest(LLMResponse("a"), LLMResponse("b"))
    async with await ask(chat("hi", stream=True), MINE) as reply:
        await anext(reply)
    assert provider.closed == 1
    assert reply.outcome == "abandoned"


@pytest.mark.parametrize("end", ["aclose", "cancel"])
async def test_a_pending_piece_is_given_up(end: str) -> None:
    """Closing from another task, or cancelling the reader, ends the wait and the generator."""
    provider = ByRequest(LLMResponse("a"), asyncio.Event())
    reply = await ask(chat("hi", stream=True), MINE)
    reader = asyncio.create_task(reply.message())
    for _ in range(5):
        await asyncio.sleep(0)
    assert provider.closed == 0
    if end == "cancel":
        reader.cancel()
    else:
        await reply.aclose()
        assert provider.closed == 1
    with pytest.raises(ReplyClosed if end == "aclose" else asyncio.CancelledError):
        await reader
    assert provider.closed == 1


async def test_a_cancelled_first_wait_closes_the_generator() -> None:
    """Before there is a reply, cancelling the call is enough."""
    provider = ByRequest(asyncio.Event())
    opening = asyncio.create_task(ask(chat("hi", stream=True), MINE))
    for _ in range(5):
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert provider.closed == 1


async def test_an_answer_read_to_its_end_leaves_nothing_open() -> None:
    """The generator has ended before the terminal frame is handed out, without any `aclose`."""
    provider = ByRequest(LLMResponse("a"))
    reply = await ask(chat("hi", stream=True), MINE)
    reply.on_close(lambda _: order.append(provider.closed))
    order: list[int] = []
    await reply.message()
    assert order == [1]


async def test_several_choices_are_refused() -> None:
    """None of the interfaces can ask for them."""
    ByRequest(LLMResponse("x"))
    with pytest.raises(CapabilityMissing, match="n=1") as raised:
        await ask(chat("hi", choices=2), MINE)
    assert raised.value.param == "n"


async def test_a_name_that_nobody_registered_is_refused() -> None:
    """The message lists what is known and how to register."""
    ByRequest(LLMResponse("x"))
    with pytest.raises(ConfigError, match=r"'yours' \(known: mine\).*register_provider\('yours'"):
        await ask(chat("hi"), "custom:yours")
    with pytest.raises(ConfigError, match="no backend 'httq'"):
        await ask(chat("hi"), "httq")
