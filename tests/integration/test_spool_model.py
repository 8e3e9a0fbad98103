# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""The spool against a list: whatever happens in whatever order, nothing is lost, doubled or out of order."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from intent_events_exporter.spool import Orphans, Position, Spool, SpoolError, folder, look, totals
from intent_events_exporter.spool.folder import ASIDE, owners_in
from intent_events_exporter.spool.segment import FRAME_BYTES, HEADER_BYTES, encode_frame

_PLENTY = 1 << 20
_MOST_PROCESSES = 3


@dataclass
class _Records:
    """What one owner must have: records in order, how many are released, how many read, and what waits for release."""

    kept: list[bytes] = field(default_factory=list[bytes])
    released: int = 0
    read: int = 0
    under_way: list[tuple[int, Position]] = field(default_factory=list[tuple[int, Position]])
    done: set[int] = field(default_factory=set[int])

    def waiting(self) -> list[bytes]:
        return self.kept[self.released :]

    def next(self, most: int, most_bytes: int) -> list[bytes]:
        batch: list[bytes] = []
        for payload in self.kept[self.read : self.read + most]:
            if batch and sum(map(len, batch)) + len(payload) > most_bytes:
                break
            batch.append(payload)
        return batch

    def release(self, which: int) -> None:
        self.done.add(which)
        while self.under_way and self.under_way[0][0] in self.done:
            self.released = self.under_way.pop(0)[0]

    def rewind(self) -> list[Position]:
        stale = [position for _, position in self.under_way]
        self.under_way.clear()
        self.done.clear()
        self.read = self.released
        return stale


def _unreleased(records: _Records) -> bool:
    return records.released < len(records.kept)


def _any(_records: _Records) -> bool:
    return True


@dataclass
class _Process:
    spool: Spool
    records: _Records = field(default_factory=_Records)
    others: int = 0
    adopted: list[tuple[Orphans, _Records]] = field(default_factory=list[tuple[Orphans, _Records]])

    def readers(self) -> list[tuple[Spool | Orphans, _Records]]:
        return [(self.spool, self.records), *self.adopted]


