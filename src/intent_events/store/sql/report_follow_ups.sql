-- SPDX-License-Identifier: Apache-2.0
-- What became of the utterances of the window, whenever it became known.
-- $1 since (in the window), $2 until (not in it), $3 scope or null for all, $4 whether synthetic rows count,
-- $5 rows a section may have, $6 and $7 the window as keys: a UUIDv7 begins with its time.
-- A follow-up of a kind counts once an utterance, however often it was recorded.
WITH followed AS MATERIALIZED (
    SELECT DISTINCT
        follow_up.intent_event_id,
        event.event_id IS NULL AS orphan,
        event.prompt_version,
        follow_up.kind,
        follow_up.error_code
    FROM agent.v_intent_outcomes AS follow_up
    LEFT JOIN agent.v_intent_events AS event
        ON event.event_id = follow_up.intent_event_id AND event.ts >= $1 AND event.ts < $2
    WHERE
        follow_up.intent_event_id >= $6 AND follow_up.intent_event_id < $7
        -- Leaves older partitions out; a day allows for the clocks of two hosts.
        AND follow_up.ts >= $1::timestamptz - interval '1 day'
        AND (event.event_id IS NULL OR $3::text IS NULL OR event.scope = $3)
        AND ($4::boolean OR NOT coalesce(event.synthetic, follow_up.synthetic))
),
sections AS (
    SELECT 'follow_ups' AS section, ARRAY[kind, error_code] AS keys, count(*) AS n
    FROM followed
    WHERE NOT orphan
    GROUP BY kind, error_code
    UNION ALL
    SELECT 'prompt_follow_ups', ARRAY[prompt_version, kind], count(DISTINCT intent_event_id)
    FROM followed
    WHERE NOT orphan
    GROUP BY prompt_version, kind
    UNION ALL
    SELECT 'of_follow_ups', ARRAY[]::text[], count(DISTINCT intent_event_id)
    FROM followed
    WHERE NOT orphan
    UNION ALL
    SELECT 'of_orphans', ARRAY[]::text[], count(DISTINCT intent_event_id)
    FROM followed
    WHERE orphan
),
ranked AS (
    SELECT
        section,
        keys,
        n,
        row_number() OVER (PARTITION BY section ORDER BY n DESC, keys COLLATE "C") AS rank,
        count(*) OVER (PARTITION BY section) AS section_rows,
        sum(n) OVER (PARTITION BY section) AS section_n
    FROM sections
)
SELECT section, keys, n, section_rows, section_n::bigint AS section_n
FROM ranked
WHERE rank <= $5 OR section = 'prompt_follow_ups'
ORDER BY section, rank
