# SPDX-License-Identifier: Apache-2.0
"""The form of a segment, as bytes: a header, then frames, one a record. Pure.

Header, 64 bytes, little-endian: magic, version u16, length of the header u16, created u64 (ns since 1970), crc32 u32 of
these; cursor u64 (offset of the first frame that is not released) and crc32 u32 of it; zeros.
Frame: mark (4 bytes), crc32 u32 of what follows, length of the payload u32, appended u64 (ns since 1970), payload.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

VERSION: Final = 1
HEADER_BYTES: Final = 64
MARK: Final = b"\xff\xfaIE"
"""First bytes of a frame. No text can hold it: the first two occur nowhere in UTF-8."""
FRAME_BYTES: Final = 20
"""Bytes of a frame beside its payload."""
MOST_BYTES: Final = 16 << 20
"""Longest payload. A reader tells a broken length by it."""
CURSOR_AT: Final = 24
"""Offset of the cursor in the header."""

_MAGIC: Final = b"IESPOOL\n"
_FIXED: Final = Struct("<8sHHQ")
_CRC: Final = Struct("<I")
_CURSOR: Final = Struct("<Q")
_START: Final = Struct("<4sI")
_REST: Final = Struct("<IQ")
_FRAME: Final = Struct("<4sIIQ")
_UNSUMMED: Final = _START.size

# Looked up once, since every record of the host pays for it.
_start: Final = _START.pack
_rest: Final = _REST.pack


class Stretch(NamedTuple):
    """Some bytes of a segment, judged.

    Attributes:
        start: offset of the first.
        end: offset behind the last.
        payload: of a sound frame; None when they are none.
        appended_ns: when the frame was appended, in ns since 1970.
    """

    start: int
    end: int
    payload: bytes | None = None
    appended_ns: int = 0


class Header(NamedTuple):
    """What the header of a segment says.

    Attributes:
        version: of the segment's form.
        created_ns: when the segment was begun, in ns since 1970; 0 when that cannot be read.
        cursor: offset where reading begins.
    """

    version: int
    created_ns: int
    cursor: int


Parse: TypeAlias = Callable[[bytes, bool], Iterator[Stretch]]


def encode_header(created_ns: int) -> bytes:
    """Header of a segment that holds no frame yet."""
    fixed = _FIXED.pack(_MAGIC, VERSION, HEADER_BYTES, created_ns)
    return (fixed + _CRC.pack(crc32(fixed)) + encode_cursor(HEADER_BYTES)).ljust(HEADER_BYTES, b"\0")


def encode_cursor(cursor: int) -> bytes:
    """Bytes that stand at :data:`CURSOR_AT`."""
    number = _CURSOR.pack(cursor)
    return number + _CRC.pack(crc32(number))


def read_header(data: bytes) -> Header:
    """Read the first bytes of a segment; total.

    What is broken is passed over: rather hand a record out once more than never.
    """
    data = data[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")
    fixed, summed = data[: _FIXED.size], _CRC.unpack_from(data, _FIXED.size)[0]
    magic, version, length, created_ns = _FIXED.unpack(fixed)
    if magic != _MAGIC or crc32(fixed) != summed:
        version, length, created_ns = VERSION, 0, 0
    number = data[CURSOR_AT : CURSOR_AT + _CURSOR.size]
    if crc32(number) != _CRC.unpack_from(data, CURSOR_AT + _CURSOR.size)[0]:
        return Header(version, created_ns, length)
    return Header(version, created_ns, max(_CURSOR.unpack(number)[0], length))


def encode_frame(payload: bytes, appended_ns: int) -> bytes:
    """Frame of a payload that is no longer than :data:`MOST_BYTES`."""
    rest = _rest(len(payload), appended_ns)
    return b"".join((_start(MARK, crc32(payload, crc32(rest))), rest, payload))


def appended_of(data: bytes) -> int:
    """When the frame that begins here was appended, in ns since 1970; 0 when none begins. It need not be whole."""
    if not data.startswith(MARK) or len(data) < FRAME_BYTES:
        return 0
    appended_ns: int = _FRAME.unpack_from(data)[3]
    return appended_ns


def parse(data: bytes, complete: bool) -> Iterator[Stretch]:  # noqa: FBT001 - the meaning is in Parse
    """Judge bytes, beginning where a frame should.

    Args:
        data: bytes of a segment behind its header, or behind another frame.
        complete: whether nothing follows them.

    Yields:
        Sound frames and what lies between them, without a gap and in order. Bytes at the end are left out when those
        that may follow decide what they are, so none are when ``complete``.
    """
    size = len(data)
    view = memoryview(data)
    at = 0
    torn = -1
    while at < size:
        end = at + FRAME_BYTES
        if end <= size:
            mark, summed, length, appended_ns = _FRAME.unpack_from(data, at)
            end += length
        else:
            mark, summed, length, appended_ns = data[at : at + 4], 0, 0, 0
        if mark == MARK[: size - at] and length <= MOST_BYTES:
            if end > size and not complete:
                return
            if end <= size and crc32(view[at + _UNSUMMED : end]) == summed:
                if torn >= 0:
                    yield Stretch(torn, at)
                    torn = -1
                yield Stretch(at, end, data[at + FRAME_BYTES : end], appended_ns)
                at = end
                continue
        if torn < 0:
            torn = at
        at = data.find(MARK, at + 1)
        if at < 0:
            break
    if complete and torn >= 0:
        yield Stretch(torn, size)


PARSERS: Final[dict[int, Parse]] = {VERSION: parse}
"""How each version of the form is read. A version that was ever released stays."""
