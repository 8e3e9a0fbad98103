# SPDX-License-Identifier: Apache-2.0
"""A look at the spool from outside: no locks, nothing changed, whatever its processes do meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path
from time import time_ns
from typing import Final, NamedTuple

from intent_events_exporter.spool.file import open_to_read
from intent_events_exporter.spool.folder import ASIDE, bytes_in, owners_in, segments_in
from intent_events_exporter.spool.segment import FRAME_BYTES, PARSERS, appended_of

_CHUNK: Final = 1 << 20


class Spooled(NamedTuple):
    """A record that waits.

    Attributes:
        owner: name of the folder of the process that appended it.
        payload: the record.
        age_s: seconds since it was appended.
    """

    owner: str
    payload: bytes
    age_s: float


class Totals(NamedTuple):
    """What waits in a spool.

    Attributes:
        owners: processes, living and dead, that have a folder there.
        bytes: of frames that are not released.
        oldest_age_s: seconds since the oldest of them was appended; None when there is none.
        set_aside_bytes: bytes of corrupt stretches that are kept.
    """

    owners: int
    bytes: int
    oldest_age_s: float | None
    set_aside_bytes: int


class Seen(NamedTuple):
    """What waits in the folder of one process, or in one segment.

    Attributes:
        bytes: of frames that are not released.
        oldest_age_s: seconds since the oldest of them was appended; None when there is none.
    """

    bytes: int
    oldest_age_s: float | None


def look(folder: Path) -> Iterator[Spooled]:
    """Every record that is not released, by owner and in the order of appending.

    What is corrupt, of a newer form, or removed meanwhile is passed over. Memory holds a chunk of one
    segment at a time.

    Args:
        folder: of the spool; nothing waits when it is missing.

    Raises:
        OSError: it cannot be read: not this user's, or the disk fails.
    """
    for owner in owners_in(folder):
        for path in segments_in(owner):
            for payload, appended_ns in _records(path):
                yield Spooled(owner.name, payload, _age_s(appended_ns))


def totals(folder: Path) -> Totals:
    """Sums over the spool, from headers and sizes of files alone.

    Args:
        folder: of the spool; all zero when it is missing.

    Raises:
        OSError: it cannot be read: not this user's, or the disk fails.
    """
    seen = [look_at(owner) for owner in owners_in(folder)]
    ages = [one.oldest_age_s for one in seen if one.oldest_age_s is not None]
    waiting = sum(one.bytes for one in seen)
    return Totals(len(seen), waiting, max(ages, default=None), bytes_in(folder / ASIDE))


def look_at(owner: Path) -> Seen:
    """Sums over the folder of one process.

    Args:
        owner: the folder; zero when it is missing.

    Raises:
        OSError: it cannot be read.
    """
    seen = [look_in(path) for path in segments_in(owner)]
    oldest_age_s = next((one.oldest_age_s for one in seen if one.oldest_age_s is not None), None)
    return Seen(sum(one.bytes for one in seen), oldest_age_s)


def look_in(path: Path) -> Seen:
    """The same of one segment; nothing waits in one that is gone.

    Raises:
        OSError: it cannot be read.
    """
    try:
        fd, header = open_to_read(path)
    except FileNotFoundError:  # released meanwhile
        return Seen(0, None)
    try:
        found = os.fstat(fd)
        if header.cursor >= found.st_size:
            return Seen(0, None)
        since_ns = appended_of(os.pread(fd, FRAME_BYTES, header.cursor)) or header.created_ns or found.st_mtime_ns
        return Seen(found.st_size - header.cursor, _age_s(since_ns))
    finally:
        os.close(fd)


def _records(path: Path) -> Iterator[tuple[bytes, int]]:
    try:
        fd, header = open_to_read(path)
    except FileNotFoundError:  # removed meanwhile
        return
    try:
        parse = PARSERS.get(header.version)
        at, chunk, complete = header.cursor, _CHUNK, parse is None
        while parse is not None and not complete:
            data = os.pread(fd, chunk, at)
            complete = len(data) < chunk
            judged = 0
            for stretch in parse(data, complete):
                judged = stretch.end
                if stretch.payload is not None:
                    yield stretch.payload, stretch.appended_ns
            at += judged
            chunk = _CHUNK if judged else chunk * 2
    finally:
        os.close(fd)


def _age_s(since_ns: int) -> float:
    return max(time_ns() - since_ns, 0) / 1e9  # clocks may step back
