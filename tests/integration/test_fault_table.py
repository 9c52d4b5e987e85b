"""What becomes of a call when a provider fails, as `docs/reference/failover.md` has it.

Each cell of the two tables there is an expectation: how often each deployment was asked over real
sockets, and what the caller got.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trunkline import Trunkline
from trunkline.errors import TrunklineError
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    chat_chunks,
    hang,
    html,
)
from trunkline.testing.upstream import Request, answer_hello
from trunkline.types import Chat, Mark, Prompt, say

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "failover.md"
ERROR = {"error": {"message": "no", "type": "server_error"}}
WHOLE = Json(chat_answer("one two three"))
STREAM = Sse(chat_chunks("one two three"))
SHOWN = len(STREAM.body[0]) + len(STREAM.body[1])
HALF = 60


def always(answer: Answer) -> Callable[[bool], Answer]:
    """Answer in the same way whether it is a stream or not."""
    return lambda stream: answer


FAULTS: dict[str, Callable[[bool], Answer]] = {
    "429": always(Status(429, ERROR)),
    "429, `Retry-After` of at most 2 s": always(Status(429, ERROR, {"retry-after-ms": "20"})),
    "429, `Retry-After` of at most 30 s": always(Status(429, ERROR, {"retry-after-ms": "60"})),
    "429, a longer `Retry-After`": always(Status(429, ERROR, {"retry-after": "60"})),
    "429, the account's quota is used up": always(
        Status(429, {"error": {"message": "pay", "code": "insufficient_quota"}})
    ),
    "529": always(Status(529, ERROR)),
    "500": always(Status(500, ERROR)),
    "400": always(Status(400, ERROR)),
    "401": always(Status(401, ERROR)),
    "400, the prompt is too long": always(
        Status(400, {"error": {"message": "no", "code": "context_length_exceeded"}})
    ),
    "refuses the connection": always(hang()),
    "says nothing": always(hang()),
    "falls silent in its answer": lambda stream: (
        STREAM.hang_after(SHOWN) if stream else WHOLE.hang_after(HALF)
    ),
    "closes the connection in its answer": lambda stream: (
        STREAM.cut_after(SHOWN) if stream else WHOLE.cut_after(HALF)
    ),
    "resets the connection in its answer": lambda stream: (
        STREAM.reset_after(SHOWN) if stream else WHOLE.reset_after(HALF)
    ),
    "an error under status 200": lambda stream: (
        Sse([{"error": {"message": "busy", "code": 503}}], done=False) if stream else Json(ERROR)
    ),
    "an error after its first words": lambda stream: (
        Sse([chat_chunk({"content": "one "}), ERROR], done=False) if stream else Json(ERROR)
    ),
    "a web page under status 200": always(html()),
    "an empty body under status 200": always(Status(200, b"", {"content-type": "text/html"})),
}
ROUTES = {
    "alone": "one/m",
    "group": "two-of-a-group",
    "fallback": "one-with-fallback",
    "continue": "two-that-continue",
}


def cells(heading: str) -> dict[str, dict[str, str]]:
    """Return the table below a heading: fault -> route -> what is written there."""
    text = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {
        row[0].strip(): dict(zip(ROUTES, map(str.strip, row[1:]), strict=True)) for row in rows[1:]
    }


TABLES = {True: cells("Streams"), False: cells("Whole answers")}


@pytest.fixture(scope="module")
def closed() -> Iterator[int]:
    """A port that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.acceptance("K05", "K07", "A17")
@pytest.mark.parametrize("route", list(ROUTES))
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", list(FAULTS))
async def test_what_becomes_of_a_call(
    fault: str, stream: bool, route: str, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often asked and answered as the page says."""
    monkeypatch.setattr("trunkline.layers.retry._BASE_S", 0.0)
    monkeypatch.setattr("trunkline.layers.retry._LONGEST_BESIDE_S", 0.04)  # stands for 2 s

    def respond(request: Request) -> Answer:
        return FAULTS[fault](stream) if request.path.startswith("/one/") else answer_hello(request)

    async with FakeUpstream(respond) as up:
        first = f"http://127.0.0.1:{closed}/one" if "refuses" in fault else f"{up.url}/one"
        async with Trunkline.from_config({"llm_service": settings(first, f"{up.url}/two")}) as line:
            got = await outcome(line, ROUTES[route], stream)
            line.flush()
            [row] = line.store.calls(10)
        asked = [attempt.deployment.partition("/")[0] for attempt in row.attempts]
        if "refuses" not in fault:
            sent = [request.path.split("/")[1] for request in up.requests]
            assert sent == asked
        tries = " + ".join(str(asked.count(name)) for name in ("one", "two") if name in asked)
        assert f"{tries}: {got}" == TABLES[stream][fault][route]


def settings(first: str, second: str) -> dict[str, Any]:
    """Return a configuration with one deployment at `first` and one at `second`."""

    def at(url: str, kind: str) -> dict[str, Any]:
        more = {"first_token_timeout": 0.2, "idle_timeout": 0.2, "retries": 2}
        return {"type": kind, "api_key": "k" * 20, "base_url": url, "models": ["m"], **more}

    one, two = {"model": "one/m", "retries": 1}, {"model": "two/m", "retries": 1}
    return {
        "default_provider": "one",
        "providers": {"one": at(first, "openai"), "two": at(second, "mistral")},
        "groups": {
            "two-of-a-group": {"deployments": [one, two]},
            "two-that-continue": {"deployments": [one, two], "midstream": "continue"},
            "one-with-fallback": {"deployments": [one], "fallbacks": ["spare"]},
            "spare": {"deployments": [two]},
        },
    }


async def outcome(line: Trunkline, model: str, stream: bool) -> str:
    """Make a call and read it; return in the page's words what came of it."""
    begun = ""
    call = Chat(model=model, body=Prompt(messages=(say("user", "hi"),)), stream=stream)
    try:
        async with asyncio.timeout(10), await line(call) as reply:
            async for frame in reply:
                begun = begun or ("words, then " if frame.mark & Mark.SHOWN else "")
    except TrunklineError as error:
        return f"{begun}`{error.code}`"
    return "an answer"


def test_every_fault_is_in_both_tables() -> None:
    """And nothing else."""
    assert list(TABLES[True]) == list(TABLES[False]) == list(FAULTS)
    for table in TABLES.values():
        for row in table.values():
            assert all(re.fullmatch(r"\d( \+ \d)?: .+", cell) for cell in row.values())
