-- SPDX-License-Identifier: Apache-2.0
-- The telemetry tables, their partitions, the views to review them, and the role that may write them.
-- Runs in one transaction; the schema "agent" exists already (it holds the version table).

-- ---------------------------------------------------------------------------------------------------------------------
-- Tables
--
-- event_id is a UUIDv7: its first 48 bits are milliseconds since 1970, and ts is exactly that instant. The CHECK keeps
-- the two together, so that (event_id, ts) is as strong a key as event_id alone and the tables can be partitioned by
-- ts. It compares whole microseconds since 2000 (946684800 s after 1970), as both are stored: exact for every instant,
-- where milliseconds times an interval is so only until the year 4253, and without a function that is not immutable.
-- No foreign keys: a follow-up may arrive before the event that it follows.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE agent.intent_events (
  event_id                   uuid             NOT NULL,
  ts                         timestamptz      NOT NULL,
  parent_event_id            uuid,
  session_id                 uuid             NOT NULL,
  emitter_id                 uuid,
  emitter_seq                bigint,
  subject_ref_id             uuid,
  run_sheet_entry_id         uuid,
  duration_ms                double precision,
  schema_version             integer          NOT NULL DEFAULT 1,
  verb_candidates_pre_total  integer,
  verb_candidates_post_total integer,
  macro_semreg_checked       boolean          NOT NULL DEFAULT false,
  synthetic                  boolean          NOT NULL DEFAULT false,
  trace_sampled              boolean,
  actor_id                   text             NOT NULL,
  entrypoint                 text             NOT NULL,
  utterance_hash             text             NOT NULL,
  hash_key_id                text,
  template_hash              text,
  utterance_preview          text,
  scope                      text,
  subject_ref_type           text,
  semreg_mode                text             NOT NULL,
  semreg_denied_verbs        jsonb,
  semreg_denied_reasons      jsonb,
  semreg_snapshot_id         text,
  verb_candidates_pre        jsonb,
  verb_candidates_post       jsonb,
  chosen_verb_fqn            text,
  selection_source           text,
  forced_verb_fqn            text,
  outcome                    text             NOT NULL,
  missing_args               text[],
  error_code                 text,
  dsl_hash                   text,
  macro_denied_verbs         jsonb,
  prompt_version             text,
  boost_version              text,
  registry_version           text,
  quality                    text[],
  trace_id                   text,
  span_id                    text,
  service_name               text,
  PRIMARY KEY (event_id, ts),
  CONSTRAINT intent_events_ts_is_event_id CHECK (
    timestamptz_send(ts)
    = int8send(('x' || encode(substring(uuid_send(event_id) FOR 6), 'hex'))::bit(48)::bigint * 1000 - 946684800000000)
  )
) PARTITION BY RANGE (ts);

CREATE INDEX intent_events_ts_idx ON agent.intent_events (ts);
CREATE INDEX intent_events_session_idx ON agent.intent_events (session_id, ts);
CREATE INDEX intent_events_utter_hash_idx ON agent.intent_events (utterance_hash);
CREATE INDEX intent_events_chosen_verb_idx ON agent.intent_events (chosen_verb_fqn);

CREATE TABLE agent.chat_events (
  event_id                  uuid        NOT NULL,
  ts                        timestamptz NOT NULL,
  intent_event_id           uuid,
  session_id                uuid,
  emitter_id                uuid,
  emitter_seq               bigint,
  schema_version            integer     NOT NULL DEFAULT 1,
  synthetic                 boolean     NOT NULL DEFAULT false,
  turn_id                   text,
  assistant_message_hash    text,
  hash_key_id               text,
  assistant_message_preview text,
  prompt_version            text,
  quality                   text[],
  trace_id                  text,
  span_id                   text,
  service_name              text,
  PRIMARY KEY (event_id, ts),
  CONSTRAINT chat_events_ts_is_event_id CHECK (
    timestamptz_send(ts)
    = int8send(('x' || encode(substring(uuid_send(event_id) FOR 6), 'hex'))::bit(48)::bigint * 1000 - 946684800000000)
  )
) PARTITION BY RANGE (ts);

