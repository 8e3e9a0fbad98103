-- SPDX-License-Identifier: Apache-2.0
-- Figures of the report that need the items of an utterance's lists, in one pass over the rows that have any.
-- $1 since (in the window), $2 until (not in it), $3 scope or null for all, $4 whether synthetic rows count,
-- $5 rows a section may have. An item counts once an utterance, however often its list repeats it.
-- Equal lists are brought together before they are taken apart: there are far fewer of them than rows.
WITH cells AS MATERIALIZED (
    SELECT
        outcome = 'clarify_args' AS asked,
        chosen_verb_fqn,
        coalesce(chosen_verb_fqn, forced_verb_fqn, verb_candidates_post -> 0 ->> 'verb') AS macro,
        CASE jsonb_typeof(semreg_denied_verbs) WHEN 'array' THEN semreg_denied_verbs END AS denied_verbs,
        semreg_denied_reasons AS denied_reasons,
        CASE jsonb_typeof(macro_denied_verbs) WHEN 'array' THEN macro_denied_verbs END AS macro_denied_verbs,
        missing_args,
        quality,
        count(*) AS n
    FROM agent.v_intent_events
    WHERE
        ts >= $1 AND ts < $2
        AND ($3::text IS NULL OR scope = $3)
        AND ($4::boolean OR NOT synthetic)
        AND (
            outcome = 'clarify_args'
            OR semreg_denied_verbs IS NOT NULL
            OR macro_denied_verbs IS NOT NULL
            OR missing_args IS NOT NULL
            OR quality IS NOT NULL
        )
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
),
items AS (
    SELECT 'semreg_denies' AS section, item.keys, cell.n
    FROM cells AS cell
    CROSS JOIN LATERAL (
        SELECT DISTINCT ARRAY[denied.verb, cell.denied_reasons ->> (denied.place::integer - 1)] AS keys
        FROM jsonb_array_elements_text(cell.denied_verbs) WITH ORDINALITY AS denied (verb, place)
    ) AS item
    UNION ALL
    SELECT 'macro_denies', item.keys, cell.n
    FROM cells AS cell
    CROSS JOIN LATERAL (
        SELECT DISTINCT ARRAY[cell.macro, denied.verb] AS keys
        FROM jsonb_array_elements_text(cell.macro_denied_verbs) AS denied (verb)
    ) AS item
    UNION ALL
    SELECT 'missing_args', item.keys, cell.n
    FROM cells AS cell
    CROSS JOIN LATERAL (
        SELECT DISTINCT ARRAY[cell.chosen_verb_fqn, missing.argument] AS keys
        FROM unnest(cell.missing_args) AS missing (argument)
    ) AS item
    UNION ALL
    SELECT 'missing_args', ARRAY[chosen_verb_fqn, NULL], n
    FROM cells
    WHERE asked AND (cardinality(missing_args) > 0) IS NOT TRUE
    UNION ALL
    SELECT 'quality', item.keys, cell.n
    FROM cells AS cell
    CROSS JOIN LATERAL (
        SELECT DISTINCT ARRAY[mended.flag] AS keys FROM unnest(cell.quality) AS mended (flag)
    ) AS item
),
sections AS (
    SELECT section, keys, sum(n) AS n
    FROM items
    GROUP BY section, keys
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
SELECT section, keys, n::bigint AS n, section_rows, section_n::bigint AS section_n
FROM ranked
WHERE rank <= $5
ORDER BY section, rank
