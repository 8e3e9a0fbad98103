# SPDX-License-Identifier: Apache-2.0
"""Ways in which a Postgres fails that do not end it. Nothing is pretended: processes are stopped, disks are filled."""

import ctypes
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import asyncpg

from intent_events.demo.postgres import EmbeddedPostgres
from support.postgres import Database, run_apart

_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_TINY: Final = "size=4m,mode=0700"


@contextmanager
def frozen(server: EmbeddedPostgres) -> Generator[None]:
    """Stop every process of the server in its tracks: connections are taken by the kernel, and nobody answers."""
    postmaster = int((server.data_dir / "postmaster.pid").read_text().splitlines()[0])
    # The parent first, so that none of its children is missed.
    os.kill(postmaster, signal.SIGSTOP)
    stopped = [postmaster]
    try:
        for pid in _children(postmaster):
            with suppress(ProcessLookupError):  # it ended by itself in this moment
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in stopped[::-1]:
            with suppress(ProcessLookupError):  # it was ending already when it was stopped
                os.kill(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


class TinyDisk:
    """Keeps the rows of a server on a disk of four megabytes, to be filled and cleared.

    The disk is a file system of its own, which the server alone sees: it is mounted in a mount namespace that ends with
    the server. Mounting takes root on Linux.
    """

    def __init__(self, server: EmbeddedPostgres) -> None:
        """Restart the server with the disk, and move the telemetry tables to it.

        Raises:
            PermissionError: this user may not mount.
        """
        self._database = Database(server.dsn())
        disk = server.socket_dir / "tiny"
        disk.mkdir()
        server.stop_server()

        async def restart() -> None:  # on a thread of its own, whose namespace its children inherit
            _mount(disk, server.data_dir.stat())
            server.start_server()

        try:
            run_apart(restart())
        finally:
            server.start_server()
        self._database.execute_now(f"CREATE TABLESPACE tiny LOCATION '{disk}'")
        partitions = self._database.fetch_now(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relispartition AND relkind = 'r'"
        )
        for partition in partitions:
            self._database.execute_now(f"ALTER TABLE {partition['name']} SET TABLESPACE tiny")
            # A page for each row: none that is there already has room for another one.
            self._database.execute_now(f"ALTER TABLE {partition['name']} SET (fillfactor = 10)")

    def fill(self) -> None:
        """Leave not one free page; a write then fails with SQLSTATE 53100."""
        self._database.execute_now("CREATE TABLE public.filler (page text STORAGE PLAIN) TABLESPACE tiny")
        for pages in (64, 8, 1):
            try:
                for _ in range(1000):
                    self._database.execute_now(
                        f"INSERT INTO public.filler SELECT repeat('x', 5000) FROM generate_series(1, {pages})"
                    )
            except asyncpg.DiskFullError:  # what it is for
                continue
            raise AssertionError("the tiny disk is not tiny")

    def clear(self) -> None:
        """Make room again."""
        self._database.execute_now("DROP TABLE public.filler")


def _mount(folder: Path, owner: os.stat_result) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"{_TINY},uid={owner.st_uid},gid={owner.st_gid}".encode()
    # Apart from the rest of the machine first, so that nobody else sees the mount and nobody has to undo it.
    if (
        libc.unshare(_CLONE_NEWNS)
        or libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None)
        or libc.mount(b"tmpfs", bytes(folder), b"tmpfs", ctypes.c_ulong(0), options)
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
