# SPDX-License-Identifier: Apache-2.0
"""Through a real PgBouncer in transaction mode, where each transaction may get another server connection."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from intent_events.store.write import Writer, Written
from support.postgres import IN_CI, Database
from support.records import utterance, utterances

_PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:  # it is starting
        return False
    return True


@pytest.fixture
def pooled_dsn(pg: Database, tmp_path: Path) -> Iterator[str]:
    """Address of the database of ``pg`` through a PgBouncer with three server connections."""
    if _PROGRAM is None:
        reason = "no pgbouncer: apt-get install pgbouncer"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    parts = urlsplit(pg.dsn)
    query = parse_qs(parts.query)
    host = parts.hostname or query["host"][0]
    port = parts.port or int(query.get("port", ["5432"])[0])
    user = parts.username or query.get("user", ["postgres"])[0]
    database = parts.path.lstrip("/")
    listen = _free_port()
    tmp_path.chmod(0o755)
    users = tmp_path / "users.txt"
    users.write_text(f'"{user}" "{parts.password or ""}"\n', "utf-8")
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{database} = host={host} port={port} user={user}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\nunix_socket_dir =\n"
        f"auth_type = any\nauth_file = {users}\npool_mode = transaction\n"
        "default_pool_size = 3\nmin_pool_size = 3\nserver_round_robin = 1\n",
        "utf-8",
    )
    for folder in (*tmp_path.parents[:2], tmp_path):
        folder.chmod(0o755)
    as_user = ["-u", "nobody"] if os.getuid() == 0 else []
    command = [_PROGRAM, *as_user, str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
        try:
            deadline = time.monotonic() + 20
            while not _accepts(listen):
                assert it.poll() is None, "pgbouncer ended"
                assert time.monotonic() < deadline, "pgbouncer accepts nothing"
                time.sleep(0.05)
            yield f"postgresql://{user}@127.0.0.1:{listen}/{database}"
        finally:
            it.terminate()


async def test_batches_duplicates_and_poison_through_a_pooler(pg: Database, pooled_dsn: str) -> None:
    """Direct COPY, the stage after a duplicate, dead letters and heartbeats all work; nothing is lost or doubled."""
    writer = Writer(pooled_dsn, door="processor", timeout_s=20.0)
    try:
        assert await writer.write(utterances(0, 50)) == Written(stored=50)
        assert await writer.write(utterances(25, 75)) == Written(stored=25, duplicates=25)
        for since in range(75, 135, 10):
            assert await writer.write(utterances(since, since + 10)) == Written(stored=10)
        poison = utterance(200, outcome="a\x00b")
        assert await writer.write([poison, *utterances(201, 210)]) == Written(stored=9, dead=1)
    finally:
        await writer.close()
    assert await pg.fetchval("SELECT count(*) FROM agent.intent_events") == 144
    assert await pg.fetchval("SELECT count(DISTINCT event_id) FROM agent.intent_events") == 144
    assert await pg.fetchval("SELECT count(*) FROM agent.dead_letters") == 1
