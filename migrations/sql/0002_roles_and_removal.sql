-- SPDX-License-Identifier: Apache-2.0
-- Who may do what: roles, views that reviewers read instead of tables, tables that nobody changes, and the two ways to
-- remove rows: by age and by subject. Runs in one transaction.

-- ---------------------------------------------------------------------------------------------------------------------
-- What was removed, and what else an administrator did. Rows are added and never changed.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE agent.admin_audit (
  audit_id     uuid        NOT NULL PRIMARY KEY DEFAULT gen_random_uuid(),
  at           timestamptz NOT NULL DEFAULT now(),
  role_name    text        NOT NULL DEFAULT session_user,
  action       text        NOT NULL,
  subject_mark text,
  mark_key_id  text,
  details      jsonb       NOT NULL DEFAULT '{}'
);

CREATE INDEX admin_audit_at_idx ON agent.admin_audit (at);

-- ---------------------------------------------------------------------------------------------------------------------
-- Append-only: UPDATE, DELETE and TRUNCATE are refused to everybody, owner and superuser included. No trigger is for
-- INSERT or COPY, so writing costs what it did. Row triggers go to partitions by themselves, statement triggers do not:
-- the first refuse what is tried on a partition, the second also what would find no row.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION agent.refuse_change()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  -- Set by the functions below, and by nobody by mistake.
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME <> 'admin_audit'
     AND current_setting('intent_events.removal', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION '% of %.% is refused: it is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege',
      HINT = 'Rows go by age (intent-events retain) or by subject (intent-events erase).';
END
$function$;

CREATE FUNCTION agent.protect()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  kept regclass;
BEGIN
  FOREACH kept IN ARRAY ARRAY['agent.intent_events', 'agent.chat_events', 'agent.intent_outcomes',
                              'agent.dead_letters', 'agent.emitters', 'agent.admin_audit']::regclass[] LOOP
    EXECUTE format(
      'CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
      'FOR EACH STATEMENT EXECUTE FUNCTION agent.refuse_change()', kept);
    EXECUTE format(
      'CREATE OR REPLACE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON %s '
      'FOR EACH ROW EXECUTE FUNCTION agent.refuse_change()', kept);
  END LOOP;
  FOR kept IN
    SELECT inhrelid FROM pg_inherits
    WHERE inhparent IN ('agent.intent_events'::regclass, 'agent.chat_events'::regclass, 'agent.intent_outcomes'::regclass)
  LOOP
    EXECUTE format(
      'CREATE OR REPLACE TRIGGER append_only BEFORE TRUNCATE ON %s '
      'FOR EACH STATEMENT EXECUTE FUNCTION agent.refuse_change()', kept);
  END LOOP;
END
$function$;

CREATE FUNCTION agent.unprotect()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  kept record;
BEGIN
  FOR kept IN
    SELECT tgrelid::regclass AS relation, tgname FROM pg_trigger
    WHERE tgfoid = 'agent.refuse_change()'::regprocedure AND tgparentid = 0
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', kept.tgname, kept.relation);
  END LOOP;
END
$function$;

SELECT agent.protect();

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
        '(LIKE agent.%I INCLUDING COMMENTS INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING STORAGE)',
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

-- ---------------------------------------------------------------------------------------------------------------------
-- What reviewers read. Everybody sees every row, and the views cost nothing, until agent.limit_readers() is called: then
-- a reader sees the rows of the scopes that are granted to a role of theirs.
--
-- Row-level security of Postgres would refuse COPY to the writer, so the views hold the policy: they are all that a
-- reviewer reaches, and then a barrier, so that no function of the reader's sees a row before the policy does.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE agent.scope_grants (
  grantee text NOT NULL,
  scope   text NOT NULL,
  PRIMARY KEY (grantee, scope)
);

