# SPDX-License-Identifier: Apache-2.0
"""The spool of one process: appended to by any thread, read and released by one."""

import os
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from itertools import count
from pathlib import Path
from time import monotonic, time_ns
from typing import Final, NamedTuple
from weakref import WeakMethod, WeakSet

from intent_events_exporter.spool.chain import Batch, Chain, Position
from intent_events_exporter.spool.file import Segment
from intent_events_exporter.spool.folder import ASIDE, SEGMENT, Home, bytes_in, owners_in
from intent_events_exporter.spool.look import look_in
from intent_events_exporter.spool.orphans import Orphans, Round
from intent_events_exporter.spool.refusal import Refusal, SpoolError, UnsyncedError, refused
from intent_events_exporter.spool.segment import FRAME_BYTES, HEADER_BYTES, MOST_BYTES, encode_frame

_RETRY_S: Final = 1.0
_SHARE: Final = 4
_WORTH_SWAPPING: Final = 64 << 10
# Looked up once, since every record of the host pays for it.
_write: Final = os.write
_now_ns: Final = time_ns


class Fsync(StrEnum):
    """When records are made to survive a loss of power; the death of a process alone loses none in any mode."""

    NONE = "none"
    """The kernel decides."""
    INTERVAL = "interval"
    """At each ``sync()``."""
    ALWAYS = "always"
    """Before ``append()`` returns."""


class Waiting(NamedTuple):
    """What waits in the spool of this process.

    Attributes:
        records: appended and not released.
        bytes: their size in the files.
        oldest_age_s: seconds since the oldest was appended; None when there is none.
    """

    records: int
    bytes: int
    oldest_age_s: float | None


