# SPDX-License-Identifier: Apache-2.0
"""Erasing one of 1,000 subjects from a million rows: only theirs go; interrupted in the middle, nothing happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from support.postgres import Database, private_server
from support.waiting import until

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

ROWS: Final = 1_000_000
"""Utterances in the table."""

SUBJECTS: Final = 1_000
WHO: Final = 15
ANOTHER: Final = 115
COMMAND: Final = str(Path(sys.executable).parent / "intent-events")

# Every third utterance has a reply, every fifth a follow-up, and of some subjects each has a dead letter of its trace.
# Which subject it is of, each table says in another column: that is how the test tells them apart.
_FILL: Final = """
CREATE TABLE public.made AS
SELECT i, 'actor-' || i % {subjects} AS who, to_timestamp(ms / 1000.0) AS ts, md5('t' || i) AS trace,
       (lpad(to_hex(ms), 12, '0') || '7' || left(md5(i::text), 3) || '8' || substr(md5(i::text), 4, 15))::uuid AS key,
       md5('s' || i % {subjects} || '-' || i / 50000)::uuid AS session
FROM generate_series(1, {rows}) AS i,
     LATERAL (SELECT (extract(epoch FROM date_trunc('day', now())) * 1000)::bigint - i::bigint * 7000 AS ms) AS moment;
INSERT INTO agent.intent_events (event_id, ts, session_id, actor_id, entrypoint, utterance_hash, semreg_mode, outcome,
                                 emitter_id, emitter_seq, trace_id, span_id)
SELECT key, ts, session, who, 'chat', '00', 'applied', 'matched', md5('e')::uuid, i, trace, '0000000000000001'
FROM public.made;
INSERT INTO agent.chat_events (event_id, ts, intent_event_id, session_id, turn_id)
SELECT key, ts, key, session, who FROM public.made WHERE i % 3 = 0;
INSERT INTO agent.intent_outcomes (event_id, ts, intent_event_id, kind, error_code)
SELECT key, ts, key, 'executed', who FROM public.made WHERE i % 5 = 0;
INSERT INTO agent.dead_letters (dead_letter_id, door, reason, detail, trace_id)
SELECT key, 'drain', 'row_refused', who, trace FROM public.made WHERE i % 100 = 15;
DROP TABLE public.made;
"""
_OF: Final = {
    "intent_events": "actor_id",
    "chat_events": "turn_id",
    "intent_outcomes": "error_code",
    "dead_letters": "detail",
}
_OURS: Final = "pid IN (SELECT pid FROM pg_stat_activity WHERE query LIKE '%FROM agent.erase_subject%')"

Digests = dict[str, tuple[int, int]]
"""Number and digest of rows by table."""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server with a million rows, and a login ``owner`` that is enrolled as intent_owner."""
    with private_server() as server:
        pg = Database(server.dsn())
        pg.execute_now(_FILL.format(rows=ROWS, subjects=SUBJECTS))
        pg.execute_now("CREATE ROLE owner LOGIN; SELECT agent.enroll('owner', 'intent_owner')")
        yield server


def digests(pg: Database, *, others_than: str = "") -> Digests:
    """Number and digest of the rows of every table, of all subjects or of all but one."""
    return {
        table: tuple(
            pg.fetch_now(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM agent.{table} AS t WHERE {column} <> $1",
                others_than,
            )[0]
        )
        for table, column in _OF.items()
    }


def command(server: EmbeddedPostgres, actor: str) -> subprocess.Popen[str]:
    """``erase --yes`` as the role that may."""
    env = {**os.environ, "INTENT_EVENTS_DSN": server.dsn(user="owner"), "INTENT_EVENTS_ERASE_ACTOR": actor}
    return subprocess.Popen(
        [COMMAND, "erase", "--yes"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def in_the_middle(server: EmbeddedPostgres) -> Generator[subprocess.Popen[str]]:
    """The command, when utterances and replies are removed and it waits for follow-ups, which somebody has locked."""
    psql = [str(server.bin_dir / "psql"), "-qAt", server.dsn()]
    with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("BEGIN; LOCK agent.intent_outcomes IN EXCLUSIVE MODE; SELECT 'locked';\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "locked\n"
        try:
            with command(server, f"actor-{ANOTHER}") as process:
                waits = f"SELECT 1 FROM pg_locks WHERE NOT granted AND {_OURS}"
                until(lambda: Database(server.dsn()).fetchval_now(waits), "it waits in the middle")
                yield process
        finally:
            holder.kill()


def _answers(pg: Database) -> bool:
    try:
        return pg.fetchval_now("SELECT NOT pg_is_in_recovery()")
    except (OSError, asyncpg.PostgresError):  # it still recovers
        return False


def test_interrupted_in_the_middle(server: EmbeddedPostgres) -> None:
    """Killed, interrupted, cancelled or with its server killed, it has changed nothing at all."""
    pg = Database(server.dsn())
    before, audited = digests(pg), pg.fetchval_now("SELECT count(*) FROM agent.admin_audit")
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        with in_the_middle(server) as process:
            process.send_signal(number)
            assert process.wait(60) == code
    with in_the_middle(server) as process:
        assert pg.fetchval_now(f"SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted AND {_OURS}")
        assert process.wait(60) == 3
    with in_the_middle(server) as process:
        backend = pg.fetchval_now(f"SELECT pid FROM pg_locks WHERE NOT granted AND {_OURS}")
        os.kill(backend, signal.SIGKILL)  # upon which the server ends every session and recovers from its log
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3
        assert "Nothing was changed" in err
    until(lambda: _answers(pg), "it has recovered")
    assert pg.fetchval_now("SELECT count(*) FROM agent.admin_audit") == audited
    assert digests(pg) == before


def test_only_the_subjects_rows_go(server: EmbeddedPostgres) -> None:
    """Of a million rows with a thousand subjects exactly one subject's go; every other row is the same, to the byte."""
    pg = Database(server.dsn())
    before, others = digests(pg), digests(pg, others_than=f"actor-{WHO}")
    with command(server, f"actor-{WHO}") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert digests(pg) == others
    own = range(WHO, ROWS + 1, SUBJECTS)
    expected = {
        "intent_events": len(own),
        "chat_events": sum(i % 3 == 0 for i in own),
        "intent_outcomes": sum(i % 5 == 0 for i in own),
        "dead_letters": sum(i % 100 == WHO for i in own),
    }
    assert {table: before[table][0] - others[table][0] for table in before} == expected
    assert all(f"{n:,}  agent.{table}" in out for table, n in expected.items())
    audit = pg.fetch_now("SELECT action, subject_mark, details::text AS details FROM agent.admin_audit")
    assert [row["action"] for row in audit] == ["erase"]
    assert f"actor-{WHO}" not in str(audit)
    assert pg.fetchval_now("SELECT count(*) FROM agent.dead_letters WHERE reason = 'erased'") == len(own)
    print(f"\n{ROWS:,} utterances of {SUBJECTS:,} subjects\n{out}")  # noqa: T201 - pytest -rP shows the counts
