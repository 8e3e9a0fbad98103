# SPDX-License-Identifier: Apache-2.0
"""What a test may not leave behind: threads, processes, and errors that only an event loop saw."""

import logging
import os
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Of the event loop's default executor, which ends with the loop; the loop of a test ends after its fixtures.
_LOOP_THREADS: Final = ("asyncio_",)
# Python's own servants, kept for the whole process.
_PYTHONS_OWN: Final = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.messages.append(f"{record.getMessage()} {error!r}")


@contextmanager
def nothing_left_behind(grace_s: float = 5.0) -> Generator[None]:
    """Fail when the block leaves a thread or a process, or when an exception reached nobody but an event loop.

    Args:
        grace_s: seconds that a thread which is about to end may take.
    """
    errors = _Errors()
    logger = logging.getLogger("asyncio")
    threads = set(threading.enumerate())
    processes = children()
    logger.addHandler(errors)
    try:
        yield
    finally:
        logger.removeHandler(errors)
    left_threads = [thread for thread in threading.enumerate() if thread not in threads and not _ends(thread, grace_s)]
    left_processes = {
        pid: command
        for pid, command in children().items()
        if pid not in processes and not any(name in command for name in _PYTHONS_OWN)
    }
    assert not errors.messages, f"the event loop met errors that nobody handled: {errors.messages}"
    assert not left_threads, f"threads left running: {left_threads}"
    assert not left_processes, f"processes left running or not waited for: {left_processes}"


def children() -> dict[int, str]:
    """Child processes of this one that were not waited for, with their commands."""
    listed = [int(pid) for task in Path("/proc/self/task").glob("*/children") for pid in _read(task).split()]
    if listed or Path("/proc/self/task").is_dir():
        return {pid: _command(pid) for pid in listed}
    command = ["ps", "-A", "-o", "pid=,ppid=,command="]
    rows = (line.split(None, 2) for line in subprocess.check_output(command, text=True).splitlines())
    return {int(pid): name for pid, parent, name in rows if int(parent) == os.getpid() and command[0] not in name}


def _read(task: Path) -> str:
    try:
        return task.read_text()
    except OSError:  # the thread ended since it was listed
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ") or "(ended, not waited for)"
    except OSError:  # it ended and was waited for in this moment
        return "(gone)"


def _ends(thread: threading.Thread, grace_s: float) -> bool:
    """Whether a thread is about to end, or is the event loop's own."""
    if thread.name.startswith(_LOOP_THREADS):
        return True
    thread.join(grace_s)
    return not thread.is_alive()
