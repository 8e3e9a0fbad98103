# SPDX-License-Identifier: Apache-2.0
"""Through a real PgBouncer in transaction mode, where each transaction may get another server connection."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import pytest

from integration.test_processor import handle, kept
from intent_events import record_outcome, record_reply
from intent_events.instrument.recorder import EMITTER
from intent_events.store.heartbeats import Heartbeat
from intent_events.store.write import Writer, Written
from support.postgres import IN_CI, Database, run_apart
from support.records import utterance, utterances

_SERVERS = 3
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


async def _open_servers(pooled: str) -> None:
    """Have so many transactions at once that all server connections are open; from then on they take turns."""
    clients = [await asyncpg.connect(pooled, statement_cache_size=0) for _ in range(_SERVERS)]
    for client in clients:
        await client.execute("BEGIN")
    for client in clients:
        await client.execute("ROLLBACK")
    seen = {await clients[0].fetchval("SELECT pg_backend_pid()") for _ in range(_SERVERS)}
    assert len(seen) == _SERVERS, "the pooler does not hand out another server connection each time"
    for client in clients:
        await client.close()


@pytest.fixture
def pooled_dsn(pg: Database, tmp_path: Path) -> Iterator[str]:
    """Address of the database of ``pg`` through a PgBouncer with three server connections that take turns."""
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
        f"default_pool_size = {_SERVERS}\nserver_round_robin = 1\n",
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
            pooled = f"postgresql://{user}@127.0.0.1:{listen}/{database}"
            run_apart(_open_servers(pooled))
            yield pooled
        finally:
            it.terminate()


async def test_batches_duplicates_and_poison_through_a_pooler(pg: Database, pooled_dsn: str) -> None:
    """Direct COPY, the stage after a duplicate and dead letters all work; nothing is lost or doubled."""
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


async def test_heartbeats_through_a_pooler(pg: Database, pooled_dsn: str) -> None:
    """Between batches, on whichever server connection: each is stored as it was said, and once."""
    said_at = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    beat = Heartbeat(
        emitter_id=UUID("9b2d7c4a-1f0e-4c5b-8a6d-7e3f2b1c0d9e"),
        beat=1,
        at=said_at,
        started_at=said_at,
        service_name="tests",
        host="host",
        pid=7,
        version="1",
        emitted=9,
        stored=5,
        duplicates=1,
        dead=1,
        dropped={"spool_full": 1},
        spooled=2,
    )
    beats = [beat._replace(beat=number, emitted=9 + number) for number in range(1, 8)]
    writer = Writer(pooled_dsn, door="processor", timeout_s=20.0)
    try:
        for number, each in enumerate([*beats, *beats]):
            await writer.heartbeat(each)
            assert await writer.write(utterances(number, number + 1)) == Written(stored=1)
    finally:
        await writer.close()
    columns = ", ".join(name for name in Heartbeat._fields if name != "dropped_numbers")  # they stand among the drops
    rows = await pg.fetch(f"SELECT {columns} FROM agent.emitters ORDER BY beat")
    assert [tuple(row) for row in rows] == [each._replace(dropped='{"spool_full": 1}')[:-1] for each in beats]


async def test_a_process_behind_a_pooler(pg: Database, pooled_dsn: str, tmp_path: Path) -> None:
    """A processor with two connections stores what it records, each record once, and says so in its heartbeat."""
    with kept(pooled_dsn, tmp_path / "spool", connections=2) as opened:
        traces = [handle("one") for _ in range(300)]
        record_reply(traces[0].event_id, "two")
        record_outcome(traces[0].event_id, "picked")
        assert opened.processor.force_flush()
        assert all(trace.telemetry_committed for trace in traces)
        assert opened.metric("drain.records") == {"stored": 302, "duplicate": 0, "dead": 0}
        assert opened.metric("drain.retries") == {"": 0}
    stored = await pg.fetch("SELECT event_id FROM agent.intent_events")
    assert sorted(row[0] for row in stored) == sorted(trace.event_id for trace in traces)
    for table in ("chat_events", "intent_outcomes"):
        assert await pg.fetchval(f"SELECT count(*) FROM agent.{table}") == 1
    beats = await pg.fetch("SELECT * FROM agent.emitters ORDER BY beat")
    assert [beat["beat"] for beat in beats] == list(range(1, len(beats) + 1))
    last = beats[-1]
    assert last["emitter_id"] == UUID(EMITTER.emitter_id)
    assert (last["emitted"], last["stored"], last["spooled"], last["dropped"]) == (302, 302, 0, "{}")
