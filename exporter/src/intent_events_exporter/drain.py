# SPDX-License-Identifier: Apache-2.0
"""The drain: one thread a process that moves records from the spool to Postgres, for as long as it takes.

The thread sleeps until a record wakes it, gathers others for a moment, and flushes on an event loop of its own. When
Postgres does not take them they stay in the spool, and the breaker says when to try again.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final
from weakref import WeakMethod

from opentelemetry.instrumentation.utils import suppress_instrumentation

from intent_events.errors import IntentEventsError
from intent_events.instrument.troubles import trouble
from intent_events.store.heartbeats import Heartbeat
from intent_events.store.write import Writer
from intent_events_exporter.breaker import Breaker, Circuit
from intent_events_exporter.flush import Flush, Tally
from intent_events_exporter.loop import OwnLoop, close_loop
from intent_events_exporter.spool import Orphans, Spool, SpoolError

_TICK_S: Final = 1.0
_REFRESH_S: Final = 5.0
_MARGIN_S: Final = 1.0
_inherited: Final[list[object]] = []
"""Loops and writers of a parent process, kept because their connections are not ours to give up."""


class Drain:
    """Drains a spool on a thread of its own, which the first record starts; a forked child starts another."""

    def __init__(
        self,
        spool: Spool,
        writers: Callable[[], Sequence[Writer]],
        *,
        gather_s: float,
        heartbeat_s: float,
        heartbeat: Callable[[], Heartbeat | None],
        flushed: Callable[[float], None],
    ) -> None:
        """Prepare to drain; nothing runs before the first :meth:`wake`.

        Args:
            spool: where records wait.
            writers: makes a writer for each connection; none when there is no usable address: records only wait then.
            gather_s: seconds that a record waits for others to be stored with it.
            heartbeat_s: seconds between heartbeats.
            heartbeat: what this process has to say of itself; None when nothing changed since it was last asked.
            flushed: told how many seconds a flush took.
        """
        self._spool = spool
        self._make_writers = writers
        self._gather_s = gather_s
        self._heartbeat_s = heartbeat_s
        self._heartbeat = heartbeat
        self._flushed = flushed
        self._begin()
        forget = WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _begin(self) -> None:
        self.tally = Tally()
        self.breaker = Breaker()
        self.retries = 0
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._awake = False
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._loop: OwnLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._writers: Sequence[Writer] = ()
        self._waiting = True
        self._tick_at = self._refresh_at = self._beat_at = 0.0

    def _forget(self) -> None:
        """Leave everything to the parent; for a forked child."""
        if self._loop is not None:
            self._loop.let_go()
        _inherited.append((self._loop, self._writers, self._task))
        self._begin()

    def wake(self) -> None:
        """Say that a record waits; for any thread, signal handler and finalizer."""
        if self._awake:
            return
        self._awake = True
        self._wakes.put(None)
        if self._thread is None and not self._stopping.is_set():
            self._start()

    @property
    def circuit(self) -> Circuit:
        """State of the way to Postgres."""
        return self.breaker.circuit(monotonic())

    def stop(self, timeout_s: float) -> None:
        """Store what waits and end the thread; what is not stored in time stays in the spool.

        Args:
            timeout_s: longest time that this takes, about.
        """
        self._deadline = monotonic() + timeout_s
        self._stopping.set()
        self._wakes.put(None)
        thread, loop = self._thread, self._loop
        if thread is None or not thread.is_alive():
            self._serve()  # no thread could be started, as while the interpreter ends
            return
        if loop is not None:
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._cancel_in, loop, timeout_s)
        thread.join(timeout_s + _MARGIN_S)

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits in the spool.

        Args:
            timeout_s: longest time to wait, seconds.

        Returns:
            Whether everything is stored.
        """
        until = monotonic() + timeout_s
        pause = threading.Event()
        while self._spool.waiting().bytes:
            if monotonic() >= until:
                return False
            self._awake = False
            self.wake()
            pause.wait(0.01)
        return True

    def _start(self) -> None:
        thread = threading.Thread(target=self._serve, name="intent-events-drain", daemon=True)
        self._thread = thread  # before it runs: a signal handler may come here too
        try:
            thread.start()
        except RuntimeError:  # from Python 3.12 on, none can be started while the interpreter ends; stop() serves then
            self._thread = None

    def _serve(self) -> None:
        loop = self._loop = OwnLoop()
        asyncio.set_event_loop(loop)
        try:
            with suppress_instrumentation():  # our own statements are no traffic of the host's
                while not self._stopping.is_set():
                    self._await_work()
                    self._work(loop)
                self._finish(loop)
        except Exception as error:  # noqa: BLE001 - a thread of ours must not end with a traceback in the host's log
            trouble("intent-events: the drain failed; records wait in the spool for another process", error)
        finally:
            self._loop = None
            asyncio.set_event_loop(None)
            close_loop(loop)

    def _await_work(self) -> None:
        """Sleep until a record comes, the breaker allows another try, or the next tick; then gather others."""
        now = monotonic()
        due = self._tick_at
        if self._waiting:
            due = min(due, now + self.breaker.wait_s(now))
        with suppress(Empty):  # none came in that time
            self._wakes.get(timeout=max(due - now, 0.0))
            self._waiting = True
            self._stopping.wait(self._gather_s)

    def _work(self, loop: OwnLoop) -> None:
        now = monotonic()
        if self._waiting and not self.breaker.wait_s(now):
            self._run(loop, self._flush())
        if now < self._tick_at:
            return
        self._tick_at = now + _TICK_S
        with suppress(SpoolError):  # the disk fails; append() says so
            self._spool.sync()
        if not self._waiting:
            self._spool.trim()
        if now >= self._refresh_at:
            self._refresh_at = now + _REFRESH_S
            self._spool.refresh()
            if not self.breaker.failing:
                self._run(loop, self._adopt())
        if now >= self._beat_at and not self.breaker.failing:
            self._beat_at = now + self._heartbeat_s
            self._run(loop, self._beat())

    def _finish(self, loop: OwnLoop) -> None:
        """The last flush, within what is left of the time to stop; none when Postgres has been away."""
        left = self._deadline - monotonic()
        if left > 0 and not self.breaker.failing:
            last = loop.call_later(left, self._cancel)
            self._run(loop, self._flush())
            self._run(loop, self._beat())
            last.cancel()
        for writer in self._writers:
            loop.run_until_complete(writer.close())

    def _run(self, loop: OwnLoop, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end, or until the time to stop is over."""
        self._task = task = loop.create_task(work)
        with suppress(asyncio.CancelledError):  # the time to stop is over
            loop.run_until_complete(task)
        self._task = None

    def _cancel_in(self, loop: OwnLoop, timeout_s: float) -> None:
        loop.call_later(timeout_s, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _flush(self) -> None:
        # Before anything is read: whatever is appended from now on wakes the thread again.
        self._awake = self._waiting = False
        began = monotonic()
        try:
            await self._store(self._spool)
        finally:
            self._flushed(monotonic() - began)

    async def _adopt(self) -> None:
        """Store what dead processes left."""
        while not self.breaker.failing and (orphans := self._spool.adopt()) is not None:
            try:
                await self._store(orphans)
            finally:
                orphans.close()

    async def _store(self, source: Spool | Orphans) -> None:
        if not self._writers:
            self._writers = self._make_writers()
        if not self._writers:
            return
        stored = False
        try:
            flush = Flush(source, self._writers, self.tally)
            if self.breaker.failing:
                await flush.probe()
            await flush.run()
            stored = True
        except SpoolError as error:  # the disk of the spool fails
            self._failed(f"intent-events: the spool cannot be read: {error}")
        except IntentEventsError as error:  # Postgres is away, not migrated or refuses; the address cannot be used
            self._failed(f"intent-events: {error}. Records wait in the spool")
        finally:
            if stored:
                self.breaker.succeeded()
            else:
                source.rewind()
                self._waiting = True

    def _failed(self, problem: str) -> None:
        trouble(problem)
        self.retries += 1
        self.breaker.failed(monotonic())

    async def _beat(self) -> None:
        beat = self._heartbeat() if self._writers else None
        if beat is None:
            return
        try:
            await self._writers[0].heartbeat(beat)
        except IntentEventsError as error:  # Postgres is away, or the table is missing; the next one says all of it
            trouble(f"intent-events: {error}. No heartbeat is written")