CREATE INDEX chat_events_intent_event_idx ON agent.chat_events (intent_event_id);

CREATE TABLE agent.intent_outcomes (
  event_id        uuid        NOT NULL,
  ts              timestamptz NOT NULL,
  intent_event_id uuid,
  emitter_id      uuid,
  emitter_seq     bigint,
  schema_version  integer     NOT NULL DEFAULT 1,
  synthetic       boolean     NOT NULL DEFAULT false,
  kind            text        NOT NULL,
  error_code      text,
  quality         text[],
  trace_id        text,
  span_id         text,
  service_name    text,
  PRIMARY KEY (event_id, ts),
  CONSTRAINT intent_outcomes_ts_is_event_id CHECK (
    timestamptz_send(ts)
    = int8send(('x' || encode(substring(uuid_send(event_id) FOR 6), 'hex'))::bit(48)::bigint * 1000 - 946684800000000)
  )
) PARTITION BY RANGE (ts);

CREATE INDEX intent_outcomes_intent_event_idx ON agent.intent_outcomes (intent_event_id);

CREATE TABLE agent.dead_letters (
  dead_letter_id uuid        NOT NULL PRIMARY KEY,
  received_at    timestamptz NOT NULL DEFAULT now(),
  ts             timestamptz,
  door           text        NOT NULL,
  reason         text        NOT NULL,
  detail         text,
  trace_id       text,
  span_id        text,
  service_name   text,
  emitter_id     uuid,
  emitter_seq    bigint,
  payload        bytea
);

CREATE INDEX dead_letters_emitter_idx ON agent.dead_letters (emitter_id, emitter_seq);

-- Counts since the start of the process, so that a heartbeat that is lost costs nothing but time.
CREATE TABLE agent.emitters (
  emitter_id   uuid        NOT NULL,
  beat         bigint      NOT NULL,
  at           timestamptz NOT NULL,
  started_at   timestamptz NOT NULL,
  received_at  timestamptz NOT NULL DEFAULT now(),
  emitted      bigint      NOT NULL,
  stored       bigint      NOT NULL,
  duplicates   bigint      NOT NULL,
  dead         bigint      NOT NULL,
  spooled      bigint      NOT NULL,
  pid          integer,
  service_name text,
  host         text,
  version      text,
  dropped      jsonb       NOT NULL DEFAULT '{}',
  PRIMARY KEY (emitter_id, beat)
);

CREATE INDEX emitters_at_idx ON agent.emitters (at);

-- Rows of any month without a partition of its own; make_partitions moves them out when it makes that month's.
CREATE TABLE agent.intent_events_default PARTITION OF agent.intent_events DEFAULT;
CREATE TABLE agent.chat_events_default PARTITION OF agent.chat_events DEFAULT;
CREATE TABLE agent.intent_outcomes_default PARTITION OF agent.intent_outcomes DEFAULT;

-- ---------------------------------------------------------------------------------------------------------------------
-- Partitions
-- ---------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION agent.make_partitions(months_ahead integer DEFAULT 3)
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
        '(LIKE agent.%I INCLUDING COMMENTS INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING STORAGE)',
        partition_name, parent);
      EXECUTE format(
        'WITH moved AS (DELETE FROM agent.%I WHERE ts >= $1 AND ts < $2 RETURNING *) '
        'INSERT INTO agent.%I SELECT * FROM moved',
        parent || '_default', partition_name)
        USING since, until;
      EXECUTE format(
        'ALTER TABLE agent.%I ATTACH PARTITION agent.%I FOR VALUES FROM (%L) TO (%L)',
        parent, partition_name, since, until);
      RETURN NEXT partition_name;
    END LOOP;
  END LOOP;
END
$function$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Views: each counts by UTC day and by synthetic, so that a reader picks the window and leaves test traffic out.
-- An item of a list counts once an utterance, however often the list repeats it.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE VIEW agent.v_intent_top_clarify_verbs AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       synthetic,
       verb_candidates_post -> 0 ->> 'verb' AS verb_fqn,
       verb_candidates_post -> 1 ->> 'verb' AS runner_up_verb_fqn,
       count(*) AS n
