# SPDX-License-Identifier: Apache-2.0
# pyright: reportPrivateUsage=false
"""The spool in processes that fork, are killed, adopt from each other, and interrupt themselves."""

import fcntl
import gc
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from threading import RLock
from time import sleep

import pytest

from intent_events_exporter.spool import Refusal, Spool, look
from intent_events_exporter.spool.file import Segment
from intent_events_exporter.spool.folder import ASIDE, Home, owners_in
from intent_events_exporter.spool.patience import patient
from intent_events_exporter.spool.segment import encode_frame, encode_header
from support.spool_process import PLENTY, adopted, drained, left_by_the_dead, refusal, started
from support.waiting import until

# Python 3.12 and later warn of every fork of a process with threads, which is what some of these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

_ROUNDS = 6
_MODULE = "intent_events_exporter.spool.spool"


def _child(run: Callable[[], object]) -> int:
    """Fork, and run this in the child; returns what the child ended with."""
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if run() is not False else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- Processes


def test_killed_while_threads_append(folder: Path, tmp_path: Path, spool: Spool) -> None:
    """Whenever a process is killed, what append() has taken is adopted: none lost, doubled or out of order."""
    random = Random(7)  # noqa: S311 - moments, no secrets
    for round_ in range(_ROUNDS):
        acknowledged = tmp_path / f"acknowledged-{round_}"
        with started("append-in-threads", folder, str(acknowledged), "4") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "appending\n"
            assert spool.adopt() is None
            until(lambda path=acknowledged: path.exists() and path.stat().st_size > 500, "something is appended")
            sleep(random.random() / 10)
            process.send_signal(signal.SIGKILL)
        read = [tuple(map(int, payload.partition(b":")[0].split(b"-"))) for payload in adopted(spool)]
        taken = {tuple(map(int, line.split("-"))) for line in acknowledged.read_text().split()}
        assert not taken.difference(read)
        assert len(read) == len(set(read))
        for thread in range(4):
            numbers = [number for of, number in read if of == thread]
            assert numbers == list(range(len(numbers)))
            # A record may be in the file of which append() had not returned: one a thread at most.
            assert len(numbers) <= len([one for one in taken if one[0] == thread]) + 1
    # The kernel may end the one write that is under way in the middle, of a record that append() has not taken.
    assert len(list(folder.glob(f"{ASIDE}/*"))) <= _ROUNDS


def test_ten_processes_adopt_the_same_orphan(folder: Path) -> None:
    """Exactly one of ten processes gets each record, in order."""
    with started("append-and-wait", folder, "500") as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "appended\n"
    with ExitStack() as stack:
        adopters = [stack.enter_context(started("adopt", folder)) for _ in range(10)]
        for adopter in adopters:
            assert adopter.stdout is not None
            assert adopter.stdout.readline() == "ready\n"
        for adopter in adopters:
            assert adopter.stdin is not None
            adopter.stdin.write("go\n")
            adopter.stdin.flush()
        said = [adopter.stdout.read().split() for adopter in adopters if adopter.stdout is not None]
    numbers = [list(map(int, words)) for words in said]
    assert sorted(number for one in numbers for number in one) == list(range(500))
    assert all(one == sorted(one) for one in numbers)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("gone", [False, True])
