# SPDX-License-Identifier: Apache-2.0
"""The frames of the spool, as bytes: every sound one is found, and nothing else is handed out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events_exporter.spool.segment import (
    CURSOR_AT,
    FRAME_BYTES,
    HEADER_BYTES,
    MARK,
    MOST_BYTES,
    PARSERS,
    VERSION,
    Header,
    Stretch,
    appended_of,
    encode_cursor,
    encode_frame,
    encode_header,
    parse,
    read_header,
)
from unit.first_forms import CREATED_NS, FRAMES, SEGMENT

# Marks in odd places are what a parser stumbles over.
_SCRAPS = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([MARK, MARK[:2], encode_frame(b"inner", 7)[:-1] + b"!"]))
)
_PAYLOADS = _SCRAPS.map(b"".join)
_TIMES = st.integers(0, 2**64 - 1)
_FRAMES = st.lists(st.tuples(_PAYLOADS, _TIMES), max_size=6)


def _encoded(frames: list[tuple[bytes, int]]) -> list[bytes]:
    return [encode_frame(payload, appended_ns) for payload, appended_ns in frames]


def _sound(stretches: list[Stretch]) -> list[tuple[bytes, int]]:
    return [(stretch.payload, stretch.appended_ns) for stretch in stretches if stretch.payload is not None]


def _torn(data: bytes, stretches: list[Stretch]) -> list[bytes]:
    return [data[stretch.start : stretch.end] for stretch in stretches if stretch.payload is None]


def _judged(data: bytes) -> list[Stretch]:
    """All stretches of complete bytes: they must cover them without a gap, and no two corrupt ones touch."""
    stretches = list(parse(data, complete=True))
    edges = [0, *(stretch.end for stretch in stretches)]
    assert [stretch.start for stretch in stretches] == edges[:-1]
    assert edges[-1] == len(data)
    assert not any(one.payload is None and other.payload is None for one, other in pairwise(stretches))
    return stretches


@given(_FRAMES)
def test_what_was_framed_is_found(frames: list[tuple[bytes, int]]) -> None:
    """Any payloads, marks and frames within them included, come back as they were, and nothing is set aside."""
    data = b"".join(_encoded(frames))
    stretches = _judged(data)
    assert _sound(stretches) == frames
    assert not _torn(data, stretches)


@given(_FRAMES, st.data())
def test_cut_at_any_byte(frames: list[tuple[bytes, int]], draw: st.DataObject) -> None:
    """Cut anywhere, every frame that is whole is found, and the rest of the last one is set aside."""
    encoded = _encoded(frames)
    data = b"".join(encoded)
    cut = data[: draw.draw(st.integers(0, len(data)))]
    whole = 0
    while whole < len(encoded) and sum(map(len, encoded[: whole + 1])) <= len(cut):
        whole += 1
    rest = cut[sum(map(len, encoded[:whole])) :]
    stretches = _judged(cut)
    assert _sound(stretches) == frames[:whole]
    assert _torn(cut, stretches) == ([rest] if rest else [])


@given(_FRAMES.filter(bool), st.data())
def test_any_bit_flipped(frames: list[tuple[bytes, int]], draw: st.DataObject) -> None:
    """A flipped bit costs the frame that it is in, and no other: exactly its bytes are set aside."""
    encoded = _encoded(frames)
    which = draw.draw(st.integers(0, len(encoded) - 1))
    bit = draw.draw(st.integers(0, len(encoded[which]) * 8 - 1))
    broken = bytearray(encoded[which])
    broken[bit // 8] ^= 1 << bit % 8
    data = b"".join([*encoded[:which], bytes(broken), *encoded[which + 1 :]])
    stretches = _judged(data)
    assert _sound(stretches) == frames[:which] + frames[which + 1 :]
    assert _torn(data, stretches) == [bytes(broken)]


@given(_FRAMES, st.data())
def test_garbage_between(frames: list[tuple[bytes, int]], draw: st.DataObject) -> None:
    """Garbage anywhere between frames is set aside byte for byte, and every frame behind it is found."""
    garbage = [draw.draw(_PAYLOADS) for _ in range(len(frames) + 1)]
    encoded = [*_encoded(frames), b""]
    data = b"".join(scrap + frame for scrap, frame in zip(garbage, encoded, strict=True))
    stretches = _judged(data)
    assert _sound(stretches) == frames
    assert _torn(data, stretches) == [scrap for scrap in garbage if scrap]


@given(_PAYLOADS, _PAYLOADS)
def test_nothing_is_made_up(garbage: bytes, more: bytes) -> None:
    """Bytes without a sound frame give none."""
    assert not _sound(_judged(garbage + more))


@given(st.lists(st.one_of(_PAYLOADS, st.tuples(_PAYLOADS, _TIMES).map(lambda frame: encode_frame(*frame)))), st.data())
def test_read_by_pieces(parts: list[bytes], draw: st.DataObject) -> None:
    """Read in pieces of any size, the undecided end again with more behind it, the judgement is the same."""
    data = b"".join(parts)
    at, size = 0, 1
    found: list[Stretch] = []
    while at < len(data):
        size = min(size + draw.draw(st.integers(1, 64)), len(data) - at)
        judged = list(parse(data[at : at + size], complete=at + size == len(data)))
        found += [Stretch(at + one.start, at + one.end, one.payload, one.appended_ns) for one in judged]
        if judged:
            at, size = found[-1].end, 1
    assert found == _judged(data)


@given(_FRAMES.filter(bool), st.integers(1, 30))
def test_the_end_is_not_judged_too_early(frames: list[tuple[bytes, int]], missing: int) -> None:
    """A frame of which the end may still follow is neither handed out nor set aside."""
    encoded = _encoded(frames)
    data = b"".join(encoded)[: -min(missing, len(encoded[-1]))]
    stretches = list(parse(data, complete=False))
    assert _sound(stretches) == frames[:-1]
    assert not _torn(data, stretches)


@pytest.mark.parametrize("length", [MOST_BYTES + 1, 2**32 - 1])
def test_a_length_that_cannot_be_is_not_waited_for(length: int) -> None:
    """A broken length that no payload has does not make the reader wait for bytes that never come."""
    broken = MARK + bytes(4) + length.to_bytes(4, "little") + bytes(8)
    sound = encode_frame(b"next", 1)
    assert [stretch.payload for stretch in parse(broken + sound, complete=False)] == [None, b"next"]


@given(_PAYLOADS, st.integers(1, 2**64 - 1), st.binary())
def test_the_time_of_a_frame(payload: bytes, appended_ns: int, behind: bytes) -> None:
    """When a frame was appended is told from its first bytes; bytes that begin none have no time."""
    frame = encode_frame(payload, appended_ns)
    assert appended_of(frame + behind) == appended_of(frame[:FRAME_BYTES]) == appended_ns
    assert appended_of(frame[: FRAME_BYTES - 1]) == appended_of(b"\0" + frame) == 0


def test_no_text_holds_a_mark() -> None:
    """No character in UTF-8 holds the bytes that the mark begins with: text in a torn record begins no frame."""
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])).encode()
    assert not set(MARK[:2]) & set(every)


@given(_TIMES, st.integers(HEADER_BYTES, 2**64 - 1))
def test_headers_come_back(created_ns: int, cursor: int) -> None:
    """A header says what was written into it, and so does the cursor that is written over its own."""
    header = encode_header(created_ns)
    assert len(header) == HEADER_BYTES
    assert read_header(header) == Header(VERSION, created_ns, HEADER_BYTES)
    place = encode_cursor(cursor)
    moved = header[:CURSOR_AT] + place + header[CURSOR_AT + len(place) :]
    assert read_header(moved) == Header(VERSION, created_ns, cursor)


@given(st.integers(0, 1 << 40), st.integers(HEADER_BYTES, 1 << 40), st.integers(0, HEADER_BYTES * 8 - 1))
def test_a_broken_header_loses_nothing(created_ns: int, cursor: int, bit: int) -> None:
    """With any bit flipped, the header is of a version that can be read, and reading begins no later than it should."""
    header = encode_header(created_ns)
    place = encode_cursor(cursor)
    broken = bytearray(header[:CURSOR_AT] + place + header[CURSOR_AT + len(place) :])
    broken[bit // 8] ^= 1 << bit % 8
    found = read_header(bytes(broken))
    assert found.version in PARSERS
    assert found.created_ns in {0, created_ns}
    assert found.cursor in {HEADER_BYTES, cursor}


@given(st.binary(max_size=2 * HEADER_BYTES))
def test_anything_is_read_as_a_header(data: bytes) -> None:
    """No bytes break the reading of a header; such as are none are searched for frames from their beginning."""
    assert read_header(data) == Header(VERSION, 0, 0)


# What was released.


_FIRST_CURSOR = HEADER_BYTES + FRAME_BYTES + len(FRAMES[0].payload)
_FIRST_FRAMES = [(frame.payload, CREATED_NS + 1000 + number) for number, frame in enumerate(FRAMES)]


def test_the_first_version_stays_readable() -> None:
    """Header, cursor and frames of a file of version 1 say for ever what they said when it was written."""
    assert read_header(SEGMENT[:HEADER_BYTES]) == Header(1, CREATED_NS, _FIRST_CURSOR)
    complete = True
    stretches = list(PARSERS[1](SEGMENT[HEADER_BYTES:], complete))
    assert _sound(stretches) == _FIRST_FRAMES
    assert len(stretches) == len(FRAMES)


def test_a_version_is_written_as_it_always_was() -> None:
    """What says that it is of version 1 has the bytes of version 1: whoever changes them takes the next number."""
    header, cursor = encode_header(CREATED_NS), encode_cursor(_FIRST_CURSOR)
    header = header[:CURSOR_AT] + cursor + header[CURSOR_AT + len(cursor) :]
    assert (VERSION, header + b"".join(_encoded(_FIRST_FRAMES))) == (1, SEGMENT)
