# SPDX-License-Identifier: Apache-2.0
"""A segment as a file."""

import os
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import Final, Self

from intent_events_exporter.spool.segment import (
    CURSOR_AT,
    HEADER_BYTES,
    PARSERS,
    VERSION,
    Header,
    Parse,
    encode_cursor,
    encode_header,
    read_header,
)

_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class Segment:
    """One file of records.

    Attributes:
        path: of the file.
        fd: descriptor, open for appending in the active segment; -1 when closed, until it is read.
        size: bytes of the file, as far as its writer has counted them.
        cursor: offset of the first frame that is not released.
        read_to: offset of the first frame that is not read.
        gone: whether somebody removed the file.
    """

    __slots__ = ("_mover", "cursor", "fd", "gone", "parse", "path", "read_to", "size")

    def __init__(self, path: Path, fd: int, size: int, cursor: int, parse: Parse) -> None:
        self.path = path
        self.fd = fd
        self.size = size
        self.cursor = self.read_to = cursor
        self.parse = parse
        self.gone = False
        self._mover = -1

    @classmethod
    def begin(cls, path: Path) -> Self:
        """Make a segment and write its header.

        Raises:
            OSError: that is not possible; nothing is left then.
        """
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
        segment = cls(path, fd, HEADER_BYTES, HEADER_BYTES, PARSERS[VERSION])
        try:
            # A shorter write is followed by one that says why, and that one is enough.
            header = encode_header(time_ns())
            while header:
                header = header[os.write(fd, header) :]
        except BaseException:
            segment.remove()
            raise
        return segment

    @classmethod
    def found(cls, path: Path) -> Self | None:
        """Look at a segment that is there; None when its form is newer than this code.

        Raises:
            OSError: that is not possible.
        """
        fd, header = open_to_read(path)
        try:
            parse = PARSERS.get(header.version)
            return cls(path, -1, os.fstat(fd).st_size, header.cursor, parse) if parse is not None else None
        finally:
            os.close(fd)

    def end(self) -> int:
        """Bytes of the file.

        Raises:
            FileNotFoundError: somebody removed it.
            OSError: the disk fails.
        """
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_RDONLY | _OPEN)
        self.size = os.fstat(self.fd).st_size
        return self.size

    def move(self, cursor: int) -> None:
        """Release everything before an offset."""
        self.cursor = cursor
        if self.size < HEADER_BYTES:  # cut within its header: writing there would make it longer
            return
        try:
            if self._mover < 0:
                # Not through the other descriptor: Linux would append what is written to an offset there.
                self._mover = os.open(self.path, os.O_WRONLY | _OPEN)
            os.pwrite(self._mover, encode_cursor(cursor), CURSOR_AT)
        except OSError:  # removed, read-only or full: an adopter hands the records out again, and they are stored once
            pass

    def unlinked(self) -> bool:
        """Whether somebody removed the file while it is open: what it holds can be read until it is closed."""
        try:
            return self.fd >= 0 and os.fstat(self.fd).st_nlink == 0
        except OSError:  # the disk fails
            return False

    def shut(self) -> None:
        """Close the descriptors. Any number of times; reading opens one again."""
        fd, self.fd, mover, self._mover = self.fd, -1, self._mover, -1
        for descriptor in (fd, mover):
            if descriptor >= 0:
                os.close(descriptor)

    def remove(self) -> None:
        """Close and remove the file."""
        self.shut()
        with suppress(OSError):  # removed by somebody else, or read-only: an adopter finds it released, and tries again
            self.path.unlink()


def open_to_read(path: Path) -> tuple[int, Header]:
    """Open a segment and read its header.

    Raises:
        OSError: that is not possible.
    """
    fd = os.open(path, os.O_RDONLY | _OPEN)
    try:
        return fd, read_header(os.pread(fd, HEADER_BYTES, 0))
    except BaseException:
        os.close(fd)
        raise
