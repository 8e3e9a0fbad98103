# SPDX-License-Identifier: Apache-2.0
"""A process that uses the spool, and what starts it: the first argument says what it does, the second names the folder.

It says on its standard output what it has done, and waits on its standard input for what it needs.
"""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from intent_events_exporter.spool import Fsync, Orphans, Spool, SpoolError
from intent_events_exporter.spool.folder import Home

RECORD_BYTES: Final = 1_200
PLENTY: Final = 1 << 30
"""More bytes than any test needs."""

_IN_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount")
_TIMEOUT_S: Final = 60.0


def command(role: str, folder: Path, *more: str) -> list[str]:
    """Command line of such a process."""
    return [sys.executable, __file__, role, str(folder), *more]


@contextmanager
def started(role: str, folder: Path, *more: str) -> Generator[subprocess.Popen[str]]:
    """Such a process, killed and waited for at the end of the block."""
    with subprocess.Popen(
        command(role, folder, *more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ran(role: str, folder: Path, *more: str, in_namespace: bool = False) -> list[str]:
    """What such a process says until it ends by itself.

    Args:
        role: what it does.
        folder: of its spool.
        *more: further arguments of the role.
        in_namespace: where it may mount something on the folder.
    """
    line = [*(_IN_NAMESPACE if in_namespace else ()), *command(role, folder, *more)]
    return subprocess.run(line, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout.splitlines()


def namespaces() -> bool:
    """Whether this user may mount something where nobody else sees it."""
    with suppress(OSError):  # there is no such command
        return subprocess.run([*_IN_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    return False


def refusal(spool: Spool, payload: bytes) -> str:
    """Why a record was not taken; nothing when it was."""
    try:
        spool.append(payload)
    except SpoolError as error:  # what is asked for
        return error.reason.value
    return ""


def filled(spool: Spool) -> tuple[int, str]:
    """Append records, the number of each first, until one is not taken; how many were, and why it was not."""
    number = 0
    while not (reason := refusal(spool, numbered(number))):
        number += 1
    return number, reason


def numbered(number: int) -> bytes:
    """A record of the usual size that begins with its number."""
    return (b"%d:" % number).ljust(RECORD_BYTES, b".")


def number_of(payload: bytes) -> int:
    """The number of such a record."""
    return int(payload.partition(b":")[0])


def drained(reader: Spool | Orphans) -> list[bytes]:
    """Everything that is to be read, released."""
    payloads: list[bytes] = []
    while True:
        batch = reader.read(50, PLENTY)
        if not batch.payloads:
            return payloads
        payloads += batch.payloads
        reader.release(batch.end)


def adopted(spool: Spool) -> list[bytes]:
    """Everything that the dead have left, released."""
    payloads: list[bytes] = []
    while (orphans := spool.adopt()) is not None:
        payloads += drained(orphans)
        orphans.close()
    return payloads


def left_by_the_dead(folder: Path, *segments: bytes) -> Path:
    """The folder of a process that died and left these files."""
    home = Home.make(folder)
    for number, data in enumerate(segments, 1):
        (home.path / f"{number:08d}.spool").write_bytes(data)
    home.let_go()
    return home.path


@contextmanager
def spools(folder: Path) -> Generator[Callable[..., Spool]]:
    """Makes spools in a folder, of which each is closed at the end of the block."""
    with ExitStack() as stack:

        def make(max_bytes: int = PLENTY, fsync: Fsync = Fsync.NONE, segment_bytes: int = 8 << 20) -> Spool:
            spool = Spool(folder, max_bytes=max_bytes, fsync=fsync, segment_bytes=segment_bytes)
            stack.callback(spool.close)
            return spool

        yield make


def _say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _append_in_threads(folder: Path, acknowledged: str, threads: str) -> None:
    """Append until killed; a line of the file says what every thread has had taken."""
    spool = Spool(folder, max_bytes=PLENTY, segment_bytes=64 << 10)
    known = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def run(thread: int) -> None:
        number = 0
        while True:
            spool.append(b"%d-%d:" % (thread, number) + b"." * (number % RECORD_BYTES))
            os.write(known, b"%d-%d\n" % (thread, number))
            number += 1

    for thread in range(int(threads)):
        threading.Thread(target=run, args=(thread,), daemon=True).start()
    _say("appending")
    sys.stdin.read()


def _append_and_wait(folder: Path, count: str) -> None:
    """Append so many records, and live on."""
    spool = Spool(folder, max_bytes=PLENTY)
    for number in range(int(count)):
        spool.append(numbered(number))
    _say("appended")
    sys.stdin.read()


def _adopt(folder: Path) -> None:
    """Adopt and drain whatever there is, once told to, and say the number of every record."""
    spool = Spool(folder, max_bytes=PLENTY)
    _say("ready")
    sys.stdin.readline()
    while (orphans := spool.adopt()) is not None:
        while (batch := orphans.read(7, PLENTY)).payloads:
            _say(*map(number_of, batch.payloads))
            orphans.release(batch.end)
        orphans.close()


def _fork_and_wait(folder: Path) -> None:
    """Append, fork, and append on both sides; both live on. Says the process of the child."""
    spool = Spool(folder, max_bytes=PLENTY)
    spool.append(b"parent:")
    child = os.fork()
    if not child:
        spool.append(b"child:")
        _say("appended", os.getpid())
        signal.pause()
    sys.stdin.read()


def _outgrow(folder: Path) -> None:
    """Append until the largest size of a file is reached, and on when it is raised."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    spool = Spool(folder, max_bytes=PLENTY)
    count, reason = filled(spool)
    again = refusal(spool, b"0:")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    spool.append(numbered(count))
    batch = spool.read(1_000, PLENTY)
    _say(count, reason, again, batch.torn, *map(number_of, batch.payloads))


def _fill_disk(folder: Path) -> None:
    """Append until the disk is full, release everything, and append again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "spool", folder], check=True)
    spool = Spool(folder, max_bytes=PLENTY, segment_bytes=64 << 10, fsync=Fsync.INTERVAL)
    count, reason = filled(spool)
    again = refusal(spool, numbered(0))
    batch = spool.read(1_000, PLENTY)
    spool.release(batch.end)
    spool.trim()
    afterwards = refusal(spool, numbered(count)) or spool.read(1, PLENTY).payloads == [numbered(count)]
    _say(count, reason, again, afterwards, batch.torn, *map(number_of, batch.payloads))


def _read_only(folder: Path) -> None:
    """Append to a folder on a file system that is read-only."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "spool", folder], check=True)
    _say(refusal(Spool(folder, max_bytes=PLENTY), b"0:"))


_ROLES: Final[dict[str, Callable[..., None]]] = {
    "append-in-threads": _append_in_threads,
    "append-and-wait": _append_and_wait,
    "adopt": _adopt,
    "fork-and-wait": _fork_and_wait,
    "outgrow": _outgrow,
    "fill-disk": _fill_disk,
    "read-only": _read_only,
}


def _main(arguments: Sequence[str]) -> None:
    role, folder, *more = arguments
    _ROLES[role](Path(folder), *more)


if __name__ == "__main__":
    _main(sys.argv[1:])
