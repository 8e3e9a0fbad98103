# SPDX-License-Identifier: Apache-2.0
"""A thread with an event loop of its own, so that Postgres can be asked from any thread, with a bound on the wait."""

import asyncio
import os
import selectors
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar
from weakref import WeakMethod

from opentelemetry.instrumentation.utils import suppress_instrumentation

T = TypeVar("T")

_LAST_TASKS_S: Final = 1.0
_inherited: Final[list[object]] = []
"""Loops of a parent process, kept so that nobody closes what is theirs."""


class OwnLoop(asyncio.SelectorEventLoop):
    """An event loop of ours: it resolves names on its own thread, and a forked child can let go of it.

    At the exit of the interpreter no other thread can be started.
    """

    _closed = True  # until it is whole: the finalizer of one that was never made would look for what it never got

    def __init__(self) -> None:
        self._watched = selectors.DefaultSelector()
        try:
            super().__init__(self._watched)
        except OSError:  # too many files are open
            self._closed = True
            self._watched.close()
            raise

    def let_go(self) -> None:
        """Point every socket of a parent's loop at nothing; for a forked child.

        A goodbye of the child's, even one of its garbage collector, would otherwise end the parent's conversation with
        Postgres, and closing a socket would take it out of the poll set that both share.
        """
        dead, other_end = socket.socketpair()
        with dead, other_end:
            for key in list(self._watched.get_map().values()):
                os.dup2(dead.fileno(), key.fd, inheritable=False)

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """Resolve a name, holding up the loop meanwhile: nothing else is on it while a connection is being opened."""
        return socket.getaddrinfo(*args, **kwargs)


class LoopThread:
    """Runs coroutines on a daemon thread that is started at first use, anew in a forked child."""

    def __init__(self, name: str) -> None:
        """Run on a thread with this name."""
        self._name = name
        self._lock = threading.Lock()
        self._loop: OwnLoop | None = None
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
        loop, thread = self._started()
        if thread is None:
            with self._lock:
                return loop.run_until_complete(_bounded(work, timeout_s))
        future = asyncio.run_coroutine_threadsafe(_bounded(work, timeout_s), loop)
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
        if loop is None:
            return
        if thread is None:
            close_loop(loop)
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout_s)

    def _started(self) -> tuple[OwnLoop, threading.Thread | None]:
        """The loop, and the thread that runs it unless none can be started: the caller runs it then."""
        with self._lock:
            loop = self._loop
            if loop is None or loop.is_closed():
                loop = self._loop = OwnLoop()
            thread = self._thread
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=_serve, args=(loop,), name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # from Python 3.12 on, none can be started while the interpreter ends
                    thread = None
                self._thread = thread
            return loop, thread

    def _forget(self) -> None:
        if self._loop is not None:
            self._loop.let_go()
            _inherited.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        close_loop(loop)


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop that has stopped; what still runs on it is cancelled, or it would complain of being forgotten."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_TASKS_S))
    loop.close()


async def _bounded(work: Callable[[], Awaitable[T]], timeout_s: float) -> T:
    with suppress_instrumentation():  # our own statements are no traffic of the host's
        async with asyncio.timeout(timeout_s):
            return await work()
