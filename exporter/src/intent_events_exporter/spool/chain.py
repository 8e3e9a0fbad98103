# SPDX-License-Identifier: Apache-2.0
"""The segments of one owner in their order: read, released, and removed when nothing in them waits any more."""

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Final, NamedTuple

from intent_events_exporter.spool.file import Segment
from intent_events_exporter.spool.folder import set_aside
from intent_events_exporter.spool.patience import IMPATIENCE_S, patient
from intent_events_exporter.spool.refusal import refused

_CHUNK_A_RECORD: Final = 2 << 10
"""Bytes that are read from the disk for each record that is asked for; for longer ones it is read again."""


class Position:
    """The end of a batch, to be released once the batch is stored."""

    __slots__ = ("offset", "records", "released", "segment")

    def __init__(self, segment: Segment | None, offset: int, records: int) -> None:
        self.segment = segment
        self.offset = offset
        self.records = records
        self.released = segment is not None and not records


class Batch(NamedTuple):
    """Records, in the order in which they were appended.

    Attributes:
        payloads: one a record; none when there is nothing more to read now.
        end: to be given to ``release`` once all of them are stored.
        torn: corrupt stretches that were set aside on the way, each counted once.
    """

    payloads: list[bytes]
    end: Position
    torn: int


class Chain:
    """Segments in order.

    One thread reads and releases. ``lock`` guards what append() changes too: ``segments``, ``active``, ``size``,
    ``records`` and the end of the active file.

    Attributes:
        lock: re-entrant, since append() may interrupt itself.
        patient: the same, with a bound on the wait.
        impatient: the same with a lower one, for when its disk hangs.
        segments: oldest first.
        active: the one that grows; None when none does.
        size: bytes of all segments.
        records: appended and not released, as far as they were counted here.
    """

    __slots__ = (
        "_durable",
        "_folder",
        "_under_way",
        "active",
        "impatient",
        "lock",
        "patient",
        "records",
        "segments",
        "size",
    )

    def __init__(self, folder: Path, segments: list[Segment], *, durable: bool = False) -> None:
        """Begin with these segments.

        Args:
            folder: of the spool.
            segments: of one owner, oldest first.
            durable: make a segment survive a loss of power before it is closed.
        """
        self.lock = RLock()
        self.patient = patient(self.lock)
        self.impatient = patient(self.lock, IMPATIENCE_S)
        self.segments = segments
        self.active: Segment | None = None
        self.size = 0
        self.records = 0
        self._folder = folder
        self._durable = durable
        self._under_way: deque[Position] = deque()

    def read(self, max_records: int, max_bytes: int) -> Batch:
        """The records after those that were read before.

        Args:
            max_records: most of them.
            max_bytes: of their payloads together; one record is handed out whatever its size.

        Raises:
            SpoolError: the disk fails, and nothing was read before it did.
        """
        payloads: list[bytes] = []
        room, torn = max_bytes, 0
        last: Segment | None = None
        for segment in tuple(self.segments):
            before = segment.read_to, torn
            taken, failed = len(payloads), False
            try:
                torn += self._take(segment, payloads, max_records, room)
            except FileNotFoundError:  # somebody removed it, and its records with it: that counts as one stretch
                torn, segment.gone = torn + (not segment.gone), True
            except OSError as error:  # the disk fails; what was read until then is handed out
                if not payloads:
                    raise refused(error) from error
                failed = True
            if (segment.read_to, torn) != before:
                last = segment
            room -= sum(map(len, payloads[taken:]))
            if failed or (not segment.gone and segment.read_to < segment.size):
                break
        end = Position(last, last.read_to if last else 0, len(payloads))
        if last is not None:
            self._under_way.append(end)
            self._advance()
        return Batch(payloads, end, torn)

    def release(self, end: Position) -> None:
        """Everything of this batch is stored. In any order; without effect for one that was read before a rewind.

        The cursor moves over all batches from the oldest on that are released, and what lies before it is removed.
        """
        end.released = True
        self._advance()

    def rewind(self) -> None:
        """Read again what is not released."""
        self._under_way.clear()
        for segment in self.segments:
            segment.read_to = segment.cursor

    def tidy(self) -> None:
        """Remove the segments that are released and do not grow, close those that wait, and count what is left."""
        for segment in tuple(self.segments):
            if segment is self.active or self._remove_if_done(segment) or segment.unlinked():
                continue
            if self._durable and segment.fd >= 0:
                with suppress(OSError):  # the disk fails, as every sync() says
                    os.fdatasync(segment.fd)
            with self.lock:
                segment.shut()
        with self.lock:
            self.size = sum(segment.size for segment in self.segments)

    def done(self) -> bool:
        """Whether everything is released."""
        with self.lock:
            return all(self._is_done(segment) for segment in self.segments)

    def waiting_bytes(self) -> int:
        """Bytes that are not released. Without the lock, which somebody may have whom the disk holds up."""
        segments = tuple(self.segments)
        return sum(max(segment.size - segment.cursor, 0) for segment in segments if not segment.gone)

    def let_go(self) -> None:
        """Close everything, and have nothing to read or to append to."""
        segments, self.segments, self.active = self.segments, [], None
        self._under_way.clear()
        for segment in segments:
            segment.shut()

    def _take(self, segment: Segment, payloads: list[bytes], max_records: int, room: int) -> int:
        """Read on in one segment until its end or the limits; the number of corrupt stretches on the way."""
        if segment.gone:
            return 0
        with self.lock:
            end = segment.end()
        torn, chunk = 0, _CHUNK_A_RECORD * (max_records - len(payloads))
        while segment.read_to < end and len(payloads) < max_records:
            base = segment.read_to
            asked = min(chunk, end - base)
            data = os.pread(segment.fd, asked, base)
            if not data:  # cut by somebody else
                break
            for start, stop, payload, _ in segment.parse(data, base + asked >= end or len(data) < asked):
                if payload is None:
                    name = f"{segment.path.parent.name}-{segment.path.stem}-{base + start}.torn"
                    torn += set_aside(self._folder, name, data[start:stop])
                elif payloads and (len(payloads) >= max_records or len(payload) > room):
                    return torn
                else:
                    payloads.append(payload)
                    room -= len(payload)
                segment.read_to = base + stop
            if segment.read_to == base:
                chunk *= 2
        return torn

    def _advance(self) -> None:
        passed: Position | None = None
        records = 0
        while self._under_way and self._under_way[0].released:
            passed = self._under_way.popleft()
            records += passed.records
        if passed is None or passed.segment is None:
            return
        with self.lock:  # before the bytes: whoever waits for those to be none may ask for the records then
            self.records = max(self.records - records, 0)
        for segment in self.segments[: self.segments.index(passed.segment)]:
            self._remove(segment)
        passed.segment.move(passed.offset)
        self._remove_if_done(passed.segment)
        with self.lock:
            if not self.waiting_bytes():  # records that became corrupt are never read, which can be told here
                self.records = 0

    def _is_done(self, segment: Segment) -> bool:
        """Whether nothing waits in it; of one that is gone, whether its place among the batches is past."""
        try:
            return (segment.gone and not self._under_way) or segment.cursor >= segment.end()
        except OSError:  # it cannot be told; a file that somebody removed is counted when it is read
            return False

    def _remove_if_done(self, segment: Segment) -> bool:
        # Under the lock: an append() that was interrupted by one that began another segment still writes to this one.
        with self.lock:
            done = segment is not self.active and self._is_done(segment)
        if done:
            self._remove(segment)
        return done

    def _remove(self, segment: Segment) -> None:
        with self.lock:
            self.segments.remove(segment)
            self.size -= segment.size
        segment.remove()
