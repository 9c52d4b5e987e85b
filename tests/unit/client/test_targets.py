"""Who is told: webhooks by signed POSTs, functions by calls."""

import asyncio
import hashlib
import hmac
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from trunkline.client import targets as module
from trunkline.client.targets import FunctionTarget, HttpTarget, Verdict, known_targets
from trunkline.config import Webhook, from_mapping
from trunkline.errors import InputError
from trunkline.interfaces import UsageHook
from trunkline.testing import FakeUpstream, ManualClock, Status
from trunkline.types import Secret
from trunkline.types.answer import Usage
from trunkline.types.usage_event import UsageEvent, meter_event, tokens

SECRET = "a-secret-of-16-and-more"
CONFIG = from_mapping({}, {"TRUNKLINE_DATA": "."})


def event(call_id: str = "c1") -> UsageEvent:
    """Return an event."""
    return UsageEvent(
        id=f"{call_id}:1",
        created_at=1_800_000_000,
        call_id=call_id,
        attempt=1,
        key_id="k",
        user_id=None,
        team_id=None,
        tenant_id=None,
        model="fäst",
        deployment="demo/x",
        tags=(),
        outcome="complete",
        usage=tokens(Usage(prompt_tokens=2, completion_tokens=1)),
        cost_nusd=1,
        cost_usd="0.000000001",
        cost_state="exact",
        stripe_meter_event=meter_event(f"{call_id}:1", 1_800_000_000, 3, ("k",)),
    )


def verified(header: str, body: bytes, secret: str) -> int:
    """Check a signature as the documentation tells a receiver to; return its time."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    signed = parts["t"].encode() + b"." + body
    expected = hmac.digest(secret.encode(), signed, "sha256").hex()
    assert hmac.compare_digest(expected, parts["v1"])
    return int(parts["t"])


async def told(*statuses: Status) -> tuple[list[Verdict], FakeUpstream]:
    """Tell a webhook one event for each answer it gives."""
    async with FakeUpstream() as up:
        up.script(*statuses)
        webhook = Webhook(url=f"{up.url}/usage", secret=Secret(SECRET), allow_private=True)
        events = [event(f"c{number}") for number in range(len(statuses))]
        return await HttpTarget(webhook, ManualClock()).tell(events), up


@pytest.mark.acceptance("T15")
async def test_a_webhook() -> None:
    """One POST for each event, signed, with its id twice; any 2xx means that it was taken."""
    verdicts, up = await told(Status(200), Status(204))
    assert [verdict.trouble for verdict in verdicts] == ["", ""]
    for request in up.requests:
        assert (request.method, request.path) == ("POST", "/usage")
        at_s = verified(request.headers["trunkline-signature"], request.body, SECRET)
        assert at_s == ManualClock().now_ns() // 10**9
        said = request.json()
        assert request.headers["idempotency-key"] == said["id"]
        assert request.headers["trunkline-event-id"] == said["id"]
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"] == "trunkline"
        assert (said["type"], said["usage"]["total_tokens"]) == ("usage.recorded", 3)
        assert said["stripe_meter_event"]["payload"] == {"value": "3"}
    assert {request.json()["call_id"] for request in up.requests} == {"c0", "c1"}


def test_the_signature_is_what_it_says() -> None:
    """Computed here once by hand, from the bytes that HMAC is made of."""
    body, key = b'{"a":1}', SECRET.encode().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + b"1800000000." + body).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).hexdigest()
    target = HttpTarget(Webhook(url="https://h/", secret=Secret(SECRET)), ManualClock())
    assert target._signature(body) == f"t=1800000000,v1={outer}"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Status(500), Verdict(trouble="it answered 500")),
        (Status(302), Verdict(trouble="it answered 302")),
        (Status(410), Verdict(trouble="it answered 410", final=True)),
        (
            Status(429, headers={"retry-after": "9"}),
            Verdict(trouble="it answered 429", after_s=9.0),
        ),
    ],
)
async def test_what_a_webhook_does_not_take(answer: Status, verdict: Verdict) -> None:
    """It is told again, when it asks for it; 410 means never."""
    assert (await told(answer))[0] == [verdict]


async def test_functions() -> None:
    """Plain or async, they get the events as a list."""
    heard: list[Any] = []

    async def later(events: list[UsageEvent]) -> None:
        await asyncio.sleep(0)
        heard.append(events)

    for hook in (heard.append, later):
        assert await function(hook).tell([event("c1"), event("c2")]) == [Verdict()] * 2
    assert heard == [[event("c1"), event("c2")]] * 2


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no")])
async def test_a_function_that_raises(error: BaseException) -> None:
    """Only the event that it cannot take is told again."""

    def hook(events: list[UsageEvent]) -> None:
        if any(each.call_id == "bad" for each in events):
            raise error

    bad = Verdict(trouble=f"{type(error).__name__}: no")
    assert await function(hook).tell([event("a"), event("bad")]) == [Verdict(), bad]


async def test_a_function_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off, and not called again at once."""
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    calls = 0

    async def hook(events: list[UsageEvent]) -> None:
        nonlocal calls
        calls += 1
        await asyncio.Event().wait()

    late = Verdict(trouble="it took too long")
    assert await function(hook).tell([event("a"), event("b")]) == [late, late]
    assert calls == 1


async def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are loaded when there is something to tell: a broken package loses nothing."""
    points = [EntryPoint("mine", value, "trunkline.usage_hooks") for value in ("no_such:f", "os:x")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    first, second = known_targets(CONFIG, (), ManualClock())
    assert [first.name, second.name] == ["python:no_such:f", "python:os:x"]
    [verdict] = await first.tell([event()])
    assert verdict.trouble.startswith("ModuleNotFoundError")


def test_hooks_that_cannot_be() -> None:
    """No function, or two of one name: what waits is kept under it."""
    same = [lambda events: None, lambda events: None]
    with pytest.raises(InputError, match="two usage hooks are called"):
        known_targets(CONFIG, same, ManualClock())
    with pytest.raises(InputError, match="'x' cannot be called"):
        known_targets(CONFIG, ["x"], ManualClock())  # type: ignore[list-item]


def function(hook: UsageHook) -> FunctionTarget:
    """Return the hook as a target."""
    return FunctionTarget("f", lambda: hook)
