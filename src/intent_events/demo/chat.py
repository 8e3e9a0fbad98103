# SPDX-License-Identifier: Apache-2.0
"""A chat: drives the orchestrator turn by turn, executes what was staged, and records what became of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from intent_events.demo.context import Context, FollowUp, Result
from intent_events.demo.orchestrator import Orchestrator
from intent_events.demo.run_sheet import Entry, ExecutionError
from intent_events.instrument import record_outcome, record_reply
from intent_events.semconv import OutcomeKind


@dataclass(slots=True)
class _Session:
    turns: int = 0
    event_id: UUID | None = None
    synthetic: bool = False


class Chat:
    """Conversations with one orchestrator."""

    __slots__ = ("_orchestrator", "_sessions")

    def __init__(self, orchestrator: Orchestrator) -> None:
        """Talk to this orchestrator.

        Args:
            orchestrator: whose ``handle_utterance`` may be instrumented or not.
        """
        self._orchestrator = orchestrator
        self._sessions: dict[UUID, _Session] = {}

    async def turn(self, utterance: str, ctx: Context) -> Result:
        """One turn: handle the utterance, reply, and execute what it staged.

        An execution that fails is recorded and never raised.

        Args:
            utterance: what was said.
            ctx: what is known about it.

        Raises:
            LedgerUnreachableError: see :meth:`Orchestrator.handle_utterance`.
            SettingsError: see :meth:`Orchestrator.handle_utterance`.
        """
        session = self._sessions.setdefault(ctx.session_id, _Session())
        session.turns += 1
        session.synthetic = ctx.synthetic
        result = await self._orchestrator.handle_utterance(utterance, ctx)
        trace = result.trace
        session.event_id = trace.event_id
        record_reply(
            trace.event_id,
            result.reply,
            session_id=ctx.session_id,
            turn_id=session.turns,
            prompt_version=trace.prompt_version,
            synthetic=ctx.synthetic,
        )
        _record(result.follow_ups, synthetic=ctx.synthetic)
        if result.entry is not None:
            self._execute(result.entry, synthetic=ctx.synthetic)
        return result

    def feedback(self, session_id: UUID, *, helpful: bool) -> None:
        """The actor liked the last reply of a session, or did not; a session without any reply is passed over.

        Args:
            session_id: the conversation.
            helpful: thumbs up or thumbs down.
        """
        session = self._sessions.get(session_id)
        if session is not None and session.event_id is not None:
            kind = OutcomeKind.FEEDBACK_UP if helpful else OutcomeKind.FEEDBACK_DOWN
            record_outcome(session.event_id, kind, synthetic=session.synthetic)

    def close(self, session_id: UUID) -> None:
        """The conversation is over: a question that nobody answered is recorded as abandoned.

        Args:
            session_id: the conversation.
        """
        session = self._sessions.pop(session_id, _Session())
        _record(self._orchestrator.end_session(session_id), synthetic=session.synthetic)

    def _execute(self, entry: Entry, *, synthetic: bool) -> None:
        try:
            execution = self._orchestrator.run_sheet.execute(entry)
        except ExecutionError as error:  # the back office refused the entry
            record_outcome(entry.event_id, OutcomeKind.EXECUTION_FAILED, error_type=error.code, synthetic=synthetic)
            return
        record_outcome(entry.event_id, OutcomeKind.EXECUTED, synthetic=synthetic)
        if execution.undone is not None:
            record_outcome(execution.undone.event_id, OutcomeKind.UNDONE, synthetic=synthetic)


def _record(follow_ups: Iterable[FollowUp], *, synthetic: bool) -> None:
    for follow_up in follow_ups:
        record_outcome(follow_up.event_id, follow_up.kind, synthetic=synthetic)
