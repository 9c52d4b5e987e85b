"""litellm's logging, brought to ours.

`quiet` keeps litellm from writing to the terminal; the `litellm` backend calls it. `install` does
more for a program whose code still calls litellm directly, until all of it has
[moved over](docs/how-to/migrate.md): each such call becomes an `LLM response` or `LLM error` too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from trunkline.observability.log import logger
from trunkline.observability.redact import scrub, scrub_mapping

OURS = "trunkline"
"""In the metadata of litellm's calls: the core made it, and logs it."""
LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router")


class Scrubbing(logging.Handler):
    """Hands records on to the logger `trunkline`, without credentials."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the same there, at the same level."""
        if logger.isEnabledFor(record.levelno):
            logger.log(record.levelno, "%s: %s", record.name, scrub(record.getMessage()))


def quiet() -> None:
    """Take litellm's loggers off the terminal: warnings and errors go to ours, the rest nowhere.

    Its debug records hold prompts and keys. Safe to repeat.
    """
    for name in LOGGERS:
        theirs = logging.getLogger(name)
        theirs.handlers[:] = [Scrubbing(logging.WARNING)]
        theirs.propagate = False


def install() -> None:
    """Log every call that is made with litellm directly, as ours are; safe to repeat.

    What is logged of a call: provider, model, whether it is a stream, how long it took, its usage,
    or its error. Never its messages or its answer.

    Raises:
        ImportError: litellm is not installed.
    """
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    class Bridge(CustomLogger):  # type: ignore[misc]  # litellm has no types
        """Takes litellm's callbacks."""

        def log_success_event(
            self, kwargs: Any, response_obj: Any, start_time: datetime, end_time: datetime
        ) -> None:
            fields = {"status": "complete", "usage": _usage(response_obj)}
            _log(logging.INFO, "LLM response", kwargs, end_time - start_time, fields)

        def log_failure_event(
            self, kwargs: Any, response_obj: Any, start_time: datetime, end_time: datetime
        ) -> None:
            error = kwargs.get("exception")
            fields = {"status": "failed", "error_type": type(error).__name__, "error": scrub(error)}
            _log(logging.ERROR, "LLM error", kwargs, end_time - start_time, fields)

        async def async_log_success_event(self, **told: Any) -> None:
            self.log_success_event(**told)

        async def async_log_failure_event(self, **told: Any) -> None:
            self.log_failure_event(**told)

    quiet()
    if not any(type(known).__qualname__ == Bridge.__qualname__ for known in litellm.callbacks):
        litellm.callbacks.append(Bridge())


def _log(level: int, event: str, kwargs: Any, took: timedelta, fields: Mapping[str, Any]) -> None:
    settings = kwargs.get("litellm_params") or {}
    if (settings.get("metadata") or {}).get(OURS):
        return
    told = {
        "provider": kwargs.get("custom_llm_provider") or settings.get("custom_llm_provider"),
        "model": kwargs.get("model"),
        "stream": bool(kwargs.get("stream")),
        "latency_ms": took.total_seconds() * 1000,
        **fields,
    }
    clean = {name: value for name, value in told.items() if value is not None}
    logger.log(level, event, extra=scrub_mapping(clean))


def _usage(response: Any) -> dict[str, int] | None:
    usage = getattr(response, "usage", None)
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: getattr(usage, name, None) for name in names}
    return {name: count for name, count in counts.items() if isinstance(count, int)} or None
