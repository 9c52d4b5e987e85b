"""`/v1/providers`, `/v1/deployments`, `/v1/route/explain`: how all are, where a call would go.

Whoever is no administrator sees in the lists what calls of his may come to, and of that only how it
is; where a call of his own would go, he is told with the reasons.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from trunkline import dialects
from trunkline.client import Trunkline
from trunkline.errors import InputError, Overloaded
from trunkline.gateway.holders import Holder
from trunkline.gateway.http import Request
from trunkline.gateway.uplink import ask

LISTS = ("/providers", "/deployments")
EXPLAIN = "/route/explain"
_OPEN = ("id", "object", "type", "provider", "model", "status")
"""What anybody may know of what he may ask for."""
_USUAL = [{"role": "user", "content": "Hi"}]
"""What is asked where the body does not say it."""

Row = dict[str, Any]


def methods(path: str) -> tuple[str, ...]:
    """Return the methods that `path`, without `/v1`, takes; empty = it is none of these."""
    if path == EXPLAIN:
        return ("POST",)
    return ("GET", "HEAD") if path in LISTS else ()


async def answer(
    request: Request, path: str, line: Trunkline, holder: Holder, limit_bytes: int
) -> None:
    """Answer a request for one of the paths.

    Raises:
        TrunklineError: the holder may not, asks for nonsense, or nobody could take such a call.
    """
    if path == EXPLAIN:
        found = explained(await request.json_body(limit_bytes), line, holder)
    else:
        found = listed(await _rows(path, line.config.data_dir), request.query, line, holder)
    request.answer(200, msgspec.json.encode(found))


async def _rows(path: str, data_dir: Path) -> list[Row]:
    try:
        _, body = await ask(data_dir, path)
    except OSError:
        raise Overloaded("the steward is away; try again in a second", retry_after_s=1.0) from None
    return msgspec.json.decode(body, type=list[Row])


def listed(rows: list[Row], query: bytes, line: Trunkline, holder: Holder) -> Row:
    """Return the page of `rows` that the query asks for, as far as it is the holder's business.

    Raises:
        InputError: the query asks for no page there is.
    """
    # Imported here: most workers are never asked, and have nothing else of the administration.
    from trunkline.gateway.admin.asked import limit, page, parameters

    asked = parameters(query.decode("latin-1"), ("limit", "cursor"))
    if not holder.admin:
        if holder.models:
            reached = line.planner.reached(holder.models)
            reached |= {name.partition("/")[0] for name in reached}
            rows = [row for row in rows if row["id"] in reached]
        rows = [{name: row[name] for name in _OPEN if name in row} for row in rows]
    most, start = limit(asked), 0
    if cursor := asked.get("cursor"):
        ids = [row["id"] for row in rows]
        if cursor not in ids:
            raise InputError(
                "cursor: nothing here has this id; write next_cursor of the page before",
                param="cursor",
            )
        start = ids.index(cursor) + 1
    here = rows[start : start + most]
    return page(here, here[-1]["id"] if start + most < len(rows) else None)


def explained(body: bytes, line: Trunkline, holder: Holder) -> Row:
    """Return where a call with this body would go now, as OpenAI's chat has it; nothing is sent.

    Raises:
        TrunklineError: what the call itself would be refused with.
    """
    from trunkline.gateway.admin.asked import fields

    said = fields(body)
    said.setdefault("messages", _USUAL)
    call = dialects.load("openai_chat").read(msgspec.json.encode(said))
    holder.check(call.model)
    return {"object": "route", "model": call.model} | line.planner.explain(call).to_dict()
