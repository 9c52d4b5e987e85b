"""The process's default line, which the faces use that are given none."""

from __future__ import annotations

import os
import threading

from trunkline.client import Trunkline

_building = threading.Lock()
_default: Trunkline | None = None


def default_line() -> Trunkline:
    """Return the process's line, built on first use.

    Raises:
        ConfigError: what the usual places say cannot start.
    """
    global _default  # noqa: PLW0603 - the one process-wide default, swapped only here and in use()
    if _default is None:
        with _building:
            if _default is None:
                _default = Trunkline.from_config()
    return _default


def use(line: Trunkline | None) -> None:
    """Make `line` the process's default; None = build a new one on next use."""
    global _default  # noqa: PLW0603
    _default = line


def _renew_lock() -> None:
    global _building  # noqa: PLW0603 - a fork may have copied it while it was held
    _building = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
