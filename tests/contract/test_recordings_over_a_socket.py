"""Recorded answers over a real connection, cut anywhere, say what they say in one piece."""

import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire import ask
from trunkline.clock import SystemClock
from trunkline.dialects import load
from trunkline.errors import TrunklineError
from trunkline.reply import Reply
from trunkline.testing import FakeUpstream, replay
from trunkline.transport import Transport
from trunkline.types import Memo

RECORDINGS = Path(__file__).parents[2] / os.environ.get(
    "TRUNKLINE_RECORDINGS", "../shared/recordings"
)
PIECE_BYTES = 400

pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}; set TRUNKLINE_RECORDINGS"
)


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the recorded chat completions of one file that were answered."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["endpoint"] == "chat.completions" and record["response_status"] == 200:
                yield record


def in_one_piece(body: bytes) -> object:
    """Return what the dialect makes of a body without any transport."""
    dialect, memo = load("openai_chat"), Memo()
    if body.lstrip()[:1] == b"{":
        return dialect.decode(body, memo).events
    blocks = body.replace(b"\r\n", b"\n").split(b"\n\n")
    return tuple(
        event
        for block in blocks
        if block.strip()
        for event in dialect.decode_frame(block + b"\n\n", memo).events
    )


async def events_of(reply: Reply) -> object:
    """Return all events of a reply."""
    return tuple([event async for frame in reply for event in frame.events])


@pytest.mark.slow
async def test_recordings_survive_the_wire() -> None:
    """Every chat recording decodes to the same events, or to the same class of error."""
    dice, counts = random.Random(1), Counter[str]()
    async with FakeUpstream() as up:
        transport = Transport(SystemClock())
        for path in sorted(RECORDINGS.glob("*.jsonl.gz")):
            for record in records(path):
                answer = replay(record)
                body = answer.body[0]
                up.script(answer.split(dice, PIECE_BYTES))
                chat = ask(up.url, stream=record["stream"])
                expected = found = None
                try:
                    expected = in_one_piece(body)
                    found = await events_of(await transport.send(chat))
                except TrunklineError as error:
                    assert expected is None, record["id"]
                    with pytest.raises(type(error)):
                        await events_of(await transport.send(chat))
                assert found == expected, record["id"]
                counts[path.name.partition(".")[0]] += 1
        await transport.close()
    print(f"over a socket: {dict(counts)}")
    assert counts.total() > 1000
