# SPDX-License-Identifier: Apache-2.0
"""Who gets a core of a machine that measures, and is measured, and runs Postgres beside."""

import os
from contextlib import suppress
from pathlib import Path


def first() -> None:
    """Let this thread run whenever it can, and those that it starts as always.

    What it waits for then is not the machine, but another thread of its own process that has the interpreter. Without
    the right to ask for that nothing changes.
    """
    with suppress(PermissionError):  # it takes CAP_SYS_NICE
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def last(pid: int) -> None:
    """Let a process, its children, and those that it starts, run when nothing else wants to."""
    for each in (pid, *_children(pid)):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setscheduler(each, os.SCHED_IDLE, os.sched_param(0))


def _children(parent: int) -> list[int]:
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return found
