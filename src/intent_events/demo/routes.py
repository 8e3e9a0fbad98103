# SPDX-License-Identifier: Apache-2.0
"""The ways that an utterance can go, in the order they are tried; the last one takes whatever is left."""

from collections.abc import Callable
from re import search
from typing import Final

from intent_events.columns import Candidate
from intent_events.demo.answers import answer_args, answer_confirmation, answer_scope, answer_verb
from intent_events.demo.carry_out import carry_out
from intent_events.demo.conversation import Ask, Plan, Question, says_cancel
from intent_events.demo.dsl import Call, DslSyntaxError, looks_like_dsl, parse
from intent_events.demo.exchange import Ending, Exchange, Steps
from intent_events.demo.policy import DSL_NOT_PERMITTED
from intent_events.demo.ranker import telling
from intent_events.demo.registry import VERB_SHAPE
from intent_events.demo.replies import action_of
from intent_events.demo.scopes import wanted_scope
from intent_events.demo.selection import Selection
from intent_events.demo.semreg import Denial
from intent_events.semconv import Outcome, OutcomeKind, SelectionSource

WRITTEN: Final = "dsl"
"""Source of a candidate that the user wrote as DSL."""

NAMED: Final = "named"
"""Source of a candidate that the user named in full."""

DSL_SYNTAX: Final = "dsl_syntax"
"""Error code: direct DSL that is no single call."""

UNKNOWN_VERB: Final = "unknown_verb"
"""Error code: direct DSL with a verb that the registry has not."""

UNKNOWN_ARGUMENT: Final = "unknown_argument"
"""Error code: direct DSL with an argument that the verb has not."""


def withdraw(steps: Steps, exchange: Exchange) -> Ending | None:
    """The actor takes back what they wanted; who has said nothing yet has nothing to take back."""
    del steps  # every route is called alike
    if exchange.conversation.turns == 1 or not says_cancel(exchange.utterance):
        return None
    question = exchange.conversation.question
    if question is not None:
        exchange.answered(question, OutcomeKind.ABANDONED)
    return exchange.end(Outcome.CANCELLED)


def direct_dsl(steps: Steps, exchange: Exchange) -> Ending | None:
    """The actor wrote the DSL themselves: that takes the gate's leave and SemReg's."""
    if not looks_like_dsl(exchange.utterance):
        return None
    exchange.leave_question()
    try:
        call = parse(exchange.utterance)
    except DslSyntaxError:  # a bracket or keyword is missing or misplaced
        return _refuse_dsl(exchange, DSL_SYNTAX)
    verb = steps.registry.verbs.get(call.verb)
    if verb is None or verb.expands_to:
        return _refuse_dsl(exchange, UNKNOWN_VERB)
    if not call.args.keys() <= {argument.name for argument in verb.args}:
        return _refuse_dsl(exchange, UNKNOWN_ARGUMENT)
    exchange.trace.forced_verb_fqn = call.verb
    return _judge_dsl(steps, exchange, call)


def _judge_dsl(steps: Steps, exchange: Exchange, call: Call) -> Ending:
    candidate = Candidate(call.verb, 1.0, WRITTEN)
    ruling = exchange.judge(steps, (candidate,))
    if not steps.gate.admits_dsl(exchange.ctx):
        ruling = ruling._replace(denials=(Denial(call.verb, DSL_NOT_PERMITTED),))
        exchange.trace.verb_candidates_post, exchange.trace.verb_candidates_post_total = (), 0
        exchange.record_denials(ruling)
    if ruling.denials:
        return _refuse_dsl(exchange, ruling.denials[0].reason)
    # The call says all that it wants to say: nothing is read out of its text a second time.
    exchange.values = ()
    plan = Plan(candidate=candidate, source=SelectionSource.USER_CHOICE, forced=call.verb, args=call.args)
    return carry_out(steps, exchange, plan)


