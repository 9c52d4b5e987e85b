"""A worker that is started while the database is away."""

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.servers import Postgres
from tests.serving import Process, alive, eventually, starting

pytestmark = pytest.mark.slow

ADMIN = "tl-admin-for-tests-only"
CALL = {"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def started() -> Iterator[Any]:
    """Start gateways; none outlives the test."""
    with starting() as start:
        yield start


@pytest.fixture
def process(started: Any, database_url: str, tmp_path: Path) -> Process:
    """A gateway on PostgreSQL."""
    settings = {"providers": {"demo": {}}, "storage": {"database_url": database_url}}
    Path("trunkline.yaml").write_text(json.dumps({"llm_service": settings}))
    environment = {"TRUNKLINE_SECRET": "s" * 32, "TRUNKLINE_DATA": str(tmp_path / "data")}
    made: Process = started("--port", "0", TRUNKLINE_ADMIN_KEY=ADMIN, **environment)
    return made


async def test_it_goes_by_what_was_known(
    process: Process, postgres: Postgres, tmp_path: Path
) -> None:
    """Keys that were made at run time go on, unknown ones do not; the file has no key in it."""
    data = tmp_path / "data"
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(path: str, key: str, body: Any) -> tuple[int, Any]:
            headers = {"authorization": f"Bearer {key}"}
            async with session.post(process.url + path, json=body, headers=headers) as answer:
                return answer.status, await answer.json()

        async def works() -> bool:
            try:
                return (await post("/chat/completions", key, CALL))[0] == 200
            except aiohttp.ClientConnectionError:
                return False

        status, made = await post("/keys", ADMIN, {"name": "k"})
        assert status == 200
        key = made["key"]
        await eventually(works)
        known = data / "known.bin"
        assert stat.S_IMODE(known.stat().st_mode) == 0o600
        assert made["id"].encode() in known.read_bytes()
        assert key.encode() not in known.read_bytes()
        postgres.stop()
        old = process.pid("worker")
        os.kill(old, signal.SIGKILL)
        await eventually(lambda: not alive(old))
        await eventually(works)
        assert process.pid("worker") != old
        assert (await post("/chat/completions", "tl-nobody-knows-it", CALL))[0] == 401
        postgres.start()
        status, _ = await post("/chat/completions", key, CALL)
        assert status == 200
    code, said = process.end()
    assert code == 0
    assert said.count("known before this process started") == 1
