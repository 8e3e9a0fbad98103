# SPDX-License-Identifier: Apache-2.0
"""From a selected verb to the run sheet: macro check, arguments, confirmation, staging."""

from dataclasses import replace

from intent_events.demo.arguments import fill
from intent_events.demo.conversation import Ask, Plan, Question
from intent_events.demo.exchange import Ending, Exchange, Steps
from intent_events.demo.registry import Verb
from intent_events.demo.replies import action_of
from intent_events.semconv import Outcome, SelectionSource, SemRegMode


def carry_out(steps: Steps, exchange: Exchange, plan: Plan) -> Ending:
    """Bring a selected verb as far as it gets in this turn: staged, or to the next question.

    Args:
        steps: the orchestrator.
        exchange: the utterance.
        plan: the verb; policy has allowed it.
    """
    verb = steps.registry.verbs[plan.candidate.verb]
    if verb.expands_to:
        refusal = _check_macro(steps, exchange, verb)
        if refusal is not None:
            return refusal
        plan = replace(plan, source=SelectionSource.MACRO)
    trace = exchange.trace
    trace.chosen_verb_fqn, trace.selection_source, trace.forced_verb_fqn = verb.verb, plan.source, plan.forced
    filled = fill(verb, exchange.utterance, exchange.values, exchange.ctx, plan.args)
    plan = replace(plan, args=filled.args, missing=filled.missing)
    if plan.missing:
        trace.missing_args = plan.missing
        return _ask(exchange, Ask.ARGS, plan, verb)
    if verb.danger and not plan.confirmed:
        return _ask(exchange, Ask.CONFIRMATION, plan, verb)
    entry = steps.stage(verb.verb, plan.args, exchange)
    trace.dsl_hash, trace.run_sheet_entry_id = entry.dsl_hash, entry.entry_id
    return exchange.end(Outcome.MATCHED, entry, action=action_of(verb), verb=verb.verb)


def _check_macro(steps: Steps, exchange: Exchange, macro: Verb) -> Ending | None:
    ruling = steps.policy(macro.expands_to, exchange.ctx)
    exchange.trace.macro_semreg_checked = ruling.mode in {SemRegMode.APPLIED, SemRegMode.DENY_ALL}
    exchange.trace.macro_denied_verbs = tuple(denial.verb for denial in ruling.denials)
    if not ruling.denials:
        return None
    return exchange.end(
        Outcome.NO_ALLOWED_VERBS, reason=ruling.denials[0].reason, action=action_of(macro), verb=macro.verb
    )


def _ask(exchange: Exchange, ask: Ask, plan: Plan, verb: Verb) -> Ending:
    exchange.conversation.question = Question(ask=ask, event_id=exchange.trace.event_id, plan=plan)
    outcome = Outcome.CLARIFY_ARGS if ask is Ask.ARGS else Outcome.AWAITING_CONFIRMATION
    missing = ", ".join(name.replace("-", " ") for name in plan.missing)
    return exchange.end(outcome, action=action_of(verb), verb=verb.verb, missing=missing)
