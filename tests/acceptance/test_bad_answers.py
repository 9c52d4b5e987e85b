"""Everything that can come back wrong, as a caller of `call_llm` and `stream_llm` meets it.

Each answer of `BAD` must end in its class of error with a text that helps, never in half a success;
and whatever happened: the records are complete, nothing stays held, no key is told, and the next
call on the same line gets its own answer.
"""

import gzip
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tests.acceptance.conftest import MakeLine
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Raw,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    chat_chunks,
    garbage,
    hang,
    hang_up,
    html,
    reset,
)
from trunkline.types import Begun, Called, Ended, Record

KEY = "correct-horse-battery-staple"
HALVES = (KEY[:14], KEY[14:])
HELLO = [{"role": "user", "content": "Hello!"}]
SOON = {"first_token_timeout": 0.3}
ALIVE = {"idle_timeout": 0.2}
FACES = pytest.mark.parametrize("stream", [False, True], ids=["call_llm", "stream_llm"])

TEXT = "one two three"
WHOLE = Json(chat_answer(TEXT))
BODY = json.dumps(chat_answer(TEXT)).encode()
CHUNKS = chat_chunks(TEXT)
PAGE = f"<html><title>Gateway says {KEY}</title></html>"
OK_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BOOM = {"error": {"message": f"boom at {KEY}", "type": "server_error"}}


@dataclass
class Bad:
    """An answer, and what a caller is told of it."""

    answer: Answer
    error: type[errors.TrunklineError]
    says: str
    """What the text must say, a pattern."""
    shown: str = ""
    """What a reader of the stream has seen by then."""
    free: bool = False
    """Whether the attempt cost nothing for certain; else it is an estimate above nothing."""
    settings: dict[str, Any] = field(default_factory=dict)
    again: bool = False
    """Whether the request is sent once more when it met a connection that had served before."""


def said(*events: object, done: bool = False) -> Sse:
    """Make a stream that shows "one " and goes on with `events`."""
    return Sse([chat_chunk({"content": "one "}), *events], done=done)


def packed(body: bytes, **headers: str) -> Status:
    """Make an answer whose head says it is compressed."""
    return Status(200, body, {"content-encoding": "gzip", **headers})


def body(text: bytes, kind: str = "application/json") -> Status:
    """Make a 200 with this body."""
    return Status(200, text, {"content-type": kind})


