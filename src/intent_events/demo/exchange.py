# SPDX-License-Identifier: Apache-2.0
"""One utterance while it is being handled: what is known of it, and what has been recorded so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from intent_events.columns import Candidate
from intent_events.demo.context import Context, FollowUp
from intent_events.demo.conversation import Ask, Conversation, Question
from intent_events.demo.policy import PolicyGate
from intent_events.demo.ranker import telling, words_of
from intent_events.demo.registry import Registry
from intent_events.demo.replies import PromptPack
from intent_events.demo.run_sheet import Entry
from intent_events.demo.scopes import Scope, Scopes
from intent_events.demo.selection import Selection
from intent_events.demo.semreg import Ruling
from intent_events.demo.values import Value, find_values, without_values
from intent_events.instrument import current_trace
from intent_events.semconv import Outcome, OutcomeKind
from intent_events.trace import IntentTrace


class Steps(Protocol):
    """What the routes of an utterance use of the orchestrator: its data and its four steps."""

    @property
    def registry(self) -> Registry:
        """The verbs."""
        ...

    @property
    def gate(self) -> PolicyGate:
        """Who may come in where."""
        ...

    @property
    def scopes(self) -> Scopes:
        """The books of business."""
        ...

    def discover(self, text: str) -> tuple[Candidate, ...]:
        """Verbs that a text may mean, best first."""
        ...

    def policy(self, verbs: Sequence[str], ctx: Context) -> Ruling:
        """Which verbs are not allowed, and why."""
        ...

    def select(self, candidates: Sequence[Candidate], ruling: Ruling) -> Selection:
        """One verb, or the reason why there is none."""
        ...

    def stage(self, verb: str, args: Mapping[str, str], exchange: "Exchange") -> Entry:
        """Put a verb on the run sheet."""
        ...


class Ending(NamedTuple):
    """How the handling of an utterance ended.

    Attributes:
        reply: what to tell the actor.
        entry: what was staged, if anything was.
    """

    reply: str
    entry: Entry | None = None


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One utterance while it is being handled.

    Attributes:
        utterance: what was said.
        ctx: what came with it.
        conversation: state of its session.
        pack: how to reply.
        trace: what is recorded about it.
        values: names, dates, amounts … in it.
        words: its stemmed words, values left out.
        unmatched: the utterance before it when nothing fitted that, with its words.
        follow_ups: what it says about earlier utterances.
    """

    utterance: str
    ctx: Context
    conversation: Conversation
    pack: PromptPack
    trace: IntentTrace
    values: tuple[Value, ...]
    words: tuple[str, ...]
    unmatched: tuple[UUID, frozenset[str]] | None = None
    follow_ups: list[FollowUp] = field(default_factory=list[FollowUp])
    _discovered: tuple[Candidate, ...] | None = None

    @property
    def text(self) -> str:
        """The utterance without its values: what tells verbs apart."""
        return without_values(self.utterance, self.values)

    def discovered(self, steps: Steps) -> tuple[Candidate, ...]:
        """Candidates for this utterance; discovery runs once however often it is asked."""
        if self._discovered is None:
            self._discovered = steps.discover(self.text)
        return self._discovered

    def judge(self, steps: Steps, candidates: Sequence[Candidate]) -> Ruling:
        """Let policy judge candidates and record both lists: what was found, and what is left."""
        ruling = steps.policy([candidate.verb for candidate in candidates], self.ctx)
        trace, denied = self.trace, ruling.denied
        left = [candidate for candidate in candidates if candidate.verb not in denied]
        trace.verb_candidates_pre, trace.verb_candidates_pre_total = tuple(candidates), len(candidates)
        trace.verb_candidates_post, trace.verb_candidates_post_total = tuple(left), len(left)
        self.record_denials(ruling)
        return ruling

    def record_denials(self, ruling: Ruling) -> None:
        """Record what policy did."""
        self.trace.semreg_mode = ruling.mode
        self.trace.semreg_denied_verbs = tuple(denial.verb for denial in ruling.denials)
        self.trace.semreg_denied_reasons = tuple(denial.reason for denial in ruling.denials)
        self.trace.semreg_snapshot_id = ruling.snapshot_id

    def end(self, outcome: Outcome, entry: Entry | None = None, **fields: str) -> Ending:
        """End with an outcome and the reply that belongs to it.

        Args:
            outcome: how the utterance ended.
            entry: what was staged, if anything was.
            **fields: what the reply may speak of.
        """
        self.trace.outcome = outcome
        return Ending(self.pack.reply(outcome, **fields), entry)

    def question(self, ask: Ask) -> Question | None:
        """The open question, when it is of this kind."""
        question = self.conversation.question
        return question if question is not None and question.ask is ask else None

    def answered(self, question: Question, kind: OutcomeKind | None = None) -> None:
        """The open question is answered; ``kind`` is what became of the utterance that led to it."""
        self.conversation.question = None
        if kind is not None:
            self.follow_ups.append(FollowUp(question.event_id, kind))

    def leave_question(self) -> None:
        """Something new was said: tell rephrasing the last request from giving it up, by the words they share."""
        said = telling(self.words)
        question = self.conversation.question
        if question is not None:
            again = question.ask is Ask.VERB and bool(said & question.words)
            self.answered(question, OutcomeKind.REPHRASED if again else OutcomeKind.ABANDONED)
        if self.unmatched is not None and said & self.unmatched[1]:
            self.follow_ups.append(FollowUp(self.unmatched[0], OutcomeKind.REPHRASED))

    def resolve_scope(self, scope: Scope) -> Ending:
        """Work in a scope from now on."""
        self.conversation.scope = scope
        self.trace.scope = scope.id
        return self.end(Outcome.SCOPE_RESOLVED, scope=scope.name)


def open_exchange(
    utterance: str, ctx: Context, conversation: Conversation, pack: PromptPack, registry: Registry
) -> Exchange:
    """Begin with an utterance: everything that is known before any step is taken is recorded at once."""
    values = find_values(utterance, registry.vocabulary)
    unmatched, conversation.unmatched = conversation.unmatched, None
    conversation.turns += 1
    # The trace of the recording, if one is open: so an utterance that fails half-way keeps what was recorded till then.
    trace = current_trace()
    trace.session_id, trace.actor_id, trace.entrypoint = ctx.session_id, ctx.actor_id, ctx.entrypoint
    trace.scope = conversation.scope.id if conversation.scope else ctx.scope
    trace.subject_ref_type, trace.subject_ref_id = ctx.subject_ref_type, ctx.subject_ref_id
    trace.prompt_version, trace.registry_version = pack.version, registry.version
    trace.synthetic = ctx.synthetic
    return Exchange(
        utterance=utterance,
        ctx=ctx,
        conversation=conversation,
        pack=pack,
        trace=trace,
        values=values,
        words=words_of(without_values(utterance, values)),
        unmatched=unmatched,
    )
