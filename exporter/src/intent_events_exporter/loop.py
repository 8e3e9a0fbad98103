# SPDX-License-Identifier: Apache-2.0
"""A thread with an event loop of its own, so that Postgres can be asked from any thread, with a bound on the wait."""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar
from weakref import WeakMethod

from opentelemetry.instrumentation.utils import suppress_instrumentation

T = TypeVar("T")

_inherited: Final[list[object]] = []
"""Loops of a parent process: closing them here would take the parent's sockets out of the poll set they share."""


class _Loop(asyncio.SelectorEventLoop):
    """Resolves names on its own thread: at the exit of the interpreter no other thread can be started."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        return socket.getaddrinfo(*args, **kwargs)


class LoopThread:
    """Runs coroutines on a daemon thread that is started at first use, anew in a forked child."""

    def __init__(self, name: str) -> None:
        """Run on a thread with this name."""
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        forget = WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> T:
        """Run a coroutine and wait for it.

        Args:
            work: makes the coroutine.
            timeout_s: seconds it may take; then it is cancelled.

        Raises:
            TimeoutError: it took longer.
            Exception: whatever it raises.
        """
        future = asyncio.run_coroutine_threadsafe(_bounded(work, timeout_s), self._started())
        # The coroutine ends by itself in time; the margin is for a loop that cannot run, such as a stopped machine.
        return future.result(timeout_s + 1.0)

    def stop(self, timeout_s: float) -> None:
        """Stop the thread; the next :meth:`run` starts another.

        Args:
            timeout_s: seconds to wait for it.
        """
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout_s)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = _Loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def _forget(self) -> None:
        if self._loop is not None:
            _inherited.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _bounded(work: Callable[[], Awaitable[T]], timeout_s: float) -> T:
    with suppress_instrumentation():  # our own statements are no traffic of the host's
        async with asyncio.timeout(timeout_s):
            return await work()
