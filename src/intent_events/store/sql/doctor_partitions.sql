-- SPDX-License-Identifier: Apache-2.0
-- Partitions of this month and the next that are missing, from the catalogue alone.
-- $1 names of partitioned tables in schema agent.
SELECT parent || to_char(month, '_YYYY_MM') AS name
FROM unnest($1::text[]) WITH ORDINALITY AS asked (parent, place)
CROSS JOIN LATERAL (
    SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => step) AS month
    FROM generate_series(0, 1) AS steps (step)
) AS months
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_inherits AS inherited
    INNER JOIN pg_catalog.pg_class AS partitions ON partitions.oid = inherited.inhrelid
    INNER JOIN pg_catalog.pg_class AS parents ON parents.oid = inherited.inhparent
    INNER JOIN pg_catalog.pg_namespace AS schemas ON schemas.oid = parents.relnamespace
    WHERE schemas.nspname = 'agent'
        AND parents.relname = parent
        AND partitions.relname = parent || to_char(month, '_YYYY_MM')
)
ORDER BY asked.place, month