-- The columns are those that the tables have at the time: a migration that adds one calls this again.
CREATE FUNCTION agent.make_views()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  limited boolean := EXISTS (
    SELECT FROM pg_class, pg_options_to_table(reloptions)
    WHERE oid = to_regclass('agent.v_intent_events') AND option_name = 'security_barrier' AND option_value::boolean);
  viewed text;
  columns text;
  explained record;
BEGIN
  FOREACH viewed IN ARRAY ARRAY['intent_events', 'chat_events', 'intent_outcomes'] LOOP
    SELECT string_agg(format('e.%I', attname), ', ' ORDER BY attnum) INTO columns
    FROM pg_attribute
    WHERE attrelid = format('agent.%I', viewed)::regclass AND attnum > 0 AND NOT attisdropped;
    EXECUTE format(
      'CREATE OR REPLACE VIEW agent.%I WITH (security_barrier = %s) AS SELECT %s FROM agent.%I AS e %s',
      'v_' || viewed, limited::text, columns, viewed,
      CASE
        WHEN NOT limited THEN ''
        WHEN viewed = 'intent_events' THEN
          'WHERE (SELECT every_scope FROM agent.v_reader_scopes) '
          'OR e.scope = ANY ((SELECT scopes FROM agent.v_reader_scopes)::text[])'
        -- Replies and follow-ups belong to the scope of the utterance that they follow.
        ELSE
          'WHERE (SELECT every_scope FROM agent.v_reader_scopes) '
          'OR EXISTS (SELECT FROM agent.v_intent_events AS seen WHERE seen.event_id = e.intent_event_id)'
      END);
    FOR explained IN
      SELECT attname, col_description(attrelid, attnum) AS meaning FROM pg_attribute
      WHERE attrelid = format('agent.%I', viewed)::regclass AND attnum > 0 AND NOT attisdropped
    LOOP
      EXECUTE format('COMMENT ON COLUMN agent.%I.%I IS %L', 'v_' || viewed, explained.attname, explained.meaning);
    END LOOP;
  END LOOP;
END
$function$;

CREATE VIEW agent.v_reader_scopes AS
SELECT true AS every_scope, '{}'::text[] AS scopes;

SELECT agent.make_views();

CREATE FUNCTION agent.limit_readers()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  CREATE OR REPLACE VIEW agent.v_reader_scopes AS
  SELECT granted.every_scope AND asked.scope IS NULL AS every_scope,
         CASE
           WHEN asked.scope IS NULL THEN granted.scopes
           WHEN granted.every_scope OR asked.scope = ANY (granted.scopes) THEN ARRAY[asked.scope]
           ELSE '{}'
         END AS scopes
  FROM (
    SELECT has_table_privilege('agent.intent_events', 'SELECT') OR coalesce(bool_or(scope = '*'), false) AS every_scope,
           coalesce(array_agg(DISTINCT scope) FILTER (WHERE scope <> '*'), '{}') AS scopes
    FROM agent.scope_grants
    WHERE pg_has_role(to_regrole(quote_ident(grantee))::oid, 'USAGE')
  ) AS granted
  -- A session may narrow what it sees to one scope: SET intent_events.scope = '…'. It can never widen it.
  CROSS JOIN (SELECT nullif(current_setting('intent_events.scope', true), '') AS scope) AS asked;
  ALTER VIEW agent.v_intent_events SET (security_barrier = true);
  PERFORM agent.make_views();
END
$function$;

-- The views of figures read through the same policy.

CREATE OR REPLACE VIEW agent.v_intent_top_clarify_verbs AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       synthetic,
       verb_candidates_post -> 0 ->> 'verb' AS verb_fqn,
       verb_candidates_post -> 1 ->> 'verb' AS runner_up_verb_fqn,
       count(*) AS n
FROM agent.v_intent_events
WHERE outcome = 'clarify_verb'
GROUP BY 1, 2, 3, 4;

CREATE OR REPLACE VIEW agent.v_intent_semreg_overrides AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       synthetic,
       forced_verb_fqn,
       chosen_verb_fqn,
       semreg_mode,
       outcome,
       count(*) AS n