FROM agent.intent_events
WHERE outcome = 'clarify_verb'
GROUP BY 1, 2, 3, 4;

CREATE VIEW agent.v_intent_semreg_overrides AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       synthetic,
       forced_verb_fqn,
       chosen_verb_fqn,
       semreg_mode,
       outcome,
       count(*) AS n
FROM agent.intent_events
WHERE forced_verb_fqn IS NOT NULL
  AND forced_verb_fqn IS DISTINCT FROM chosen_verb_fqn
GROUP BY 1, 2, 3, 4, 5, 6;

CREATE VIEW agent.v_intent_semreg_denies AS
SELECT (e.ts AT TIME ZONE 'UTC')::date AS day,
       e.synthetic,
       denied.verb_fqn,
       denied.reason,
       e.semreg_mode,
       count(*) AS n
FROM agent.intent_events AS e
CROSS JOIN LATERAL (
  SELECT DISTINCT item.verb_fqn, e.semreg_denied_reasons ->> (item.place::integer - 1) AS reason
  FROM jsonb_array_elements_text(
    CASE jsonb_typeof(e.semreg_denied_verbs) WHEN 'array' THEN e.semreg_denied_verbs END
  ) WITH ORDINALITY AS item (verb_fqn, place)
) AS denied
GROUP BY 1, 2, 3, 4, 5;

CREATE VIEW agent.v_intent_arg_fill_failures AS
SELECT (e.ts AT TIME ZONE 'UTC')::date AS day,
       e.synthetic,
       e.chosen_verb_fqn AS verb_fqn,
       missing.arg,
       e.outcome,
       count(*) AS n
FROM agent.intent_events AS e
LEFT JOIN LATERAL (SELECT DISTINCT item.arg FROM unnest(e.missing_args) AS item (arg)) AS missing ON true
WHERE e.outcome = 'clarify_args'
   OR cardinality(e.missing_args) > 0
GROUP BY 1, 2, 3, 4, 5;

CREATE VIEW agent.v_intent_macro_denies AS
SELECT (e.ts AT TIME ZONE 'UTC')::date AS day,
       e.synthetic,
       coalesce(e.chosen_verb_fqn, e.forced_verb_fqn, e.verb_candidates_post -> 0 ->> 'verb') AS macro_fqn,
       denied.verb_fqn,
       e.outcome,
       count(*) AS n
FROM agent.intent_events AS e
CROSS JOIN LATERAL (
  SELECT DISTINCT item.verb_fqn
  FROM jsonb_array_elements_text(
    CASE jsonb_typeof(e.macro_denied_verbs) WHEN 'array' THEN e.macro_denied_verbs END
  ) AS item (verb_fqn)
) AS denied
GROUP BY 1, 2, 3, 4, 5;

CREATE VIEW agent.v_intent_failure_modes AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       synthetic,
       outcome,
       error_code,
       semreg_mode,
       count(*) AS n
FROM agent.intent_events
WHERE outcome NOT IN ('matched', 'scope_resolved', 'awaiting_confirmation')
GROUP BY 1, 2, 3, 4, 5;

-- ---------------------------------------------------------------------------------------------------------------------
-- Comments: what each thing means, where somebody who looks at the database finds it.
-- ---------------------------------------------------------------------------------------------------------------------

COMMENT ON SCHEMA agent IS 'Telemetry of the orchestrator: what was said, what was understood, what came of it. Append-only.';

