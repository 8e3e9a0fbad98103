-- SPDX-License-Identifier: Apache-2.0
-- Every figure of the report that needs one value an utterance, in one pass over the window.
-- $1 since (in the window), $2 until (not in it), $3 scope or null for all, $4 whether synthetic rows count,
-- $5 rows a section may have, $6 outcomes that are no failure.
-- The pass makes cells, few beside the rows, and can run in parallel; sections are sums of cells.
WITH cells AS MATERIALIZED (
    SELECT
        synthetic,
        outcome,
        error_code,
        semreg_mode,
        chosen_verb_fqn,
        forced_verb_fqn,
        prompt_version,
        CASE WHEN outcome = 'clarify_verb' THEN coalesce(verb_candidates_post, verb_candidates_pre) #>> '{0,verb}' END
            AS candidate,
        CASE WHEN outcome = 'clarify_verb' THEN coalesce(verb_candidates_post, verb_candidates_pre) #>> '{1,verb}' END
            AS runner_up,
        count(*) AS n,
        count(*) FILTER (WHERE jsonb_typeof(semreg_denied_verbs) = 'array' AND semreg_denied_verbs <> '[]') AS denied,
        count(*) FILTER (
            WHERE macro_semreg_checked OR (jsonb_typeof(macro_denied_verbs) = 'array' AND macro_denied_verbs <> '[]')
        ) AS macros,
        count(*) FILTER (WHERE outcome = 'clarify_args' OR cardinality(missing_args) > 0) AS lacking
    FROM agent.v_intent_events
    WHERE ts >= $1 AND ts < $2 AND ($3::text IS NULL OR scope = $3)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
),
counted AS MATERIALIZED (
    SELECT * FROM cells WHERE $4::boolean OR NOT synthetic
),
sections AS (
    SELECT 'outcomes' AS section, ARRAY[outcome] AS keys, sum(n) AS n
    FROM counted
    GROUP BY outcome
    UNION ALL
    SELECT 'semreg_modes', ARRAY[semreg_mode], sum(n)
    FROM counted
    GROUP BY semreg_mode
    UNION ALL
    SELECT 'failure_modes', ARRAY[outcome, error_code, semreg_mode], sum(n)
    FROM counted
    WHERE outcome <> ALL ($6::text[])
    GROUP BY outcome, error_code, semreg_mode
    UNION ALL
    SELECT 'hottest_verbs', ARRAY[chosen_verb_fqn], sum(n)
    FROM counted
    WHERE chosen_verb_fqn IS NOT NULL
    GROUP BY chosen_verb_fqn
    UNION ALL
    SELECT 'clarify_verbs', ARRAY[candidate, runner_up], sum(n)
    FROM counted
    WHERE outcome = 'clarify_verb'
    GROUP BY candidate, runner_up
    UNION ALL
    SELECT 'semreg_overrides', ARRAY[forced_verb_fqn, chosen_verb_fqn], sum(n)
    FROM counted
    WHERE forced_verb_fqn IS NOT NULL AND forced_verb_fqn IS DISTINCT FROM chosen_verb_fqn
    GROUP BY forced_verb_fqn, chosen_verb_fqn
    UNION ALL
    SELECT 'prompt_outcomes', ARRAY[prompt_version, outcome], sum(n)
    FROM counted
    GROUP BY prompt_version, outcome
    UNION ALL
    SELECT 'of_synthetic', ARRAY[]::text[], sum(n)
    FROM cells
    WHERE synthetic
    UNION ALL
    SELECT base.section, ARRAY[]::text[], base.n
    FROM
        (
            SELECT
                sum(n) FILTER (WHERE forced_verb_fqn IS NOT NULL) AS forced,
                sum(denied) AS denied,
                sum(macros) AS macros,
                sum(lacking) AS lacking
            FROM counted
        ) AS totals
    CROSS JOIN LATERAL (
        VALUES
        ('of_semreg_overrides', totals.forced),
        ('of_semreg_denies', totals.denied),
        ('of_macro_denies', totals.macros),
        ('of_missing_args', totals.lacking)
    ) AS base (section, n)
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
SELECT
    section,
    keys,
    coalesce(n, 0)::bigint AS n,
    section_rows,
    coalesce(section_n, 0)::bigint AS section_n
FROM ranked
WHERE rank <= $5 OR section IN ('outcomes', 'semreg_modes', 'prompt_outcomes')
ORDER BY section, rank