class SpoolAgainstList(RuleBasedStateMachine):
    """Processes that share a folder; each step is checked against lists."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = TemporaryDirectory(prefix="spool-")
        self.folder = Path(self._temporary.name) / "spool"
        self.living: list[_Process] = []
        self.owners: dict[str, _Records] = {}
        self.stale: list[tuple[Spool | Orphans, Position]] = []
        self.torn = 0
        self.number = 0
        self._patches = pytest.MonkeyPatch()

    @initialize(segment_bytes=st.integers(1, 600), seed=st.integers(0, 1 << 16))
    def begin(self, segment_bytes: int, seed: int) -> None:
        """One process; every process begins another file after this many bytes.

        Names decide whose records are adopted first: drawn, so that the same steps find the same records again.
        """
        names = Random(seed)  # noqa: S311 - names of folders, no secrets
        self._patches.setattr(folder, "uuid4", lambda: UUID(int=names.getrandbits(128)))
        self.segment_bytes = segment_bytes
        self.start()

    @precondition(lambda self: len(self.living) < _MOST_PROCESSES)
    @rule()
    def start(self) -> None:
        """Another process."""
        spool = Spool(self.folder, max_bytes=_PLENTY, segment_bytes=self.segment_bytes)
        self.living.append(_Process(spool, others=self._bytes_beside(None)))

    @rule(draw=st.data(), sizes=st.lists(st.integers(0, 300), min_size=1, max_size=8))
    def append(self, draw: st.DataObject, sizes: list[int]) -> None:
        """A record is refused when, and only when, the folder would hold more than it may."""
        process = draw.draw(st.sampled_from(self.living))
        for size in sizes:
            self.number += 1
            payload = b"%d:" % self.number + b"x" * size
            own = 0 if process.spool._home is None else _bytes_of(process.spool._home.path)
            fits = own + process.others + FRAME_BYTES + len(payload) <= process.spool.max_bytes
            if not fits:
                with pytest.raises(SpoolError, match="INTENT_EVENTS_SPOOL_MAX_BYTES"):
                    process.spool.append(payload)
                continue
            process.spool.append(payload)
            process.records.kept.append(payload)
            self.owners[self._home(process).name] = process.records

    @rule(draw=st.data(), max_bytes=st.sampled_from([0, 500, 5_000, _PLENTY]))
    def resize(self, draw: st.DataObject, max_bytes: int) -> None:
        """Another limit."""
        process = draw.draw(st.sampled_from(self.living))
        process.spool.max_bytes = max_bytes

    @rule(draw=st.data(), steps=st.lists(st.sampled_from(["read", "read", "release", "release", "rewind"]), min_size=1))
    def drain(self, draw: st.DataObject, steps: list[str]) -> None:
        """A reader gives exactly the next records; batches are stored in any order, and lost ones are read again."""
        readers = self.readers(_unreleased) or self.readers(_any)
        reader, records = draw.draw(st.sampled_from(readers))
        for step in steps:
            if step == "read":
                self._read(reader, records, draw.draw(st.integers(1, 9)), draw.draw(st.integers(1, 900)))
            elif step == "rewind":
                reader.rewind()
                self.stale += [(reader, position) for position in records.rewind()]
            elif left := [one for one in records.under_way if one[0] not in records.done]:
                which, position = draw.draw(st.sampled_from(left))
                reader.release(position)
                records.release(which)
            self.every_process_knows_what_waits()

    @precondition(lambda self: self.stale)
    @rule(draw=st.data())
    def release_what_was_read_before_a_rewind(self, draw: st.DataObject) -> None:
        """Changes nothing: those records are read again, and by other bounds."""
        reader, position = draw.draw(st.sampled_from(self.stale))
        reader.release(position)

    @rule(draw=st.data(), what=st.sampled_from([Spool.trim, Spool.refresh, Spool.sync]))
    def tend(self, draw: st.DataObject, what: Callable[[Spool], None]) -> None:
        """What the drain does between batches changes no record."""
        process = draw.draw(st.sampled_from(self.living))
        what(process.spool)
        if what is Spool.refresh:
            process.others = self._bytes_beside(process.spool._home.path if process.spool._home else None)

    def _bytes_beside(self, own: Path | None) -> int:
        folders = [*owners_in(self.folder), self.folder / ASIDE]
        return sum(_bytes_of(folder) for folder in folders if folder != own and folder.is_dir())

    @rule(draw=st.data())
    def adopt(self, draw: st.DataObject) -> None:
        """Whatever a dead process left, and nobody else has, is taken over."""
        process = draw.draw(st.sampled_from(self.living))
        orphans = process.spool.adopt()
        held = [id(records) for one in self.living for _, records in one.readers()]
        free = {name: records for name, records in self.owners.items() if id(records) not in held}
        if orphans is None:
            assert not any(records.waiting() for records in free.values())
        else:
            assert orphans.owner in free
            process.adopted.append((orphans, free[orphans.owner]))

    @precondition(lambda self: any(process.adopted for process in self.living))
    @rule(draw=st.data())
    def give_back(self, draw: st.DataObject) -> None:
        """An adopter stops before it is done."""
        process = draw.draw(st.sampled_from([process for process in self.living if process.adopted]))
        orphans, records = process.adopted.pop(draw.draw(st.integers(0, len(process.adopted) - 1)))
        orphans.close()
        records.rewind()
        assert (self.folder / orphans.owner).exists() or not records.waiting()

    @rule(draw=st.data())
    def stop(self, draw: st.DataObject) -> None:
        """A process ends in an orderly way."""
        process = draw.draw(st.sampled_from(self.living))
        home = self._home(process) if process.spool._home else None
        process.spool.close()
        process.spool.close()
        assert home is None or home.exists() or not process.records.waiting()
        for orphans, _ in process.adopted:
            orphans.close()
        self._gone(process)

    @rule(draw=st.data())
    def die(self, draw: st.DataObject) -> None:
        """SIGKILL between two records."""
        self._die(draw.draw(st.sampled_from(self.living)))

    @rule(draw=st.data())
    def die_while_appending(self, draw: st.DataObject) -> None:
        """SIGKILL within an append: any part of its frame is on the disk."""
        process = draw.draw(st.sampled_from(self.living))
        frame = encode_frame(b"never acknowledged", 1)
        active = process.spool._chain.active
        self._die(process)
        if active is not None:
            with active.path.open("ab") as file:
                file.write(frame[: draw.draw(st.integers(0, len(frame) - 1))])

    @precondition(lambda self: any(process.spool._chain.active for process in self.living))
    @rule(draw=st.data())
    def lose_power(self, draw: st.DataObject) -> None:
        """The machine stops: the newest file lacks what was not made durable, be it half a frame or half a header."""
        process = draw.draw(st.sampled_from([one for one in self.living if one.spool._chain.active]))
        active = process.spool._chain.active
        assert active is not None
        records = process.records
        self._die(process)
        size = active.path.stat().st_size
        cut = draw.draw(st.integers(0, size))
        os.truncate(active.path, cut)
        while records.kept and size > max(cut, HEADER_BYTES):
            size -= FRAME_BYTES + len(records.kept.pop())
        records.released = min(records.released, len(records.kept))
        records.rewind()

    @invariant()
    def a_look_sees_what_waits(self) -> None:
        """Every record that waits is seen from outside, in order, and no other."""
        seen: dict[str, list[bytes]] = {}
        for one in look(self.folder):
            seen.setdefault(one.owner, []).append(one.payload)
        assert seen == {name: records.waiting() for name, records in self.owners.items() if records.waiting()}
        summed = totals(self.folder)
        least = sum(FRAME_BYTES + len(payload) for records in self.owners.values() for payload in records.waiting())
        assert summed.bytes >= least
        assert not least or summed.oldest_age_s is not None

    @invariant()
    def every_process_knows_what_waits(self) -> None:
        """Records, bytes and age of what waits are right."""
        for process in self.living:
            expected = process.records.waiting()
            waiting = process.spool.waiting()
            assert waiting.records == len(expected)
            assert waiting.bytes == sum(FRAME_BYTES + len(payload) for payload in expected)
            assert (waiting.oldest_age_s is None) == (not expected)

    @invariant()
    def what_is_set_aside_is_counted(self) -> None:
        """Each corrupt stretch is reported once."""
        aside = self.folder / ASIDE
        assert self.torn == (len(list(aside.iterdir())) if aside.is_dir() else 0)

    def teardown(self) -> None:
        """Whatever is left is drained by an adopter; then nothing but corrupt stretches is on the disk."""
        try:
            for process in tuple(self.living):
                self._die(process)
            last = Spool(self.folder, max_bytes=_PLENTY)
            while (orphans := last.adopt()) is not None:
                batch = orphans.read(_PLENTY, _PLENTY)
                assert batch.payloads == self.owners[orphans.owner].waiting()
                del self.owners[orphans.owner]
                if batch.payloads:
                    orphans.release(batch.end)
                orphans.close()
            assert not any(records.waiting() for records in self.owners.values())
            assert not list(owners_in(self.folder))
        finally:
            self._patches.undo()
            self._temporary.cleanup()

    def _read(self, reader: Spool | Orphans, records: _Records, most: int, most_bytes: int) -> None:
        expected = records.next(most, most_bytes)
        batch = reader.read(most, most_bytes)
        assert batch.payloads == expected
        self.torn += batch.torn
        if expected:
            records.read += len(expected)
            records.under_way.append((records.read, batch.end))

    def readers(self, which: Callable[[_Records], bool] = _any) -> list[tuple[Spool | Orphans, _Records]]:
        """Readers of living processes with such records."""
        return [reader for process in self.living for reader in process.readers() if which(reader[1])]

    def _home(self, process: _Process) -> Path:
        assert process.spool._home is not None
        return process.spool._home.path

    def _die(self, process: _Process) -> None:
        process.spool._chain.let_go()
        if process.spool._home is not None:
            process.spool._home.let_go()
        for orphans, _ in process.adopted:
            orphans.let_go()
        self._gone(process)

    def _gone(self, process: _Process) -> None:
        self.living.remove(process)
        for _, records in process.readers():
            records.rewind()
        if not self.living:
            self.start()


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


TestSpoolAgainstList = SpoolAgainstList.TestCase
TestSpoolAgainstList.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
