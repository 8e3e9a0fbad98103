-- SPDX-License-Identifier: Apache-2.0
-- Schema of intent-events, revision 0004: fingerprints are random, so that in a B-tree of them each new row touches a page
-- of its own, and a partition of ten million rows took new ones half as fast as an empty one. A Bloom filter for every
-- 64 pages grows with the table's end alone. Runs in one transaction.

-- Made before the other is dropped: until then readers go on, and writers wait, with their records in the spool.
CREATE INDEX intent_events_utter_hash_bloom ON agent.intent_events USING brin (
  utterance_hash text_bloom_ops (n_distinct_per_range = 800, false_positive_rate = 0.001)
) WITH (pages_per_range = 64, autosummarize = on);

DROP INDEX agent.intent_events_utter_hash_idx;
ALTER INDEX agent.intent_events_utter_hash_bloom RENAME TO intent_events_utter_hash_idx;
