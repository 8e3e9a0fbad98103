-- SPDX-License-Identifier: Apache-2.0
-- Utterances with one of the fingerprints $1 since $2, at most $3 of each key, the latest first.
SELECT hash_key_id, n, event_id, ts, outcome, chosen_verb_fqn, utterance_preview
FROM (
  SELECT
    hash_key_id,
    count(*) OVER (PARTITION BY hash_key_id) AS n,
    row_number() OVER (PARTITION BY hash_key_id ORDER BY ts DESC, event_id DESC) AS place,
    event_id,
    ts,
    outcome,
    chosen_verb_fqn,
    utterance_preview
  FROM agent.intent_events
  WHERE utterance_hash = ANY($1::text[]) AND ts >= $2
) AS found
WHERE place <= $3
ORDER BY ts DESC, event_id DESC
