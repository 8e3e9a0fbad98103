# SPDX-License-Identifier: Apache-2.0
"""Bodies uncompressed within bounds: a small one may become gigabytes, and is refused before it has."""

import asyncio
import zlib
from typing import Final

from intent_events.sink.answers import RefusedError, Why
from intent_events.sink.budget import Lease

GZIP_MAGIC: Final = b"\x1f\x8b"
"""Begins what is gzipped; no OTLP message can begin so, for there is no field type 7."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_STEP: Final = 1 << 20


async def gunzip(data: bytes, most: int, lease: Lease) -> bytes:
    """Uncompress a gzip body; it is done elsewhere than on the event loop, a megabyte at a time.

    Args:
        data: the body, which may have several members.
        most: bytes that may come of it.
        lease: what the request holds; it grows with the body.

    Raises:
        RefusedError: it is too large, broken, or there is no room for it now.
    """
    pieces: list[bytes] = []
    size = 0
    inflater = zlib.decompressobj(_GZIP)
    rest = data
    while True:
        step = min(_STEP, most - size + 1)
        try:
            if len(rest) + size <= _STEP // 16:  # so little that a thread would cost more
                piece = inflater.decompress(rest, step)
            else:
                piece = await asyncio.to_thread(inflater.decompress, rest, step)
        except zlib.error:  # no gzip, or damaged on its way
            raise RefusedError(Why.MALFORMED, "the body is no gzip") from None
        size += len(piece)
        if size > most:
            raise RefusedError(Why.TOO_LARGE, f"the body has more than {most} bytes uncompressed")
        await lease.grow(len(piece))
        pieces.append(piece)
        if inflater.eof:
            rest = inflater.unused_data
            if not rest:
                return b"".join(pieces)
            inflater = zlib.decompressobj(_GZIP)
        else:
            rest = inflater.unconsumed_tail
            if not rest and len(piece) < step:
                raise RefusedError(Why.MALFORMED, "the body ends within its gzip")
