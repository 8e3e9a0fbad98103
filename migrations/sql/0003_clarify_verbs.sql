-- SPDX-License-Identifier: Apache-2.0
-- Schema of intent-events, revision 0003: an orchestrator without a policy step records its candidates before policy and
-- none after it, and its questions count by those. Runs in one transaction.

CREATE OR REPLACE VIEW agent.v_intent_top_clarify_verbs AS
SELECT (ts AT TIME ZONE 'UTC')::date AS day,
       synthetic,
       coalesce(verb_candidates_post, verb_candidates_pre) -> 0 ->> 'verb' AS verb_fqn,
       coalesce(verb_candidates_post, verb_candidates_pre) -> 1 ->> 'verb' AS runner_up_verb_fqn,
       count(*) AS n
FROM agent.v_intent_events
WHERE outcome = 'clarify_verb'
GROUP BY 1, 2, 3, 4;

COMMENT ON VIEW agent.v_intent_top_clarify_verbs IS 'Which verbs the orchestrator asked back about most: the top candidate that policy left, or where no such list was recorded that of discovery, with its runner-up.';
COMMENT ON COLUMN agent.v_intent_top_clarify_verbs.verb_fqn IS 'The best candidate; null when no list was recorded, or policy left none.';
COMMENT ON COLUMN agent.v_intent_top_clarify_verbs.runner_up_verb_fqn IS 'The second best; null when there was one candidate only.';
