"""The embedded `demo` provider: answers any model name, always the same way, without a network.

It answers in a sentence that quotes you. Lines of the last user message that begin with `/demo`
tell it what to do instead; they work through every face and may be combined:

    /demo echo TEXT        answer TEXT
    /demo tokens N         answer N words (at most 99999)
    /demo think TEXT       think TEXT first; asking for reasoning makes it think, too
    /demo tool NAME JSON   call the tool NAME with JSON, exactly as written; without JSON, with the
                           smallest arguments its schema takes; repeat it for parallel calls
    /demo slow S           wait S seconds before each token
    /demo fail HOW         fail before the answer (400, 401, 429, 500, 503, timeout) or in its
                           middle (midstream: the connection breaks; truncate: it just stops)

It also calls an offered tool that the message names or `tool_choice` asks for. Once it has a
tool's result it answers with a sentence that quotes it. Asked for JSON, it gives the smallest value
that fits the schema.

A token is a word or one other visible character, with the blanks before it; each is streamed on
its own. Thoughts, tool names (one token each) and their arguments count as output; everything said
so far and the tools offered count as input, a picture, sound or file as one token. Of the options,
`max_output_tokens`, `stop`, `choices`, `tool_choice` and `parallel_tool_calls` are kept to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from msgspec.structs import replace

from trunkline.backends import begin, whole
from trunkline.backends.demo.turn import FAILURES, MIDWAY, Turn
from trunkline.clock import Clock
from trunkline.errors import ConnectionLost
from trunkline.reply import Reply
from trunkline.types import (
    Call,
    Chat,
    Counted,
    CountTokens,
    Finish,
    Frame,
    Mark,
    Started,
    UsageReport,
)

MODEL = "demo"


def make(_: str, clock: Clock) -> Demo:
    """Return the backend; there is only one."""
    return Demo(clock)


class Demo:
    """Answers chats by the rules in this module's docstring."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def send(self, call: Call) -> Reply:
        """Answer `call`.

        Raises:
            InputError: a `/demo` line or a schema cannot be read.
            ProviderError: a `/demo fail` line asked for it.
        """
        assert call.target is not None
        assert isinstance(call, Chat)
        turn = Turn(call.prompt, call.body.max_output_tokens)
        if isinstance(call, CountTokens):
            return await whole(call.target, Counted(tokens=turn.usage.prompt_tokens))
        fail = turn.orders.fail
        if fail in FAILURES:
            raise FAILURES[fail](
                f"the demo provider was told to fail ({fail})",
                upstream_status=int(fail) if fail.isdecimal() else None,
                retry_after_s=1.0 if fail == "429" else None,
            )
        return await begin(self._frames(turn), call.target)

    async def _frames(self, turn: Turn) -> AsyncGenerator[Frame, None]:
        orders, choices = turn.orders, range(turn.prompt.choices)
        events = turn.events
        if orders.fail in MIDWAY:
            events = events[: max(1, len(events) // 2)]
        started = Started(id=turn.id, model=MODEL)
        yield Frame(b"", Mark.NONE, events=(started,))
        for choice in choices:
            for event in events:
                if orders.slow_s:
                    await self._clock.sleep(orders.slow_s)
                yield Frame(b"", Mark.SHOWN, events=(replace(event, choice=choice),))
            if orders.fail == "midstream":
                raise ConnectionLost("the demo provider was told to break the connection")
            if orders.fail == "truncate":
                return
        yield Frame(
            b"",
            Mark.USAGE | Mark.FINISH | Mark.TERMINAL,
            events=(
                started,  # again: a reply takes note of it in the frame that ends the answer
                *(Finish(choice=choice, reason=turn.finish) for choice in choices),
                UsageReport(usage=turn.usage),
            ),
        )
