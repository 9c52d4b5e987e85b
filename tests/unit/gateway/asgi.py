"""Ask an ASGI application without a socket, as strictly as a server would."""

import asyncio
from dataclasses import dataclass
from typing import Any

ADMIN_KEY = "tl-admin-for-tests-only"
HEADERS = {
    "host": "localhost",
    "authorization": f"Bearer {ADMIN_KEY}",
    "content-type": "application/json",
}
GONE = {"type": "http.disconnect"}


@dataclass
class Answer:
    """What was sent, and whether it was sent to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended: bool


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    """Make an event that carries a piece of a request's body."""
    return {"type": "http.request", "body": body, "more_body": more}


def scope(method: str, path: str, headers: dict[str, str | None] | None = None) -> dict[str, Any]:
    """Make a request; a header that is None is left out."""
    sent = {**HEADERS, **(headers or {})}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in sent.items() if v is not None
        ],
    }


class Talk:
    """One request to `app`: plays `events` to it, then silence until `leave()`."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in events:
            self._events.put_nowait(event)

    def leave(self) -> None:
        """Hang up."""
        self._events.put_nowait(GONE)

    async def receive(self) -> dict[str, Any]:
        """Give the next event, or wait for one."""
        return await self._events.get()

    async def send(self, event: dict[str, Any]) -> None:
        """Take a piece of the answer; one head, then body until its end, and no more."""
        first = not self.sent
        assert event["type"] == ("http.response.start" if first else "http.response.body")
        assert first or len(self.sent) == 1 or self.sent[-1]["more_body"]
        self.sent.append(event)

    def answer(self) -> Answer:
        """Return what was sent."""
        head, *pieces = self.sent
        names = [name for name, _ in head["headers"]]
        assert len(set(names)) == len(names)
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in head["headers"]}
        body = b"".join(event["body"] for event in pieces)
        return Answer(head["status"], headers, body, bool(pieces) and not pieces[-1]["more_body"])


async def ask(
    app: Any,
    path: str,
    body: bytes = b"",
    headers: dict[str, str | None] | None = None,
    method: str = "POST",
) -> Answer:
    """Send one request and return the whole answer."""
    talk = Talk(piece(body))
    await asyncio.wait_for(app(scope(method, path, headers), talk.receive, talk.send), 10)
    return talk.answer()
