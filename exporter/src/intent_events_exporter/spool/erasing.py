# SPDX-License-Identifier: Apache-2.0
"""Taking records out of a spool that is in use.

What a dead process left is written anew without them, under its lock, so that no adopter reads meanwhile. What a living
process has is never changed before it is released: whoever erases waits for that, and then overwrites it in place.
Nobody reads what lies before the cursor of a segment again, so the two never meet.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from intent_events_exporter.spool.file import open_to_read
from intent_events_exporter.spool.folder import Home, check, owners_in, segments_in
from intent_events_exporter.spool.segment import (
    FRAME_BYTES,
    HEADER_BYTES,
    PARSERS,
    Header,
    Stretch,
    encode_header,
)

Unwanted = Callable[[bytes], bool]
"""Whether a record is to go."""

_FRESH: Final = ".fresh"
_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class Swept(NamedTuple):
    """What a sweep found of the unwanted.

    Attributes:
        dead: records that waited in what dead processes left; they are gone, unless only looked for.
        living: how many wait for living processes to store them.
        newer: segments of a newer form, in which nothing can be told.
    """

    dead: list[bytes]
    living: int
    newer: int


def sweep(folder: Path, unwanted: Unwanted, *, act: bool) -> Swept:
    """Remove unwanted records of dead processes, and count those that wait for living ones.

    Each segment is replaced as a whole, so that whoever is interrupted leaves it as it was or as it should be.

    Args:
        folder: of the spool; nothing is found when it is missing.
        unwanted: says of each record whether it is to go.
        act: False only looks.

    Raises:
        OSError: the spool cannot be read or written: not this user's, or the disk fails.
    """
    swept = Swept([], 0, 0)
    if not folder.exists():
        return swept
    check(folder)
    for owner in owners_in(folder):
        with suppress(FileNotFoundError):  # its process has stored everything and ended meanwhile
            home = Home.take(owner)
            if home is None:
                swept = _look(owner, unwanted, swept)
            else:
                try:
                    swept = _rewrite(owner, unwanted, swept, act=act)
                finally:
                    home.remove()
    return swept


def scrub(folder: Path, unwanted: Unwanted) -> int:
    """Overwrite unwanted records that living processes have stored already, and whose bytes are still on the disk.

    Args:
        folder: of the spool.
        unwanted: says of each record whether it is to go.

    Returns:
        How many were overwritten.

    Raises:
        OSError: the spool cannot be read or written.
    """
    scrubbed = 0
    for owner in owners_in(folder):
        for path in segments_in(owner):
            with suppress(FileNotFoundError):  # removed meanwhile, and its records with it
                header, data = _read(path)
                gone = [stretch for stretch in _released(header, data) if _is(unwanted, stretch)]
                if gone:
                    _overwrite(path, gone)
                scrubbed += len(gone)
    return scrubbed


def _look(owner: Path, unwanted: Unwanted, swept: Swept) -> Swept:
    living, newer = swept.living, swept.newer
    for path in segments_in(owner):
        with suppress(FileNotFoundError):  # released and removed meanwhile
            header, data = _read(path)
            newer += header.version not in PARSERS
            living += sum(_is(unwanted, stretch) for stretch in _waiting(header, data))
    return swept._replace(living=living, newer=newer)


def _rewrite(owner: Path, unwanted: Unwanted, swept: Swept, *, act: bool) -> Swept:
    newer = swept.newer
    for half in owner.glob(f"*{_FRESH}"):  # of an erasure that was interrupted
        half.unlink()
    for path in segments_in(owner):
        header, data = _read(path)
        newer += header.version not in PARSERS
        waiting = list(_waiting(header, data))
        going = [stretch.payload for stretch in waiting if stretch.payload is not None and _is(unwanted, stretch)]
        swept.dead.extend(going)
        # Copies of what is stored go too: they are still on the disk, before the cursor.
        if act and (going or any(_is(unwanted, stretch) for stretch in _released(header, data))):
            kept = [data[stretch.start : stretch.end] for stretch in waiting if not _is(unwanted, stretch)]
            _replace(path, header, kept)
    return swept._replace(newer=newer)


def _replace(path: Path, header: Header, kept: list[bytes]) -> None:
    """Put a segment of these frames where another one stands."""
    if not kept:
        path.unlink()
        _sync(path.parent)
        return
    fresh = path.with_suffix(_FRESH)
    opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(encode_header(header.created_ns))
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make it last: a loss of power must not bring the old segment back."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _overwrite(path: Path, gone: list[Stretch]) -> None:
    opened = os.open(path, os.O_WRONLY | _OPEN)
    try:
        for stretch in gone:
            os.pwrite(opened, bytes(stretch.end - stretch.start - FRAME_BYTES), stretch.start + FRAME_BYTES)
        os.fdatasync(opened)
    finally:
        os.close(opened)


def _read(path: Path) -> tuple[Header, bytes]:
    """A segment as a whole. Its cursor is read before its bytes: what is released meanwhile still counts as waiting."""
    fd, header = open_to_read(path)
    with os.fdopen(fd, "rb") as file:
        return header, file.read()


def _waiting(header: Header, data: bytes) -> Iterator[Stretch]:
    return _parsed(header, data, max(header.cursor, HEADER_BYTES), len(data))


def _released(header: Header, data: bytes) -> Iterator[Stretch]:
    return _parsed(header, data, HEADER_BYTES, header.cursor)


def _parsed(header: Header, data: bytes, start: int, stop: int) -> Iterator[Stretch]:
    parse = PARSERS.get(header.version)
    if parse is None:
        return
    for stretch in parse(data[start:stop], True):  # noqa: FBT003 - the meaning is in Parse
        yield stretch._replace(start=start + stretch.start, end=start + stretch.end)


def _is(unwanted: Unwanted, stretch: Stretch) -> bool:
    return stretch.payload is not None and unwanted(stretch.payload)