COMMENT ON TABLE agent.intent_events IS 'One row per utterance that the orchestrator handled; monthly partitions by ts (UTC).';
COMMENT ON COLUMN agent.intent_events.event_id IS 'UUIDv7 of the utterance, made from its span: the same through every door, retry and replay.';
COMMENT ON COLUMN agent.intent_events.ts IS 'When handling began: exactly the millisecond inside event_id, never the time of the insert.';
COMMENT ON COLUMN agent.intent_events.parent_event_id IS 'The event whose question this utterance answers; null for a fresh request.';
COMMENT ON COLUMN agent.intent_events.session_id IS 'The conversation; a UUIDv5 of the original id where that is no UUID (see quality).';
COMMENT ON COLUMN agent.intent_events.emitter_id IS 'The process that recorded it.';
COMMENT ON COLUMN agent.intent_events.emitter_seq IS 'Running number of the record in its process, from 1: gaps are losses.';
COMMENT ON COLUMN agent.intent_events.subject_ref_id IS 'What the utterance is about.';
COMMENT ON COLUMN agent.intent_events.run_sheet_entry_id IS 'The run sheet entry that was staged; null when none was.';
COMMENT ON COLUMN agent.intent_events.duration_ms IS 'How long handling took, milliseconds.';
COMMENT ON COLUMN agent.intent_events.schema_version IS 'Version of the span contract that the emitter follows.';
COMMENT ON COLUMN agent.intent_events.verb_candidates_pre_total IS 'How many candidates discovery found, before the list was cut.';
COMMENT ON COLUMN agent.intent_events.verb_candidates_post_total IS 'How many candidates policy left, before the list was cut.';
COMMENT ON COLUMN agent.intent_events.macro_semreg_checked IS 'True when the verbs of an expanded macro were checked against policy.';
COMMENT ON COLUMN agent.intent_events.synthetic IS 'True for test, demo and canary traffic; reports leave it out unless asked.';
COMMENT ON COLUMN agent.intent_events.trace_sampled IS 'Whether the trace was sampled, that is, exists at the tracing backend.';
COMMENT ON COLUMN agent.intent_events.actor_id IS 'Whoever spoke, as the orchestrator knows them.';
COMMENT ON COLUMN agent.intent_events.entrypoint IS 'Where the utterance came in: chat, mcp, repl, execute; other values are flagged in quality.';
COMMENT ON COLUMN agent.intent_events.utterance_hash IS 'Fingerprint of the normalised utterance, hex; keyed when hash_key_id is set.';
COMMENT ON COLUMN agent.intent_events.hash_key_id IS 'Which key made the fingerprints; null is plain SHA-256.';
COMMENT ON COLUMN agent.intent_events.template_hash IS 'Fingerprint of the masked utterance: the same for utterances that differ in values only.';
COMMENT ON COLUMN agent.intent_events.utterance_preview IS 'Masked utterance, at most 80 characters; null when previews are off.';
COMMENT ON COLUMN agent.intent_events.scope IS 'Id of the tenant or book of business, never a name.';
COMMENT ON COLUMN agent.intent_events.subject_ref_type IS 'Kind of the subject: entity, case, none.';
COMMENT ON COLUMN agent.intent_events.semreg_mode IS 'What the policy registry did: applied, deny_all, unavailable, fail_open.';
COMMENT ON COLUMN agent.intent_events.semreg_denied_verbs IS 'Verbs that policy took out of the candidates: ["verb", ...].';
COMMENT ON COLUMN agent.intent_events.semreg_denied_reasons IS 'Why, in step with semreg_denied_verbs: ["reason", ...].';
COMMENT ON COLUMN agent.intent_events.semreg_snapshot_id IS 'Version of the policy snapshot that was asked.';
COMMENT ON COLUMN agent.intent_events.verb_candidates_pre IS 'Candidates before policy, best first: [{"verb", "score", "source"}, ...].';
COMMENT ON COLUMN agent.intent_events.verb_candidates_post IS 'Candidates that policy left, best first: [{"verb", "score", "source"}, ...].';
COMMENT ON COLUMN agent.intent_events.chosen_verb_fqn IS 'The verb that was selected; null when none was.';
COMMENT ON COLUMN agent.intent_events.selection_source IS 'Who selected it: discovery, user_choice, semreg, macro.';
COMMENT ON COLUMN agent.intent_events.forced_verb_fqn IS 'The verb that a user or a caller demanded.';
COMMENT ON COLUMN agent.intent_events.outcome IS 'How it ended: matched, clarify_verb, clarify_args, no_match, no_allowed_verbs, direct_dsl_denied, scope_resolved, scope_candidates, awaiting_confirmation, cancelled, error.';
COMMENT ON COLUMN agent.intent_events.missing_args IS 'Names (never values) of the arguments that were asked for.';
COMMENT ON COLUMN agent.intent_events.error_code IS 'Class or code of the failure, never its message.';
COMMENT ON COLUMN agent.intent_events.dsl_hash IS 'Fingerprint of the generated DSL.';
COMMENT ON COLUMN agent.intent_events.macro_denied_verbs IS 'Verbs of an expanded macro that policy denied: ["verb", ...].';
COMMENT ON COLUMN agent.intent_events.prompt_version IS 'Version of the prompt pack in use.';
COMMENT ON COLUMN agent.intent_events.boost_version IS 'Version of the ranking boosts in use.';
COMMENT ON COLUMN agent.intent_events.registry_version IS 'Version of the verb registry in use.';
COMMENT ON COLUMN agent.intent_events.quality IS 'What had to be mended in this record, or is missing from it; null or empty is sound.';
COMMENT ON COLUMN agent.intent_events.trace_id IS 'Trace of the span, 32 hex digits.';
COMMENT ON COLUMN agent.intent_events.span_id IS 'The span, 16 hex digits.';
COMMENT ON COLUMN agent.intent_events.service_name IS 'Resource attribute service.name of the emitter.';
COMMENT ON CONSTRAINT intent_events_ts_is_event_id ON agent.intent_events IS 'ts is the millisecond in the first 48 bits of event_id.';

