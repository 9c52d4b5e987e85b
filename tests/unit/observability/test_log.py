"""Every call is told to the log: in full, in order, without secrets, and nobody waits for it."""

import logging
import os
import threading
import time
from typing import Any

import pytest

from tests.scripted import Script, whole
from trunkline.errors import ConnectionLost
from trunkline.observability.log import EventLog
from trunkline.reply import Reply
from trunkline.types import Call, Called, Chat, Deployment, Principal, Prompt, Trail, say

PROMPT = "the secret recipe"
KEY = "sk-abcdefghijklmnop"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Switch the log on."""
    caplog.set_level(logging.DEBUG, logger="trunkline")
    return caplog


def ask(**fields: Any) -> Call:
    """Make a call of somebody."""
    return Chat(
        **{
            "model": "openai/gpt-4o",
            "id": "call_1",
            "body": Prompt(messages=(say("system", "be brief"), say("user", PROMPT))),
            "principal": Principal(key_id="k", user_id="alice", tenant_id="acme"),
            "tags": ("x",),
            "trail": Trail(),
            **fields,
        }
    )


def row(**fields: Any) -> Called:
    """Make what was recorded of it."""
    return Called(
        **{
            "call_id": "call_1",
            "kind": "chat",
            "started_ns": 1,
            "model": "openai/gpt-4o",
            "outcome": "complete",
            "deployment": "openai/gpt-4o",
            "attempts": 1,
            "finish": "stop",
            "cost_nusd": 1250,
            "cost_state": "exact",
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "latency_ms": 12.5,
            "first_token_ms": 3.5,
            "route": ("openai/gpt-4o: answered",),
            **fields,
        }
    )


def answer() -> Reply:
    """Make a reply the provider has named."""
    reply = Reply(Script(whole("hi")), Deployment(provider="openai", model="gpt-4o"))
    reply.upstream_id = "chatcmpl-1"
    return reply


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as `extra`."""
    usual = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    return {name: value for name, value in vars(record).items() if name not in usual}


REQUEST = {
    "call_id": "call_1",
    "provider": "openai",
    "model": "openai/gpt-4o",
    "model_group": "openai/gpt-4o",
    "message_count": 2,
    "stream": False,
    "key_id": "k",
    "user_id": "alice",
    "tenant_id": "acme",
    "tags": ["x"],
    "metadata": {},
}


@pytest.mark.acceptance("G16", "K14")
async def test_a_request_is_told(said: pytest.LogCaptureFixture) -> None:
    """Provider, model, number of messages, and who asks."""
    log = EventLog()
    log.asked(ask())
    log.drain()
    (record,) = said.records
    assert (record.name, record.levelname, record.getMessage()) == (
        "trunkline",
        "INFO",
        "LLM request",
    )
    assert fields(record) == REQUEST


@pytest.mark.acceptance("G17")
async def test_a_response_is_told(said: pytest.LogCaptureFixture) -> None:
    """Status, latency, usage, money, finish reason and ids."""
    log = EventLog()
    reply = answer()
    log.answered(ask(), row(), None, reply)
    log.drain()
    (record,) = said.records
    assert (record.levelname, record.getMessage()) == ("INFO", "LLM response")
    assert fields(record) == REQUEST | {
        "deployment_model": "gpt-4o",
        "deployment": "openai/gpt-4o",
        "status": "complete",
        "latency_ms": 12.5,
        "first_token_ms": 3.5,
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        "finish_reason": "stop",
        "attempts": 1,
        "cost_nusd": 1250,
        "cost_state": "exact",
        "upstream_id": "chatcmpl-1",
        "route": ["openai/gpt-4o: answered"],
    }
    await reply.message()


