"""What a gateway of several processes knows of its deployments, as others are told."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.serving import body, eventually, once, starting

pytestmark = pytest.mark.slow

GROUP = """
llm_service:
  default_provider: demo
  providers: {demo: {models: [a, b]}}
  groups: {g: {deployments: [demo/a, demo/b], strategy: latency}}
"""


@pytest.fixture
def group() -> None:
    """A group of two, by latency."""
    Path("trunkline.yaml").write_text(GROUP)


@pytest.mark.usefixtures("group")
async def test_a_gateway_is_asked_how_its_deployments_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command line, through no proxy; what several workers saw is in the lists."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def explained() -> dict[str, Any]:
        code, out, err = await asyncio.to_thread(once, "explain", "g", "--json")
        assert (code, err) == (0, "")
        found: dict[str, Any] = json.loads(out)
        return {one["deployment"]: one["why"] for one in found["candidates"]}

    assert all(why.startswith("latency not known") for why in (await explained()).values())
    with starting() as start:
        process = start("--port", "0", "--workers", "2")
        headers = {"authorization": f"Bearer {process.new_key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for _ in range(12):  # each on a connection of its own
                asked = {**body("hi"), "model": "g"}
                url = f"{process.url}/chat/completions"
                async with session.post(url, json=asked, headers={"connection": "close"}) as answer:
                    assert answer.status == 200

            async def heard() -> bool:
                async with session.get(f"{process.url}/deployments") as answer:
                    rows = (await answer.json())["data"]
                return all(row["status"] == "ok" and row["first_token_ms"] for row in rows)

            await eventually(heard)
        assert not any(why.startswith("latency not") for why in (await explained()).values())
        code, _, err = once("explain", "nobody/x")
        assert (code, "nobody" in err) == (1, True)
        assert process.end() == (0, "")


@pytest.mark.usefixtures("group")
def test_a_gateway_whose_key_is_not_known_here(tmp_path: Path) -> None:
    """It says so, and makes none, which that gateway would not know."""
    with starting() as start:
        process = start("--port", "0", TRUNKLINE_ADMIN_KEY="tl-admin-for-tests-only")
        code, _, err = once("explain", "g")
        assert (code, "set TRUNKLINE_ADMIN_KEY" in err) == (1, True)
        assert not (tmp_path / "data" / "admin.key").exists()
        assert process.end() == (0, "")