FROM agent.v_intent_events
WHERE forced_verb_fqn IS NOT NULL
  AND forced_verb_fqn IS DISTINCT FROM chosen_verb_fqn
GROUP BY 1, 2, 3, 4, 5, 6;

CREATE OR REPLACE VIEW agent.v_intent_semreg_denies AS
SELECT (e.ts AT TIME ZONE 'UTC')::date AS day,
       e.synthetic,
       denied.verb_fqn,
       denied.reason,
       e.semreg_mode,
       count(*) AS n
FROM agent.v_intent_events AS e
CROSS JOIN LATERAL (
  SELECT DISTINCT item.verb_fqn, e.semreg_denied_reasons ->> (item.place::integer - 1) AS reason
  FROM jsonb_array_elements_text(
    CASE jsonb_typeof(e.semreg_denied_verbs) WHEN 'array' THEN e.semreg_denied_verbs END
  ) WITH ORDINALITY AS item (verb_fqn, place)
) AS denied
GROUP BY 1, 2, 3, 4, 5;

CREATE OR REPLACE VIEW agent.v_intent_arg_fill_failures AS
SELECT (e.ts AT TIME ZONE 'UTC')::date AS day,
       e.synthetic,
       e.chosen_verb_fqn AS verb_fqn,
       missing.arg,
       e.outcome,
       count(*) AS n
FROM agent.v_intent_events AS e
LEFT JOIN LATERAL (SELECT DISTINCT item.arg FROM unnest(e.missing_args) AS item (arg)) AS missing ON true
WHERE e.outcome = 'clarify_args'
   OR cardinality(e.missing_args) > 0
GROUP BY 1, 2, 3, 4, 5;

CREATE OR REPLACE VIEW agent.v_intent_macro_denies AS
SELECT (e.ts AT TIME ZONE 'UTC')::date AS day,
       e.synthetic,
       coalesce(e.chosen_verb_fqn, e.forced_verb_fqn, e.verb_candidates_post -> 0 ->> 'verb') AS macro_fqn,
       denied.verb_fqn,
       e.outcome,
       count(*) AS n
FROM agent.v_intent_events AS e
CROSS JOIN LATERAL (
  SELECT DISTINCT item.verb_fqn
  FROM jsonb_array_elements_text(
    CASE jsonb_typeof(e.macro_denied_verbs) WHEN 'array' THEN e.macro_denied_verbs END
  ) AS item (verb_fqn)
) AS denied
GROUP BY 1, 2, 3, 4, 5;

CREATE OR REPLACE VIEW agent.v_intent_failure_modes AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       synthetic,
       outcome,
       error_code,
       semreg_mode,
       count(*) AS n
FROM agent.v_intent_events
WHERE outcome NOT IN ('matched', 'scope_resolved', 'awaiting_confirmation')
GROUP BY 1, 2, 3, 4, 5;

