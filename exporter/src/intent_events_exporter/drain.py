# SPDX-License-Identifier: Apache-2.0
"""The drain: one thread a process that moves records from the spool to Postgres, for as long as it takes.

The thread sleeps until a record wakes it, gathers others for a moment, and flushes on an event loop of its own. When
Postgres does not take them they stay in the spool, and the breaker says when to try again.

A heartbeat goes with the first records that Postgres takes, at the start and after an outage: whoever reconciles must
see a process that lives before its backlog moves. Then one goes every so often, and one at the end.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final
from weakref import WeakMethod

from opentelemetry.instrumentation.utils import suppress_instrumentation

from intent_events.errors import IntentEventsError
from intent_events.instrument.recorder import EMITTER
from intent_events.instrument.troubles import trouble
from intent_events.store.heartbeats import Heartbeat
from intent_events.store.write import Writer
from intent_events_exporter.breaker import Breaker, Circuit
from intent_events_exporter.flush import Flush, Tally
from intent_events_exporter.loop import OwnLoop, close_loop
from intent_events_exporter.spool import Orphans, Round, Spool, SpoolError
from intent_events_exporter.syncer import Syncer

_TICK_S: Final = 1.0
_REFRESH_S: Final = 5.0
_MARGIN_S: Final = 1.0
_NOTHING: Final[tuple[Any, ...]] = (0, 0, 0, 0, {}, 0, {})
_inherited: Final[list[object]] = []
"""Loops and writers of a parent process, kept because their connections are not ours to give up."""


class Drain:
    """Drains a spool on a thread of its own, which the first record starts; a forked child starts another.

    Attributes:
        tally: what became of the records of all spools.
        unreadable: records of this process's own spool that were given up.
        retries: tries to store that failed.
        breaker: says when to try again.
    """

    def __init__(
        self,
        spool: Spool,
        writers: Callable[[], Sequence[Writer]],
        *,
        gather_s: float,
        heartbeat_s: float,
        heartbeat: Callable[[], Heartbeat],
        flushed: Callable[[float], None],
    ) -> None:
        """Prepare to drain; nothing runs before the first :meth:`wake`.

        Args:
            spool: where records wait.
            writers: makes a writer for each connection, anew after a failure; none when there is no usable address:
                records only wait then.
            gather_s: seconds that a record waits for others to be stored with it.
            heartbeat_s: seconds between heartbeats.
            heartbeat: what this process has to say of itself, without the number of the heartbeat.
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
        self.unreadable = 0
        self.retries = 0
        self.breaker = Breaker()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._awake = False
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._starts = count()
        self._thread: threading.Thread | None = None
        self._loop: OwnLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._writers: Sequence[Writer] = ()
        self._syncer = Syncer(self._spool)
        self._round: Round | None = None
        self._orphans: Orphans | None = None
        self._met = False
        self._waiting = True
        self._tick_at = self._refresh_at = self._beat_at = 0.0
        self._said: tuple[Any, ...] = _NOTHING

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
        # Two threads may both come here; whoever gets the first number starts the thread.
        if self._thread is None and not self._stopping.is_set() and next(self._starts) == 0:
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
            self._serve_here()
            return
        if loop is not None:
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._cancel_in, loop, timeout_s)
        thread.join(timeout_s + _MARGIN_S)

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits in the spool; Postgres is tried at once, also in a pause after failures.

        Args:
            timeout_s: longest time to wait, seconds.

        Returns:
            Whether everything is stored.
        """
        until = monotonic() + timeout_s
        pause = threading.Event()
        self.breaker.hurry()
        while self._spool.waiting_bytes():
            if monotonic() >= until or self._stopping.is_set():
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
        except RuntimeError:  # too many threads run; or, from Python 3.12 on, the interpreter ends: stop() serves then
            self._let_start()

    def _let_start(self) -> None:
        """Let the next record start a thread."""
        self._thread = None
        self._starts = count()
        self._awake = False

    def _serve_here(self) -> None:
        """Store what waits on the thread that stops us, where none of our own could be started."""
        if not self._spool.waiting_bytes():
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # no loop runs on this thread, so that one of ours can
            self._serve()

    def _serve(self) -> None:
        try:
            loop = self._loop = OwnLoop()
        except OSError as error:  # too many files are open
            trouble("intent-events: the drain cannot start: it needs free file descriptors. Records wait", error)
            self._let_start()
            return
        try:
            with suppress_instrumentation():  # our own statements are no traffic of the host's
                self._syncer.keep()
                while not self._stopping.is_set():
                    self._await_work()
                    try:
                        self._work(loop)
                    except Exception as error:  # noqa: BLE001 - a failure of ours that nobody expected: it may pass
                        self._failed("intent-events: the drain failed. Records wait in the spool", error)
                self._finish(loop)
        except Exception as error:  # noqa: BLE001 - a thread of ours must not end with a traceback in the host's log
            trouble("intent-events: the drain failed; records wait in the spool for another process", error)
        finally:
            self._loop = None
            self._syncer.end()
            close_loop(loop)
            self._leave_orphans()

    def _await_work(self) -> None:
        """Sleep until a record comes, the breaker allows another try, or the next tick; then gather others."""
        now = monotonic()
        due = self._tick_at
        if self._waiting or self._round is not None:
            due = min(due, now + self.breaker.wait_s(now))
        with suppress(Empty):  # none came in that time
            self._wakes.get(timeout=max(due - now, 0.0))
            self._waiting = True
            self._stopping.wait(self._gather_s)
            while not self._wakes.empty():
                self._wakes.get_nowait()

    def _work(self, loop: OwnLoop) -> None:
        now = monotonic()
        if self._waiting and not self.breaker.wait_s(now):
            self._run(loop, self._flush())
        if now >= self._tick_at:
            self._tick(loop, now)
        # Last, and in turns with the others: what the dead left may take hours.
        if self._round is not None and not (self._stopping.is_set() or self.breaker.wait_s(monotonic())):
            self._run(loop, self._adopt(self._round))

    def _tick(self, loop: OwnLoop, now: float) -> None:
        """What is to be done every so often."""
        self._tick_at = now + _TICK_S
        self._syncer.keep()
        if not self._waiting:
            self._spool.trim()
        if now >= self._refresh_at:
            self._refresh_at = now + _REFRESH_S
            self._spool.refresh()
            self._round = self._round or Round()
        if now >= self._beat_at and not self.breaker.failing:
            self._run(loop, self._beat())

    def _finish(self, loop: OwnLoop) -> None:
        """The last flush, within what is left of the time to stop; none while the breaker says to wait."""
        now = monotonic()
        if now < self._deadline and not self.breaker.wait_s(now):
            last = loop.call_later(self._deadline - now, self._cancel)
            self._run(loop, self._end())
            last.cancel()
        self._give_up_writers()
        loop.run_until_complete(asyncio.sleep(0))  # a connection that was cut closes its socket in the next turn

    async def _end(self) -> None:
        await self._flush()
        if not self.breaker.failing:
            await self._beat()
            for writer in self._writers:
                await writer.close()

    def _run(self, loop: OwnLoop, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end, or until the time to stop is over."""
        self._task = task = loop.create_task(work)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:  # the time to stop is over
            pass
        finally:
            self._task = None

    def _cancel_in(self, loop: OwnLoop, timeout_s: float) -> None:
        loop.call_later(timeout_s, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _flush(self) -> None:
        # Before anything is read: whatever is appended from now on wakes the thread again.
        self._awake = self._waiting = False
        began, unreadable = monotonic(), self.tally.unreadable
        try:
            await self._store(self._spool)
        finally:
            self.unreadable += self.tally.unreadable - unreadable
            self._flushed(monotonic() - began)

    async def _adopt(self, turns: Round) -> None:
        """Store what dead processes left, until something else is to do; the next turn goes on from there."""
        # Each once a round: what one left may be unreadable, or stored and not ours to remove.
        while (orphans := self._orphans or self._spool.adopt(turns)) is not None:
            self._orphans = orphans
            flush: Flush | None = None
            try:
                flush = await self._store(orphans, self._gives_way)
            finally:
                if flush is None or not flush.gave_way:
                    self._leave_orphans()
            if flush is None and self.breaker.failing:
                break
            if self._gives_way():
                return
        self._round = None

    def _leave_orphans(self) -> None:
        orphans, self._orphans = self._orphans, None
        if orphans is not None:
            orphans.close()

    def _gives_way(self) -> bool:
        """Whether the dead have to wait: a record of our own does, the next tick is due, or it is time to stop."""
        return self._awake or self._stopping.is_set() or monotonic() >= self._tick_at

    async def _store(self, source: Spool | Orphans, gives_way: Callable[[], bool] = bool) -> Flush | None:
        """Store what waits; the flush that did, None when it failed."""
        stored: Flush | None = None
        try:
            self._writers = self._writers or self._make_writers()
            if not self._writers:  # no usable address, as whoever makes them has said
                self.breaker.failed(monotonic())
                return None
            flush = Flush(source, self._writers, self.tally, gives_way)
            failing = self.breaker.failing
            if failing or not self._met:
                # A few records first. Was nothing there to try it with, nothing is known of Postgres.
                await flush.probe()
                if failing and not flush.took:
                    # It is asked: a process that drops everything would else fail for good, and never tell of it.
                    await self._writers[0].ready()
                if failing or flush.took:
                    self._met = True
                    await self._beat()
                    self.breaker.succeeded()
            await flush.run()
            stored = flush
            if flush.took:
                self._met = True
                self.breaker.succeeded()
        except SpoolError as error:  # the disk of the spool fails
            if source is self._spool:
                self._failed(f"intent-events: the spool cannot be read: {error}")
            else:  # it says nothing of Postgres, or of what others left
                trouble(f"intent-events: what a dead process left cannot be read: {error}")
        except IntentEventsError as error:  # Postgres is away, not migrated or refuses; the address cannot be used
            self._failed(f"intent-events: {error}. Records wait in the spool")
        finally:
            if stored is None:
                source.rewind()
                self._waiting = True
        return stored

    def _failed(self, problem: str, error: BaseException | None = None) -> None:
        trouble(problem, error)
        self.retries += 1
        self.breaker.failed(monotonic())
        self._waiting = True  # for the end of the pause: with nothing to store, Postgres is asked
        self._give_up_writers()

    def _give_up_writers(self) -> None:
        """Cut what is open; the next try reads the address anew, which may have changed."""
        writers, self._writers = self._writers, ()
        for writer in writers:
            writer.abort()

    async def _beat(self) -> None:
        """Write a heartbeat, when there is anything to say that has not been said."""
        self._beat_at = monotonic() + self._heartbeat_s
        if not self._writers:
            return
        beat = self._heartbeat()
        counts = beat.emitted, beat.stored, beat.duplicates, beat.dead, beat.dropped, beat.spooled
        says = *counts, beat.dropped_numbers
        if says == self._said:
            return
        # Another number each time: one whose answer was lost may be stored, and the same number is stored once.
        try:
            await self._writers[0].heartbeat(beat._replace(beat=EMITTER.next_beat()))
        except IntentEventsError as error:  # Postgres is away, or the table is missing; the next one says all of it
            trouble(f"intent-events: {error}. No heartbeat is written")
        else:
            self._said = says
