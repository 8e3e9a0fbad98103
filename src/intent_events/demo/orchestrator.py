# SPDX-License-Identifier: Apache-2.0
"""The orchestrator: one utterance in, one verb staged or one question asked. It runs the same without telemetry."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from intent_events.columns import Candidate
from intent_events.demo import selection
from intent_events.demo.context import Context, FollowUp, Result
from intent_events.demo.conversation import Conversations
from intent_events.demo.directory import Directory
from intent_events.demo.dsl import Call
from intent_events.demo.exchange import Exchange, open_exchange
from intent_events.demo.policy import PolicyGate, load_gate
from intent_events.demo.ranker import Ranker
from intent_events.demo.registry import Registry, load_registry
from intent_events.demo.replies import Prompts, load_prompts
from intent_events.demo.routes import ROUTES
from intent_events.demo.run_sheet import Entry, RunSheet
from intent_events.demo.scopes import Scopes, load_scopes
from intent_events.demo.selection import Selection, Thresholds
from intent_events.demo.semreg import Denial, Ruling, SemReg, load_semreg
from intent_events.semconv import OutcomeKind


class Orchestrator:
    """Turns utterances into verbs of a DSL, under policy, and stages them on a run sheet.

    Attributes:
        registry: the verbs.
        semreg: what policy allows.
        gate: who may come in where.
        scopes: the books of business.
        run_sheet: what was staged.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        semreg: SemReg | None = None,
        gate: PolicyGate | None = None,
        prompts: Prompts | None = None,
        scopes: Scopes | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        """Use these parts; whatever is not given is the demo's own.

        Args:
            registry: the verbs.
            semreg: the policy registry.
            gate: the policy gate.
            prompts: the prompt packs.
            scopes: the catalogue of scopes.
            thresholds: when to choose, when to ask back, when to give up.
        """
        self.registry = registry or load_registry()
        self.semreg = semreg or load_semreg()
        self.gate = gate or load_gate()
        self.scopes = scopes or load_scopes()
        self.run_sheet = RunSheet(self.registry)
        self._prompts = prompts or load_prompts()
        self._thresholds = thresholds or Thresholds()
        self._ranker = Ranker(self.registry)
        self._directory = Directory()
        self._conversations = Conversations()

    async def handle_utterance(self, utterance: str, ctx: Context) -> Result:
        """Handle one utterance: take it back, answer a question, switch the scope, or find the verb it means.

        Args:
            utterance: what was said, or DSL.
            ctx: what is known about it.

        Returns:
            What to reply, what was recorded, and what was staged to be executed.

        Raises:
            LedgerUnreachableError: what was said needs a record of the legacy ledger.
            SettingsError: the context asks for a prompt version that there is not.
        """
        pack = self._prompts.pack(ctx.prompt_version)
        exchange = open_exchange(utterance, ctx, self._conversations.of(ctx.session_id), pack, self.registry)
        exchange.record_denials(self.semreg.judge((), ctx))
        ending = next(ending for route in ROUTES if (ending := route(self, exchange)) is not None)
        return Result(
            reply=ending.reply, trace=exchange.trace, entry=ending.entry, follow_ups=tuple(exchange.follow_ups)
        )

    def discover(self, text: str) -> tuple[Candidate, ...]:
        """First step: verbs that a text may mean, before anybody asks whether they are allowed.

        Args:
            text: what was said, without its values.
        """
        return self._ranker.rank(text, self._thresholds.limit)

    def policy(self, verbs: Sequence[str], ctx: Context) -> Ruling:
        """Second step: which verbs are not allowed, by SemReg or by the gate, and why.

        Args:
            verbs: fully qualified verbs.
            ctx: who asks, where, about what, in which phase.
        """
        ruling = self.semreg.judge(verbs, ctx)
        # SemReg's reasons come first: they say more than the gate's.
        reasons: dict[str, Denial] = {denial.verb: denial for denial in ruling.denials}
        for denial in self.gate.refusals((self.registry.verbs[verb] for verb in verbs), ctx):
            reasons.setdefault(denial.verb, denial)
        return ruling._replace(denials=tuple(reasons[verb] for verb in verbs if verb in reasons))

    def select(self, candidates: Sequence[Candidate], ruling: Ruling) -> Selection:
        """Third step: one verb, several to ask about, or none.

        Args:
            candidates: what discovery found, best first.
            ruling: what policy says about them.
        """
        return selection.select(candidates, ruling, self._thresholds)

    def stage(self, verb: str, args: Mapping[str, str], exchange: Exchange) -> Entry:
        """Fourth step: put a verb, or the verbs of a macro, on the run sheet; nothing is executed.

        Args:
            verb: fully qualified verb; it is allowed, and nothing that it needs is missing.
            args: values by argument name.
            exchange: the utterance.

        Raises:
            LedgerUnreachableError: an argument names a record of the legacy ledger.
        """
        self._directory.look_up(args.values(), exchange.utterance)
        calls = [
            Call(step.verb, {argument.name: args[argument.name] for argument in step.args if argument.name in args})
            for step in self.registry.steps(verb)
        ]
        return self.run_sheet.stage(exchange.ctx.session_id, exchange.trace.event_id, calls)

    def end_session(self, session_id: UUID) -> tuple[FollowUp, ...]:
        """Forget a conversation.

        Args:
            session_id: the conversation; one that is not known is no error.

        Returns:
            The utterance whose question stays without an answer, as abandoned; nothing when there is none.
        """
        self.run_sheet.forget(session_id)
        conversation = self._conversations.end(session_id)
        if conversation is None or conversation.question is None:
            return ()
        return (FollowUp(conversation.question.event_id, OutcomeKind.ABANDONED),)
