# SPDX-License-Identifier: Apache-2.0
"""Fingerprints are found by an index that costs a large table no more than an empty one."""

import re
from typing import Final

import pytest

from support.postgres import Database
from support.stored import add_event

pytestmark = pytest.mark.postgres

FINGERPRINTS: Final = """
SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'agent' AND indexdef LIKE '%(utterance_hash%'
"""


MANY = """
INSERT INTO agent.intent_events
  (event_id, ts, session_id, actor_id, entrypoint, utterance_hash, semreg_mode, outcome, utterance_preview)
SELECT
  (lpad(to_hex(ms), 12, '0') || '7000800000000000' || lpad(to_hex(n), 4, '0'))::uuid, to_timestamp(ms / 1000.0),
  gen_random_uuid(), 'a', 'chat', encode(sha256(n::text::bytea), 'hex'), 'applied', 'matched', repeat('x', 1000)
FROM (SELECT n, (extract(epoch FROM now()) * 1000)::bigint AS ms FROM generate_series(1, 5000) AS n) AS new
"""


async def test_fingerprints_are_indexed_by_bloom_filters(pg: Database) -> None:
    """On every partition, made now or later, and by nothing else: a B-tree halves the speed of a large table."""
    await pg.execute("SELECT agent.make_partitions(6)")
    of_it = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'agent.intent_events'::regclass"
    partitions = [row[0] for row in await pg.fetch(of_it)]
    found = await pg.fetch(FINGERPRINTS)
    assert {f"agent.{row['tablename']}" for row in found} == {"agent.intent_events", *partitions}
    assert len(found) == 1 + len(partitions) > 8
    for row in found:
        assert "USING brin (utterance_hash text_bloom_ops (n_distinct_per_range='800', " in row["indexdef"]
        assert row["indexdef"].endswith("WITH (pages_per_range='64', autosummarize='on')")


# So few rows as a test has are read faster without an index.
NO_WHOLE_TABLE = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$
"""


async def test_a_fingerprint_is_found_by_its_index(any_server_version_migrated: Database) -> None:
    """Few of many pages are read for it, and the row is found, whether its page has been summarised yet or not."""
    pg = any_server_version_migrated
    await pg.execute(MANY)
    await pg.execute("VACUUM ANALYZE agent.intent_events")
    await pg.execute(NO_WHOLE_TABLE)
    wanted = "FROM agent.intent_events WHERE utterance_hash = encode(sha256('17'), 'hex')"
    plan = "\n".join(row[0] for row in await pg.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) SELECT event_id {wanted}"))
    assert "Bitmap Index Scan on intent_events_" in plan, plan
    (blocks,) = re.findall(r"Heap Blocks: lossy=(\d+)", plan)
    pages = await pg.fetchval("SELECT sum(relpages) FROM pg_class WHERE relname ~ '^intent_events_[0-9_]*$'")
    assert int(blocks) <= 2 * 64 < pages / 3
    moment = await pg.fetchval("SELECT now()")
    last = await add_event(pg, moment, utterance_hash="ab" * 32)
    found = await pg.fetch("SELECT event_id FROM agent.intent_events WHERE utterance_hash = $1", "ab" * 32)
    assert [row["event_id"] for row in found] == [last]
