"""The same faces without `await`: one background thread runs the loop, callers wait for it.

    from trunkline.blocking import call_llm

    content, thoughts = call_llm("openai", "gpt-4o", [{"role": "user", "content": "Hi"}], {})

Works from any thread, also beside a running loop (a notebook's), which stands still meanwhile.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

from trunkline.interfaces import Embeddings, LLMResponse, TokenCount, UserService

P = ParamSpec("P")
T = TypeVar("T")


class Portal:
    """Runs coroutines for threads that cannot await.

    Its thread and loop start with the first use, anew in a forked child and after `close()`, and
    end with the interpreter. A portal is kept as long as the process: `PORTAL` is all one needs.
    """

    _lock: threading.Lock
    _thread: _LoopThread | None

    def __init__(self) -> None:
        self._forget()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def call(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a coroutine function: return what it returns, raise what it raises.

        It sees the caller's context variables. Ctrl-C cancels it and waits until it has cleaned up.
        """
        return self._start(lambda: function(*args, **kwargs)).result()

    def iterate(
        self, function: Callable[P, AsyncGenerator[T, None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Iterator[T]:
        """Run an async generator function, never further than to the item asked for.

        It runs as one task. Leaving it early, by `break` or by Ctrl-C, closes it.
        """
        wanted = asyncio.Semaphore(0)
        given: SimpleQueue[tuple[T] | None] = SimpleQueue()

        async def hand_out() -> None:
            async with aclosing(function(*args, **kwargs)) as items:
                await wanted.acquire()
                async for item in items:
                    given.put((item,))
                    await wanted.acquire()

        job = self._start(hand_out)
        job.outcome.add_done_callback(lambda _: given.put(None))
        try:
            while True:
                job.thread.loop.call_soon_threadsafe(wanted.release)
                if (item := given.get()) is None:
                    break
                yield item[0]
        finally:
            job.cancel()
        job.result()

    def close(self) -> None:
        """Cancel what is running and end the thread; safe to repeat."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.loop.call_soon_threadsafe(thread.stop.set)
        if thread is not None:
            thread.join()

    def _start(self, main: Callable[[], Coroutine[Any, Any, T]]) -> _Job[T]:
        # Under the lock, so that no job is handed to a loop that was told to stop.
        with self._lock:
            if self._thread is None:
                self._thread = _LoopThread()
            if self._thread is threading.current_thread():
                raise RuntimeError(
                    "a blocking call inside a coroutine that a blocking call runs would never end; "
                    "await the async function instead"
                )
            return _Job(self._thread, main)

    def _forget(self) -> None:
        """Start afresh: after a fork the child has no such thread, but maybe a lock held by it."""
        self._lock = threading.Lock()
        self._thread = None


class _LoopThread(threading.Thread):
    """A daemon thread that runs one loop until `stop` is set, and then closes it properly."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    tasks: set[asyncio.Task[None]]
    """What runs; kept here, a forked child never destroys what its parent goes on with."""

    def __init__(self) -> None:
        self.tasks = set()
        super().__init__(name="trunkline-portal", daemon=True)
        self._ready = threading.Event()
        self.start()
        self._ready.wait()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        self._ready.set()
        await self.stop.wait()


class _Job(Generic[T]):
    """A coroutine that runs in `thread`; `outcome` is done once it has cleaned up, too."""

    def __init__(self, thread: _LoopThread, main: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.thread = thread
        self.outcome: Future[T] = Future()
        self._main = main
        thread.loop.call_soon_threadsafe(self._begin, context=contextvars.copy_context())

    def result(self) -> T:
        """Wait for the end; an interrupted wait cancels the coroutine."""
        try:
            return self.outcome.result()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the coroutine if it still runs, and wait until it has ended."""
        if self.thread.is_alive() and not self.outcome.done():  # in a forked child it is not
            self.thread.loop.call_soon_threadsafe(self._give_up)
            wait([self.outcome])

    def _begin(self) -> None:
        self._task = self.thread.loop.create_task(self._run())
        self._task.add_done_callback(self._end)
        self.thread.tasks.add(self._task)

    def _give_up(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        try:
            self.outcome.set_result(await self._main())
        except BaseException as error:
            self.outcome.set_exception(error)

    def _end(self, task: asyncio.Task[None]) -> None:
        self.thread.tasks.discard(task)
        if not self.outcome.done():  # cancelled before its first step
            self.outcome.set_exception(asyncio.CancelledError())


PORTAL = Portal()


def call_llm(  # noqa: PLR0913, PLR0917 - seed 000's signature
    provider: str,
    model: str,
    messages: list[dict[str, Any]],
    parameters: dict[str, Any],
    tools: list[dict[str, Any]] | None = None,
    user_service: UserService | None = None,
    user_id: str | None = None,
    user_basic_info: dict[str, Any] | None = None,
) -> tuple[str, Any]:
    """Ask a model and wait for its answer; `trunkline.call_llm` without `await`."""
    from trunkline import llm_service

    user = (user_service, user_id, user_basic_info)
    return PORTAL.call(llm_service.call_llm, provider, model, messages, parameters, tools, *user)


def stream_llm(  # noqa: PLR0913, PLR0917 - seed 000's signature
    provider: str,
    model: str,
    messages: list[dict[str, Any]],
    parameters: dict[str, Any],
    user_service: UserService | None = None,
    user_id: str | None = None,
    user_basic_info: dict[str, Any] | None = None,
) -> Iterator[Any]:
    """Yield an answer as it comes; `trunkline.stream_llm` without `async`."""
    from trunkline import llm_service

    user = (user_service, user_id, user_basic_info)
    return PORTAL.iterate(llm_service.stream_llm, provider, model, messages, parameters, *user)


def complete(
    model_group: str,
    messages: list[dict[str, Any]],
    tenant_id: str,
    tools: list[dict[str, Any]] | None = None,
) -> LLMResponse:
    """Ask a group on behalf of a tenant; `trunkline.complete` without `await`."""
    from trunkline import llm_service

    return PORTAL.call(llm_service.complete, model_group, messages, tenant_id, tools)


def embed(
    texts: str | Sequence[str],
    model: str,
    *,
    dimensions: int | None = None,
    input_type: str | None = None,
) -> Embeddings:
    """Turn texts into vectors; `trunkline.embed` without `await`."""
    from trunkline import llm_service

    return PORTAL.call(
        llm_service.embed, texts, model, dimensions=dimensions, input_type=input_type
    )


def count_tokens(
    messages: Sequence[Mapping[str, Any]],
    model: str | None = None,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> TokenCount:
    """Count the tokens that messages would send; `trunkline.count_tokens` without `await`."""
    from trunkline import llm_service

    return PORTAL.call(llm_service.count_tokens, messages, model, tools=tools)
