"""docs/reference/webhooks.md says what is sent: headers, fields, and how to check a signature."""

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.acceptance.pages import ROOT, blocks, tables, words
from trunkline import Trunkline
from trunkline.client.hooks import MOST_TRIES
from trunkline.config import from_mapping
from trunkline.testing import FakeUpstream, Status
from trunkline.testing.upstream import Request
from trunkline.types.usage_event import METER, UsageEvent

PAGE = ROOT / "docs/reference/webhooks.md"
SECRET = "a-secret-of-16-and-more"


def fields(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of a struct's fields, and of those within."""
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from fields(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


async def posted(**call: Any) -> Request:
    """Return the request that a gateway's receiver gets about one call of the demo."""
    from trunkline.llm_service.ask import chat

    with FakeUpstream.in_thread(lambda request: Status(200)) as up:
        hook = {"url": up.url, "secret": SECRET, "allow_private": True}
        settings = {"providers": {"demo": {}}, "webhooks": [hook]}
        async with Trunkline(from_mapping({"llm_service": settings})) as line:
            asked = chat([{"role": "user", "content": "hi"}], "demo/demo", **call)
            async with await line(asked) as reply:
                await reply.message()
        [request] = up.requests
        return request


@pytest.mark.acceptance("T15")
def test_the_fields_of_an_event() -> None:
    """Exactly those of the code, in their order."""
    rows = tables(PAGE)["The event"]
    assert [words(row["field"])[0] for row in rows] == list(fields(UsageEvent))
    meaning = {words(row["field"])[0]: row["meaning"] for row in rows}
    assert meaning["stripe_meter_event.event_name"] == f"`{METER}`"
    assert f"{MOST_TRIES} times within about a day" in PAGE.read_text()


@pytest.mark.acceptance("T15")
async def test_what_is_sent() -> None:
    """The headers of the page, and a body with its fields, whose signature its code accepts."""
    request = await posted()
    named = {words(row["header"])[0] for row in tables(PAGE)["Webhooks"]}
    usual = {"host", "accept", "accept-encoding", "content-length"}
    assert set(request.headers) - usual == named
    event = msgspec.json.decode(request.body, type=UsageEvent)
    assert msgspec.json.encode(event) == request.body
    assert abs(event.created_at - time.time()) < 60
    names: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[0].text, names)
    signature = request.headers["trunkline-signature"]
    assert names["check"](signature, request.body, SECRET)
    assert not names["check"](signature, request.body + b" ", SECRET)
    assert not names["check"](signature, request.body, "another-secret-of-16")
