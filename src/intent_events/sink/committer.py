# SPDX-License-Identifier: Apache-2.0
"""Group commit: the records of many requests are written together, and each request is told when its own are committed.

Nobody is waited for. A connection that is free takes all that is there, one record or two thousand; what comes while it
writes goes with the next transaction. A lone request therefore waits for its own transaction alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from intent_events.errors import IntentEventsError
from intent_events.instrument.troubles import trouble
from intent_events.rows import Rejection
from intent_events.sink.answers import RefusedError, Why
from intent_events.sink.metrics import SinkMetrics
from intent_events.store.copy_format import Sealed
from intent_events.store.write import BATCH_ROWS, Writer

_PROBE_EVERY_S: Final = 1.0


@dataclass(slots=True, eq=False)
class _Part:
    """Records of one request that go into one transaction."""

    rows: Sequence[Sealed]
    rejections: Sequence[Rejection]
    done: asyncio.Future[int]

    @property
    def size(self) -> int:
        """How many records they are."""
        return len(self.rows) + len(self.rejections)


class Committer:
    """Writes over a few connections; belongs to one event loop.

    Attributes:
        waiting: records that wait for a connection.
        able: whether Postgres took what it was last asked to.
    """

    def __init__(self, make_writer: Callable[[], Writer], connections: int, metrics: SinkMetrics) -> None:
        """Prepare it; nothing is connected before :meth:`run`.

        Args:
            make_writer: makes a writer by the address as it is now; called again after each failure, so that a
                password may change.
            connections: how many write at once.
            metrics: count what became of the records.
        """
        self._make_writer = make_writer
        self._connections = connections
        self._metrics = metrics
        self._parts: deque[_Part] = deque()
        self._some = asyncio.Event()
        self._stopping = False
        self.waiting = 0
        self.able = False

    async def store(self, rows: Sequence[Sealed], rejections: Sequence[Rejection]) -> int:
        """Store records; returns after COMMIT.

        Returns:
            How many of them are kept as dead letters instead.

        Raises:
            RefusedError: they are not stored, or nobody knows; sent again, those that are stored are passed over.
        """
        if not rows and not rejections:
            return 0
        loop = asyncio.get_running_loop()
        parts = [
            _Part(rows[at : at + BATCH_ROWS], rejections[at : at + BATCH_ROWS], loop.create_future())
            for at in range(0, max(len(rows), len(rejections)), BATCH_ROWS)
        ]
        self._parts += parts
        self.waiting += len(rows) + len(rejections)
        self._some.set()
        # All of them are waited for, so that none is left without anybody who looks at its failure.
        ended = await asyncio.gather(*(part.done for part in parts), return_exceptions=True)
        dead = 0
        for each in ended:
            if isinstance(each, BaseException):
                raise each
            dead += each
        return dead

    async def run(self) -> None:
        """Write until :meth:`stop`, and then what is left."""
        async with asyncio.TaskGroup() as together:
            for _ in range(self._connections):
                together.create_task(self._work())

    def stop(self) -> None:
        """Let :meth:`run` end when nothing waits any more."""
        self._stopping = True
        self._some.set()

    async def _work(self) -> None:
        writer: Writer | None = None
        while True:
            batch = await self._next()
            if not batch and self._stopping:
                break
            try:
                if writer is None:
                    writer = self._make_writer()
                await self._write(writer, batch)
            except IntentEventsError as error:  # Postgres is away, not migrated, refuses this role, or has no address
                trouble(f"intent-events: {error}")
                self._refuse(batch, Why.UNAVAILABLE)
            except Exception as error:  # noqa: BLE001 - whatever it is: it is sent again
                trouble("intent-events: records could not be written", error)
                self._refuse(batch, Why.INTERNAL)
            else:
                continue
            if writer is not None:
                await writer.close()
                writer = None
        if writer is not None:
            await writer.close()

    async def _next(self) -> list[_Part]:
        """What goes into the next transaction; nothing when it is time to ask Postgres whether it is there again."""
        while not self._parts and not self._stopping:
            self._some.clear()
            try:
                async with asyncio.timeout(None if self.able else _PROBE_EVERY_S):
                    await self._some.wait()
            except TimeoutError:  # nobody sends anything while Postgres is away
                break
        batch: list[_Part] = []
        n = 0
        while self._parts and (not batch or n + self._parts[0].size <= BATCH_ROWS):
            part = self._parts.popleft()
            self.waiting -= part.size
            if not part.done.done():  # else its sender hung up
                batch.append(part)
                n += part.size
        return batch

    async def _write(self, writer: Writer, batch: Sequence[_Part]) -> None:
        if not batch:
            await writer.ready()
            self.able = True
            return
        rows = [row for part in batch for row in part.rows]
        began = perf_counter()
        written = await writer.write(rows, [each for part in batch for each in part.rejections])
        # No waiting between the commit and this: cancelled here, stored records would be refused.
        self.able = True
        self._metrics.committed(written, perf_counter() - began)
        for part in batch:
            refused = sum([row.key in written.refused for row in part.rows]) if written.refused else 0
            if not part.done.done():
                part.done.set_result(refused + len(part.rejections))

    def _refuse(self, batch: Sequence[_Part], why: Why) -> None:
        """Ask the senders of a batch, and of all that waits behind it, to come again."""
        self.able = False
        waiting, self._parts, self.waiting = list(self._parts), deque(), 0
        for part in (*batch, *waiting):
            if not part.done.done():
                part.done.set_exception(RefusedError(why, "the records cannot be stored now; send them again later"))
