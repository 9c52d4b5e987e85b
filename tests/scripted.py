"""A scripted source of frames, and the frames to script it with."""

import asyncio
from collections import deque
from typing import Final

from trunkline.reply import Reply
from trunkline.types import (
    Deployment,
    Event,
    Finish,
    FinishReason,
    Frame,
    Mark,
    TextDelta,
    Usage,
    UsageReport,
)

DEPLOYMENT = Deployment(provider="script", model="m")
SILENCE: Final = "silence"
"""A step that never comes; only a cancellation ends the wait."""

Step = Frame | BaseException | str


class Script:
    """Plays its steps: a frame is handed out, an exception raised; then the stream ends.

    `log` says in which order the wire was closed and, if tests write to it, the tails were run.
    """

    def __init__(self, *steps: Step, turns: int = 0) -> None:
        self.steps = deque(steps)
        self.turns = turns
        """Turns of the loop that each frame takes to come, and the wire to close."""
        self.log: list[str] = []
        self.waiting = asyncio.Event()
        """Set while a reader waits in a silence."""
        self.said_goodbye = 0

    async def next(self) -> Frame | None:
        """Take the next step."""
        for _ in range(self.turns):
            await asyncio.sleep(0)
        step = self.steps.popleft() if self.steps else None
        if isinstance(step, str):
            self.waiting.set()
            await asyncio.get_running_loop().create_future()
            raise AssertionError
        if isinstance(step, BaseException):
            raise step
        return step

    def close(self) -> None:
        """Note that the wire was closed, each time."""
        self.log.append("wire closed")

    async def wait_closed(self) -> None:
        """Take some turns to say goodbye."""
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.said_goodbye += 1


def reply_of(script: Script, *tails: str, head: tuple[Frame, ...] = ()) -> Reply:
    """Make a reply whose tails write their names to the script's log."""
    reply = Reply(script, DEPLOYMENT, head=head)
    for name in tails:
        reply.on_close(lambda _, name=name: script.log.append(name))  # type: ignore[misc]
    return reply


def frame(raw: str, mark: int, *events: Event) -> Frame:
    """Make a frame of decoded events."""
    return Frame(raw.encode(), int(mark), events=events)


def text(words: str) -> Frame:
    """Make a frame of words."""
    return frame(words, Mark.SHOWN, TextDelta(text=words))


def usage(completion_tokens: int) -> Frame:
    """Make a frame that reports usage."""
    report = UsageReport(usage=Usage(prompt_tokens=1, completion_tokens=completion_tokens))
    return frame("usage", Mark.USAGE, report)


def finish(reason: FinishReason = "stop") -> Frame:
    """Make a frame that says why the answer ended."""
    return frame("finish", Mark.FINISH, Finish(reason=reason, raw=reason))


def end() -> Frame:
    """Make the frame after which nothing comes."""
    return frame("end", Mark.TERMINAL)


def whole(words: str) -> Frame:
    """Make a whole answer: words, finish reason, usage and the end in one frame."""
    events = *text(words).events, *finish().events, *usage(2).events
    return frame(words, Mark.SHOWN | Mark.USAGE | Mark.FINISH | Mark.TERMINAL, *events)
