"""Administration over HTTP, the steward's part: which path does what, and how errors are told.

Who may ask was checked by the worker that asks; what is somebody's own is checked here.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from trunkline.accounting.leases import Seen
from trunkline.accounting.ledger import Ledger
from trunkline.clock import SystemClock
from trunkline.config import BudgetRule, Config
from trunkline.errors import Forbidden, InputError, NotFound, TrunklineError, UnknownPath
from trunkline.gateway.admin.asked import fields, limit, parameters
from trunkline.gateway.admin.registry import Registry
from trunkline.gateway.admin.reports import Reports
from trunkline.gateway.keys import secret
from trunkline.gateway.uplink import Asker, Question
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.store import Store

_UP_TO_DATE = frozenset({"budgets", "calls", "usage"})
"""Whose answers say what was used, so that the journal is ingested first."""
logger = logging.getLogger("trunkline.gateway")


class Rest:
    """Answers what workers ask about one configuration and one store."""

    def __init__(
        self, config: Config, store: Store, ingest: Callable[[], Awaitable[object]]
    ) -> None:
        """`ingest` brings the store up to date."""
        self._config = config
        self._leases = SqlLeases(store.database)
        self._ingest = ingest
        self._clock = SystemClock()
        self._registry = Registry(
            store.database,
            secret(os.environ, config.data_dir),
            self._clock,
            providers=config.providers,
            declared=[key.name for key in config.keys],
            seen=self._seen,
        )
        self._reports = Reports(store, self._clock, self._owner_of)

    async def answer(self, question: Question) -> tuple[int, bytes]:
        """Return status and body; errors are told as a code, a message and a param."""
        path, _, query = question.path.partition("?")
        parts = [unquote(part) for part in path.removeprefix("/v1/").split("/")]
        try:
            if parts[0] in _UP_TO_DATE:
                await self._ingest()
            found = await asyncio.to_thread(self._do, question, parts, query)
        except TrunklineError as error:
            return error.status, _refusal(error)
        except Exception:
            logger.exception("administration failed in a way nobody thought of")
            return 500, _refusal(TrunklineError("internal error; it is in the log"))
        return 200, msgspec.json.encode(found)

    def _do(self, question: Question, parts: list[str], query: str) -> dict[str, Any]:
        asker = question.asker
        if asker is None:
            raise Forbidden("nobody asks")
        if question.method == "GET":
            match parts:
                case ["usage"]:
                    return self._reports.usage(asker, query)
                case ["calls"]:
                    return self._reports.calls(asker, query)
                case ["calls", call_id]:
                    parameters(query, ())
                    return self._reports.call(asker, call_id)
                case ["users", "me"]:
                    parameters(query, ())
                    return self._me(asker)
        if asker.role != "admin":
            raise Forbidden("administration is for administrators")
        return self._administer(question, parts, query)

    def _administer(self, question: Question, parts: list[str], query: str) -> dict[str, Any]:
        registry = self._registry
        if question.method == "GET" and len(parts) == 1:
            return self._page(parts[0], query)
        parameters(query, ())
        match question.method, parts:
            case "GET", [kind, id_]:
                return registry.find(kind, id_)
            case "POST", [kind]:
                body = fields(question.body)
                if (kind, body.get("id")) == ("users", "me"):
                    raise InputError("id: 'me' is whoever asks; write another", param="id")
                return registry.create(kind, body)
            case "POST", ["keys", id_, "rotate"]:
                return registry.rotate(id_, **fields(question.body, ("grace_s",)))
            case "PATCH", [kind, id_]:
                return registry.change(kind, id_, fields(question.body))
            case "DELETE", [kind, id_]:
                return registry.remove(kind, id_)
        raise UnknownPath("there is nothing at this path")

    def _page(self, kind: str, query: str) -> dict[str, Any]:
        asked = parameters(query)
        cursor, most = asked.pop("cursor", None), limit(asked)
        asked.pop("limit", None)
        return self._registry.page(kind, limit=most, cursor=cursor, where=asked)

    def _me(self, asker: Asker) -> dict[str, Any]:
        """Return the asker's user, as far as he is one, and what his key says of him."""
        found: dict[str, Any] = {"id": asker.user_id, "object": "user"}
        if asker.user_id is not None:
            found |= self._registry.find("users", asker.user_id)
        return found | {
            "role": asker.role,
            "tier": asker.tier,
            "team_id": asker.team_id,
            "tenant_id": asker.tenant_id,
            "key_id": asker.id,
        }

    def _owner_of(self, key_id: str) -> str | None:
        try:
            found: str | None = self._registry.find("keys", key_id)["user_id"]
        except NotFound:
            return None
        return found

    def _seen(self, rule: BudgetRule) -> Seen:
        """Return the state of a budget that was made at run time."""
        (account,) = Ledger([rule], self._clock).accounts()
        return self._leases.look(rule.scope, account.period, account.purse.window)


def _refusal(error: TrunklineError) -> bytes:
    said = {"code": error.code, "message": error.message, "param": error.param}
    return msgspec.json.encode(said)
