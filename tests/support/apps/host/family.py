# SPDX-License-Identifier: Apache-2.0
"""Hosts that fork: ``python -m host.family MODE LOG SAID_BY_MASTER SAID_BY_WORKER``.

``prefork`` works as a server with preloaded workers; ``fork``, ``spawn`` and ``forkserver`` start workers in these ways
of multiprocessing; ``part`` forks in the middle of an utterance. ``nursery`` forks a host that talks without an end for
each line of its standard input, and says its process: so fifty of them need not import everything fifty times.
``adopters`` are ten processes that store what others left, and say what they counted when their standard input ends.
``doors`` are two that begin at that moment to hand in the same spans, each through both of its doors, and then say so.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from host.desk import Users
from host.doors import Doors
from host.log import Log
from host.telemetry import Telemetry

_LONGEST_LIFE_S: Final = 60
_telemetry: Telemetry | None = None


def begin() -> None:
    """Instrument this process, unless a parent has done that for it."""
    global _telemetry  # noqa: PLW0603 - one telemetry a process
    _telemetry = _telemetry or Telemetry()


def work(log: Path, n: int) -> None:
    """Handle some utterances in threads and tasks."""
    begin()
    asyncio.run(Users(log).say(n))


def prefork(log: Path, master: int, worker: int) -> None:
    """Fork four workers, which end in different ways, and another one when they are gone."""
    work(log, master)
    ends: tuple[Callable[[], object], ...] = (
        sys.exit,
        lambda: os._exit(0),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    children = [_worker(log, worker, end) for end in ends]
    for child in children:
        os.waitpid(child, 0)
    os.waitpid(_worker(log, worker, ends[1]), 0)
    work(log, master)


def _worker(log: Path, n: int, end: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        work(log, n)
        end()
    return child


def through_multiprocessing(method: str, log: Path, master: int, worker: int) -> None:
    """Start two workers, between utterances of this process."""
    work(log, master)
    multiprocessing.set_start_method(method)
    workers = [multiprocessing.Process(target=work, args=(log, worker)) for _ in range(2)]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
        assert process.exitcode == 0, f"a worker ended with {process.exitcode}"
    work(log, master)


def part(log: Path, worker: int) -> None:
    """Fork in the middle of an utterance; both sides go on."""
    begin()
    users = Users(log)
    child = users.part()
    asyncio.run(users.say(worker))
    if child:
        os.waitpid(child, 0)


def nursery(log: Path) -> None:
    """Fork a host for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            signal.alarm(_LONGEST_LIFE_S)
            begin()
            asyncio.run(_talk_on(log))
        os.write(1, b"%d\n" % child)


def adopters(log: Path, n: int = 10) -> None:
    """Fork so many hosts that handle nothing themselves, at once."""

    def adopted() -> dict[str, int]:
        telemetry = Telemetry()
        sys.stdin.read()
        return telemetry.counted()

    _at_once(n, log, adopted)


def doors(log: Path, spans: int, n: int = 2) -> None:
    """Fork so many processes that hand in the same spans, at once."""

    def handed_in() -> dict[str, int]:
        opened = Doors()
        sys.stdin.read()
        return opened.hand_in(spans, Log(log))

    _at_once(n, log, handed_in)


def _at_once(n: int, log: Path, counted: Callable[[], dict[str, int]]) -> None:
    """Fork so many processes that do this; each says what it counted, and is gone."""
    children = [_counting(log, counted) for _ in range(n)]
    for child in children:
        os.waitpid(child, 0)


def _counting(log: Path, counted: Callable[[], dict[str, int]]) -> int:
    child = os.fork()
    if not child:
        counts = counted()
        Log(log).told(counts)
        os.write(1, (json.dumps(counts) + "\n").encode())
        os._exit(0)
    return child


async def _talk_on(log: Path) -> None:
    users = Users(log)
    users.talk(0)
    await asyncio.sleep(_LONGEST_LIFE_S)


def main() -> None:
    """Run in this mode."""
    mode, log, master, worker = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    match mode:
        case "prefork":
            prefork(log, master, worker)
        case "part":
            part(log, worker)
        case "nursery":
            nursery(log)
        case "adopters":
            adopters(log)
        case "doors":
            doors(log, worker)
        case _:
            through_multiprocessing(mode, log, master, worker)


if __name__ == "__main__":
    main()