@pytest.mark.acceptance("G18", "G25")
async def test_an_error_is_told_in_full_and_at_once(said: pytest.LogCaptureFixture) -> None:
    """With provider, model, user and type, before the caller sees it: nobody has to drain."""
    log = EventLog()
    failed = row(outcome="failed", error_code="connection_lost", error="reset", finish=None)
    log.asked(ask())
    log.answered(ask(), failed, ConnectionLost("reset"), None)
    request, record = said.records
    assert request.getMessage() == "LLM request"
    assert (record.levelname, record.getMessage()) == ("ERROR", "LLM error")
    told = fields(record)
    assert told["provider"] == "openai"
    assert told["model"] == "openai/gpt-4o"
    assert told["user_id"] == "alice"
    assert told["status"] == "failed"
    assert told["error_type"] == "ConnectionLost"
    assert told["error_code"] == "connection_lost"
    assert told["error"] == "reset"


async def test_a_caller_who_leaves_is_not_an_error(said: pytest.LogCaptureFixture) -> None:
    """Cancelled and abandoned calls are responses with that status."""
    log = EventLog()
    for outcome in ("cancelled", "abandoned"):
        log.answered(ask(), row(outcome=outcome), None, None)
    log.drain()
    assert [fields(record)["status"] for record in said.records] == ["cancelled", "abandoned"]
    assert {record.levelname for record in said.records} == {"INFO"}


async def test_a_refused_call_names_what_was_asked_for(said: pytest.LogCaptureFixture) -> None:
    """Without an attempt the provider is the one the caller named, if any."""
    log = EventLog()
    refused = row(outcome="failed", deployment=None, attempts=0)
    log.answered(ask(model="fast"), refused, ConnectionLost("no"), None)
    log.answered(ask(model="m", provider="openai"), refused, ConnectionLost("no"), None)
    first, second = (fields(record) for record in said.records)
    assert "provider" not in first
    assert (first["model_group"], second["provider"]) == ("fast", "openai")


@pytest.mark.acceptance("G26")
async def test_what_the_caller_should_know_is_a_warning(said: pytest.LogCaptureFixture) -> None:
    """Options that were dropped and models that were swapped."""
    log = EventLog()
    trail = Trail(dropped=("top_k",), warnings=["m2 instead of m"])
    log.answered(ask(trail=trail), row(), None, None)
    log.drain()
    warning, response = said.records
    assert (warning.levelname, warning.getMessage()) == ("WARNING", "LLM warning")
    assert fields(warning)["dropped_parameters"] == ["top_k"]
    assert fields(warning)["warnings"] == ["m2 instead of m"]
    assert response.getMessage() == "LLM response"


async def tell_everything(log: EventLog, **more: Any) -> None:
    """Emit one event of each kind."""
    call = ask(trail=Trail(warnings=[f"used {KEY}"]), **more)
    log.asked(call)
    log.answered(call, row(route=(f"key {KEY}",)), None, None)
    log.answered(
        call, row(outcome="failed", error=f"bad key {KEY}"), ConnectionLost(f"bad key {KEY}"), None
    )
    log.drain()


@pytest.mark.acceptance("G27", "D08")
async def test_no_secret_and_no_prompt_is_in_a_record(said: pytest.LogCaptureFixture) -> None:
    """Neither in a field nor in what the caller attached."""
    metadata = {"api_key": "hunter2-hunter2", "deep": [{"note": f"Bearer {KEY}"}]}
    await tell_everything(EventLog(), metadata=metadata, tags=(KEY,))
    assert len(said.records) == 5
    for record in said.records:
        everything = repr(vars(record))
        assert KEY not in everything
        assert "hunter2" not in everything
        assert PROMPT not in everything
        assert "be brief" not in everything


