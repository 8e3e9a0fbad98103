# SPDX-License-Identifier: Apache-2.0
"""Traffic: utterances of a file as turns of sessions, each with its context; all of it is synthetic."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from itertools import groupby
from typing import Annotated, Literal
from uuid import UUID, uuid4, uuid5

from pydantic import Field

from intent_events.demo.chat import Chat
from intent_events.demo.context import Context, Result
from intent_events.demo.directory import LedgerUnreachableError
from intent_events.demo.files import Strict, bundled, read_jsonl
from intent_events.errors import SettingsError
from intent_events.semconv import Entrypoint, Outcome


class _Line(Strict):
    """One line of a traffic file; only ``utterance`` is needed."""

    utterance: str
    session: str | None = None
    turn: Annotated[int, Field(ge=1)] | None = None
    actor: str = "demo-actor"
    role: str = "analyst"
    entrypoint: str = Entrypoint.CHAT
    phase: str = "intake"
    scope: str | None = None
    subject: Literal["entity", "case", "none"] = "none"
    prompt_version: str | None = None
    semreg: Literal["up", "down"] = "up"
    expected_verb: str | None = None
    expected_outcome: str | None = None
    feedback: Literal["up", "down"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One utterance to be said.

    Attributes:
        session: name of its session in the file.
        utterance: what to say.
        ctx: what comes with it; always synthetic.
        labelled: whether the file says which verb is meant.
        expected_verb: the verb that is meant; None when none is, or when the file does not say.
        expected_outcome: how it must end; None when the file does not say.
        feedback: whether the actor likes the reply; None when they do not say.
    """

    session: str
    utterance: str
    ctx: Context
    labelled: bool = False
    expected_verb: str | None = None
    expected_outcome: str | None = None
    feedback: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One turn that was said.

    Attributes:
        turn: what was said.
        result: what came back; None when the orchestrator failed.
        error: class of the failure, if it failed; never its message.
    """

    turn: Turn
    result: Result | None = None
    error: str | None = None

    @property
    def outcome(self) -> str:
        """How the utterance ended, as its row says it."""
        return Outcome.ERROR if self.result is None else self.result.trace.outcome or Outcome.ERROR

    @property
    def best_verb(self) -> str | None:
        """The verb that the utterance was taken to mean, allowed or not: demanded, chosen, or else ranked first."""
        if self.result is None:
            return None
        trace = self.result.trace
        first = trace.verb_candidates_pre[0].verb if trace.verb_candidates_pre else None
        return trace.forced_verb_fqn or trace.chosen_verb_fqn or first


def load_traffic(
    file: Traversable | None = None, *, turns_per_session: int = 1, run_id: UUID | None = None
) -> tuple[Turn, ...]:
    """Read a traffic file: one utterance a line, sessions together, in the order they are to be said.

    Args:
        file: JSONL (a :class:`pathlib.Path` will do) with at least ``utterance``; the bundled traffic when None.
        turns_per_session: for lines without a session: how many in a row make one.
        run_id: sessions of two runs have different ids unless the runs have the same one; a new one when None.

    Raises:
        SettingsError: the file cannot be read, or a line is wrong; the text names file, line and remedy.
    """
    source = bundled("utterances.jsonl") if file is None else file
    run = uuid4() if run_id is None else run_id
    turns: list[Turn] = []
    counts: dict[str, int] = {}
    for number, (where, line) in enumerate(read_jsonl(_Line, source)):
        session = line.session or f"n{number // max(turns_per_session, 1)}"
        counts[session] = counts.get(session, 0) + 1
        if line.turn is not None and line.turn != counts[session]:
            raise SettingsError(
                f"{where}: turn {line.turn} of session {session} stands where turn {counts[session]} belongs; "
                "number the turns of a session from 1 and keep them in order"
            )
        turns.append(_turn(line, session, run))
    if not turns:
        raise SettingsError(f"{source}: no utterances; write one JSON object a line with an utterance")
    return tuple(turns)


def _turn(line: _Line, session: str, run: UUID) -> Turn:
    session_id = uuid5(run, session)
    ctx = Context(
        session_id=session_id,
        actor_id=line.actor,
        actor_role=line.role,
        entrypoint=line.entrypoint,
        scope=line.scope,
        subject_ref_type=line.subject,
        subject_ref_id=None if line.subject == "none" else uuid5(session_id, line.subject),
        phase=line.phase,
        synthetic=True,
        prompt_version=line.prompt_version,
        semreg_reachable=line.semreg == "up",
    )
    return Turn(
        session=session,
        utterance=line.utterance,
        ctx=ctx,
        labelled="expected_verb" in line.model_fields_set,
        expected_verb=line.expected_verb,
        expected_outcome=line.expected_outcome,
        feedback=None if line.feedback is None else line.feedback == "up",
    )


async def play(chat: Chat, turns: Iterable[Turn]) -> AsyncIterator[Played]:
    """Say every turn, one session after the other, as their users would: react to replies, leave at the end.

    Args:
        chat: the chat to talk to.
        turns: turns of one session stand together.

    Yields:
        Each turn once it is over; a failure of the orchestrator is a turn with an error, and the session goes on.
    """
    for session_id, session in groupby(turns, key=lambda turn: turn.ctx.session_id):
        for turn in session:
            try:
                result = await chat.turn(turn.utterance, turn.ctx)
            except LedgerUnreachableError as error:  # the one back end that is out of order
                yield Played(turn=turn, error=type(error).__name__)
                continue
            if turn.feedback is not None:
                chat.feedback(session_id, helpful=turn.feedback)
            yield Played(turn=turn, result=result)
        chat.close(session_id)
