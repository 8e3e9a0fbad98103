# SPDX-License-Identifier: Apache-2.0
"""What became of each record, so that a trace can say whether it is durable, and the ledger what was dropped.

Whoever delivers (the exporter) calls :func:`settle`; whoever recorded reads the :class:`Delivery` of its event. What
one door drops another may store: :func:`drop` and :func:`dropped` keep that account.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from logging import getLogger
from threading import Event, RLock
from typing import Final, NamedTuple
from uuid import UUID
from weakref import ref


class Delivery:
    """State of one record on its way to Postgres.

    Attributes:
        event_id: the record's key.
        persisted: True once the record is durable, in a spool or in Postgres.
        committed: True once the row is in Postgres.
        settled: True once nobody will try again by himself: committed, or given up.
    """

    __slots__ = ("__weakref__", "_waiters", "committed", "event_id", "persisted", "settled")

    def __init__(self, event_id: UUID) -> None:
        self.event_id = event_id
        self.persisted = False
        self.committed = False
        self.settled = False
        self._waiters: list[Callable[[], None]] = []

    def wait(self, timeout_s: float) -> bool:
        """Block until the record is settled; for threads.

        Args:
            timeout_s: longest time to wait, seconds.

        Returns:
            Whether the row is in Postgres.
        """
        done = Event()
        self.when_settled(done.set)
        try:
            done.wait(timeout_s)
        finally:
            self._forget(done.set)
        return self.committed

    async def wait_async(self, timeout_s: float) -> bool:
        """Await until the record is settled, without blocking the event loop.

        Args:
            timeout_s: longest time to wait, seconds.

        Returns:
            Whether the row is in Postgres.
        """
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(done.set)
            except RuntimeError:  # the loop was closed meanwhile, and whoever waited in it is gone
                return

        self.when_settled(wake)
        try:
            async with asyncio.timeout(timeout_s):
                await done.wait()
        except TimeoutError:  # not settled in time: the answer is what is known now
            pass
        finally:
            self._forget(wake)
        return self.committed

    def when_settled(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` once the record is settled, on the settling thread; at once if it is already."""
        with _lock:
            if not self.settled:
                self._waiters.append(notify)
                return
        notify()

    def _forget(self, notify: Callable[[], None]) -> None:
        with _lock:
            if notify in self._waiters:
                self._waiters.remove(notify)

    def take_waiters(self) -> list[Callable[[], None]]:
        """Hand over whoever waits; for :func:`settle`, which holds the lock."""
        waiters, self._waiters = self._waiters, []
        return waiters


class Drops(NamedTuple):
    """Numbered records of this process that were dropped and are neither rows nor dead letters.

    Attributes:
        counts: how many, by reason.
        numbers: which ones, by reason: ranges, first and last, in order. The lowest may be left out.
    """

    counts: dict[str, int]
    numbers: dict[str, list[tuple[int, int]]]


_LOGGER: Final = getLogger("intent_events")
_lock = RLock()
"""Re-entrant: a garbage collection may end a wait, which takes it, on the thread that has it."""
_ending: Final[dict[str, Delivery]] = {}
_live: Final[dict[int, ref[Delivery]]] = {}
_dropped: Final[dict[int, tuple[str, int]]] = {}
_long_dropped: Final[Counter[str]] = Counter()
_MOST_DROPPED: Final = 10_000
"""Dropped records that are remembered by their keys, since another door may store them; the oldest are only counted."""
_MOST_RANGES: Final = 1_000
"""Ranges of dropped numbers that are told, since each heartbeat holds them; the lowest are only counted."""
_FEW: Final = 1024
_sweep_at = _FEW


def track(event_id: UUID) -> Delivery:
    """State of a record from now on, kept as long as somebody holds it."""
    delivery = Delivery(event_id)
    _live[event_id.int] = ref(delivery)
    if len(_live) >= _sweep_at:
        _sweep()
    return delivery