def _refuse_dsl(exchange: Exchange, code: str) -> Ending:
    exchange.trace.error_code = code
    return exchange.end(Outcome.DIRECT_DSL_DENIED, reason=code)


def switch_scope(steps: Steps, exchange: Exchange) -> Ending | None:
    """The actor wants to work in another book of business."""
    name = wanted_scope(exchange.utterance) if steps.gate.admits(exchange.ctx) else None
    hits = () if name is None else steps.scopes.find(name)
    if not hits:
        return None
    exchange.leave_question()
    if len(hits) == 1:
        return exchange.resolve_scope(hits[0])
    exchange.conversation.question = Question(ask=Ask.SCOPE, event_id=exchange.trace.event_id, scopes=hits)
    options = exchange.pack.joint.join(f"{number}. {scope.name}" for number, scope in enumerate(hits, start=1))
    return exchange.end(Outcome.SCOPE_CANDIDATES, options=options)


def ask(steps: Steps, exchange: Exchange) -> Ending:
    """The actor wants something: discover, let policy judge, select."""
    exchange.leave_question()
    candidates = exchange.discovered(steps)
    forced = _named_verb(steps, exchange.utterance)
    if forced is None:
        return _follow(steps, exchange, steps.select(candidates, exchange.judge(steps, candidates)), None)
    demanded = Candidate(forced, 1.0, NAMED)
    others = tuple(candidate for candidate in candidates if candidate.verb != forced)
    ruling = exchange.judge(steps, (demanded, *others))
    exchange.trace.forced_verb_fqn = forced
    selection = steps.select((demanded,), ruling)
    return _follow(steps, exchange, _replaced(steps, exchange, selection), forced)


def _named_verb(steps: Steps, utterance: str) -> str | None:
    match = search(VERB_SHAPE, utterance)
    return match.group() if match is not None and match.group() in steps.registry.verbs else None


def _replaced(steps: Steps, exchange: Exchange, selection: Selection) -> Selection:
    """What policy offers in place of a verb that was demanded and denied; the same selection when it offers nothing."""
    instead = selection.denial.instead if selection.denial is not None else None
    if instead is None or steps.policy((instead,), exchange.ctx).denials:
        return selection
    offered = Candidate(instead, None, SelectionSource.SEMREG)
    left = exchange.trace.verb_candidates_post or ()
    exchange.trace.verb_candidates_post = (offered, *(candidate for candidate in left if candidate.verb != instead))
    exchange.trace.verb_candidates_post_total = len(exchange.trace.verb_candidates_post)
    return Selection(Outcome.MATCHED, (offered,), SelectionSource.SEMREG)


def _follow(steps: Steps, exchange: Exchange, selection: Selection, forced: str | None) -> Ending:
    """Go where the selection leads."""
    if selection.source is not None:
        return carry_out(steps, exchange, Plan(candidate=selection.options[0], source=selection.source, forced=forced))
    conversation, event_id = exchange.conversation, exchange.trace.event_id
    words = telling(exchange.words)
    if selection.denial is not None:
        verb = steps.registry.verbs[selection.denial.verb]
        return exchange.end(selection.outcome, reason=selection.denial.reason, action=action_of(verb), verb=verb.verb)
    if not selection.options:
        conversation.unmatched = (event_id, words)
        return exchange.end(selection.outcome)
    options = selection.options[: exchange.pack.max_options]
    conversation.question = Question(
        ask=Ask.VERB, event_id=event_id, words=words, options=options, utterance=exchange.utterance
    )
    listed = exchange.pack.listed([steps.registry.verbs[option.verb] for option in options])
    return exchange.end(selection.outcome, options=listed)


ROUTES: Final[tuple[Callable[[Steps, Exchange], Ending | None], ...]] = (
    withdraw,
    direct_dsl,
    answer_verb,
    answer_args,
    answer_confirmation,
    answer_scope,
    switch_scope,
    ask,
)
"""Every way, in the order they are tried."""