COMMENT ON TABLE agent.chat_events IS 'One row per reply of the assistant, linked to the utterance that it answers; monthly partitions by ts (UTC).';
COMMENT ON COLUMN agent.chat_events.event_id IS 'UUIDv7 of the reply, made from its own span.';
COMMENT ON COLUMN agent.chat_events.ts IS 'When the reply began: exactly the millisecond inside event_id.';
COMMENT ON COLUMN agent.chat_events.intent_event_id IS 'The event_id of the utterance that this reply answers; no foreign key, it may arrive later.';
COMMENT ON COLUMN agent.chat_events.session_id IS 'The conversation.';
COMMENT ON COLUMN agent.chat_events.emitter_id IS 'The process that recorded it.';
COMMENT ON COLUMN agent.chat_events.emitter_seq IS 'Running number of the record in its process, from 1: gaps are losses.';
COMMENT ON COLUMN agent.chat_events.schema_version IS 'Version of the span contract that the emitter follows.';
COMMENT ON COLUMN agent.chat_events.synthetic IS 'True for test, demo and canary traffic; reports leave it out unless asked.';
COMMENT ON COLUMN agent.chat_events.turn_id IS 'The turn of the conversation that this reply closes.';
COMMENT ON COLUMN agent.chat_events.assistant_message_hash IS 'Fingerprint of the message, hex; keyed when hash_key_id is set.';
COMMENT ON COLUMN agent.chat_events.hash_key_id IS 'Which key made the fingerprint; null is plain SHA-256.';
COMMENT ON COLUMN agent.chat_events.assistant_message_preview IS 'Masked message, at most 80 characters; null when previews are off.';
COMMENT ON COLUMN agent.chat_events.prompt_version IS 'Version of the prompt pack that made the reply.';
COMMENT ON COLUMN agent.chat_events.quality IS 'What had to be mended in this record, or is missing from it; null or empty is sound.';
COMMENT ON COLUMN agent.chat_events.trace_id IS 'Trace of the span, 32 hex digits.';
COMMENT ON COLUMN agent.chat_events.span_id IS 'The span, 16 hex digits.';
COMMENT ON COLUMN agent.chat_events.service_name IS 'Resource attribute service.name of the emitter.';
COMMENT ON CONSTRAINT chat_events_ts_is_event_id ON agent.chat_events IS 'ts is the millisecond in the first 48 bits of event_id.';

