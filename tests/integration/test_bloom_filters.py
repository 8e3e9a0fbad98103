# SPDX-License-Identifier: Apache-2.0
"""Fingerprints and sessions are found by indexes that cost a large table no more than an empty one."""

import re

import pytest

from support.postgres import Database
from support.stored import add_event

pytestmark = pytest.mark.postgres

INDEXED = {
    "utterance_hash": "(utterance_hash text_bloom_ops (n_distinct_per_range='1500', false_positive_rate='0.001'))",
    "session_id": "(session_id uuid_bloom_ops (n_distinct_per_range='1500', false_positive_rate='0.001'), ts)",
}

MANY = """
INSERT INTO agent.intent_events
  (event_id, ts, session_id, actor_id, entrypoint, utterance_hash, semreg_mode, outcome, utterance_preview)
SELECT
  (lpad(to_hex(ms), 12, '0') || '7000800000000000' || lpad(to_hex(n), 4, '0'))::uuid, to_timestamp(ms / 1000.0),
  md5(n::text)::uuid, 'a', 'chat', md5(n::text), 'applied', 'matched', repeat('x', 1000)
FROM (SELECT n, (extract(epoch FROM now()) * 1000)::bigint AS ms FROM generate_series(1, 9999) AS n) AS new
"""

# So few rows as a test has are read faster without an index.
NO_WHOLE_TABLE = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$
"""


@pytest.mark.parametrize("column", INDEXED)
async def test_random_values_are_indexed_by_bloom_filters(pg: Database, column: str) -> None:
    """On every partition, made now or later, and by nothing else: a B-tree halves the speed of a large table."""
    await pg.execute("SELECT agent.make_partitions(6)")
    of_it = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'agent.intent_events'::regclass"
    partitions = [row[0] for row in await pg.fetch(of_it)]
    found = await pg.fetch(
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'agent' AND tablename ~ '^intent_events'"
        " AND strpos(indexdef, $1) > 0",
        f"({column}",
    )
    assert {f"agent.{row['tablename']}" for row in found} == {"agent.intent_events", *partitions}
    assert len(found) == 1 + len(partitions) > 8
    for row in found:
        how = f" USING brin {INDEXED[column]} WITH (pages_per_range='128', autosummarize='on')"
        assert row["indexdef"].endswith(how)


async def test_new_pages_are_summarised_soon(pg: Database) -> None:
    """Of every partition, made now or later: after a hundred thousand rows, whatever is there already."""
    await pg.execute("SELECT agent.make_partitions(6)")
    options = await pg.fetch(
        "SELECT relname, reloptions FROM pg_class"
        " WHERE relispartition AND relkind = 'r' AND relnamespace = 'agent'::regnamespace"
    )
    assert len(options) > 24
    soon = {"autovacuum_vacuum_insert_scale_factor=0", "autovacuum_vacuum_insert_threshold=100000"}
    assert [row["relname"] for row in options if set(row["reloptions"] or ()) != soon] == []


@pytest.mark.parametrize("column", INDEXED)
async def test_a_value_is_found_by_its_index(any_server_version_migrated: Database, column: str) -> None:
    """A few of many pages are read for it, and a row is found whether its page has been summarised yet or not."""
    pg = any_server_version_migrated
    await pg.execute(MANY)
    await pg.execute("VACUUM ANALYZE agent.intent_events")
    await pg.execute(NO_WHOLE_TABLE)
    kind = "uuid" if column == "session_id" else "text"
    asked = f"SELECT event_id FROM agent.intent_events WHERE {column} = md5('17')::{kind}"
    plan = "\n".join(row[0] for row in await pg.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {asked}"))
    assert re.search(rf"Bitmap Index Scan on intent_events_\d+_\d+_{column}_", plan), plan
    (pages_read,) = re.findall(r"Heap Blocks: lossy=(\d+)", plan)
    pages = await pg.fetchval("SELECT sum(relpages) FROM pg_class WHERE relname ~ '^intent_events_[0-9_]*$'")
    assert int(pages_read) <= 2 * 128 < pages / 3
    assert len(await pg.fetch(asked)) == 1
    moment = await pg.fetchval("SELECT now()")
    last = await add_event(pg, moment, utterance_hash="ab" * 16, session_id="ab" * 16)
    new = await pg.fetch(f"SELECT event_id FROM agent.intent_events WHERE {column} = '{'ab' * 16}'::{kind}")
    assert [row["event_id"] for row in new] == [last]
