# SPDX-License-Identifier: Apache-2.0
"""Answers to what the orchestrator asked before: a pick, a value, a yes or no, a scope.

Each function ends the utterance when it is such an answer, and gives None when it is something else.
"""

from dataclasses import replace
from typing import Final

from intent_events.columns import Candidate
from intent_events.demo.arguments import fill, fill_from_answer
from intent_events.demo.carry_out import carry_out
from intent_events.demo.conversation import (
    Ask,
    Plan,
    Question,
    picked,
    picked_by_words,
    says_no,
    says_none,
    says_yes,
)
from intent_events.demo.exchange import Ending, Exchange, Steps
from intent_events.demo.ranker import telling, words_of
from intent_events.demo.replies import action_of
from intent_events.demo.scopes import mentioned
from intent_events.demo.values import find_values
from intent_events.semconv import Outcome, OutcomeKind, SelectionSource

OFFERED: Final = "offered"
"""Source of a candidate that the user picked from those that were offered."""

CONVERSATION: Final = "conversation"
"""Source of a candidate that an earlier turn selected and this one completes."""

_LONGEST_PICK: Final = 7
_SHORTEST_REQUEST: Final = 4
_CERTAIN: Final = 0.6


def answer_verb(steps: Steps, exchange: Exchange) -> Ending | None:
    """The answer to "did you mean …"."""
    question = exchange.question(Ask.VERB)
    if question is None:
        return None
    if says_none(exchange.utterance):
        exchange.answered(question)
        exchange.judge(steps, question.options)
        return exchange.end(Outcome.NO_MATCH)
    at = picked(exchange.utterance, len(question.options))
    if at is None:
        at = _named_option(steps, exchange, question)
    if at is None:
        return None
    exchange.answered(question, OutcomeKind.PICKED)
    option = question.options[at]
    verb = steps.registry.verbs[option.verb]
    # What was asked for at first still holds its values: the pick only says which verb they are for.
    known = fill(verb, question.utterance, find_values(question.utterance, steps.registry.vocabulary), exchange.ctx)
    plan = Plan(candidate=option, source=SelectionSource.USER_CHOICE, args=known.args)
    return _resume(steps, exchange, plan, tuple(other._replace(source=OFFERED) for other in question.options))


def answer_args(steps: Steps, exchange: Exchange) -> Ending | None:
    """The answer to "which …?"."""
    question = exchange.question(Ask.ARGS)
    if question is None or question.plan is None or _is_new_request(steps, exchange, question.plan.candidate.verb):
        return None
    plan = question.plan
    verb = steps.registry.verbs[plan.candidate.verb]
    filled = fill_from_answer(verb, plan.missing, exchange.utterance, exchange.values, exchange.ctx, plan.args)
    if filled.missing == plan.missing:
        return None
    exchange.answered(question)
    exchange.values = ()  # they are in the plan now: no other argument may take them a second time
    return _resume(steps, exchange, replace(plan, args=filled.args), _completed(plan))


def answer_confirmation(steps: Steps, exchange: Exchange) -> Ending | None:
    """The answer to "are you sure?"."""
    question = exchange.question(Ask.CONFIRMATION)
    if question is None or question.plan is None:
        return None
    if says_no(exchange.utterance):
        exchange.answered(question, OutcomeKind.ABANDONED)
        return exchange.end(Outcome.CANCELLED)
    if not says_yes(exchange.utterance):
        return None
    exchange.answered(question)
    return _resume(steps, exchange, replace(question.plan, confirmed=True), _completed(question.plan))


def answer_scope(steps: Steps, exchange: Exchange) -> Ending | None:
    """The answer to "which of these books?"."""
    del steps  # every route is called alike
    question = exchange.question(Ask.SCOPE)
    if question is None:
        return None
    if says_none(exchange.utterance):
        exchange.answered(question, OutcomeKind.ABANDONED)
        return exchange.end(Outcome.CANCELLED)
    at = picked(exchange.utterance, len(question.scopes))
    scope = mentioned(exchange.utterance, question.scopes) if at is None else question.scopes[at]
    if scope is None:
        return None
    exchange.answered(question, OutcomeKind.PICKED)
    return exchange.resolve_scope(scope)


def _resume(steps: Steps, exchange: Exchange, plan: Plan, candidates: tuple[Candidate, ...]) -> Ending:
    """Go on with a verb of an earlier turn; policy is asked again, for it may have changed its mind since."""
    denial = exchange.judge(steps, candidates).denied.get(plan.candidate.verb)
    if denial is not None:
        action = action_of(steps.registry.verbs[denial.verb])
        return exchange.end(Outcome.NO_ALLOWED_VERBS, reason=denial.reason, action=action, verb=denial.verb)
    return carry_out(steps, exchange, plan)


def _completed(plan: Plan) -> tuple[Candidate, ...]:
    return (plan.candidate._replace(source=CONVERSATION),)


def _named_option(steps: Steps, exchange: Exchange, question: Question) -> int | None:
    """The option that a short answer names by some of its words."""
    offered = [option.verb for option in question.options]
    if len(exchange.words) > _LONGEST_PICK or _is_new_request(steps, exchange, *offered):
        return None
    verbs = [steps.registry.verbs[verb] for verb in offered]
    return picked_by_words(
        telling(exchange.words), [telling(words_of(f"{verb.verb} {verb.description}")) for verb in verbs]
    )


def _is_new_request(steps: Steps, exchange: Exchange, *expected: str) -> bool:
    """Whether an utterance says clearly that it wants something else than what was asked about."""
    if len(exchange.words) < _SHORTEST_REQUEST:
        return False
    best = next(iter(exchange.discovered(steps)), None)
    return best is not None and best.score is not None and best.score >= _CERTAIN and best.verb not in expected