def test_an_adopter_that_is_faster_than_a_new_process(
    folder: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    """A process whose new folder is taken for that of a dead one, before it is locked, makes another."""
    real = fcntl.flock
    taken: list[int] = []

    def flock(fd: int, operation: int) -> None:
        if not taken:
            (owner,) = owners_in(folder)
            taken.append(os.open(owner / "lock", os.O_RDWR))
            real(taken[0], operation)
            if gone:
                shutil.rmtree(owner)
                os.close(taken[0])
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    spool.append(b"record")
    assert [one.payload for one in look(folder)] == [b"record"]
    spool.refresh()
    assert spool.adopt() is None
    if not gone:
        os.close(taken[0])
        assert spool.adopt() is None
    assert [one.payload for one in look(folder)] == [b"record"]
    assert len(list(owners_in(folder))) == 1


def test_parent_and_child_append(folder: Path, spool: Spool) -> None:
    """After a fork each side appends to its own folder and reads its own records, and nothing is doubled."""
    spool.append(b"before")
    spool.read(10, PLENTY)
    spool.rewind()

    def child() -> bool:
        spool.append(b"child")
        return (spool.waiting().records, drained(spool), spool.adopt()) == (1, [b"child"], None)

    assert _child(child) == 0
    spool.append(b"after")
    assert sorted(one.payload for one in look(folder)) == [b"after", b"before"]
    assert adopted(spool) == []
    assert drained(spool) == [b"before", b"after"]
    assert len(list(owners_in(folder))) == 1


def test_the_death_of_a_child_lets_nothing_of_its_parents_go(folder: Path, spool: Spool) -> None:
    """A child that ends, in order or not, leaves its own records to be adopted, and its parent's folder locked."""
    spool.append(b"parent")
    for end in (lambda: spool.append(b"child"), lambda: (spool.append(b"child"), spool.close())):
        assert _child(end) == 0
        assert adopted(spool) == [b"child"]
    assert _child(lambda: os.kill(os.getpid(), signal.SIGKILL)) == -signal.SIGKILL
    assert _child(spool.close) == 0
    assert drained(spool) == [b"parent"]
    assert len(list(owners_in(folder))) == 1


def test_a_child_leaves_what_its_parent_adopted(folder: Path, spool: Spool) -> None:
    """A child gets nothing of what its parent is adopting, and closing it there changes nothing for the parent."""
    left_by_the_dead(folder, encode_header(1) + encode_frame(b"0:", 1) + encode_frame(b"1:", 1))
    orphans = spool.adopt()
    assert orphans is not None
    first = orphans.read(1, PLENTY)

    def child() -> bool:
        orphans.release(first.end)
        read = orphans.read(10, PLENTY).payloads
        orphans.close()
        return not read and spool.adopt() is None

    assert _child(child) == 0
    assert [one.payload for one in look(folder)] == [b"0:", b"1:"]
    orphans.release(first.end)
    assert drained(orphans) == [b"1:"]
    orphans.close()
    assert list(folder.iterdir()) == []


def test_the_death_of_a_parent_leaves_its_child_alone(folder: Path, spool: Spool) -> None:
    """A killed parent's records are adopted though its child lives; the child's are not before it ends too."""
    with started("fork-and-wait", folder) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline().split()[1])
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        try:
            assert adopted(spool) == [b"parent:"]
            assert [one.payload for one in look(folder)] == [b"child:"]
        finally:
            os.kill(child, signal.SIGKILL)
        left: list[bytes] = []
        until(lambda: left.extend(adopted(spool)) or left, "the child has ended")
    assert left == [b"child:"]


def test_multiprocessing(folder: Path, spool: Spool) -> None:
    """Processes of multiprocessing append beside their parent, and what they leave is adopted once."""
    spool.append(b"parent")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=spool.append, args=(b"%d" % number,)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(adopted(spool)) == [b"0", b"1", b"2"]
    assert drained(spool) == [b"parent"]
    assert len(list(owners_in(folder))) == 1


# --- Interruptions


def test_a_signal_in_the_middle_of_an_append(new_spool: Callable[..., Spool]) -> None:
    """A signal handler may append while its own thread does, also while a file is changed: all records are kept."""
    spool = new_spool(segment_bytes=10_000)
    interrupted = 0

    def handle(_signal: int, _frame: object) -> None:
        nonlocal interrupted
        spool.append(b"handler %d" % interrupted)
        interrupted += 1

    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
    count = 0
    try:
        while interrupted < 50 or count < 5_000:
            spool.append(b"thread %d" % count)
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    read = [payload.split() for payload in drained(spool)]
    for source, most in ((b"thread", count), (b"handler", interrupted)):
        assert [int(number) for name, number in read if name == source] == list(range(most))
    assert spool.waiting() == (0, 0, None)


class _Cycle:
    """Something that only the garbage collector ends, and that appends when it does."""

    def __init__(self, spool: Spool, number: int) -> None:
        self.itself = self
        self.spool = spool
        self.number = number

    def __del__(self) -> None:
        self.spool.append(b"finalizer %d" % self.number)


