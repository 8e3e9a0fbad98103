# SPDX-License-Identifier: Apache-2.0
"""One flush: everything that waits in a spool goes to Postgres, batch by batch; a record is released after COMMIT only.

There is one worker more than there are connections, so that a batch is read and encoded while others are being stored.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, thread_time
from typing import Final, Protocol

from intent_events.delivery import settle_keys
from intent_events.errors import IntentEventsError
from intent_events.rows import Rejection
from intent_events.store.copy_format import Sealed
from intent_events.store.write import BATCH_ROWS, Writer, Written
from intent_events_exporter.record import NewerError, sealed_in
from intent_events_exporter.spool import Batch, Position, Refusal, SpoolError

_BATCH_BYTES: Final = 4 << 20
"""Bytes of records after which a batch is full: a few batches are in memory at a time, whatever records hold."""
_SLICE_BYTES: Final = 1 << 20
_FIRST_ROWS: Final = 250
"""Rows of the first batch; each next one has twice as many, for connections idle while their first one is read."""
_PROBE_ROWS: Final = 50
_NEWER: Final = "a newer version of the exporter has spooled it: update, or run `intent-events drain` of that version"
_SLICE: Final = 8
_LONGEST_SLICE: Final = 64
"""Records that are read and encoded at a time, in the beginning and at the most."""
_SLICE_S: Final = 0.0005
"""How much of a core that should take, seconds: the buffer of a socket does not run dry in it."""
_BREATH_S: Final = 0.000001
"""Any sleep gives the interpreter free; the kernel makes 50 us of the shortest."""
_WITHOUT_BREATH_S: Final = 0.001


class Source(Protocol):
    """What records are read from: the spool of this process, or that of a dead one."""

    def read(self, max_records: int, max_bytes: int) -> Batch:
        """The next records after those read before."""
        ...

    def release(self, end: Position) -> None:
        """Those of this batch are stored."""
        ...


@dataclass(slots=True)
class Tally:
    """What became of records that were taken from spools; counts only grow.

    Attributes:
        stored: they are new rows.
        duplicates: they were stored already.
        dead: they are kept in ``agent.dead_letters``.
        unreadable: they cannot be read, although their checksum is right; given up.
        torn: damaged stretches of a spool, set aside.
    """

    stored: int = 0
    duplicates: int = 0
    dead: int = 0
    unreadable: int = 0
    torn: int = 0

    def add(self, written: Written) -> None:
        """Count what became of a batch."""
        self.stored += written.stored
        self.duplicates += written.duplicates
        self.dead += written.dead


@dataclass(slots=True)
class _Taken:
    """Records that were taken from a source to be stored together."""

    rows: list[Sealed] = field(default_factory=list[Sealed])
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    ends: list[Position] = field(default_factory=list[Position])
    records: int = 0
    bytes: int = 0
    unreadable: int = 0

    def add(self, batch: Batch) -> None:
        """Encode what was read.

        Raises:
            SpoolError: a newer version has spooled some of it, and is to store that.
        """
        try:
            rows = sealed_in(batch.payloads)
        except NewerError as error:
            raise SpoolError(Refusal.SPOOL_UNWRITABLE, _NEWER) from error
        for row in rows:
            if row is None:
                self.unreadable += 1
            elif isinstance(row, Rejection):
                self.rejections.append(row)
            else:
                self.rows.append(row)
        self.records += len(batch.payloads)
        self.bytes += sum(map(len, batch.payloads))
        self.ends.append(batch.end)


class Flush:
    """Moves what waits in one source to Postgres.

    Attributes:
        took: whether Postgres has taken a batch.
        gave_way: whether it ended early, so that something may wait yet.
    """

    __slots__ = ("_failed", "_gives_way", "_reading", "_rows", "_source", "_tally", "_writers", "gave_way", "took")

    def __init__(
        self, source: Source, writers: Sequence[Writer], tally: Tally, gives_way: Callable[[], bool] = bool
    ) -> None:
        """Prepare a flush.

        Args:
            source: where records wait.
            writers: one for each connection.
            tally: counts what became of them.
            gives_way: whether something else is to do, which is asked after each batch; never unless given.
        """
        self._source = source
        self._writers: asyncio.Queue[Writer] = asyncio.Queue()
        for writer in writers:
            self._writers.put_nowait(writer)
        self._tally = tally
        self._gives_way = gives_way
        self._rows = min(_FIRST_ROWS, BATCH_ROWS)
        self._reading = asyncio.Lock()
        self._failed: IntentEventsError | SpoolError | None = None
        self.took = self.gave_way = False

    async def run(self) -> None:
        """Store until nothing waits, or it gives way; one batch is stored at least.

        Raises:
            IntentEventsError: Postgres did not take a batch; it waits in the source, whose reading must be rewound.
            SpoolError: the disk of the source fails.
        """
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._writers.qsize() + 1):
                workers.create_task(self._work())
        self._check()

    async def probe(self) -> None:
        """Store a few records, to see whether Postgres takes them; raises as :meth:`run` does."""
        taken = await self._take(_PROBE_ROWS)
        if taken.ends:
            await self._store(taken)
        self._check()

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed

    async def _work(self) -> None:
        while self._failed is None and not self.gave_way:
            try:
                async with self._reading:  # one worker after the other, so that one stores while the next reads
                    taken = await self._take(self._rows)
                    self._rows = min(self._rows * 2, BATCH_ROWS)
            except SpoolError as error:  # the disk fails; raised from here it would arrive in a group
                self._failed = error
                return
            if not taken.ends:
                return
            await self._store(taken)
            self.gave_way = self.gave_way or self._gives_way()

    async def _take(self, rows: int) -> _Taken:
        """Read and encode the next records, a few at a time.

        After a millisecond the interpreter is given free for a moment: a thread of the host's that waits for it would
        otherwise be held up for the 5 ms that Python lets a busy thread go on. Records that need mending take ten times
        as long as others, so fewer of them are taken at a time.
        """
        taken, size = _Taken(), _SLICE
        breathed = monotonic()
        while taken.records < rows and taken.bytes < _BATCH_BYTES:
            began = thread_time()  # a slow disk, or a busy thread of the host's, does not make records any heavier
            batch = self._source.read(min(size, rows - taken.records), _SLICE_BYTES)
            if not (batch.payloads or batch.torn):
                break
            self._tally.torn += batch.torn  # it is set aside, and not met again when this is read anew
            taken.add(batch)
            took_s = thread_time() - began
            size = size * 2 if took_s < _SLICE_S / 2 else size // 2 if took_s > _SLICE_S else size
            size = min(max(size, 1), _LONGEST_SLICE)
            if monotonic() - breathed > _WITHOUT_BREATH_S:
                time.sleep(_BREATH_S)  # noqa: ASYNC251 - the loop is our own, and nothing on it waits for so short a time
                breathed = monotonic()
            await asyncio.sleep(0)
        return taken

    async def _store(self, taken: _Taken) -> None:
        writer = await self._writers.get()
        try:
            if self._failed is not None:
                return
            written = await writer.write(taken.rows, taken.rejections)
        except IntentEventsError as error:  # Postgres is away, not migrated or refuses; or the address cannot be used
            self._failed = error
            return
        finally:
            self._writers.put_nowait(writer)
        # No waiting between the commit and this: cancelled here, the records would be stored and counted again.
        for end in reversed(taken.ends):  # the first one last, since the cursor moves over all of them with it
            self._source.release(end)
        self.took = True
        self._tally.add(written)
        self._tally.unreadable += taken.unreadable
        settle_keys(written.refused, committed=False, refused=True)
        settle_keys((row.key for row in taken.rows if row.key not in written.refused), committed=True)