@pytest.mark.parametrize(
    ("level", "told"),
    [
        (logging.WARNING, ["LLM warning", "LLM warning", "LLM error"]),
        (logging.ERROR, ["LLM error"]),
        (logging.CRITICAL, []),
    ],
)
async def test_what_is_switched_off_is_not_rendered(
    caplog: pytest.LogCaptureFixture, level: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the level of the logger nothing is built, not even a field."""
    from trunkline.observability import log as module

    rendered: list[str] = []
    for message, render in module._FIELDS.items():

        def note(subject: Any, message: str = message, render: Any = render) -> dict[str, Any]:
            rendered.append(message)
            return dict(render(subject))

        monkeypatch.setitem(module._FIELDS, message, note)
    caplog.set_level(level, logger="trunkline")
    await tell_everything(EventLog())
    assert [record.getMessage() for record in caplog.records] == told
    assert rendered == told


async def test_nothing_reaches_the_terminal_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """An application that configures no logging sees nothing, errors included."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        await tell_everything(EventLog())
    finally:
        root.handlers = handlers
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


async def test_events_keep_their_order_and_their_time(said: pytest.LogCaptureFixture) -> None:
    """Drained late and by several threads, they come as they were emitted, dated as they were."""
    log, before_s = EventLog(), time.time()
    for number in range(500):
        log.asked(ask(id=str(number)))
    after_s = time.time()
    threads = [threading.Thread(target=log.drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [fields(record)["call_id"] for record in said.records] == [str(n) for n in range(500)]
    assert all(before_s <= record.created <= after_s for record in said.records)


class Broken(logging.Handler):
    """A handler that cannot write."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise OSError("the log is gone")


async def test_a_broken_handler_breaks_no_call(said: pytest.LogCaptureFixture) -> None:
    """The event is lost, the call is not, and neither are other events."""
    log, broken = EventLog(), Broken()
    logging.getLogger("trunkline").addHandler(broken)
    try:
        log.answered(ask(), row(outcome="failed"), ConnectionLost("reset"), None)
    finally:
        logging.getLogger("trunkline").removeHandler(broken)
    log.asked(ask())
    log.drain()
    assert [record.getMessage() for record in said.records][-1] == "LLM request"


class Chatty(logging.Handler):
    """A handler that makes calls itself, and fails at them."""

    def __init__(self, log: EventLog) -> None:
        super().__init__()
        self.log = log
        self.left = 2

    def emit(self, record: logging.LogRecord) -> None:
        """Cause another event."""
        if self.left:
            self.left -= 1
            self.log.answered(ask(), row(outcome="failed"), ConnectionLost("again"), None)


async def test_a_handler_may_cause_an_event(said: pytest.LogCaptureFixture) -> None:
    """It does not wait for itself."""
    log = EventLog()
    chatty = Chatty(log)
    logging.getLogger("trunkline").addHandler(chatty)
    try:
        log.answered(ask(), row(outcome="failed"), ConnectionLost("reset"), None)
    finally:
        logging.getLogger("trunkline").removeHandler(chatty)
    assert len(said.records) == 3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_tells_its_own_events_only(said: pytest.LogCaptureFixture) -> None:
    """What waits in the parent is the parent's, and so is a lock that a thread of it has."""
    log = EventLog()
    log.asked(ask())
    locked, done = threading.Event(), threading.Event()

    def busy() -> None:
        with log._draining:
            locked.set()
            done.wait()

    thread = threading.Thread(target=busy)
    thread.start()
    locked.wait()
    if (child := os.fork()) == 0:
        log.asked(ask(id="child"))
        log.drain()
        os._exit([fields(record)["call_id"] for record in said.records] != ["child"])
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0
    log.drain()
    assert len(said.records) == 1


async def test_emitting_is_cheap_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Well under a microsecond each on an idle machine; the bound leaves room for a busy one."""
    caplog.set_level(logging.WARNING, logger="trunkline")
    log, call, called = EventLog(), ask(), row()
    best_s = 1.0
    for _ in range(5):
        start_s = time.perf_counter()
        for _ in range(1000):
            log.asked(call)
            log.answered(call, called, None, None)
        best_s = min(best_s, time.perf_counter() - start_s)
    assert best_s / 2000 < 20e-6
    assert not log._waiting
