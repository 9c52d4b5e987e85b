"""Log each call: asked, answered or failed. Emitting is an append; rendering comes later.

Events go to the standard logger `trunkline`, with their fields as `extra`: "LLM request",
"LLM response" (INFO), "LLM error" (ERROR), "LLM warning" and "LLM budget alert" (WARNING), and what
becomes of deployments: "LLM circuit opened" (WARNING), "LLM circuit closed" (INFO), "LLM deployment
disabled" (ERROR). Nothing is printed unless the application configures logging. Prompts and answers
are never logged, every text is scrubbed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from trunkline.observability.redact import scrub_mapping
from trunkline.reply import Reply
from trunkline.types import Call, Called

logger = logging.getLogger("trunkline")
logger.addHandler(logging.NullHandler())

_MOST_WAITING = 100_000
_logs: weakref.WeakSet[EventLog] = weakref.WeakSet()


class EventLog:
    """Events waiting to be rendered; `drain()` is called by whoever has time."""

    def __init__(self) -> None:
        self._begin_life()
        _logs.add(self)

    def _begin_life(self) -> None:
        self._waiting: deque[tuple[float, int, str, Any]] = deque(maxlen=_MOST_WAITING)
        self._draining = threading.RLock()  # a handler may cause an event itself

    def asked(self, call: Call) -> None:
        """A call came in."""
        if logger.isEnabledFor(logging.INFO):
            self._waiting.append((time.time(), logging.INFO, "LLM request", call))

    def answered(
        self, call: Call, called: Called, error: BaseException | None, reply: Reply | None
    ) -> None:
        """A call is over; `error` tells why it failed, if it did."""
        trail = call.trail
        if trail is not None and (trail.dropped or trail.warnings):
            self._waiting.append((time.time(), logging.WARNING, "LLM warning", call))
        if error is not None and called.outcome == "failed":
            subject = called, call, type(error).__name__, None
            self._waiting.append((time.time(), logging.ERROR, "LLM error", subject))
            self.drain()
        elif logger.isEnabledFor(logging.INFO):
            told = called, call, None, reply.upstream_id if reply is not None else None
            self._waiting.append((time.time(), logging.INFO, "LLM response", told))

    def budget_alert(self, **fields: Any) -> None:
        """A budget passed one of its alert marks."""
        self._waiting.append((time.time(), logging.WARNING, "LLM budget alert", fields))

    def circuit(self, event: str, **fields: Any) -> None:
        """A deployment is left alone from now on, or no more."""
        level, message = _CIRCUIT[event]
        self._waiting.append((time.time(), level, message, fields))
        if level == logging.ERROR:
            self.drain()

    def drain(self) -> None:
        """Render what waits, in order; safe from any thread."""
        with self._draining:
            while self._waiting:
                at_s, level, message, subject = self._waiting.popleft()
                if not logger.isEnabledFor(level):
                    continue
                fields = _FIELDS[message](subject)
                record = logger.makeRecord(
                    logger.name, level, "trunkline", 0, message, (), None, extra=_safe(fields)
                )
                record.created = at_s
                with contextlib.suppress(Exception):  # a broken handler must not break calls
                    logger.handle(record)


def _after_fork_in_child() -> None:
    for log in _logs:
        log._begin_life()  # the parent renders its own events, and its lock may be taken


os.register_at_fork(after_in_child=_after_fork_in_child)


def _request_fields(call: Call) -> dict[str, Any]:
    who = call.principal
    return {
        "call_id": call.id,
        "provider": call.provider or _provider(call.model),
        "model": call.model,
        "model_group": call.model,
        "message_count": call.body.message_count,
        "stream": call.stream,
        "key_id": who.key_id,
        "user_id": who.user_id,
        "tenant_id": who.tenant_id,
        "tags": call.tags,
        "metadata": call.metadata,
    }


def _outcome_fields(subject: tuple[Called, Call, str | None, str | None]) -> dict[str, Any]:
    called, call, error_type, upstream_id = subject
    provider, _, model = (called.deployment or "").partition("/")
    return _request_fields(call) | {
        "provider": provider or call.provider or _provider(call.model),
        "deployment_model": model or None,
        "deployment": called.deployment,
        "status": called.outcome,
        "latency_ms": called.latency_ms,
        "first_token_ms": called.first_token_ms,
        "usage": {
            "prompt_tokens": called.prompt_tokens,
            "completion_tokens": called.completion_tokens,
            "total_tokens": called.prompt_tokens + called.completion_tokens,
        },
        "finish_reason": called.finish,
        "attempts": called.attempts,
        "cost_nusd": called.cost_nusd,
        "cost_state": called.cost_state,
        "upstream_id": upstream_id,
        "error_type": error_type,
        "error_code": called.error_code,
        "error": called.error,
        "route": called.route,
    }


def _warning_fields(call: Call) -> dict[str, Any]:
    trail = call.trail
    assert trail is not None
    return _request_fields(call) | {
        "dropped_parameters": trail.dropped,
        "warnings": tuple(trail.warnings),
    }


_FIELDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "LLM request": _request_fields,
    "LLM response": _outcome_fields,
    "LLM error": _outcome_fields,
    "LLM warning": _warning_fields,
    "LLM budget alert": dict,
    "LLM circuit opened": dict,
    "LLM circuit closed": dict,
    "LLM deployment disabled": dict,
}
_CIRCUIT = {
    "circuit_opened": (logging.WARNING, "LLM circuit opened"),
    "circuit_closed": (logging.INFO, "LLM circuit closed"),
    "deployment_disabled": (logging.ERROR, "LLM deployment disabled"),
}


def _provider(model: str) -> str | None:
    provider, slash, _ = model.partition("/")
    return provider if slash else None


def _safe(fields: dict[str, Any]) -> dict[str, Any]:
    return scrub_mapping({name: value for name, value in fields.items() if value is not None})
