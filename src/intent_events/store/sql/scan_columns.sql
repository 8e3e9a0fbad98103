-- SPDX-License-Identifier: Apache-2.0
-- Every column of schema agent that can hold a text, by table. Partitions are read with their table. The time of a row
-- is that of the column which says when it happened or came, and which no row lacks.
WITH typed AS (
    SELECT
        c.oid,
        c.relname::text AS relation,
        a.attnum,
        a.attname::text AS name,
        a.attnotnull AND t.typname = 'timestamptz' AS is_time,
        CASE
            WHEN t.typcategory = 'S' THEN 'text'
            WHEN t.typname IN ('json', 'jsonb') THEN 'json'
            WHEN t.typname = 'bytea' THEN 'bytes'
            WHEN e.typcategory = 'S' OR e.typname IN ('json', 'jsonb') THEN 'texts'
        END AS holds
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
    WHERE n.nspname = 'agent' AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
        AND a.attnum > 0 AND NOT a.attisdropped
)

SELECT
    t.relation AS name,
    format('agent.%I', t.relation) AS quoted,
    array_agg(t.name ORDER BY t.attnum) FILTER (WHERE t.holds IS NOT NULL) AS columns,
    array_agg(t.holds ORDER BY t.attnum) FILTER (WHERE t.holds IS NOT NULL) AS holds,
    array_agg(
        CASE t.holds
            WHEN 'bytes' THEN format('%I', t.name)
            WHEN 'texts' THEN format('%I::text[]', t.name)
            ELSE format('%I::text', t.name)
        END
        ORDER BY t.attnum
    ) FILTER (WHERE t.holds IS NOT NULL) AS expressions,
    (
        array_agg(format('%I', t.name) ORDER BY array_position(ARRAY['ts', 'received_at', 'at'], t.name))
        FILTER (WHERE t.is_time AND t.name IN ('ts', 'received_at', 'at'))
    )[1] AS time
FROM typed AS t
GROUP BY t.oid, t.relation
HAVING bool_or(t.holds IS NOT NULL)
ORDER BY t.relation
