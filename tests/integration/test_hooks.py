"""A gateway and its billing: nothing is lost or doubled, whoever dies."""

import os
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.serving import body, eventually, starting
from trunkline.testing import FakeUpstream, Status, hang
from trunkline.testing.answers import Answer
from trunkline.testing.upstream import Request

pytestmark = pytest.mark.slow

CONFIGURED = """
llm_service:
  providers: {{demo: {{}}}}
  webhooks: [{{url: "{url}/usage", secret: a-secret-of-16-and-more, allow_private: true}}]
"""


@pytest.mark.acceptance("T15")
async def test_the_steward_is_killed_between_ingestion_and_delivery() -> None:
    """The next one tells what waited, under the same keys; a receiver that hangs delays no call."""
    answering = False

    def receive(request: Request) -> Answer:
        return Status(200) if answering else hang()

    with FakeUpstream.in_thread(receive) as up, starting() as start:
        configure(up.url)
        process = start("--port", "0")
        headers = {"authorization": f"Bearer {process.new_key}"}
        ids = set()
        async with aiohttp.ClientSession(headers=headers) as session:

            async def call() -> None:
                async with session.post(
                    f"{process.url}/chat/completions", json=body("hi")
                ) as answer:
                    assert answer.status == 200
                    ids.add(f"{answer.headers['x-trunkline-call-id']}:1")

            for _ in range(5):
                await call()
            await eventually(lambda: up.requests)
            await call()  # while the receiver hangs
            killed = process.pid("steward")
            os.kill(killed, signal.SIGKILL)
            await process.heard("steward")
            answering = True
            before = len(up.requests)
            await eventually(lambda: keys(up.requests[before:]).keys() == ids)
        assert process.end() == (0, "")
    assert keys(up.requests[before:]) == Counter(ids)
    assert keys(up.requests).keys() == ids


def configure(url: str) -> None:
    """Write a configuration."""
    Path("trunkline.yaml").write_text(CONFIGURED.format(url=url))


def keys(requests: list[Request]) -> Counter[str]:
    """Return how often each event was told."""
    for request in requests:
        assert request.json()["id"] == request.headers["idempotency-key"]
    return Counter(request.headers["idempotency-key"] for request in requests)