def test_a_finalizer_in_the_middle_of_an_append(new_spool: Callable[..., Spool]) -> None:
    """The garbage collector may append from anywhere: all records are kept."""
    spool = new_spool(segment_bytes=10_000)
    thresholds = gc.get_threshold()
    gc.set_threshold(3)
    try:
        for number in range(1_000):
            _Cycle(spool, number)
            spool.append(b"thread %d" % number)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    read = [payload.split() for payload in drained(spool)]
    for source in (b"thread", b"finalizer"):
        assert sorted(int(number) for name, number in read if name == source) == list(range(1_000))


@pytest.mark.parametrize("owner", [Home, Segment])
@pytest.mark.parametrize("late", [False, True])
def test_an_append_within_the_opening_of_a_file(
    folder: Path, new_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch, owner: type, *, late: bool
) -> None:
    """A record that comes while the folder or a file is being made is kept, and no file is left over."""
    spool = new_spool(segment_bytes=200)
    name = "make" if owner is Home else "begin"
    real: Callable[[Path], object] = getattr(owner, name)
    nested = [0]

    def again() -> None:
        if nested[0] < 3:
            nested[0] += 1
            spool.append(b"nested %d" % nested[0])

    def interrupted(path: Path) -> object:
        if not late:
            again()
        made = real(path)
        if late:
            again()
        return made

    monkeypatch.setattr(owner, name, interrupted)
    for number in range(4):
        spool.append(b"%d" % number * 250)
    assert len(list(owners_in(folder))) == 1
    waiting = [one.payload for one in look(folder)]
    assert sorted(waiting) == sorted(
        [b"%d" % number * 250 for number in range(4)] + [b"nested 1", b"nested 2", b"nested 3"]
    )
    assert drained(spool) == waiting
    spool.close()
    assert list(folder.iterdir()) == []


def test_a_fork_in_the_middle_of_an_append(folder: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a signal handler forks within an append, the record is the parent's alone, and the child goes on."""
    spool.append(b"0")
    codes: list[int] = []

    def write(fd: int, data: bytes) -> int:
        monkeypatch.setattr(f"{_MODULE}._write", os.write)
        codes.append(_child(lambda: (os.write(fd, data) if _is_open(fd) else None, spool.append(b"child"))))
        return os.write(fd, data)

    monkeypatch.setattr(f"{_MODULE}._write", write)
    spool.append(b"1")
    assert codes == [0]
    assert adopted(spool) == [b"child"]
    assert drained(spool) == [b"0", b"1"]
    assert len(list(owners_in(folder))) == 1


@contextmanager
def held(lock: RLock) -> Generator[None]:
    """A lock that another thread has."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert taken.wait(60)
        yield
    finally:
        done.set()
        thread.join()


def test_a_thread_that_died_in_it(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is never let go, as by a thread that the interpreter stopped at its end, does not hang the host."""
    monkeypatch.setattr(spool._chain, "patient", patient(spool._chain.lock, 0.05))
    spool.append(b"0")
    with held(spool._chain.lock):
        assert refusal(spool, b"1") == Refusal.SPOOL_UNWRITABLE
        # Nobody waits as long a second time, and what only looks does not wait at all.
        monkeypatch.setattr(spool._chain, "patient", None)
        assert refusal(spool, b"2") == Refusal.SPOOL_UNWRITABLE
        assert spool.waiting().records == 1
    assert not refusal(spool, b"3")
    monkeypatch.setattr(spool._chain, "patient", patient(spool._chain.lock))
    assert not refusal(spool, b"4")
    assert drained(spool) == [b"0", b"3", b"4"]


def test_the_end_of_a_spool_whose_disk_hangs(spool: Spool, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A thread that the disk holds up has the lock: closing comes to its end, and leaves everything as it is."""
    monkeypatch.setattr(spool._chain, "patient", patient(spool._chain.lock, 0.05))
    spool.append(b"0")
    with held(spool._chain.lock):
        spool.close()
        assert [record.payload for record in look(folder)] == [b"0"]
    assert refusal(spool, b"1") == Refusal.SPOOL_UNWRITABLE


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:  # it is not
        return False
    return True
