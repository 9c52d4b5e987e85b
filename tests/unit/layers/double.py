"""What the tests of the layers share: an inner service that plays scripts, a book, calls, ends."""

import asyncio
from collections import deque
from typing import Any, TypeVar

from tests.scripted import SILENCE, Script, Step, end, finish, text, usage, whole
from trunkline.errors import ConnectionLost, RecordError
from trunkline.reply import Reply
from trunkline.service import Service
from trunkline.types import (
    Begun,
    Call,
    Called,
    Chat,
    Deployment,
    Ended,
    Limits,
    Outcome,
    Price,
    Prompt,
    RateLimit,
    Record,
    say,
)

PRICE = Price(input_nusd=3_000_000_000, output_nusd=15_000_000_000, snapshot="table 1")
TARGET = Deployment(provider="p", model="m", price=PRICE)
WHOLE = (whole("hi"),)
STREAM = (text("h"), text("i"), finish(), usage(2), end())

R = TypeVar("R", Begun, Ended, Called)

Answer = tuple[Step, ...] | BaseException | str
"""The steps of a reply, an error raised before there is one, or a silence."""


class Inner:
    """A service that plays its answers in turn, the last one again and again."""

    def __init__(self, *answers: Answer, turns: int = 0) -> None:
        self.answers = deque(answers)
        self.turns = turns
        """Turns of the loop that a reply takes to come, and then each of its frames."""
        self.calls: list[Call] = []
        self.scripts: list[Script] = []
        """The wires that were opened."""

    async def __call__(self, call: Call) -> Reply:
        """Play the next answer."""
        self.calls.append(call)
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        script = Script(*(answer if isinstance(answer, tuple) else (answer,)), turns=self.turns)
        self.scripts.append(script)
        try:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            if not isinstance(answer, tuple):
                await script.next()
        except BaseException:
            script.close()
            raise
        return Reply(script, call.target or TARGET)

    @property
    def open_wires(self) -> int:
        """How many wires nobody closed."""
        return sum("wire closed" not in script.log for script in self.scripts)


class Pages:
    """A book in memory; `torn` names the records it cannot take."""

    def __init__(self, *torn: type[Record]) -> None:
        self.torn = torn
        self.records: list[Record] = []
        self.flushed = 0
        """How many records would survive the death of the process."""

    def append(self, record: Record, *, flush: bool) -> None:
        """Take one record."""
        if isinstance(record, self.torn):
            raise RecordError("the disk is full")
        self.records.append(record)
        if flush:
            self.flushed = len(self.records)

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of one kind."""
        return [record for record in self.records if isinstance(record, kind)]


def ask(**fields: Any) -> Chat:
    """Make a call as a caller does."""
    return Chat(**{"model": "m", "body": Prompt(messages=(say("user", "hi"),)), **fields})


def limited(**limits: Any) -> Deployment:
    """Make a target with limits; those per minute are its provider's."""
    rates = {name: limits.pop(name) for name in list(limits) if name.endswith("_per_minute")}
    return Deployment(
        provider="p",
        model="m",
        price=PRICE,
        limits=Limits(**limits),
        rates=(RateLimit(scope="provider:p", **rates),) if rates else (),
    )


ENDS: dict[str, tuple[Answer, Outcome]] = {
    "whole": (WHOLE, "complete"),
    "streamed": (STREAM, "complete"),
    "failed": (ConnectionLost("reset"), "failed"),
    "failed in mid-stream": ((text("h"), ConnectionLost("reset")), "failed"),
    "truncated": ((text("h"),), "failed"),
    "cancelled": (SILENCE, "cancelled"),
    "cancelled in mid-stream": ((text("h"), SILENCE), "cancelled"),
    "abandoned": ((text("h"), SILENCE), "abandoned"),
}
"""Every way in which a call can end: what the provider does, and the outcome that must follow."""


async def read(reply: Reply) -> None:
    """Read what is left of an answer."""
    async for _ in reply:
        pass


async def settle() -> None:
    """Let whatever can run do so."""
    for _ in range(30):
        await asyncio.sleep(0)


async def live(service: Service, call: Call, how: str) -> BaseException | None:
    """Make a call that ends in the way `how`; return what its caller had to catch."""

    async def caller() -> None:
        async with await service(call) as reply:
            async for _ in reply:
                if how == "abandoned":
                    return

    task = asyncio.create_task(caller())
    await settle()
    task.cancel()
    await asyncio.wait({task})
    return asyncio.CancelledError() if task.cancelled() else task.exception()
