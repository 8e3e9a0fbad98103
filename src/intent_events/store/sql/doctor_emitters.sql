-- SPDX-License-Identifier: Apache-2.0
-- What the last heartbeats of the processes say that were heard of lately.
-- $1 seconds of the window for what was dropped; $2 seconds for who fell silent, at least $1.
-- Counts are since the start of a process, so what it had dropped before the window is told too.
WITH heard AS (
    SELECT DISTINCT ON (emitter_id) *
    FROM agent.emitters
    WHERE at >= now() - make_interval(secs => $2) - interval '1 hour'  -- clocks differ
        AND received_at >= now() - make_interval(secs => $2)
    ORDER BY emitter_id, beat DESC
)
SELECT
    heard.service_name,
    heard.host,
    heard.pid,
    heard.spooled,
    extract(epoch FROM now() - heard.received_at)::double precision AS age_s,
    heard.dropped::text AS dropped,
    coalesce(earlier.dropped, '{}')::text AS dropped_before
FROM heard
LEFT JOIN LATERAL (
    SELECT e.dropped
    FROM agent.emitters AS e
    WHERE e.emitter_id = heard.emitter_id AND e.beat <= heard.beat
        AND e.received_at < now() - make_interval(secs => $1)
    ORDER BY e.beat DESC
    LIMIT 1
) AS earlier ON true
WHERE heard.spooled > 0 OR heard.dropped <> '{}'
ORDER BY heard.service_name, heard.host, heard.pid
