# SPDX-License-Identifier: Apache-2.0
"""A process is short of threads or descriptors for a while, or a disk fails in one place: afterwards all goes on."""

import errno
import os
import stat
from pathlib import Path
from typing import Any, Final

import pytest

from intent_events.instrument import troubles
from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.spool import Fsync, Spool
from support.postgres import Database
from support.processes import run_app
from support.records import span_view
from support.waiting import until

SHORT: Final = """
import os
import resource
import sys
import threading
from pathlib import Path
from intent_events_exporter import IntentEventsSpanProcessor
from support.records import span_view

processor = IntentEventsSpanProcessor()
held = []
if sys.argv[1] == "threads":
    threading.stack_size(512 << 20)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), resource.RLIM_INFINITY))
else:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for _ in range(4):  # enough for the lock and the segment, not for an event loop beside them
        os.close(held.pop())
assert processor.accept(span_view(1))
threading.Event().wait(0.5)
assert not [thread for thread in threading.enumerate() if thread.name == "intent-events-drain"]
while held:
    os.close(held.pop())
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
threading.stack_size(0)
assert processor.accept(span_view(2))
assert processor.force_flush()
os._exit(0)
"""


@pytest.mark.parametrize("what", ["threads", "descriptors"])
def test_the_first_record_comes_in_a_shortage(pg: Database, writer_dsn: str, what: str) -> None:
    """A drain that cannot start with the first record starts with a later one, and stores both."""
    ran = run_app("-c", SHORT, what, env={"INTENT_EVENTS_DSN": writer_dsn})
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert pg.fetchval_now("SELECT count(*) FROM agent.intent_events") == 2


def _broken_folders(fd: int) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def _open_and_there(folder: Path) -> tuple[int, set[Path]]:
    """How many descriptors are open, and which files there are."""
    return len(list(Path("/proc/self/fd").iterdir())), set(folder.rglob("*"))


@pytest.mark.parametrize("fsync", [Fsync.INTERVAL, Fsync.ALWAYS])
def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: Fsync) -> None:
    """It is tried again and again, and each time leaves neither a descriptor nor a file behind."""
    spool = Spool(tmp_path / "spool", max_bytes=1 << 30, fsync=fsync, segment_bytes=10_000)
    while spool.waiting().bytes < 8_000:  # the next segment is begun ahead of time
        spool.append(b"x" * 100)
    before = _open_and_there(tmp_path)
    monkeypatch.setattr("os.fsync", _broken_folders)
    for _ in range(20):
        assert spool.read(1, 1 << 20).payloads
    for _ in range(100):
        spool.append(b"x" * 100)  # to the segment that there is
    assert _open_and_there(tmp_path) == before
    monkeypatch.undo()
    spool.close()


LEAVE: Final = """
import os
import sys
from intent_events_exporter import IntentEventsSpanProcessor
from support.records import span_view

processor = IntentEventsSpanProcessor()
for number in range(10):
    assert processor.accept(span_view(10 * int(sys.argv[1]) + number))
os._exit(0)
"""


def test_a_dead_process_whose_disk_fails(
    pg: Database, writer_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What one left cannot be read: what the others left is stored, and so is what this process records itself."""
    monkeypatch.setattr(troubles, "_last", {})
    folder = tmp_path / "spool"
    for number in range(1, 6):
        ran = run_app("-c", LEAVE, str(number), env={"INTENT_EVENTS_SPOOL_DIR": str(folder)})
        assert ran.returncode == 0, ran.stderr
    bad = min(path.name for path in folder.iterdir())
    pread = os.pread

    def broken(fd: int, size: int, at: int) -> bytes:
        if at >= 64 and bad in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, size, at)

    monkeypatch.setattr("os.pread", broken)
    processor = IntentEventsSpanProcessor(
        writer_dsn, folder, settings=DeliverySettings.model_validate({"flush_interval": 0.01})
    )
    drain: Any = vars(processor)["_drain"]
    try:
        count = "SELECT count(*) FROM agent.intent_events"
        until(lambda: pg.fetchval_now(count) == 40, "what the others left is stored")
        assert processor.accept(span_view(1))
        assert processor.force_flush()
        assert pg.fetchval_now(count) == 41
        assert (folder / bad).exists()
        assert not drain.breaker.failing, "it says nothing of Postgres"
        assert "what a dead process left cannot be read" in caplog.text
    finally:
        processor.shutdown()