COMMENT ON TABLE agent.intent_outcomes IS 'What became of an utterance after it had been handled, one row per follow-up; monthly partitions by ts (UTC).';
COMMENT ON COLUMN agent.intent_outcomes.event_id IS 'UUIDv7 of the follow-up, made from its own span.';
COMMENT ON COLUMN agent.intent_outcomes.ts IS 'When the follow-up happened: exactly the millisecond inside event_id.';
COMMENT ON COLUMN agent.intent_outcomes.intent_event_id IS 'The event_id of the utterance that this follows; no foreign key, it may arrive later.';
COMMENT ON COLUMN agent.intent_outcomes.emitter_id IS 'The process that recorded it.';
COMMENT ON COLUMN agent.intent_outcomes.emitter_seq IS 'Running number of the record in its process, from 1: gaps are losses.';
COMMENT ON COLUMN agent.intent_outcomes.schema_version IS 'Version of the span contract that the emitter follows.';
COMMENT ON COLUMN agent.intent_outcomes.synthetic IS 'True for test, demo and canary traffic; reports leave it out unless asked.';
COMMENT ON COLUMN agent.intent_outcomes.kind IS 'executed, execution_failed, undone, picked, rephrased, abandoned, feedback_up, feedback_down; other values are flagged in quality.';
COMMENT ON COLUMN agent.intent_outcomes.error_code IS 'Class or code of the failure, never its message.';
COMMENT ON COLUMN agent.intent_outcomes.quality IS 'What had to be mended in this record, or is missing from it; null or empty is sound.';
COMMENT ON COLUMN agent.intent_outcomes.trace_id IS 'Trace of the span, 32 hex digits.';
COMMENT ON COLUMN agent.intent_outcomes.span_id IS 'The span, 16 hex digits.';
COMMENT ON COLUMN agent.intent_outcomes.service_name IS 'Resource attribute service.name of the emitter.';
COMMENT ON CONSTRAINT intent_outcomes_ts_is_event_id ON agent.intent_outcomes IS 'ts is the millisecond in the first 48 bits of event_id.';

COMMENT ON TABLE agent.dead_letters IS 'Records that could not become a row: kept with the reason, so that nothing is lost without a trace.';
COMMENT ON COLUMN agent.dead_letters.dead_letter_id IS 'Key made from the record, so that a retry does not store it twice.';
COMMENT ON COLUMN agent.dead_letters.received_at IS 'When it was stored here, by the clock of this server.';
COMMENT ON COLUMN agent.dead_letters.ts IS 'When the record began, as far as that could be read.';
COMMENT ON COLUMN agent.dead_letters.door IS 'Which door brought it: processor, exporter, drain or sink.';
COMMENT ON COLUMN agent.dead_letters.reason IS 'Why it could not become a row, from a closed list.';
COMMENT ON COLUMN agent.dead_letters.detail IS 'Which attribute or column was at fault; never its value.';
COMMENT ON COLUMN agent.dead_letters.trace_id IS 'Trace of the span, 32 hex digits.';
COMMENT ON COLUMN agent.dead_letters.span_id IS 'The span, 16 hex digits.';
COMMENT ON COLUMN agent.dead_letters.service_name IS 'Resource attribute service.name of the emitter.';
COMMENT ON COLUMN agent.dead_letters.emitter_id IS 'The process that recorded it; null when it did not say.';
COMMENT ON COLUMN agent.dead_letters.emitter_seq IS 'Running number of the record in its process, from 1, over all tables; null when it has none.';
COMMENT ON COLUMN agent.dead_letters.payload IS 'The record as it came, for a replay after the fault is mended; null when it may not be kept.';

