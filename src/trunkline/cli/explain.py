"""`explain`: where a call would go, without making it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from trunkline.cli.frame import (
    config_option,
    fails_cleanly,
    json_option,
    open_line,
    print_json,
    print_table,
)
from trunkline.client import Trunkline
from trunkline.errors import TrunklineError
from trunkline.llm_service.ask import chat

_MOST_S = 5.0
_HEAD = ("deployment", "tier", "score", "why")


@click.command()
@click.argument("model")
@config_option
@json_option
@fails_cleanly
def explain(model: str, config: str | None, as_json: bool) -> None:
    """Tell where a call for MODEL would go now, in which order, and why; nothing is sent.

    A gateway that runs on this configuration is asked, for it knows how the deployments are. With
    none all of them are new. A score is what the strategy goes by: the lowest is asked first.
    """
    line = open_line(config)
    found = _gateway(line.config.data_dir, model) or _here(line, model)
    if as_json:
        print_json(found)
        return
    whose = f"group {found['group']}" if found["group"] else found["model"]
    click.echo(f"{whose}, by {found['strategy']}\n")
    print_table(_HEAD, [_cells(one) for one in found["candidates"]])
    for skip in found["skipped"]:
        click.echo(f"skipped: {skip['deployment']}, {skip['why']}")


def _cells(one: dict[str, Any]) -> tuple[object, ...]:
    score = "unknown" if one["score"] is None else f"{one['score']:.6g}"
    why = f"{one['why']} ({one['note']})" if one["note"] else one["why"]
    return one["deployment"], one["tier"], score, why


def _here(line: Trunkline, model: str) -> dict[str, Any]:
    call = chat([{"role": "user", "content": "Hi"}], model)
    return {"object": "route", "model": model} | line.planner.explain(call).to_dict()


def _gateway(data_dir: Path, model: str) -> dict[str, Any] | None:
    """Return what the gateway on this data folder says; None = there is none.

    Raises:
        TrunklineError: it says that such a call would be refused, or its key is not known here.
    """
    from trunkline.gateway.keys import admin_key
    from trunkline.gateway.uplink import ask

    try:
        status, body = asyncio.run(ask(data_dir, "/status"))
        if status != 200:
            return None
        key, _ = admin_key(os.environ, data_dir, make=False)
        status, body = asyncio.run(_post(json.loads(body)["url"], key, {"model": model}))
    except OSError:
        return None
    said: dict[str, Any] = json.loads(body)
    if status != 200:
        raise TrunklineError(said["error"]["message"])
    return said


async def _post(url: str, key: str, said: dict[str, Any]) -> tuple[int, bytes]:
    """Ask the gateway at `url` itself: by way of no proxy, which would see the key."""
    place, body = urlsplit(url), json.dumps(said).encode()
    async with asyncio.timeout(_MOST_S):
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            head = (
                "POST /v1/route/explain HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
                f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            told = await reader.read(-1)
        finally:
            writer.close()
    first, _, answer = told.partition(b"\r\n\r\n")
    if not first.startswith(b"HTTP/1.1 "):
        raise ConnectionError("the gateway hung up")
    return int(first[9:12]), answer
