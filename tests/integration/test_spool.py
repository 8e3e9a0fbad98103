# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""The spool on real files: its folder, its limits, what is corrupt or foreign, what is durable, and a look at it."""

import logging
import os
import shutil
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from zlib import crc32

import pytest

from intent_events_exporter.spool import Fsync, Refusal, Spool, SpoolError, UnsyncedError, look, totals
from intent_events_exporter.spool.file import Segment
from intent_events_exporter.spool.folder import ASIDE, owners_in, segments_in
from intent_events_exporter.spool.segment import HEADER_BYTES, encode_frame, encode_header
from support.spool_process import (
    PLENTY,
    adopted,
    drained,
    filled,
    left_by_the_dead,
    namespaces,
    number_of,
    numbered,
    ran,
    refusal,
)

_MODULE = "intent_events_exporter.spool.spool"


# --- The folder


def test_nothing_is_made_before_the_first_record(folder: Path, spool: Spool) -> None:
    """A process that records nothing leaves no trace, and everything can be asked of its spool all the same."""
    assert spool.read(10, 10).payloads == []
    assert spool.adopt() is None
    assert spool.waiting() == (0, 0, None)
    assert totals(folder) == (0, 0, None, 0)
    for tend in (spool.trim, spool.sync, spool.refresh, spool.rewind, spool.close):
        tend()
    assert not folder.exists()
    assert list(look(folder)) == []


def test_the_folder_goes_when_all_is_stored(folder: Path, spool: Spool) -> None:
    """A process that ends in order leaves nothing when all is released; later records are refused."""
    spool.append(b"record")
    assert drained(spool) == [b"record"]
    spool.close()
    assert list(folder.iterdir()) == []
    assert refusal(spool, b"late") == Refusal.SPOOL_UNWRITABLE


def test_what_is_not_stored_stays(folder: Path, spool: Spool, new_spool: Callable[..., Spool]) -> None:
    """A process that ends before all is stored leaves the rest to another one, in order."""
    for number in range(5):
        spool.append(numbered(number))
    spool.release(spool.read(2, PLENTY).end)
    spool.close()
    assert adopted(new_spool()) == [numbered(number) for number in (2, 3, 4)]
    assert list(folder.iterdir()) == []


def _a_file(folder: Path) -> None:
    folder.parent.mkdir()
    folder.touch()


def _a_link(folder: Path) -> None:
    folder.parent.mkdir()
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to(folder.parent / "elsewhere")


