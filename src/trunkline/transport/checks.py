"""Ask providers of the user's own how they are, each in a thread and loop of its own.

Their code may block, hang or swallow a cancellation; none of that holds up whoever asks.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future

from trunkline.interfaces import is_loaded, registered
from trunkline.observability.redact import scrub

HERE = True, "answers inside this process"
_asked: dict[str, tuple[object, Future[tuple[bool, str]]]] = {}
"""Each provider and its check, which may still be under way; then nobody starts another."""
os.register_at_fork(after_in_child=_asked.clear)


async def check(name: str, most_s: float, *, load: bool) -> tuple[bool, str]:
    """Return whether the provider registered as `name` is well, and why; wait with a time-out.

    It is well if it has no `health_check`, or is not loaded and may not be.

    Args:
        most_s: what takes this long is cancelled some time later.
        load: whether its package may be loaded, which happens in the thread too.
    """
    if not load and not is_loaded(name):
        return HERE
    provider = registered()[name] if is_loaded(name) else None
    before, told = _asked.get(name, (None, None))
    if told is None or told.done() or before is not provider:
        told = Future()
        told.set_running_or_notify_cancel()  # so that who waits no longer does not cancel it
        _asked[name] = provider, told
        threading.Thread(
            target=_run, args=(name, told, 2 * most_s), name=f"check-{name}", daemon=True
        ).start()
    return await asyncio.wrap_future(told)


def _run(name: str, told: Future[tuple[bool, str]], most_s: float) -> None:
    try:
        ask = getattr(registered().get(name), "health_check", None)
        told.set_result(HERE if ask is None else asyncio.run(_answer(ask, most_s)))
    except BaseException as error:  # whatever it is, it is theirs
        why = f"its health_check raised {type(error).__name__}: {error}"
        told.set_result((False, scrub(why, 200)))


async def _answer(ask: Callable[[], object], most_s: float) -> tuple[bool, str]:
    async with asyncio.timeout(most_s):
        said = ask()
        ok = bool(await said if inspect.isawaitable(said) else said)
    return ok, f"its health_check says {'yes' if ok else 'no'}"