def _sweep() -> None:
    """Forget those that nobody holds any more; now and then, since a callback at the end of each costs more.

    Without the lock: a garbage collection may come here in the middle of whatever holds it.
    """
    global _sweep_at  # noqa: PLW0603 - one table a process
    for key, held in _live.copy().items():
        if held() is None:
            _live.pop(key, None)
    _sweep_at = max(_FEW, 2 * len(_live))


def ending(event_id: str, delivery: Delivery | None) -> None:
    """Say whose record is about to end on this thread, or with None that it has ended; for the recorder."""
    if delivery is None:
        _ending.pop(event_id, None)
    else:
        _ending[event_id] = delivery


def persist(event_id: str) -> None:
    """Say that the record which is ending is durable, though not in Postgres yet.

    Args:
        event_id: as it is spelled in the attribute; an unknown one is passed over.
    """
    delivery = _ending.get(event_id)
    if delivery is not None:
        delivery.persisted = True


def settle(event_ids: Iterable[UUID], *, committed: bool) -> None:
    """Say that records were committed, or that they were given up; unknown ids are passed over."""
    settle_keys((event_id.int for event_id in event_ids), committed=committed)


def settle_keys(keys: Iterable[int], *, committed: bool, refused: bool = False) -> None:
    """The same, for ids as numbers.

    Args:
        keys: ids of records.
        committed: whether they are in Postgres. What one door gives up, another may have in its spool: such a record
            is durable still, and not settled.
        refused: that Postgres will never take them, whoever tries.
    """
    if _dropped and (committed or refused):
        keys = tuple(keys)
        for key in keys:
            _dropped.pop(key, None)
    if not _live:  # nobody holds a trace, as in a process that delivers what others recorded
        return
    waiters: list[Callable[[], None]] = []
    with _lock:
        for key in keys:
            held = _live.get(key)
            delivery = None if held is None else held()
            if delivery is None or delivery.committed or (delivery.persisted and not (committed or refused)):
                continue
            delivery.committed = delivery.persisted = committed
            delivery.settled = True
            if committed:
                _live.pop(key, None)
            waiters += delivery.take_waiters()
    for notify in waiters:
        try:
            notify()
        except Exception as error:  # noqa: BLE001 - what a host wants to be told of may raise, and rows do not wait for it
            with suppress(Exception):  # so may its handlers of log lines
                _LOGGER.warning("intent-events: whoever waited for a record failed (%s)", type(error).__name__)


def drop(key: int, reason: str, number: int) -> None:
    """Say that one door has dropped a numbered record of this process; another may store it yet.

    Args:
        key: its id.
        reason: why.
        number: its number.
    """
    _dropped[key] = reason, number
    if len(_dropped) > _MOST_DROPPED:  # two threads may come here: a key is taken out by one of them
        oldest = tuple(_dropped)[: _MOST_DROPPED // 2]
        _long_dropped.update([gone[0] for each in oldest if (gone := _dropped.pop(each, None)) is not None])


def dropped() -> Drops:
    """What was dropped until now and nobody has stored, as far as this process knows: another one may have."""
    known = tuple(_dropped.values())
    ranges: list[tuple[str, int, int]] = []
    for number, reason in sorted((number, reason) for reason, number in known):
        if ranges and ranges[-1][0] == reason and ranges[-1][2] == number - 1:
            ranges[-1] = reason, ranges[-1][1], number
        else:
            ranges.append((reason, number, number))
    numbers: dict[str, list[tuple[int, int]]] = {}
    for reason, first, last in ranges[-_MOST_RANGES:]:
        numbers.setdefault(reason, []).append((first, last))
    return Drops(dict(_long_dropped + Counter(reason for reason, _ in known)), numbers)


def _begin_anew() -> None:
    """A forked child has dropped nothing; nor would anybody release a lock that a thread of the parent held."""
    global _lock  # noqa: PLW0603 - one lock a process
    _lock = RLock()
    _dropped.clear()
    _long_dropped.clear()


os.register_at_fork(after_in_child=_begin_anew)
