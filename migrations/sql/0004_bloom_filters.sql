-- SPDX-License-Identifier: Apache-2.0
-- Schema of intent-events, revision 0004: fingerprints and sessions are random, so that in a B-tree each new one touches a
-- page of its own, and a partition of ten million rows took new ones half as fast as an empty one. Bloom filters, one for
-- 128 pages, grow with the end of the table alone. Runs in one transaction.

-- Made before the others are dropped: until then readers go on, and writers wait, with their records in the spool.
CREATE INDEX intent_events_utter_hash_bloom ON agent.intent_events USING brin (
  utterance_hash text_bloom_ops (n_distinct_per_range = 1500, false_positive_rate = 0.001)
) WITH (pages_per_range = 128, autosummarize = on);
CREATE INDEX intent_events_session_bloom ON agent.intent_events USING brin (
  session_id uuid_bloom_ops (n_distinct_per_range = 1500, false_positive_rate = 0.001), ts
) WITH (pages_per_range = 128, autosummarize = on);

-- Somebody may have dropped them for the sake of writing.
DROP INDEX IF EXISTS agent.intent_events_utter_hash_idx, agent.intent_events_session_idx;
ALTER INDEX agent.intent_events_utter_hash_bloom RENAME TO intent_events_utter_hash_idx;
ALTER INDEX agent.intent_events_session_bloom RENAME TO intent_events_session_idx;

-- Pages without a filter are read whole. A backlog fills them faster than they are noted down to be summarised, so that
-- VACUUM has to, and it would wait until a fifth of a partition is new.
DO $$
DECLARE
  partition regclass;
BEGIN
  FOR partition IN
    SELECT inhrelid FROM pg_inherits
    WHERE inhparent IN ('agent.intent_events'::regclass, 'agent.chat_events'::regclass, 'agent.intent_outcomes'::regclass)
  LOOP
    EXECUTE format(
      'ALTER TABLE %s SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000)',
      partition);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION agent.make_partitions(months_ahead integer DEFAULT 3)
RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
-- Whoever reads the default partition for hours must not make every writer queue behind this function.
SET lock_timeout = '10s'
AS $function$
DECLARE
  this_month     timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
  parent         text;
  partition_name text;
  since          timestamptz;
  until          timestamptz;
BEGIN
  IF months_ahead IS NULL OR months_ahead NOT BETWEEN 0 AND 120 THEN
    RAISE EXCEPTION 'agent.make_partitions: months_ahead must be between 0 and 120, not %', months_ahead
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(7597120008731241);
  -- In the order in which the writer fills the tables, so that the two cannot wait for each other in a circle.
  FOREACH parent IN ARRAY ARRAY['intent_events', 'chat_events', 'intent_outcomes'] LOOP
    FOR step IN -1 .. months_ahead LOOP
      since := (this_month + make_interval(months => step)) AT TIME ZONE 'UTC';
      until := (this_month + make_interval(months => step + 1)) AT TIME ZONE 'UTC';
      partition_name := parent || to_char(since AT TIME ZONE 'UTC', '_YYYY_MM');
      CONTINUE WHEN to_regclass(format('agent.%I', partition_name)) IS NOT NULL;
      -- Writers first: one that waits for the default partition alone would be refused after the ATTACH, because it has
      -- chosen that partition already. Then what ATTACH asks for anyway, before the rows are moved.
      EXECUTE format('LOCK TABLE ONLY agent.%I IN SHARE ROW EXCLUSIVE MODE', parent);
      EXECUTE format('LOCK TABLE agent.%I IN ACCESS EXCLUSIVE MODE', parent || '_default');
      EXECUTE format(
        'CREATE TABLE agent.%I '
        '(LIKE agent.%I INCLUDING COMMENTS INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING STORAGE) '
        'WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000)',
        partition_name, parent);
      PERFORM set_config('intent_events.removal', 'on', true);
      EXECUTE format(
        'WITH moved AS (DELETE FROM agent.%I WHERE ts >= $1 AND ts < $2 RETURNING *) '
        'INSERT INTO agent.%I SELECT * FROM moved',
        parent || '_default', partition_name)
        USING since, until;
      PERFORM set_config('intent_events.removal', '', true);
      EXECUTE format(
        'ALTER TABLE agent.%I ATTACH PARTITION agent.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition_name, since, until);
      -- Triggers of rows come with the ATTACH, those of statements do not.
      IF EXISTS (SELECT FROM pg_trigger WHERE tgname = 'append_only' AND tgrelid = format('agent.%I', parent)::regclass)
      THEN
        EXECUTE format(
          'CREATE TRIGGER append_only BEFORE TRUNCATE ON agent.%I '
          'FOR EACH STATEMENT EXECUTE FUNCTION agent.refuse_change()',
          partition_name);
      END IF;
      RETURN NEXT partition_name;
    END LOOP;
  END LOOP;
END
$function$;
