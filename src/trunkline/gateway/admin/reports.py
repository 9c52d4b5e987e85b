"""What was used, and by which calls: for the administrator all of it, for others their own."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, get_args

from trunkline.accounting.price import format_usd
from trunkline.clock import Clock
from trunkline.errors import Forbidden, InputError, NotFound
from trunkline.gateway.admin.asked import iso, limit, moment_ns, page, parameters
from trunkline.gateway.uplink import Asker
from trunkline.storage.rows import By, CallFilter, CallRow, UsageFilter
from trunkline.storage.store import Store
from trunkline.types.answer import Usage
from trunkline.types.call import Attempt, Outcome

_WHO = ("key_id", "user_id", "team_id", "tenant_id")
_USAGE = ("period", "since", "until", "by", *_WHO, "limit", "cursor")
_SAME = ("key_id", "user_id", "tenant_id", "model", "deployment", "tag")
_CALLS = (*_SAME, "status", "since", "until", "limit", "cursor")
_DAY = datetime.timedelta(days=1)
_BACK = {"last_7d": 7 * _DAY, "last_30d": 30 * _DAY}
_PERIODS = ("current_month", "today", *_BACK, "all")

OwnerOf = Callable[[str], str | None]
"""The user whom a key belongs to."""


class Reports:
    """The reports on one store."""

    def __init__(self, store: Store, clock: Clock, owner_of: OwnerOf) -> None:
        self._store = store
        self._clock = clock
        self._owner_of = owner_of

    def usage(self, asker: Asker, query: str) -> dict[str, Any]:
        """Return rows of usage, dearest first; see `GET /v1/usage`.

        Raises:
            InputError: the query asks for nothing there is.
            Forbidden: it asks for what is somebody else's.
        """
        asked = parameters(query, _USAGE)
        since_ns, until_ns = self._span(asked)
        by: Any = asked.get("by", "model")
        if by not in get_args(By):
            raise InputError(
                f"by: found {by[:40]!r}; write one of {', '.join(get_args(By))}", param="by"
            )
        who = self._narrowed(asker, {name: asked[name] for name in _WHO if name in asked})
        where = UsageFilter(since_ns=since_ns, until_ns=until_ns, **who)
        rows = self._store.usage(by, where)
        start, count = _place(asked), limit(asked)
        end = start + count
        found = [row.to_dict() | {"cost_usd": format_usd(row.cost_nusd)} for row in rows[start:end]]
        return page(found, str(end) if end < len(rows) else None)

    def calls(self, asker: Asker, query: str) -> dict[str, Any]:
        """Return calls that are over, newest first; see `GET /v1/calls`.

        Raises:
            InputError, Forbidden: see `usage`.
        """
        asked = parameters(query, _CALLS)
        status: Any = asked.get("status")
        if status is not None and status not in get_args(Outcome):
            raise InputError(
                f"status: found {status[:40]!r}; write one of {', '.join(get_args(Outcome))}",
                param="status",
            )
        same = {name: asked[name] for name in _SAME if name in asked}
        where = CallFilter(
            **self._narrowed(asker, same),
            outcome=status,
            since_ns=moment_ns(asked, "since"),
            until_ns=moment_ns(asked, "until"),
            after=_last(asked),
        )
        count = limit(asked)
        rows = self._store.calls(count + 1, where)
        more = len(rows) > count
        last = rows[count - 1].call if more else None
        return page(
            [_call(row) for row in rows[:count]],
            f"{last.started_ns}.{last.call_id}" if last is not None else None,
        )

    def call(self, asker: Asker, call_id: str) -> dict[str, Any]:
        """Return one call; the administrator may see one that is hidden, too.

        Raises:
            NotFound: there is none, or it is not the asker's.
        """
        admin = asker.role == "admin"
        where = CallFilter(call_id=call_id, hidden=admin, **self._narrowed(asker, {}))
        rows = self._store.calls(1, where)
        if not rows:
            raise NotFound(f"no call has the id {call_id[:99]!r}; it may not be over yet")
        return _call(rows[0])

    def _span(self, asked: dict[str, str]) -> tuple[int | None, int | None]:
        """Return the first moment that counts, and the first after it that does not."""
        since_ns, until_ns = moment_ns(asked, "since"), moment_ns(asked, "until")
        if "period" in asked and not (since_ns is None and until_ns is None):
            raise InputError("period: write it, or since and until, not both", param="period")
        if since_ns is not None or until_ns is not None:
            return since_ns, until_ns
        period = asked.get("period", "current_month")
        if period not in _PERIODS:
            raise InputError(
                f"period: found {period[:40]!r}; write one of {', '.join(_PERIODS)}",
                param="period",
            )
        if period == "all":
            return None, None
        now = datetime.datetime.fromtimestamp(self._clock.now_ns() // 10**9, tz=datetime.UTC)
        today = now.replace(hour=0, minute=0, second=0)
        first = now - _BACK[period] if period in _BACK else today
        if period == "current_month":
            first = today.replace(day=1)
        return int(first.timestamp()) * 10**9, None

    def _narrowed(self, asker: Asker, asked: dict[str, str]) -> dict[str, Any]:
        """Return filters that let through no more than the asker may see."""
        if asker.role == "admin":
            return asked
        own = {
            "key_id": asker.id,
            "user_id": asker.user_id,
            "team_id": asker.team_id,
            "tenant_id": asker.tenant_id,
        }
        for name in _WHO:
            wanted = asked.get(name)
            if wanted is None or wanted == own[name]:
                continue
            if name == "key_id" and asker.user_id and self._owner_of(wanted) == asker.user_id:
                continue  # another key of the same user
            raise Forbidden(f"{name}: this key may see only what is its own", param=name)
        mine = "user_id" if asker.user_id else "key_id"
        return {**asked, mine: own[mine] or ""}


def _place(asked: dict[str, str]) -> int:
    """Return how many rows of usage stood on the pages before."""
    text = asked.get("cursor", "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise _no_cursor(text)
    return int(text)


def _last(asked: dict[str, str]) -> tuple[int, str] | None:
    """Return which call was the last on the page before."""
    if (text := asked.get("cursor")) is None:
        return None
    at, _, call_id = text.partition(".")
    if not (at.isascii() and at.isdecimal() and len(at) < 20 and int(at) < 2**63 and call_id):
        raise _no_cursor(text)
    return int(at), call_id


def _no_cursor(text: str) -> InputError:
    return InputError(
        f"cursor: found {text[:40]!r}; write the next_cursor of the page before", param="cursor"
    )


def _call(row: CallRow) -> dict[str, Any]:
    """Write a call as it is answered."""
    call = row.call
    usage = Usage(
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        cache_read_tokens=sum(each.usage.cache_read_tokens for each in row.attempts),
        reasoning_tokens=sum(each.usage.reasoning_tokens for each in row.attempts),
    )
    return {
        "id": call.call_id,
        "object": "call",
        "created_at": iso(call.started_ns),
        "key_id": call.key_id,
        "user_id": call.user_id,
        "team_id": call.team_id,
        "tenant_id": call.tenant_id,
        "end_user": call.end_user,
        "run": call.run,
        "model": call.model,
        "deployment": call.deployment,
        "status": call.outcome,
        "error_code": call.error_code,
        "tags": call.tags,
        "usage": _usage(usage),
        **_cost(call.cost_nusd, call.cost_state),
        "latency_ms": call.latency_ms,
        "first_token_ms": call.first_token_ms,
        "attempts": [_attempt(each) for each in row.attempts],
        "route": call.route,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "n": attempt.n,
        "deployment": attempt.deployment,
        "outcome": attempt.outcome,
        "error_code": attempt.error_code,
        "usage": _usage(attempt.usage),
        **_cost(attempt.cost.nusd, attempt.cost.state),
        "started_at": iso(attempt.started_ns),
        "latency_ms": attempt.latency_ms,
        "first_token_ms": attempt.first_token_ms,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def _cost(nusd: int | None, state: str) -> dict[str, Any]:
    usd = None if nusd is None else format_usd(nusd)
    return {"cost_usd": usd, "cost_nusd": nusd, "cost_state": state}
