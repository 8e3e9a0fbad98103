# SPDX-License-Identifier: Apache-2.0
"""Taking records out of a spool: exactly the unwanted go, whatever else is in its files and whoever uses them."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intent_events_exporter.spool import Spool, look
from intent_events_exporter.spool.erasing import scrub, sweep
from intent_events_exporter.spool.folder import Home, segments_in
from intent_events_exporter.spool.segment import CURSOR_AT, encode_cursor, encode_frame, encode_header
from support.spool_process import PLENTY, drained, left_by_the_dead

STRETCHES = st.one_of(
    st.binary(max_size=40).filter(lambda rest: b"drop" not in rest).map(lambda rest: b"keep" + rest),
    st.binary(max_size=40).map(lambda rest: b"drop" + rest),
    st.sampled_from([None, b""]),
)


def unwanted(payload: bytes) -> bool:
    """Whether a record of these tests is to go."""
    return payload.startswith(b"drop")


def segment(payloads: list[bytes | None], released: int) -> bytes:
    """A segment of these records, of which so many are released; bytes that are no record stand for None."""
    frames = [b"torn" if payload is None else encode_frame(payload, 1) for payload in payloads]
    header = bytearray(encode_header(1))
    header[CURSOR_AT : CURSOR_AT + 12] = encode_cursor(len(header) + sum(map(len, frames[:released])))
    return bytes(header) + b"".join(frames)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.lists(STRETCHES, max_size=8), st.integers(0, 8)), max_size=4))
def test_exactly_the_unwanted_go(segments: list[tuple[list[bytes | None], int]]) -> None:
    """Of what dead processes left the unwanted go, others stay in their order, and a second sweep finds none."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        left_by_the_dead(folder, *(segment(payloads, min(released, len(payloads))) for payloads, released in segments))
        waiting = [spooled.payload for spooled in look(folder)]
        seen = sweep(folder, unwanted, act=False)
        assert [spooled.payload for spooled in look(folder)] == waiting
        swept = sweep(folder, unwanted, act=True)
        assert seen == swept
        assert swept.dead == list(filter(unwanted, waiting))
        assert [spooled.payload for spooled in look(folder)] == [each for each in waiting if not unwanted(each)]
        assert sweep(folder, unwanted, act=True).dead == []
        left = b"".join(path.read_bytes() for path in folder.rglob("*.spool"))
        assert b"drop" not in left


def test_what_is_released_is_overwritten_and_what_waits_is_not(tmp_path: Path) -> None:
    """In the files of the living, records before the cursor lose their bytes; those behind it keep every one."""
    home = Home.make(tmp_path)
    path = home.path / "00000001.spool"
    path.write_bytes(segment([b"drop1", b"keep1", b"drop2", b"keep2", b"drop3"], 3))
    assert scrub(tmp_path, unwanted) == 2
    data = path.read_bytes()
    assert b"drop1" not in data
    assert b"drop2" not in data
    assert b"keep1" in data
    assert [spooled.payload for spooled in look(tmp_path)] == [b"keep2", b"drop3"]
    assert sweep(tmp_path, unwanted, act=True) == ([], 1, 0)
    assert scrub(tmp_path, unwanted) == 0
    home.let_go()


def test_files_that_go_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that its process removes between being listed and being read has nothing that could be told."""
    home = Home.make(tmp_path)
    gone = home.path / "00000001.spool"

    def listed(_owner: Path) -> Iterator[Path]:
        return iter([gone])

    monkeypatch.setattr("intent_events_exporter.spool.erasing.segments_in", listed)
    assert sweep(tmp_path, unwanted, act=True) == ([], 0, 0)
    assert scrub(tmp_path, unwanted) == 0
    home.let_go()
    assert sweep(tmp_path, unwanted, act=True) == ([], 0, 0)


def test_no_spool_at_all(tmp_path: Path) -> None:
    """Where nothing was ever spooled nothing is found, and nothing is made."""
    assert sweep(tmp_path / "none", unwanted, act=True) == ([], 0, 0)
    assert scrub(tmp_path / "none", unwanted) == 0
    assert not (tmp_path / "none").exists()


def test_a_disk_that_fails_leaves_the_segment_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new segment cannot be made durable the old one is there, whole; the next run does it."""
    left_by_the_dead(tmp_path, segment([b"drop1", b"keep1"], 0))

    def fail(_fd: int) -> None:
        raise OSError(5, "the disk fails")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="the disk fails"):
            sweep(tmp_path, unwanted, act=True)
    assert [spooled.payload for spooled in look(tmp_path)] == [b"drop1", b"keep1"]
    assert sweep(tmp_path, unwanted, act=True).dead == [b"drop1"]
    assert [spooled.payload for spooled in look(tmp_path)] == [b"keep1"]
    assert not list(tmp_path.rglob("*.fresh"))


def test_a_spool_in_use_loses_nothing(tmp_path: Path) -> None:
    """While a process appends, reads, releases and rewinds, sweeping and scrubbing change nothing of it."""
    spool = Spool(tmp_path, max_bytes=PLENTY, segment_bytes=8 << 10)
    spool.append(b"keep-0")
    over = threading.Event()
    found: list[int] = []

    def erase() -> None:
        while not over.is_set():
            found.append(len(sweep(tmp_path, unwanted, act=True).dead) + scrub(tmp_path, unwanted))

    eraser = threading.Thread(target=erase)
    eraser.start()
    read: list[bytes] = []
    try:
        for number in range(1, 3_000):
            spool.append(b"%s-%d" % (b"drop" if number % 3 else b"keep", number) + b"." * (number % 50))
            if number % 7 == 0:
                spool.read(5, PLENTY)
                spool.rewind()
            if number % 11 == 0:
                batch = spool.read(40, PLENTY)
                read += batch.payloads
                assert not batch.torn
                spool.release(batch.end)
        read += drained(spool)
    finally:
        over.set()
        eraser.join()
    numbers = [int(payload.partition(b"-")[2].rstrip(b".")) for payload in read]
    assert numbers == list(range(3_000))
    assert sum(found) > 0
    scrub(tmp_path, unwanted)
    assert not [path for owner in tmp_path.iterdir() for path in segments_in(owner) if b"drop" in path.read_bytes()]
    spool.close()