COMMENT ON TABLE agent.emitters IS 'Heartbeats: what each process says became of its records, one row a beat; the last one of a process holds all it ever said. intent-events reconcile compares them with the rows.';
COMMENT ON COLUMN agent.emitters.emitter_id IS 'The process, as its records name it.';
COMMENT ON COLUMN agent.emitters.beat IS 'Running number of the heartbeat in its process, from 1.';
COMMENT ON COLUMN agent.emitters.at IS 'When it was written, by the clock of the process.';
COMMENT ON COLUMN agent.emitters.started_at IS 'When the process began to record, by its clock.';
COMMENT ON COLUMN agent.emitters.received_at IS 'When it was stored here, by the clock of this server: whether the process still lives.';
COMMENT ON COLUMN agent.emitters.emitted IS 'The highest number that it had given to a record.';
COMMENT ON COLUMN agent.emitters.stored IS 'Records that it had stored as new rows until then; it may have stored those of dead processes too.';
COMMENT ON COLUMN agent.emitters.duplicates IS 'Records that it had found stored already.';
COMMENT ON COLUMN agent.emitters.dead IS 'Records that it had stored in agent.dead_letters.';
COMMENT ON COLUMN agent.emitters.spooled IS 'Records that waited in its spool at that moment.';
COMMENT ON COLUMN agent.emitters.pid IS 'Its process id on its host.';
COMMENT ON COLUMN agent.emitters.service_name IS 'Resource attribute service.name of the emitter.';
COMMENT ON COLUMN agent.emitters.host IS 'Name of its host.';
COMMENT ON COLUMN agent.emitters.version IS 'Version of the exporter.';
COMMENT ON COLUMN agent.emitters.dropped IS 'Records that it had to drop until then, by reason: {"reason": n}.';

COMMENT ON TABLE agent.intent_events_default IS 'Utterances of months without a partition of their own.';
COMMENT ON TABLE agent.chat_events_default IS 'Replies of months without a partition of their own.';
COMMENT ON TABLE agent.intent_outcomes_default IS 'Follow-ups of months without a partition of their own.';

COMMENT ON FUNCTION agent.make_partitions(integer) IS 'Makes the missing monthly partitions from last month to that many months ahead, moves rows of those months out of the default partition, and returns the names of what it made. Safe to run at any time, by several at once.';

COMMENT ON VIEW agent.v_intent_top_clarify_verbs IS 'Which verbs the orchestrator asked back about most: the top candidate that policy left, with its runner-up.';
COMMENT ON COLUMN agent.v_intent_top_clarify_verbs.day IS 'Day, UTC.';
COMMENT ON COLUMN agent.v_intent_top_clarify_verbs.synthetic IS 'Test, demo and canary traffic.';
COMMENT ON COLUMN agent.v_intent_top_clarify_verbs.verb_fqn IS 'The best candidate that policy left; null when the list was not recorded.';
COMMENT ON COLUMN agent.v_intent_top_clarify_verbs.runner_up_verb_fqn IS 'The second best; null when there was one candidate only.';
COMMENT ON COLUMN agent.v_intent_top_clarify_verbs.n IS 'How many utterances.';

COMMENT ON VIEW agent.v_intent_semreg_overrides IS 'A verb was demanded, and another one or none was chosen.';
COMMENT ON COLUMN agent.v_intent_semreg_overrides.day IS 'Day, UTC.';
COMMENT ON COLUMN agent.v_intent_semreg_overrides.synthetic IS 'Test, demo and canary traffic.';
COMMENT ON COLUMN agent.v_intent_semreg_overrides.forced_verb_fqn IS 'The verb that was demanded.';
COMMENT ON COLUMN agent.v_intent_semreg_overrides.chosen_verb_fqn IS 'The verb that was chosen instead; null when none was.';
COMMENT ON COLUMN agent.v_intent_semreg_overrides.semreg_mode IS 'What the policy registry did.';
COMMENT ON COLUMN agent.v_intent_semreg_overrides.outcome IS 'How it ended.';
COMMENT ON COLUMN agent.v_intent_semreg_overrides.n IS 'How many utterances.';

COMMENT ON VIEW agent.v_intent_semreg_denies IS 'Which verbs policy denied, why, and how often; an utterance counts once for each verb denied.';
COMMENT ON COLUMN agent.v_intent_semreg_denies.day IS 'Day, UTC.';
COMMENT ON COLUMN agent.v_intent_semreg_denies.synthetic IS 'Test, demo and canary traffic.';
COMMENT ON COLUMN agent.v_intent_semreg_denies.verb_fqn IS 'The verb that was denied.';
COMMENT ON COLUMN agent.v_intent_semreg_denies.reason IS 'Why; null when no reason was recorded.';
COMMENT ON COLUMN agent.v_intent_semreg_denies.semreg_mode IS 'What the policy registry did.';
COMMENT ON COLUMN agent.v_intent_semreg_denies.n IS 'How many times.';