def _a_dangling_link(folder: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(folder.parent / "nowhere")


@pytest.mark.parametrize("plant", [_a_file, _a_link, _a_dangling_link])
def test_a_planted_folder_is_refused(folder: Path, spool: Spool, plant: Callable[[Path], None]) -> None:
    """A file or a link where the folder should be is refused, and nothing is written through it."""
    plant(folder)
    found = sorted(folder.parent.rglob("*"))
    assert refusal(spool, b"record") == Refusal.SPOOL_UNWRITABLE
    assert spool.adopt() is None
    spool.refresh()
    assert sorted(folder.parent.rglob("*")) == found


@pytest.mark.skipif(not namespaces(), reason="this user may not mount a file system of their own")
def test_a_read_only_folder_is_refused(folder: Path) -> None:
    """A record for a read-only file system is refused as such."""
    folder.mkdir(parents=True)
    assert ran("read-only", folder, in_namespace=True) == ["spool_unwritable"]


def test_a_mended_folder_is_used(folder: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be used is tried once a second, not at each record; once it can be, records are kept."""
    now = [100.0]
    monkeypatch.setattr(f"{_MODULE}.monotonic", lambda: now[0])
    _a_file(folder)
    assert refusal(spool, b"0:") == Refusal.SPOOL_UNWRITABLE
    folder.unlink()
    assert refusal(spool, b"1:") == Refusal.SPOOL_UNWRITABLE
    assert not folder.exists()
    now[0] += 2
    assert not refusal(spool, b"2:")
    assert drained(spool) == [b"2:"]


def test_a_removed_folder_is_made_again(folder: Path, spool: Spool, new_spool: Callable[..., Spool]) -> None:
    """Somebody cleans up under a living process: what was appended is read still, and later records are safe again."""
    spool.append(b"before")
    shutil.rmtree(folder)
    spool.refresh()
    spool.append(b"after")
    assert [one.payload for one in look(folder)] == [b"after"]
    assert drained(spool) == [b"before", b"after"]
    spool.append(b"left")
    spool.close()
    assert adopted(new_spool()) == [b"left"]


def test_a_removed_lock_is_made_again(folder: Path, spool: Spool, new_spool: Callable[..., Spool]) -> None:
    """Without its lock the folder of a living process is not adopted, and the process locks it again."""
    other = new_spool()
    spool.append(b"record")
    (home,) = owners_in(folder)
    (home / "lock").unlink()
    assert other.adopt() is None
    spool.refresh()
    assert (home / "lock").exists()
    assert other.adopt() is None
    spool.close()
    assert adopted(other) == [b"record"]


def test_a_removed_segment_is_counted(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """A file that somebody removed before it was read counts as one corrupt stretch, and the others are read."""
    spool = new_spool(segment_bytes=5_000)
    for number in range(20):
        spool.append(numbered(number))
    spool.refresh()
    (home,) = owners_in(folder)
    first, second, *_ = segments_in(home)
    second.unlink()
    kept = [number_of(one.payload) for one in look(folder)]
    assert 0 < len(kept) < 20
    batch = spool.read(100, PLENTY)
    assert ([number_of(payload) for payload in batch.payloads], batch.torn) == (kept, 1)
    spool.release(batch.end)
    assert not first.exists()
    assert spool.waiting() == (0, 0, None)


def test_a_segment_is_removed_between_reading_and_storing(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """Batches of a file that somebody removes are released as any other, in any order, and what follows is read."""
    spool = new_spool(segment_bytes=3_000)
    for number in range(6):
        spool.append(numbered(number))
    batches = [spool.read(1, PLENTY)]
    spool.refresh()
    for path in list(folder.rglob("*.spool"))[:-1]:
        path.unlink()
    while (batch := spool.read(1, PLENTY)).payloads:
        batches.append(batch)
        spool.trim()
    for batch in reversed(batches):
        spool.release(batch.end)
    assert batches[0].payloads == [numbered(0)]
    assert spool.waiting() == (0, 0, None)
    spool.append(numbered(6))
    assert drained(spool) == [numbered(6)]


def test_what_was_read_before_a_rewind_is_not_released(spool: Spool, new_spool: Callable[..., Spool]) -> None:
    """Batches count in any order once all before them do; the end of one that was lost in a rewind counts no more."""
    for number in range(4):
        spool.append(numbered(number))
    spool.read(1, PLENTY)
    lost = spool.read(1, PLENTY)
    spool.rewind()
    first, second = spool.read(2, PLENTY), spool.read(1, PLENTY)
    spool.release(lost.end)
    spool.release(second.end)
    assert spool.waiting().records == 4
    spool.release(first.end)
    assert spool.waiting().records == 1
    spool.close()
    assert adopted(new_spool()) == [numbered(3)]


# --- Limits


def test_the_size_limit(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """All files of all processes stay within the limit; a released record makes room, even while the drain is busy."""
    other, spool = new_spool(), new_spool(max_bytes=100_000)
    for number in range(20):
        other.append(numbered(number))
    spool.refresh()
    count, reason = filled(spool)
    assert reason == Refusal.SPOOL_FULL
    assert 40 < count < 70
    assert sum(path.stat().st_size for path in folder.rglob("*.spool")) <= 100_000
    batch = spool.read(count // 2, PLENTY)
    spool.release(batch.end)
    assert not refusal(spool, numbered(count))
    spool.trim()
    assert [number_of(payload) for payload in [*batch.payloads, *drained(spool)]] == list(range(count + 1))
    spool.max_bytes = 0
    assert refusal(spool, b"") == Refusal.SPOOL_FULL


def test_processes_that_live_shortly(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """However many follow each other, none of which looks at the folder again, they stay within the limit together."""
    kept = 0
    for number in range(40):
        spool = new_spool(max_bytes=20_000)
        kept += not refusal(spool, b"x" * 1_000)
        spool.close()
        assert sum(path.stat().st_size for path in folder.rglob("*.spool")) <= 20_000, number
    assert 15 <= kept < 20


def test_a_folder_within_the_one_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_spool: Callable[..., Spool]
) -> None:
    """A process that changes its folder keeps its spool where it was: none is refused, and all of it is found."""
    monkeypatch.chdir(tmp_path)
    spool = Spool(Path("state") / "spool", max_bytes=PLENTY, segment_bytes=100)
    spool.append(numbered(0))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for number in range(1, 9):
        spool.append(numbered(number))
    assert [number_of(payload) for payload in drained(spool)] == list(range(9))
    spool.append(numbered(9))
    spool.close()
    assert adopted(new_spool()) == [numbered(9)]


def test_a_process_whose_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was named within one that is gone is refused with every record, and nothing is raised before."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    spool = Spool(Path("spool"), max_bytes=PLENTY)
    assert refusal(spool, numbered(0)) == Refusal.SPOOL_UNWRITABLE
    spool.close()
    monkeypatch.chdir(tmp_path)


def test_a_record_of_any_size(new_spool: Callable[..., Spool]) -> None:
    """Records from nothing to 16 MiB are kept, beyond the size of a segment and of a batch; a longer one is refused."""
    spool = new_spool(segment_bytes=1_000)
    sizes = [0, 1, 300_000, 0, 16 << 20, 5]
    for size in sizes:
        spool.append(b"x" * size)
    assert refusal(spool, b"x" * ((16 << 20) + 1)) == Refusal.SPOOL_FULL
    assert [len(payload) for payload in drained(spool)] == sizes


def test_the_largest_file_is_reached(folder: Path) -> None:
    """A record that was written in part is refused and never handed out; later ones behind it are read."""
    count, reason, again, torn, *read = ran("outgrow", folder)[0].split()
    assert (reason, again, torn) == (Refusal.DISK_FULL, Refusal.DISK_FULL, "1")
    assert list(map(int, read)) == list(range(int(count) + 1))


@pytest.mark.skipif(not namespaces(), reason="this user may not mount a file system of their own")
def test_the_disk_is_full(folder: Path) -> None:
    """On a full disk records are refused with that reason, those before are read, and once there is room it goes on."""
    folder.mkdir(parents=True)
    count, reason, again, afterwards, torn, *read = ran("fill-disk", folder, in_namespace=True)[0].split()
    assert (reason, again, afterwards) == (Refusal.DISK_FULL, Refusal.DISK_FULL, "True")
    assert int(torn) <= 2
    assert list(map(int, read)) == list(range(int(count)))


def test_a_released_record_does_not_stay(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """When all is released, a file that is worth it is changed for an empty one; a small one stays."""
    spool = new_spool()
    for number in range(100):
        spool.append(numbered(number))
    drained(spool)
    spool.trim()
    (left,) = folder.rglob("*.spool")
    assert left.stat().st_size == HEADER_BYTES
    spool.append(b"more")
    drained(spool)
    spool.trim()
    assert list(folder.rglob("*.spool")) == [left]


# --- Corrupt and foreign files


def test_a_corrupt_segment(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """Every sound record of a corrupt file is read; the rest is set aside byte for byte, and counted once."""
    frames = [encode_frame(numbered(number), 1) for number in range(6)]
    broken = bytearray(b"".join(frames))
    size = len(frames[0])
    broken[size + 30] ^= 4
    broken[3 * size + 2] ^= 1
    home = left_by_the_dead(folder, encode_header(1) + bytes(broken[:-7]))
    spool = new_spool()
    orphans = spool.adopt()
    assert orphans is not None
    batch = orphans.read(100, PLENTY)
    assert ([number_of(payload) for payload in batch.payloads], batch.torn) == ([0, 2, 4], 3)
    orphans.rewind()
    assert orphans.read(100, PLENTY).torn == 0
    orphans.close()
    assert len(adopted(spool)) == 3
    places = {HEADER_BYTES + index * size: bytes(broken[:-7])[index * size : (index + 1) * size] for index in (1, 3, 5)}
    aside = {path.name: path.read_bytes() for path in (folder / ASIDE).iterdir()}
    assert aside == {f"{home.name}-00000001-{place}.torn": data for place, data in places.items()}
    assert totals(folder) == (0, 0, None, sum(map(len, places.values())))


def test_a_broken_header(folder: Path, spool: Spool) -> None:
    """A file without a header, with a broken one, or with half of one gives all its sound records."""
    frame = encode_frame(b"record", 1)
    broken = bytearray(encode_header(1))
    broken[9] ^= 2
    left_by_the_dead(folder, frame, bytes(broken) + frame, encode_header(1)[:40], b"")
    assert adopted(spool) == [b"record", b"record"]
    assert list(owners_in(folder)) == []


def _of_a_newer_version(data: bytes) -> bytes:
    fixed = bytearray(encode_header(1)[:20])
    fixed[8] = 2
    return bytes(fixed) + crc32(fixed).to_bytes(4, "little") + encode_header(1)[24:] + data


def test_a_newer_version_is_left_alone(folder: Path, spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    """A file of a newer form is neither read nor removed, and said once; an older one beside it is read."""
    newer = _of_a_newer_version(encode_frame(b"newer", 1))
    home = left_by_the_dead(folder, newer, encode_header(1) + encode_frame(b"ours", 1))
    with caplog.at_level(logging.WARNING, "intent_events"):
        assert adopted(spool) == [b"ours"]
        assert spool.adopt() is None
    assert [path.read_bytes() for path in segments_in(home)] == [newer]
    assert len([record for record in caplog.records if "newer version" in record.getMessage()]) == 1
    assert list(look(folder)) == []
    assert totals(folder).bytes == len(newer) - HEADER_BYTES


def test_what_a_process_left_that_died_at_its_start(folder: Path, spool: Spool) -> None:
    """Empty folders of the dead are removed; what is no folder of a process is passed over."""
    left_by_the_dead(folder)
    (folder / ("0" * 32)).mkdir()
    (folder / "notes").mkdir()
    (folder / ("1" * 32)).write_text("no folder")
    assert spool.adopt() is None
    assert sorted(path.name for path in folder.iterdir()) == ["1" * 32, "notes"]


def test_when_no_bytes_wait_no_records_do(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits until nothing waits, as a flush does, is told of no record then, though the drain is still busy."""
    for number in range(5):
        spool.append(numbered(number))
    seen: list[tuple[int, int]] = []
    move = Segment.move

    def moving(segment: Segment, cursor: int) -> None:
        move(segment, cursor)
        seen.append((spool.waiting_bytes(), spool.waiting().records))

    monkeypatch.setattr(Segment, "move", moving)
    spool.release(spool.read(3, 1 << 20).end)
    spool.release(spool.read(9, 1 << 20).end)
    assert [records for _, records in seen] == [2, 0]
    assert [size > 0 for size, _ in seen] == [True, False]


# --- Durability and looking


@pytest.mark.parametrize(("fsync", "by_append", "by_sync"), [("none", 0, 0), ("interval", 0, 1), ("always", 3, 0)])
def test_when_records_are_made_durable(
    new_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch, fsync: str, by_append: int, by_sync: int
) -> None:
    """The disk is waited for as the mode says, and when it fails then, that is said."""
    spool = new_spool(fsync=Fsync(fsync))
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for number in range(3):
        spool.append(numbered(number))
    assert len(synced) == by_append
    spool.sync()
    assert len(synced) == by_append + by_sync

    def fail(_fd: int) -> None:
        raise OSError(5, "the disk fails")

    monkeypatch.setattr(os, "fdatasync", fail)
    if by_append:
        with pytest.raises(UnsyncedError, match="EIO"):
            spool.append(b"3:")
    else:
        spool.append(b"3:")
    if by_sync:
        with pytest.raises(SpoolError, match="EIO"):
            spool.sync()
    assert [number_of(payload) for payload in drained(spool)] == list(range(4)), "kept all the same"


def test_what_is_rotated_is_made_durable(new_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``interval`` a file that is no longer appended to is made durable before it is closed."""
    spool = new_spool(fsync=Fsync.INTERVAL, segment_bytes=2_000)
    spool.append(numbered(0))
    first = os.fstat(spool._chain.segments[0].fd).st_ino
    synced: list[int] = []

    def synchronise(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fdatasync", synchronise)
    for number in range(1, 4):
        spool.append(numbered(number))
    spool.refresh()
    assert first in synced
    assert [number_of(payload) for payload in drained(spool)] == list(range(4))


def test_a_look_while_it_works(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """Looking takes no lock, sees records in order, whole and once each, and disturbs nobody; so do sums."""
    spool = new_spool(segment_bytes=20_000)
    count = 3_000
    stored: list[int] = []
    appended = threading.Event()

    def append() -> None:
        for number in range(count):
            spool.append(numbered(number))
        appended.set()

    def drain() -> None:
        while len(stored) < count:
            batch = spool.read(20, PLENTY)
            stored.extend(map(number_of, batch.payloads))
            spool.release(batch.end)
            spool.trim()

    threads = [threading.Thread(target=work) for work in (append, drain)]
    for thread in threads:
        thread.start()
    looks = 0
    while not appended.is_set() or looks < 20:
        seen = [number_of(one.payload) for one in look(folder)]
        assert seen == sorted(set(seen))
        assert totals(folder).owners <= 1
        assert spool.waiting().records <= count
        looks += 1
    for thread in threads:
        thread.join()
    assert stored == list(range(count))
    assert list(look(folder)) == []
    assert totals(folder)[1:] == (0, None, 0)


def test_the_age_of_what_waits(folder: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The age is that of the oldest waiting record, not of its file, and never below zero when the clock steps back."""
    now = [10**18]
    monkeypatch.setattr(f"{_MODULE}._now_ns", lambda: now[0])
    # By import, since the package's attribute of that name is the function.
    monkeypatch.setattr(import_module("intent_events_exporter.spool.look"), "time_ns", lambda: now[0])
    for number in range(3):
        spool.append(numbered(number))
        now[0] += 10**9
    assert [one.age_s for one in look(folder)] == [3, 2, 1]
    assert spool.waiting().oldest_age_s == totals(folder).oldest_age_s == 3
    spool.release(spool.read(2, PLENTY).end)
    assert spool.waiting().oldest_age_s == totals(folder).oldest_age_s == 1
    now[0] -= 10**10
    assert spool.waiting().oldest_age_s == totals(folder).oldest_age_s == 0


def test_a_look_that_cannot_be_had(folder: Path) -> None:
    """What cannot be read is not said to be empty."""
    _a_file(folder)
    with pytest.raises(NotADirectoryError):
        totals(folder)
    with pytest.raises(NotADirectoryError):
        next(look(folder))