def chunked(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> Raw:
    """Make a JSON answer in HTTP chunks."""
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return Raw(OK_HEAD + b"transfer-encoding: chunked\r\n\r\n", *framed, last)


BadAnswer, Truncated = errors.BadAnswer, errors.Truncated

BAD: dict[str, Bad] = {
    # no HTTP, or none to the end
    "connection closed": Bad(hang_up(), errors.ConnectionLost, "closed before", again=True),
    "connection reset": Bad(reset(), errors.ConnectionLost, "broke", again=True),
    "half a status line": Bad(Raw(b"HTTP/1.1 2"), errors.ConnectionLost, "closed before"),
    "garbage bytes": Bad(garbage(), BadAnswer, "not valid HTTP"),
    "bad status": Bad(Raw(b"HTTP/1.1 OK 200\r\n\r\n"), BadAnswer, "not valid HTTP"),
    "bad content-length": Bad(Raw(OK_HEAD + b"content-length: -5\r\n\r\n"), BadAnswer, "HTTP"),
    "bad chunk size": Bad(chunked(last=b"zz\r\n"), BadAnswer, "HTTP"),
    "huge header": Bad(Json({}, headers={"x-big": "a" * 100_000}), BadAnswer, "larger than"),
    "100 and nothing": Bad(Raw(b"HTTP/1.1 100 Continue\r\n\r\n"), errors.ConnectionLost, "closed"),
    # half a body
    "content-length too long": Bad(WHOLE.cut_after(60), Truncated, "before its end"),
    "one byte short": Bad(WHOLE.cut_after(len(BODY) - 1), Truncated, "before its end"),
    "reset in the body": Bad(WHOLE.reset_after(60), errors.ConnectionLost, "reset in the middle"),
    "cut between chunks": Bad(chunked(BODY[:60], last=b""), Truncated, "before its end"),
    "no last chunk": Bad(chunked(BODY, last=b""), Truncated, "before its end"),
    "no length and cut": Bad(Raw(OK_HEAD + b"\r\n" + BODY[:60]), BadAnswer, "not valid JSON"),
    "content-length too short": Bad(
        Raw(OK_HEAD + b"content-length: 60\r\n\r\n" + BODY, end="keep"), BadAnswer, "not valid"
    ),
    # no answer in it
    "empty 200": Bad(Status(200, b""), BadAnswer, "empty"),
    "blank 200": Bad(body(b" \r\n\n"), BadAnswer, "empty"),
    "empty stream": Bad(Sse([], done=False), BadAnswer, "empty"),
    "204": Bad(Raw(b"HTTP/1.1 204 No Content\r\n\r\n", end="keep"), BadAnswer, "empty"),
    "HTML at 200": Bad(html(), BadAnswer, "HTML"),
    "HTML with the key": Bad(body(PAGE.encode(), "text/html"), BadAnswer, "HTML"),
    "HTML with the key at its cut": Bad(body(b"<" + b"a" * 185 + KEY.encode()), BadAnswer, "HTML"),
    "HTML as a stream": Bad(body(PAGE.encode(), "text/event-stream"), BadAnswer, "HTML"),
    "a picture": Bad(body(b"\x89PNG\r\n\x1a\n\0\0", "image/png"), BadAnswer, "not valid JSON"),
    "bytes of no kind": Bad(body(b"\x00\xff\xfe\x01"), BadAnswer, "not valid JSON"),
    "invalid JSON": Bad(body(b'{"choices": [}'), BadAnswer, "not valid JSON"),
    "invalid UTF-8": Bad(body(BODY.replace(b"two", b"\xff")), BadAnswer, "not valid JSON"),
    "deep JSON": Bad(body(b"[" * 100_000), BadAnswer, "not valid JSON"),
    "JSON and more": Bad(body(BODY + b"{}"), BadAnswer, "not valid JSON"),
    **{
        f"JSON that is {text}": Bad(body(text.encode()), BadAnswer, "no choices")
        for text in ("[]", '"x"', "42", "null", "true", "{}", '{"choices": []}')
    },
    **{
        f"choices that are {text}": Bad(
            body(b'{"id": "x", "choices": %s}' % text.encode()), BadAnswer, "choices|shape"
        )
        for text in ("null", '"x"', "42", "true", '{"a": 1}', "[null]", '["x"]', "[[]]", "[42]")
    },
    # an error
    "HTML at 502": Bad(html(502), errors.UpstreamFailed, "web page", free=True),
    "HTML at 503": Bad(html(503), errors.UpstreamOverloaded, "web page", free=True),
    "half a 500": Bad(Status(500, PAGE).cut_after(10), errors.UpstreamFailed, "500", free=True),
    "nothing at 429": Bad(Status(429, b""), errors.UpstreamRateLimited, "429", free=True),
    "the key at 401": Bad(Status(401, KEY), errors.AuthFailed, "check its api_key", free=True),
    "the key at 400": Bad(Status(400, f"bad {KEY}"), errors.Refused, "bad", free=True),
    "the key at the cut of a 500": Bad(
        Status(500, "a" * 1986 + KEY), errors.UpstreamFailed, "aaa", free=True
    ),
    "the key as a code": Bad(
        Status(400, {"error": {"message": "no", "code": KEY, "param": KEY}}),
        errors.Refused,
        "no",
        free=True,
    ),
    "429 with an odd date": Bad(
        Status(429, b"", {"retry-after": "Mon, 01 Jan 99999 00:00:00 GMT", "date": "x"}),
        errors.UpstreamRateLimited,
        "429",
        free=True,
    ),
    "error in a 200": Bad(Json(BOOM), errors.UpstreamFailed, "boom"),
    "429 in a 200": Bad(
        Json({"error": {"message": "slow", "code": 429}}),
        errors.UpstreamRateLimited,
        "slow",
        free=True,
    ),
    "redirect": Bad(
        Status(302, b"", {"location": f"https://elsewhere/?key={KEY}"}),
        BadAnswer,
        "302.*elsewhere.*not followed",
        free=True,
    ),
    "101": Bad(Status(101, b""), BadAnswer, "101"),
    # a stream that fails before it shows anything
    "error as first event": Bad(Sse([BOOM], done=False), errors.UpstreamFailed, "boom"),
    "error before the first token": Bad(
        Sse([chat_chunk({"role": "assistant"}), BOOM]), errors.UpstreamFailed, "boom"
    ),
    "comments only": Bad(Sse([b": ping\n\n"] * 3, done=False), Truncated, "before its end"),
    "comments and done": Bad(Sse([b": ping\n\n"] * 3), BadAnswer, "empty|nothing|before its end"),
    "a role and no more": Bad(Sse(CHUNKS[:1], done=False), Truncated, "before its end"),
    "event of garbage": Bad(Sse(["{not json"]), BadAnswer, "not valid JSON"),
    "event that is a list": Bad(Sse([[1]]), BadAnswer, "no object"),
    # a stream that fails later
    "error after the first token": Bad(said(BOOM), errors.UpstreamFailed, "boom", "one "),
    "garbage after the first token": Bad(said("{x"), BadAnswer, "not valid JSON", "one "),
    "page after the first token": Bad(said(PAGE), BadAnswer, "HTML", "one "),
    "stream without finish": Bad(said(), Truncated, "before its end", "one "),
    "stream cut": Bad(Sse(CHUNKS).cut_after(700), Truncated, "before its end", "one two "),
    "stream reset": Bad(
        Sse(CHUNKS).slow(0.01).reset_after(700), errors.ConnectionLost, "reset in", "one two "
    ),
    "half an event": Bad(said(b'data: {"choices":[{"de'), BadAnswer, "not valid JSON", "one "),
    "half a tool call": Bad(
        Sse(
            [
                chat_chunk(
                    {
                        "tool_calls": [
                            {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x'}}
                        ]
                    }
                )
            ],
            done=False,
        ),
        Truncated,
        "before its end",
    ),
    # too slow
    "no answer at all": Bad(hang(), errors.FirstTokenTimeout, r"0\.3 s", settings=SOON),
    "slow head": Bad(WHOLE.late(9), errors.FirstTokenTimeout, r"0\.3 s", settings=SOON),
    "comments for ever": Bad(
        Sse([b": ping\n\n"] * 999, delay_s=0.01),
        errors.FirstTokenTimeout,
        r"0\.3 s",
        settings=SOON,
    ),
    "silence in a body": Bad(
        WHOLE.hang_after(60), errors.IdleTimeout, r"silent for 0\.2 s", settings=ALIVE
    ),
    "silence in a stream": Bad(
        Sse(CHUNKS).hang_after(700), errors.IdleTimeout, r"0\.2 s", "one two ", settings=ALIVE
    ),
    "a trickle": Bad(
        Sse([*chat_chunks("x " * 3, finish=None), *[b": ping\n\n"] * 999]).slow(0.01),
        errors.AttemptTimeout,
        r"within 0\.5 s",
        "x " * 3,
        settings={"timeout": 0.5},
    ),
    # compressed, though nobody asked
    "no gzip inside": Bad(packed(BODY), BadAnswer, "not valid HTTP"),
    "half a gzip": Bad(packed(gzip.compress(BODY)[:60]), Truncated, "before its end"),
    "cut gzip": Bad(packed(gzip.compress(BODY)).cut_after(60), Truncated, "before its end"),
}


@dataclass
class Desk:
    """A line with a budget, all records it wrote, and its upstream."""

    line: Trunkline
    up: FakeUpstream
    records: list[Record]

    def take(self) -> list[Record]:
        """Return the records since the last time."""
        self.line.flush()
        taken = self.records.copy()
        self.records.clear()
        return taken

    def settled_nusd(self) -> int:
        """Return what the user has spent."""
        [account] = self.line.ledger.accounts()
        assert account.held_nusd == 0
        return account.settled_nusd


@pytest.fixture
def desk(
    up: FakeUpstream, make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Desk]:
    """Open a desk; every record is caught on its way into the store."""

    def open_desk(**settings: Any) -> Desk:
        provider = {
            "api_key": KEY,
            "base_url": f"{up.url}/v1",
            "retries": 0,
            "models": [{"name": "gpt-4o", "price": {"input": 2.5, "output": 10.0}}],
            **settings,
        }
        line = make_line(
            providers={"openai": provider},
            budgets=[{"scope": "user:u", "amount": 1, "period": "month"}],
        )
        records: list[Record] = []
        apply = line.store.apply

        def catch(file: str, offset: int, some: Iterable[Record]) -> None:
            records.extend(some)
            apply(file, offset, list(some))

        monkeypatch.setattr(line.store, "apply", catch)
        return Desk(line, up, records)

    return open_desk


async def ask(*, stream: bool, seen: list[str] | None = None) -> str:
    """Ask through one of the faces; `seen` collects what a reader got before an error."""
    if not stream:
        return (await call_llm("openai", "gpt-4o", HELLO, {}, user_id="u"))[0]
    seen = [] if seen is None else seen
    async for chunk in stream_llm("openai", "gpt-4o", HELLO, {}, user_id="u"):
        seen.append(chunk.choices[0].delta.content or "")
    return "".join(seen)


def told(error: BaseException) -> Iterator[str]:
    """Give every text that an error carries, with those that led to it."""
    chain: BaseException | None = error
    while chain is not None:
        yield from (str(chain), repr(chain), repr(vars(chain)))
        chain = chain.__cause__


def check_books(desk: Desk, error: errors.TrunklineError, before_nusd: int, *, free: bool) -> None:
    """One attempt begun and ended, one call, a sensible cost, nothing held."""
    begun, ended, called = desk.take()
    assert isinstance(begun, Begun)
    assert isinstance(ended, Ended)
    assert isinstance(called, Called)
    assert (ended.outcome, called.outcome) == ("failed", "failed")
    assert (ended.error_code, called.error_code) == (error.code, error.code)
    assert called.attempts == 1
    assert (ended.cost_state, called.cost_state) == (("exact",) * 2 if free else ("estimated",) * 2)
    assert ended.cost_nusd is not None
    assert ended.cost_nusd == called.cost_nusd
    assert (ended.cost_nusd == 0) == free
    assert desk.settled_nusd() == before_nusd + ended.cost_nusd
    written = msgspec.json.encode([begun, ended, called]).decode()
    assert not any(secret in written for secret in HALVES)


@pytest.mark.acceptance("A22", "D08", "G25")
@FACES
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer(
    desk: Callable[..., Desk], caplog: pytest.LogCaptureFixture, name: str, stream: bool
) -> None:
    """On a new connection and on a kept one: its class, a text that helps, books that are right.

    And the next calls succeed, through both faces.
    """
    caplog.set_level(logging.DEBUG)
    bad = BAD[name]
    at = desk(**bad.settings)
    for times in (1, 1 + bad.again):
        asked, before_nusd = len(at.up.requests), at.settled_nusd()
        at.up.script(*[bad.answer] * times)
        seen: list[str] = []
        with pytest.raises(bad.error) as caught:
            await ask(stream=stream, seen=seen)
        error = caught.value
        assert type(error) is bad.error
        assert isinstance(error, errors.ProviderError)
        assert error.deployment == "openai/gpt-4o"
        assert re.search(bad.says, error.message)
        assert len(error.message) < 2500
        assert "".join(seen) == bad.shown * stream
        assert len(at.up.requests) - asked == times
        check_books(at, error, before_nusd, free=bad.free)
        assert not any(secret in text for secret in HALVES for text in told(error))

        assert await ask(stream=stream) == "Hello."
        assert await ask(stream=not stream) == "Hello."
        assert [type(record) for record in at.take()] == [Begun, Ended, Called] * 2
    assert not any(secret in caplog.text for secret in HALVES)


GOOD: dict[str, Answer] = {
    "JSON called text": Status(200, BODY.decode()),
    "JSON called HTML": body(BODY, "text/html"),
    "JSON called a stream": body(BODY, "text/event-stream"),
    "JSON called nothing": Raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY),
    "JSON with a BOM": body(b"\xef\xbb\xbf" + BODY),
    "JSON in chunks": chunked(BODY[:60], BODY[60:]),
    "a stream called JSON": Sse(CHUNKS, headers={"content-type": "application/json"}),
    "a stream called text": Sse(CHUNKS, headers={"content-type": "text/plain"}),
    "gzip": packed(gzip.compress(BODY)),
    "a gzipped stream": packed(
        gzip.compress(b"".join(b"data: %s\n\n" % json.dumps(c).encode() for c in CHUNKS)),
        **{"content-type": "text/event-stream"},
    ),
    "no [DONE]": Sse(CHUNKS, done=False),
    "no finish reason": Sse(chat_chunks(TEXT, finish=None)),
    "comments between": Sse([event for c in CHUNKS for event in (b": ping\n\n", c)]),
    "closing": WHOLE.closing(),
    "a 100 before": Raw(b"HTTP/1.1 100 Continue\r\n\r\n" + OK_HEAD + b"\r\n" + BODY),
    "status 201": Json(chat_answer(TEXT), status=201),
    "long headers": Json(chat_answer(TEXT), headers={f"x-{n}": "a" * 4000 for n in range(20)}),
    "more after the end": Raw(WHOLE.head + BODY + b"more", end="keep"),
    "an answer too many": Raw(WHOLE.head + BODY + WHOLE.head + BODY, end="keep"),
}


@FACES
@pytest.mark.parametrize("name", GOOD)
async def test_an_odd_answer_that_is_whole(
    desk: Callable[..., Desk], name: str, stream: bool
) -> None:
    """What can be understood beyond doubt is; and nothing of it reaches the next call."""
    at = desk()
    at.up.script(GOOD[name])
    assert await ask(stream=stream) == TEXT
    assert await ask(stream=stream) == "Hello."
    assert [type(record) for record in at.take()] == [Begun, Ended, Called] * 2