-- ---------------------------------------------------------------------------------------------------------------------
-- Removal by age: everything before the first day of a month (UTC) goes. Partitions are dropped as a whole; what lies in
-- a default partition, and the dead letters and heartbeats of that time, go row by row.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION agent.retention_plan(older_than interval)
RETURNS TABLE (relation text, part text, step text, since timestamptz, until timestamptz, n bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  edge timestamptz := date_trunc('month', (now() - older_than) AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
  IF older_than IS NULL OR older_than < interval '0' THEN
    RAISE EXCEPTION 'agent.retention_plan: older_than must be an interval of time that has passed, not %', older_than
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR relation, part, step, since, until IN
    SELECT parents.relname, parts.relname,
           CASE WHEN bounds.is_default THEN 'delete' WHEN bounds.until <= edge THEN 'drop' ELSE 'keep' END,
           bounds.since, CASE WHEN bounds.is_default THEN edge ELSE bounds.until END
    FROM unnest(ARRAY['intent_events', 'chat_events', 'intent_outcomes']) WITH ORDINALITY AS asked (name, place)
    INNER JOIN pg_class AS parents ON parents.oid = format('agent.%I', asked.name)::regclass
    INNER JOIN pg_inherits ON inhparent = parents.oid
    INNER JOIN pg_class AS parts ON parts.oid = inhrelid
    CROSS JOIN LATERAL (SELECT pg_get_expr(parts.relpartbound, parts.oid) AS bound) AS bounded
    CROSS JOIN LATERAL (
      SELECT bound = 'DEFAULT' AS is_default,
             substring(bound FROM 'FROM \(''([^'']+)''\)')::timestamptz AS since,
             substring(bound FROM 'TO \(''([^'']+)''\)')::timestamptz AS until
    ) AS bounds
    WHERE bounds.is_default OR bounds.since IS NULL OR bounds.since < edge
    ORDER BY asked.place, bounds.since NULLS LAST, parts.relname
  LOOP
    EXECUTE format('SELECT count(*) FROM agent.%I WHERE ts < $1', part) INTO n USING edge;
    RETURN NEXT;
  END LOOP;
  FOR relation IN VALUES ('dead_letters'), ('emitters') LOOP
    part := relation;
    step := 'delete';
    since := NULL;
    until := edge;
    EXECUTE format('SELECT count(*) FROM agent.%I WHERE received_at < $1', relation) INTO n USING edge;
    RETURN NEXT;
  END LOOP;
END
$function$;

CREATE FUNCTION agent.retain(older_than interval)
RETURNS TABLE (relation text, part text, step text, since timestamptz, until timestamptz, n bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Whoever reads a table for hours must not make every writer queue behind this function.
SET lock_timeout = '10s'
AS $function$
DECLARE
  audit jsonb := '[]';
BEGIN
  PERFORM pg_advisory_xact_lock(7597120008731241);
  -- In the order in which the writer fills the tables, so that the two cannot wait for each other in a circle, and
  -- before anything is counted: what is counted is what goes.
  LOCK TABLE ONLY agent.intent_events, ONLY agent.chat_events, ONLY agent.intent_outcomes IN ACCESS EXCLUSIVE MODE;
  PERFORM set_config('intent_events.removal', 'on', true);
  FOR relation, part, step, since, until, n IN SELECT * FROM agent.retention_plan(older_than) LOOP
    IF step = 'drop' THEN
      EXECUTE format('DROP TABLE agent.%I', part);
    ELSIF step = 'delete' THEN
      EXECUTE format(
        'DELETE FROM agent.%I WHERE %I < $1', part,
        CASE WHEN part = relation THEN 'received_at' ELSE 'ts' END)
        USING until;
      GET DIAGNOSTICS n = ROW_COUNT;
    END IF;
    IF step = 'drop' OR (step = 'delete' AND n > 0) THEN
      audit := audit || jsonb_build_object('part', part, 'step', step, 'rows', n);
    END IF;
    RETURN NEXT;
  END LOOP;
  PERFORM set_config('intent_events.removal', '', true);
  INSERT INTO agent.admin_audit (action, details)
  VALUES ('retain', jsonb_build_object('older_than', older_than::text, 'removed', audit));
END
$function$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Removal by subject: every row of an actor or a session, and what follows them. What is left of a record is its number
-- in its process, without which the ledger would call it lost.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION agent.erase_subject(
  actors text[], sessions uuid[], mark text DEFAULT NULL, mark_key text DEFAULT NULL, unstored jsonb DEFAULT '[]'
)
RETURNS TABLE (audit uuid, intent_events bigint, chat_events bigint, intent_outcomes bigint, dead_letters bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10s'
AS $function$
#variable_conflict use_column
DECLARE
  gone_events uuid[];
  gone_traces text[];
  own_sessions uuid[];
  numbers jsonb;
  more jsonb;
BEGIN
  IF cardinality(actors) IS NULL OR cardinality(sessions) IS NULL OR cardinality(actors) + cardinality(sessions) = 0 THEN
    RAISE EXCEPTION 'agent.erase_subject: name at least one actor or session'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM set_config('intent_events.removal', 'on', true);

  WITH gone AS (
    DELETE FROM agent.intent_events AS e WHERE e.actor_id = ANY (actors) OR e.session_id = ANY (sessions)
    RETURNING e.event_id, e.ts, e.trace_id, e.session_id, e.emitter_id, e.emitter_seq
  )
  SELECT count(*), coalesce(array_agg(event_id), '{}'), coalesce(array_agg(DISTINCT trace_id), '{}'),
         coalesce(array_agg(DISTINCT session_id), '{}'),
         coalesce(jsonb_agg(jsonb_build_array(emitter_id, emitter_seq, ts)) FILTER (WHERE emitter_seq IS NOT NULL), '[]')
  INTO erase_subject.intent_events, gone_events, gone_traces, own_sessions, numbers
  FROM gone;

  -- Sessions in which nobody else spoke: a reply there that names no utterance is the subject's too.
  own_sessions := sessions || ARRAY(
    SELECT s FROM unnest(own_sessions) AS s
    WHERE NOT EXISTS (SELECT FROM agent.intent_events AS e WHERE e.session_id = s)
  );
  WITH gone AS (
    DELETE FROM agent.chat_events AS c WHERE c.intent_event_id = ANY (gone_events) OR c.session_id = ANY (own_sessions)
    RETURNING c.ts, c.emitter_id, c.emitter_seq
  )
  SELECT count(*),
         coalesce(jsonb_agg(jsonb_build_array(emitter_id, emitter_seq, ts)) FILTER (WHERE emitter_seq IS NOT NULL), '[]')
  INTO erase_subject.chat_events, more
  FROM gone;
  numbers := numbers || more;

  WITH gone AS (
    DELETE FROM agent.intent_outcomes AS o WHERE o.intent_event_id = ANY (gone_events)
    RETURNING o.ts, o.emitter_id, o.emitter_seq
  )
  SELECT count(*),
         coalesce(jsonb_agg(jsonb_build_array(emitter_id, emitter_seq, ts)) FILTER (WHERE emitter_seq IS NOT NULL), '[]')
  INTO erase_subject.intent_outcomes, more
  FROM gone;
  numbers := numbers || more;

  -- A dead letter holds no actor and no session: it is the subject's when its trace was, and nobody else's.
  IF EXISTS (SELECT FROM agent.dead_letters AS d WHERE d.trace_id = ANY (gone_traces)) THEN
    WITH gone AS (
      DELETE FROM agent.dead_letters AS d
      WHERE d.trace_id = ANY (gone_traces)
        AND NOT EXISTS (SELECT FROM agent.intent_events AS e WHERE e.trace_id = d.trace_id)
      RETURNING coalesce(d.ts, d.received_at) AS ts, d.emitter_id, d.emitter_seq
    )
    SELECT count(*),
           coalesce(jsonb_agg(jsonb_build_array(emitter_id, emitter_seq, ts)) FILTER (WHERE emitter_seq IS NOT NULL), '[]')
    INTO erase_subject.dead_letters, more
    FROM gone;
    numbers := numbers || more;
  ELSE
    erase_subject.dead_letters := 0;
  END IF;
  PERFORM set_config('intent_events.removal', '', true);

  -- Of the time, the hour alone.
  INSERT INTO agent.dead_letters (dead_letter_id, ts, door, reason, emitter_id, emitter_seq)
  SELECT gen_random_uuid(), date_trunc('hour', (number ->> 2)::timestamptz, 'UTC'), 'erase', 'erased',
         (number ->> 0)::uuid, (number ->> 1)::bigint
  FROM jsonb_array_elements(numbers || unstored) AS number;

  INSERT INTO agent.admin_audit (action, subject_mark, mark_key_id, details)
  VALUES ('erase', mark, mark_key, jsonb_build_object(
    'by', CASE WHEN cardinality(actors) > 0 THEN 'actor' ELSE 'session' END,
    'intent_events', erase_subject.intent_events, 'chat_events', erase_subject.chat_events,
    'intent_outcomes', erase_subject.intent_outcomes, 'dead_letters', erase_subject.dead_letters,
    'spooled', jsonb_array_length(unstored)))
  RETURNING audit_id INTO erase_subject.audit;
  RETURN NEXT;
END
$function$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Roles
-- ---------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION agent.grant_roles()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  reader text;
  readable regclass;
BEGIN
  IF to_regrole('intent_writer') IS NOT NULL THEN
    GRANT USAGE ON SCHEMA agent TO intent_writer;
    GRANT INSERT ON agent.intent_events, agent.chat_events, agent.intent_outcomes, agent.dead_letters, agent.emitters
      TO intent_writer;
  END IF;
  FOREACH reader IN ARRAY ARRAY['intent_reviewer', 'intent_tuner', 'intent_owner'] LOOP
    CONTINUE WHEN to_regrole(reader) IS NULL;
    EXECUTE format('GRANT USAGE ON SCHEMA agent TO %I', reader);
    FOR readable IN SELECT oid FROM pg_class WHERE relnamespace = 'agent'::regnamespace AND relkind = 'v' LOOP
      EXECUTE format('GRANT SELECT ON %s TO %I', readable, reader);
    END LOOP;
  END LOOP;
  -- When, and by whom, is the server's to say.
  IF to_regrole('intent_tuner') IS NOT NULL THEN
    GRANT INSERT (action, details) ON agent.admin_audit TO intent_tuner;
  END IF;
  IF to_regrole('intent_owner') IS NOT NULL THEN
    GRANT SELECT ON agent.intent_events, agent.chat_events, agent.intent_outcomes, agent.dead_letters, agent.emitters,
      agent.admin_audit, agent.scope_grants, agent.schema_version TO intent_owner;
    GRANT INSERT, DELETE ON agent.scope_grants TO intent_owner;
    GRANT EXECUTE ON FUNCTION agent.retention_plan(interval), agent.retain(interval),
      agent.erase_subject(text[], uuid[], text, text, jsonb) TO intent_owner;
  END IF;
END
$function$;

-- Settings of a role hold for whoever logs in as that very role, not for its members. So each login gets its own.
CREATE FUNCTION agent.enroll(login text, role_name text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  settings constant jsonb := jsonb_build_object(
    'intent_writer', jsonb_build_object('statement_timeout', '60s'),
    'intent_reviewer', jsonb_build_object('statement_timeout', '60s', 'default_transaction_read_only', 'on'),
    'intent_tuner', jsonb_build_object('statement_timeout', '60s'),
    'intent_owner', jsonb_build_object('statement_timeout', '1h'));
  setting record;
BEGIN
  IF NOT coalesce(settings ? role_name, false) OR to_regrole(role_name) IS NULL THEN
    RAISE EXCEPTION 'agent.enroll: % is missing, or none of intent_writer, intent_reviewer, intent_tuner, intent_owner',
      role_name USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('GRANT %I TO %I', role_name, login);
  FOR setting IN
    SELECT key, value FROM jsonb_each_text(
      settings -> role_name || '{"lock_timeout": "10s", "idle_in_transaction_session_timeout": "5min"}')
  LOOP
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %I = %L', login, current_database(), setting.key, setting.value);
  END LOOP;
  EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = agent, pg_temp', login, current_database());
END
$function$;

DO $roles$
DECLARE
  wanted record;
  missing text := '';
BEGIN
  FOR wanted IN
    SELECT * FROM (VALUES
      ('intent_reviewer', 'May read the views of schema agent, and no table.'),
      ('intent_tuner', 'May read the views of schema agent and write rules and proposals.'),
      ('intent_owner', 'May read schema agent, and remove rows by age and by subject.')
    ) AS roles (name, means)
  LOOP
    -- Roles belong to the cluster: another database's migration may have made it, or be making it at this moment.
    CONTINUE WHEN to_regrole(wanted.name) IS NOT NULL;
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', wanted.name);
      EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.name, wanted.means);
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN missing := missing || format('CREATE ROLE %I NOLOGIN; ', wanted.name);
    END;
  END LOOP;
  IF missing <> '' THEN
    RAISE NOTICE USING MESSAGE = 'roles are missing and this user may not create them; let an administrator run: '
      || missing || 'SELECT agent.grant_roles();';
  END IF;
END
$roles$;

SELECT agent.grant_roles();

REVOKE ALL ON ALL TABLES IN SCHEMA agent FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA agent FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------
-- Comments
-- ---------------------------------------------------------------------------------------------------------------------

COMMENT ON TABLE agent.admin_audit IS 'What administrators did, one row a deed; append-only, without any way around.';
COMMENT ON COLUMN agent.admin_audit.audit_id IS 'The deed; a command that did it prints this.';
COMMENT ON COLUMN agent.admin_audit.at IS 'When, by the clock of this server.';
COMMENT ON COLUMN agent.admin_audit.role_name IS 'The role that was logged in.';
COMMENT ON COLUMN agent.admin_audit.action IS 'retain, erase; later versions add others.';
COMMENT ON COLUMN agent.admin_audit.subject_mark IS 'Keyed fingerprint of whose rows were erased, never the id; null without a key.';
COMMENT ON COLUMN agent.admin_audit.mark_key_id IS 'Which key made the mark.';
COMMENT ON COLUMN agent.admin_audit.details IS 'Counts, and no content.';

COMMENT ON TABLE agent.scope_grants IS 'Which roles see the rows of which scopes in the views, once agent.limit_readers() was called.';
COMMENT ON COLUMN agent.scope_grants.grantee IS 'Name of a role; members of it count.';
COMMENT ON COLUMN agent.scope_grants.scope IS 'A scope, or * for all of them and for rows without one.';

COMMENT ON VIEW agent.v_reader_scopes IS 'What this session sees in the other views.';
COMMENT ON COLUMN agent.v_reader_scopes.every_scope IS 'Whether it sees every row.';
COMMENT ON COLUMN agent.v_reader_scopes.scopes IS 'The scopes that it sees otherwise.';
COMMENT ON VIEW agent.v_intent_events IS 'agent.intent_events as far as this reader may see it.';
COMMENT ON VIEW agent.v_chat_events IS 'agent.chat_events as far as this reader may see it: replies to utterances that it sees.';
COMMENT ON VIEW agent.v_intent_outcomes IS 'agent.intent_outcomes as far as this reader may see it: follow-ups of utterances that it sees.';

COMMENT ON FUNCTION agent.make_views() IS 'Makes v_intent_events, v_chat_events and v_intent_outcomes anew, with the columns that the tables have now.';
COMMENT ON FUNCTION agent.limit_readers() IS 'From now on the views show a reader the scopes of agent.scope_grants and nothing else.';
COMMENT ON FUNCTION agent.refuse_change() IS 'Refuses UPDATE, DELETE and TRUNCATE.';
COMMENT ON FUNCTION agent.protect() IS 'Makes the tables append-only for everybody; safe to run again.';
COMMENT ON FUNCTION agent.unprotect() IS 'Takes that back. For Citus, which distributes no table with triggers.';
COMMENT ON FUNCTION agent.retention_plan(interval) IS 'What agent.retain would remove, and what it would keep although some of it is older; changes nothing.';
COMMENT ON FUNCTION agent.retain(interval) IS 'Removes everything before the month in which that time ago lies: drops partitions, deletes from default partitions, dead letters and heartbeats. Leaves a row in agent.admin_audit.';
COMMENT ON FUNCTION agent.erase_subject(text[], uuid[], text, text, jsonb) IS 'Removes the rows of these actors and sessions with what follows them. Leaves a row in agent.admin_audit.';
COMMENT ON FUNCTION agent.grant_roles() IS 'Grants the roles that exist what they may do; safe to run again.';
COMMENT ON FUNCTION agent.enroll(text, text) IS 'Makes a login a member of a role, with its search_path and time-outs in this database.';
