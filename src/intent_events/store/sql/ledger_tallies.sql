-- SPDX-License-Identifier: Apache-2.0
-- Where the numbers of each emitter are, and which are nowhere.
-- $1 emitters, and for each: $2 the number before its first, $3 its last, $4 the last one that must be somewhere by now,
-- $5 its numbers in spools and $6 those that it dropped, as multiranges; $7 and $8 rows of which time are looked at (null:
-- of any), $9 ranges that are told an emitter. The greatest bigint is no number: a range could not end after it.
WITH plan AS MATERIALIZED (
    SELECT *
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
        AS planned (emitter_id, base, top, due, spooled, dropped)
),
recorded AS (
    SELECT emitter_id, emitter_seq AS number, false AS dead
    FROM agent.intent_events
    WHERE emitter_id = ANY($1) AND ($7::timestamptz IS NULL OR ts >= $7) AND ($8::timestamptz IS NULL OR ts < $8)
    UNION ALL
    SELECT emitter_id, emitter_seq, false
    FROM agent.chat_events
    WHERE emitter_id = ANY($1) AND ($7::timestamptz IS NULL OR ts >= $7) AND ($8::timestamptz IS NULL OR ts < $8)
    UNION ALL
    SELECT emitter_id, emitter_seq, false
    FROM agent.intent_outcomes
    WHERE emitter_id = ANY($1) AND ($7::timestamptz IS NULL OR ts >= $7) AND ($8::timestamptz IS NULL OR ts < $8)
    UNION ALL
    -- Of any time: a dead letter's own may be what was wrong with it.
    SELECT emitter_id, emitter_seq, true
    FROM agent.dead_letters
    WHERE emitter_id = ANY($1)
),
unnumbered AS (
    SELECT emitter_id, count(*) AS n FROM recorded WHERE number IS NULL GROUP BY emitter_id
),
numbered AS (
    SELECT
        recorded.emitter_id,
        recorded.number,
        recorded.dead,
        -- A number counts once, and as stored when it is both stored and dead.
        lag(recorded.number, 1, plan.base) OVER (
            PARTITION BY recorded.emitter_id ORDER BY recorded.number, recorded.dead
        ) AS previous
    FROM recorded
    INNER JOIN plan ON plan.emitter_id = recorded.emitter_id
    WHERE recorded.number > plan.base AND recorded.number <= plan.top AND recorded.number < 9223372036854775807
),
counted AS (
    SELECT
        emitter_id,
        count(*) FILTER (WHERE number > previous AND NOT dead) AS stored,
        count(*) FILTER (WHERE number > previous AND dead) AS dead,
        max(number) AS reached,
        range_agg(int8range(previous + 1, number)) FILTER (WHERE number > previous + 1) AS holes
    FROM numbered
    GROUP BY emitter_id
),
gaps AS (
    SELECT
        plan.*,
        counted.stored,
        counted.dead,
        coalesce(counted.holes, int8multirange())
        + int8multirange(int8range(coalesce(counted.reached, plan.base) + 1, greatest(plan.top, counted.reached) + 1))
        AS holes
    FROM plan
    LEFT JOIN counted ON counted.emitter_id = plan.emitter_id
),
lacking AS (
    SELECT
        gaps.*,
        holes * spooled::int8multirange AS waiting,
        -- A number explains itself only, and none that another door has stored although it was dropped here.
        (holes - spooled::int8multirange) * dropped::int8multirange AS given_up,
        holes - spooled::int8multirange - dropped::int8multirange AS open,
        (holes - spooled::int8multirange - dropped::int8multirange)
        * int8multirange(int8range(base + 1, greatest(due, base) + 1)) AS overdue
    FROM gaps
)
SELECT
    lacking.emitter_id,
    coalesce(lacking.stored, 0) AS stored,
    coalesce(lacking.dead, 0) AS dead,
    coalesce(unnumbered.n, 0) AS unnumbered,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(waiting) AS r) AS spooled,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(open) AS r) AS open,
    (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(overdue) AS r) AS overdue,
    (SELECT count(*) FROM unnest(overdue)) AS gap_ranges,
    ARRAY(SELECT lower(r) FROM unnest(overdue) AS r ORDER BY r LIMIT $9) AS gaps_from,
    ARRAY(SELECT upper(r) - 1 FROM unnest(overdue) AS r ORDER BY r LIMIT $9) AS gaps_to,
    ARRAY(SELECT lower(r) FROM unnest(given_up) AS r ORDER BY r) AS dropped_from,
    ARRAY(SELECT upper(r) - 1 FROM unnest(given_up) AS r ORDER BY r) AS dropped_to
FROM lacking
LEFT JOIN unnumbered ON unnumbered.emitter_id = lacking.emitter_id