class Spool:
    """The spool of one process, in a folder that all processes of a host share.

    ``append()`` is for any thread, signal handler and finalizer; ``waiting()`` and ``sync()`` for any thread.
    Everything else is for one thread, the drain. A forked child appends to files of its own and reads nothing of its
    parent's.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, fsync: Fsync = Fsync.NONE, segment_bytes: int = 8 << 20
    ) -> None:
        """Use a folder; nothing is made or opened before the first record.

        Args:
            folder: of the spool, of this user's alone.
            max_bytes: most bytes of all files in the folder; a record beyond is refused.
            fsync: when records are made to survive a loss of power.
            segment_bytes: size from which on another file is begun; at most a quarter of ``max_bytes`` counts.
        """
        with suppress(OSError):  # the folder that the process is in is gone: append() says so of one within
            folder = folder.absolute()  # or it would be another one after a chdir()
        self._folder = folder
        self._fsync = fsync
        self._always = fsync is Fsync.ALWAYS
        self._segment_bytes = segment_bytes
        self._others = 0
        self._hangs = False
        self.max_bytes = max_bytes
        self._adopted: WeakSet[Orphans] = WeakSet()
        self._left_alone: set[str] = set()
        self._database: str | None = None
        self._closed = False
        self._begin()
        self._others = self._measured()  # a process may live so shortly that it never looks again
        self.max_bytes = max_bytes
        forget = WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    @property
    def max_bytes(self) -> int:
        """Most bytes of all files in the folder; may be changed at any time."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int) -> None:
        self._max_bytes = value
        self._room = value - self._others
        self._rotate_at = min(self._segment_bytes, value // _SHARE)

    @property
    def database(self) -> str | None:
        """Which database the records are for, in words; None when that is not known. May be changed at any time.

        What a dead process left is adopted by those whose records are for the same one.
        """
        return self._database

    @database.setter
    def database(self, value: str | None) -> None:
        before, self._database, home = self._database, value, self._home
        if home is not None and value is not None and value != before:
            with suppress(OSError):  # the disk is full or fails, as append() says: what was written before stays
                home.name_database(value)

    def append(self, payload: bytes) -> None:
        """Keep a record; once this returns, the death of the process does not lose it. One write, and nothing else.

        Args:
            payload: the record, at most 16 MiB.

        Raises:
            SpoolError: it is not kept.
            UnsyncedError: it is kept; with ``Fsync.ALWAYS``, when making it survive a loss of power failed.
        """
        frame = encode_frame(payload, _now_ns())
        size = len(frame)
        chain = self._chain
        taken = False
        try:
            with self._patience(chain) as taken:
                if taken:
                    self._append(chain, frame, size)
        except RuntimeError:  # it was not taken in time, so it cannot be released; or the block's own
            if taken:
                raise
        self._hangs = not taken
        if not taken:
            raise SpoolError(Refusal.SPOOL_UNWRITABLE, "the spool is busy: its disk hangs, or a thread died in it")

    def _patience(self, chain: Chain) -> AbstractContextManager[bool]:
        """The lock; once its disk has been waited for, nobody after that is held up as long."""
        return chain.impatient if self._hangs else chain.patient

    def _append(self, chain: Chain, frame: bytes, size: int) -> None:
        if chain.size + size > self._room or size > MOST_BYTES + FRAME_BYTES:
            raise SpoolError(Refusal.SPOOL_FULL, "the spool is full: see INTENT_EVENTS_SPOOL_MAX_BYTES")
        active = chain.active
        if active is None or active.size >= self._rotate_at:
            active = self._next(chain)
        try:
            # The descriptor is read in this very expression: whatever closes it also sets it to -1.
            written = _write(active.fd, frame)
            active.size += written
            chain.size += written
            if written == size:
                chain.records += 1
        except OSError as error:  # the disk is full, read-only or fails
            raise refused(error, self._folder) from error
        if written < size:
            # The fragment stays: a record of a signal handler may already stand behind it. Readers pass over it.
            raise SpoolError(Refusal.DISK_FULL, "the disk of the spool is full: make room there")
        if self._always:
            try:
                os.fdatasync(active.fd)
            except OSError as error:  # the disk fails
                raise UnsyncedError(str(refused(error, self._folder))) from error

    def read(self, max_records: int, max_bytes: int) -> Batch:
        """The next records after those read before.

        Args:
            max_records: most of them.
            max_bytes: of their payloads together; one record is handed out whatever its size.

        Returns:
            An empty batch when there are none.

        Raises:
            SpoolError: the disk fails.
        """
        active = self._chain.active
        if active is not None and active.size > max(HEADER_BYTES, self._rotate_at * 3 // 4):
            self._swap_here()
        return self._chain.read(max_records, max_bytes)

    def release(self, end: Position) -> None:
        """Everything of this batch is stored. In any order; without effect for one that was read before a rewind."""
        self._chain.release(end)

    def rewind(self) -> None:
        """Read again what is not released."""
        self._chain.rewind()

    def trim(self) -> None:
        """Remove what is released from the disk, so that no stored record stays there; for when nothing is to do."""
        chain = self._chain
        active = chain.active
        if active is not None and active.size > min(_WORTH_SWAPPING, self._rotate_at // 2) and chain.done():
            self._swap_here()
            with chain.lock:
                if chain.active is active and chain.done():
                    chain.active = None  # the disk is full, perhaps of this very segment: append() makes another
        chain.tidy()

    @property
    def to_be_synced(self) -> bool:
        """Whether ``sync()`` does anything, and somebody has to call it."""
        return self._fsync is Fsync.INTERVAL

    def sync(self) -> None:
        """Make what was appended survive a loss of power; does nothing but with ``Fsync.INTERVAL``.

        Raises:
            SpoolError: the disk fails.
        """
        if not self.to_be_synced:
            return
        for segment in tuple(self._chain.segments):
            try:
                if segment.fd >= 0:
                    os.fdatasync(segment.fd)
            except OSError as error:  # the disk fails; or the drain has just synced or removed it, and closed it
                if segment.fd >= 0:
                    raise refused(error, self._folder) from error

    def refresh(self) -> None:
        """See what other processes have in the folder, and that nobody removed what is ours; for every few seconds."""
        chain, home, active = self._chain, self._home, self._chain.active
        if home is not None and not home.keep():
            with chain.lock:
                chain.active = self._home = None
            home.let_go()
        elif active is not None and active.unlinked():
            self._swap_here()
        chain.tidy()
        self._others = self._measured()
        self.max_bytes = self._max_bytes

    def adopt(self, turns: Round | None = None) -> Orphans | None:
        """Take over the segments of one dead process; None when there is none.

        Args:
            turns: the round that this is a part of, in which each dead process is come to once; a new one if not given.
        """
        orphans = Orphans.adopt(self._folder, self._left_alone, turns or Round(), self._database)
        if orphans is not None:
            self._adopted.add(orphans)
        return orphans

    def waiting(self) -> Waiting:
        """What waits; of this process alone."""
        chain = self._chain
        size, oldest_age_s = chain.waiting_bytes(), None
        if size:
            with suppress(OSError):  # the disk fails, as append() says
                seen = (look_in(segment.path).oldest_age_s for segment in tuple(chain.segments))
                oldest_age_s = next((age_s for age_s in seen if age_s is not None), None)
        return Waiting(chain.records, size, oldest_age_s)

    def waiting_bytes(self) -> int:
        """Bytes of what waits, without a look at the disk; for any thread, as often as it likes."""
        return self._chain.waiting_bytes()

    def close(self) -> None:
        """Take no more records. What is not released is left to an adopter. Any number of times."""
        chain, home = self._chain, self._home
        try:
            with self._patience(chain):  # without it all the same: whoever has it looks again before it goes on
                self._closed = True
                self._problem = SpoolError(Refusal.SPOOL_UNWRITABLE, "the spool is closed")
                chain.active = None
        except RuntimeError:  # it was not taken in time: the disk hangs, and what is open stays so
            return
        chain.tidy()
        chain.let_go()
        if home is not None:
            home.remove()

    def _begin(self) -> None:
        self._chain = Chain(self._folder, [], durable=self._fsync is Fsync.INTERVAL)
        self._home: Home | None = None
        self._numbers = count(1)
        self._retry_at = 0.0
        self._problem = SpoolError(Refusal.SPOOL_UNWRITABLE, "the spool is not open")

    def _forget(self) -> None:
        """Leave everything to the parent; for a forked child."""
        inherited = self._chain
        self._others += inherited.size
        self.max_bytes = self._max_bytes
        self._begin()
        inherited.let_go()
        for orphans in self._adopted:
            orphans.let_go()

    def _measured(self) -> int:
        """Bytes that other processes have in the folder."""
        home = self._home
        try:
            others = [owner for owner in owners_in(self._folder) if home is None or owner != home.path]
            return sum(map(bytes_in, others)) + bytes_in(self._folder / ASIDE)
        except OSError:  # not ours to read, as append() says; what was seen last holds
            return self._others

    def _make_home(self) -> Home:
        home = Home.make(self._folder)
        try:
            if self._database is not None:
                home.name_database(self._database)
        except BaseException:  # the disk is full or fails, or a signal handler raises; another one is made each time
            home.remove()
            raise
        return home

    def _next(self, chain: Chain) -> Segment:
        """The segment to append to, after the active one has grown enough or when there is none.

        Raises:
            SpoolError: there is none, and none can be made; that is tried once a second.
        """
        if not self._closed and monotonic() >= self._retry_at:
            try:
                self._swap(chain)
            except OSError as error:  # the disk is full, read-only, fails, or is not ours
                self._retry_at = monotonic() + _RETRY_S
                self._problem = refused(error, self._folder)
        if chain.active is None:
            raise SpoolError(self._problem.reason, str(self._problem))
        return chain.active

    def _swap_here(self) -> None:
        with suppress(OSError):  # append() tries again, and says why not
            self._swap(self._chain)

    def _swap(self, chain: Chain) -> None:
        """Let append() go on in a fresh segment, unless somebody has seen to that meanwhile.

        Everything is made ready first: a signal handler or the drain may do the same at any point.

        Raises:
            OSError: no segment can be made.
        """
        before = chain.active
        home = self._home
        if home is None:
            home = self._make_home()
            if self._home is None:
                self._home = home
            else:
                home.remove()
                home = self._home
        fresh = Segment.begin(home.path / f"{next(self._numbers):08d}{SEGMENT}")
        try:
            if self._fsync is not Fsync.NONE:
                for folder in (home.path, self._folder):
                    _sync_folder(folder)
        except BaseException:  # the disk fails, or a signal handler raises; another one is made each time
            fresh.remove()
            raise
        with chain.lock:
            if chain.active is before and chain is self._chain and not self._closed:
                chain.segments.append(fresh)
                chain.size += fresh.size
                chain.active = fresh
                return
        fresh.remove()


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