COMMENT ON VIEW agent.v_intent_arg_fill_failures IS 'Which arguments had to be asked for; an utterance counts once for each argument.';
COMMENT ON COLUMN agent.v_intent_arg_fill_failures.day IS 'Day, UTC.';
COMMENT ON COLUMN agent.v_intent_arg_fill_failures.synthetic IS 'Test, demo and canary traffic.';
COMMENT ON COLUMN agent.v_intent_arg_fill_failures.verb_fqn IS 'The verb whose argument it is; null when none was chosen.';
COMMENT ON COLUMN agent.v_intent_arg_fill_failures.arg IS 'Name of the argument; null when it was asked for without being recorded.';
COMMENT ON COLUMN agent.v_intent_arg_fill_failures.outcome IS 'How it ended.';
COMMENT ON COLUMN agent.v_intent_arg_fill_failures.n IS 'How many times.';

COMMENT ON VIEW agent.v_intent_macro_denies IS 'Macros whose expansion held verbs that policy denied; an utterance counts once for each verb denied.';
COMMENT ON COLUMN agent.v_intent_macro_denies.day IS 'Day, UTC.';
COMMENT ON COLUMN agent.v_intent_macro_denies.synthetic IS 'Test, demo and canary traffic.';
COMMENT ON COLUMN agent.v_intent_macro_denies.macro_fqn IS 'The macro: the verb chosen, or else the one demanded, or else the best candidate; null when none is known.';
COMMENT ON COLUMN agent.v_intent_macro_denies.verb_fqn IS 'The verb that was denied.';
COMMENT ON COLUMN agent.v_intent_macro_denies.outcome IS 'How it ended.';
COMMENT ON COLUMN agent.v_intent_macro_denies.n IS 'How many times.';

COMMENT ON VIEW agent.v_intent_failure_modes IS 'Utterances that did not end as they should: every outcome but matched, scope_resolved and awaiting_confirmation, unknown ones included.';
COMMENT ON COLUMN agent.v_intent_failure_modes.day IS 'Day, UTC.';
COMMENT ON COLUMN agent.v_intent_failure_modes.synthetic IS 'Test, demo and canary traffic.';
COMMENT ON COLUMN agent.v_intent_failure_modes.outcome IS 'How it ended.';
COMMENT ON COLUMN agent.v_intent_failure_modes.error_code IS 'Class or code of the failure; null when there was none.';
COMMENT ON COLUMN agent.v_intent_failure_modes.semreg_mode IS 'What the policy registry did.';
COMMENT ON COLUMN agent.v_intent_failure_modes.n IS 'How many utterances.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Rights: the writer may INSERT and nothing else; nobody has anything by default.
-- ---------------------------------------------------------------------------------------------------------------------

REVOKE ALL ON SCHEMA agent FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA agent FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA agent FROM PUBLIC;

DO $rights$
BEGIN
  -- Roles belong to the cluster: another database's migration may have made it, or be making it at this moment.
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'intent_writer') THEN
    BEGIN
      CREATE ROLE intent_writer NOLOGIN;
      COMMENT ON ROLE intent_writer IS 'May insert telemetry into schema agent, and nothing else.';
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        RAISE NOTICE USING MESSAGE = 'role intent_writer is missing and this user may not create roles; let an administrator run: '
          'CREATE ROLE intent_writer NOLOGIN; '
          'GRANT USAGE ON SCHEMA agent TO intent_writer; '
          'GRANT INSERT ON agent.intent_events, agent.chat_events, agent.intent_outcomes, agent.dead_letters, agent.emitters TO intent_writer;';
    END;
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'intent_writer') THEN
    GRANT USAGE ON SCHEMA agent TO intent_writer;
    GRANT INSERT ON agent.intent_events, agent.chat_events, agent.intent_outcomes, agent.dead_letters, agent.emitters TO intent_writer;
  END IF;
END
$rights$;
