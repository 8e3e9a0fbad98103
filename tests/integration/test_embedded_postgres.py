# SPDX-License-Identifier: Apache-2.0
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.demo.postgres_programs import WHEEL, wheel_bin_dir
from intent_events.errors import UnavailableError
from support.leaks import children
from support.postgres import Database, run_apart
from support.waiting import until

pytestmark = pytest.mark.postgres

# Starts a server, tells where it is, and ends in the way that the test asks for.
OWNER = """
import os, sys
from intent_events.demo.postgres import EmbeddedPostgres
server = EmbeddedPostgres()
server.start()
print(server.socket_dir, server.dsn(), flush=True)
way = sys.stdin.readline().strip()
if way == "fork":
    if os.fork() == 0:
        sys.stdin.readline()  # outlives its parent, until the test is done
        os._exit(0)
    way = "_exit"
if way == "_exit":
    os._exit(0)
if way == "exit":
    sys.exit(0)
sys.stdin.readline()  # to be killed
"""


async def disconnected(dsn: str, provoke: Callable[[], None]) -> None:
    """Hold a connection, do something that ends the server, and wait until the server ends the connection."""
    ended = asyncio.Event()
    connection = await asyncpg.connect(dsn)
    connection.add_termination_listener(lambda _: ended.set())
    provoke()
    await asyncio.wait_for(ended.wait(), 60)
    await connection.close()


@pytest.mark.parametrize("way", ["kill", "exit", "_exit", "fork"])
def test_a_server_does_not_outlive_its_owner(way: str) -> None:
    """However its owner ends, even by SIGKILL or with a forked child left, server and folder go away."""
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        folder, dsn = owner.stdout.readline().split()
        talk = owner.stdin

        def end() -> None:
            if way == "kill":
                owner.kill()
            else:
                talk.write(f"{way}\n")
                talk.flush()
            assert owner.wait(60) == (-signal.SIGKILL if way == "kill" else 0)

        assert Path(folder).is_dir()
        run_apart(disconnected(dsn, end))
        until(lambda: not Path(folder).exists(), "the folder is gone")


def test_stop_leaves_nothing() -> None:
    """After stop() neither folder nor server is left, and stopping again is harmless."""
    server = EmbeddedPostgres()
    server.start()
    folder = server.socket_dir
    server.stop()
    assert not folder.exists()
    assert not server.running
    server.stop()


def test_stop_works_without_the_guard() -> None:
    """When somebody has killed the guard, stop() itself ends the server and removes the folder."""
    with EmbeddedPostgres() as server:
        folder = server.socket_dir
        [guard] = [pid for pid, command in children().items() if str(folder) in command and "guard" in command]
        os.kill(guard, signal.SIGKILL)
    assert not folder.exists()
    assert not server.running


def test_a_server_can_be_started_again_after_stop() -> None:
    """A stopped server that is started again is a fresh one."""
    server = EmbeddedPostgres()
    with server:
        Database(server.dsn()).execute_now("CREATE TABLE t ()")
    with server:
        assert Database(server.dsn()).fetchval_now("SELECT to_regclass('t')") is None


@pytest.mark.parametrize("end", ["smart", "fast", "immediate", "kill"])
def test_data_survives_a_restart(own_server: EmbeddedPostgres, end: str) -> None:
    """What was committed is there after an outage of any kind, and nobody is answered during it."""
    database = Database(own_server.dsn())
    database.execute_now("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
    match end:
        case "kill":
            own_server.kill_server()
        case "smart" | "fast" | "immediate":
            own_server.stop_server(end)
        case _:
            raise AssertionError(end)
    assert not own_server.running
    with pytest.raises(OSError, match=r"s\.PGSQL|refused|No such file"):
        database.fetchval_now("SELECT 1")
    own_server.start_server()
    assert database.fetchval_now("SELECT n FROM t") == 42


async def test_a_killed_server_cuts_its_connections(own_server: EmbeddedPostgres) -> None:
    """kill_server() ends every backend too, so a client learns of it at once."""
    await disconnected(own_server.dsn(), own_server.kill_server)


def test_settings_are_stronger_than_the_defaults() -> None:
    """Settings given are in force, quotes included, and replace ours."""
    with EmbeddedPostgres(settings={"fsync": "on", "cluster_name": "it's"}) as server:
        database = Database(server.dsn())
        assert database.fetchval_now("SHOW fsync") == "on"
        assert database.fetchval_now("SHOW cluster_name") == "it's"
        assert database.fetchval_now("SHOW server_encoding") == "UTF8"
        assert database.fetchval_now("SHOW timezone") == "UTC"


def test_no_tcp_unless_asked(own_server: EmbeddedPostgres) -> None:
    """By default the server listens on its Unix socket only, which nobody else can reach."""
    assert Database(own_server.dsn()).fetchval_now("SHOW listen_addresses") == ""
    assert own_server.socket_dir.stat().st_mode & 0o077 == 0
    with pytest.raises(UnavailableError, match="tcp=True"):
        own_server.tcp_dsn()


def test_tcp_when_asked() -> None:
    """With tcp=True the server answers on 127.0.0.1 and on its socket."""
    with EmbeddedPostgres(tcp=True) as server:
        assert Database(server.tcp_dsn()).fetchval_now("SELECT host(inet_server_addr())") == "127.0.0.1"
        assert Database(server.dsn()).fetchval_now("SELECT inet_server_addr()") is None


def test_root_does_not_run_the_server(own_server: EmbeddedPostgres) -> None:
    """The data belong to an account without rights, whoever starts the server."""
    assert own_server.data_dir.stat().st_uid != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the server as somebody else")
def test_a_wheel_in_a_closed_folder_is_copied(tmp_path: Path) -> None:
    """A wheel that the server's account cannot reach is copied; the closed folder stays closed."""
    tmp_path.chmod(0o700)
    package = wheel_bin_dir().parent.parent
    (tmp_path / WHEEL).symlink_to(package)
    libraries = package.parent / f"{WHEEL}.libs"
    (tmp_path / libraries.name).symlink_to(libraries)
    with EmbeddedPostgres(bin_dir=tmp_path / WHEEL / "pginstall18" / "bin") as server:
        folder = server.socket_dir
        assert server.bin_dir.is_relative_to(folder)
        assert Database(server.dsn()).fetchval_now("SHOW server_version_num").startswith("18")
        assert all(path.lstat().st_uid != 0 for path in (folder / "programs").rglob("*"))
    assert not folder.exists()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_long_temporary_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the path would be too long for a socket, the server lives elsewhere."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with EmbeddedPostgres() as server:
        assert not server.socket_dir.is_relative_to(long)
        assert Database(server.dsn()).fetchval_now("SELECT 1") == 1


def test_errors_say_the_remedy(tmp_path: Path) -> None:
    """What cannot be started says why, and what to do instead."""
    with pytest.raises(UnavailableError, match=r"no embedded Postgres 17: .* \[16, 18\], or set INTENT_EVENTS_DSN"):
        EmbeddedPostgres(version=17)
    with pytest.raises(UnavailableError, match=r"no Postgres in .*initdb, postgres and pg_ctl"):
        EmbeddedPostgres(bin_dir=tmp_path).start()
    with pytest.raises(UnavailableError, match=r"not started: call start\(\)"):
        EmbeddedPostgres().dsn()
    server = EmbeddedPostgres(settings={"no_such_setting": "1"})
    with pytest.raises(UnavailableError, match="no_such_setting"):
        server.start()
    assert not server.running
