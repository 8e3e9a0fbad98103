-- SPDX-License-Identifier: Apache-2.0
-- Who recorded in the window, and what is known of each: rows of the window, and the heartbeats around it.
-- $1 since (in the window), $2 until (not in it), $3 emitters to tell of in any case.
-- A row for each of its heartbeats that matter: the last one before the window, the last two in it, the first two after
-- it, and the last of all; one row when it has none. Beats are in their own order: clocks can step back.
WITH rows_seen AS (
    SELECT
        emitter_id,
        min(emitter_seq) AS first,
        max(emitter_seq) AS last,
        max(ts) AS newest
    FROM (
        SELECT emitter_id, emitter_seq, ts FROM agent.intent_events WHERE ts >= $1 AND ts < $2
        UNION ALL
        SELECT emitter_id, emitter_seq, ts FROM agent.chat_events WHERE ts >= $1 AND ts < $2
        UNION ALL
        SELECT emitter_id, emitter_seq, ts FROM agent.intent_outcomes WHERE ts >= $1 AND ts < $2
        UNION ALL
        SELECT emitter_id, emitter_seq, received_at
        FROM agent.dead_letters
        WHERE coalesce(ts, received_at) >= $1 AND coalesce(ts, received_at) < $2
    ) AS recorded
    WHERE emitter_id IS NOT NULL
    GROUP BY emitter_id
),
beats_inside AS (
    SELECT emitter_id, min(beat) AS first, max(beat) AS last
    FROM agent.emitters
    WHERE at >= $1 AND at < $2
    GROUP BY emitter_id
),
known AS (
    SELECT emitter_id FROM rows_seen
    UNION
    SELECT emitter_id FROM beats_inside
    UNION
    SELECT unnest($3::uuid[])
),
edges AS (
    SELECT
        known.emitter_id,
        inside.first AS opening,
        coalesce(inside.first, earlier.last + 1, 1) AS first,
        coalesce(inside.last, earlier.last, 0) AS last
    FROM known
    LEFT JOIN beats_inside AS inside ON inside.emitter_id = known.emitter_id
    LEFT JOIN LATERAL (
        SELECT max(beat) AS last FROM agent.emitters AS e WHERE e.emitter_id = known.emitter_id AND e.at < $1
    ) AS earlier ON inside.first IS NULL
)
SELECT
    edges.emitter_id,
    seen.first,
    seen.last,
    seen.newest,
    coalesce(edges.opening, heard.beat) AS opening,
    heard.place,
    heard.beat,
    heard.at,
    heard.started_at,
    heard.received_at,
    heard.service_name,
    heard.host,
    heard.pid,
    heard.version,
    heard.emitted,
    heard.spooled,
    heard.dropped::text AS dropped
FROM edges
LEFT JOIN rows_seen AS seen ON seen.emitter_id = edges.emitter_id
LEFT JOIN LATERAL (
    (
        SELECT 'before' AS place, e.*
        FROM agent.emitters AS e
        WHERE e.emitter_id = edges.emitter_id AND e.beat < edges.first
        ORDER BY e.beat DESC
        LIMIT 1
    )
    UNION ALL
    (
        SELECT 'inside', e.*
        FROM agent.emitters AS e
        WHERE e.emitter_id = edges.emitter_id AND e.beat BETWEEN edges.first AND edges.last
        ORDER BY e.beat DESC
        LIMIT 2
    )
    UNION ALL
    (
        SELECT 'after', e.*
        FROM agent.emitters AS e
        WHERE e.emitter_id = edges.emitter_id AND e.beat > edges.last
        ORDER BY e.beat
        LIMIT 2
    )
    UNION ALL
    (
        SELECT 'latest', e.*
        FROM agent.emitters AS e
        WHERE e.emitter_id = edges.emitter_id
        ORDER BY e.beat DESC
        LIMIT 1
    )
) AS heard ON true
ORDER BY edges.emitter_id, heard.beat
