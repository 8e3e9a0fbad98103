# SPDX-License-Identifier: Apache-2.0
"""The run sheet: what was staged, what ran, what was undone. Execution fails by rules, so it fails alike every time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from re import match
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from intent_events.demo.dsl import Call, dsl_hash, generate
from intent_events.demo.registry import Registry

UNDO_VERB: Final = "run-sheet.undo"
"""The verb that takes back what was executed last."""

LARGEST_PERCENT: Final = 100.0
"""A percentage beyond it is refused by the back office."""


class Status(StrEnum):
    """What happened to an entry."""

    STAGED = "staged"
    EXECUTED = "executed"
    FAILED = "failed"
    UNDONE = "undone"


class ExecutionError(Exception):
    """The back office refused an entry.

    Attributes:
        code: why: ``precondition_unmet``, ``duplicate_entry``, ``value_out_of_range``, ``nothing_to_undo`` or
            ``not_staged``. Also the whole message, so that no value can be in it.
    """

    def __init__(self, code: str) -> None:
        """Refuse for a reason.

        Args:
            code: why.
        """
        super().__init__(code)
        self.code = code


@dataclass(slots=True, eq=False)
class Entry:
    """One line of the run sheet.

    Attributes:
        entry_id: its key.
        session_id: the conversation that staged it.
        event_id: the utterance that staged it.
        calls: what to do, in order.
        dsl: the same as DSL text.
        dsl_hash: SHA-256 of the DSL text, hex.
        status: what happened to it.
    """

    entry_id: UUID
    session_id: UUID
    event_id: UUID
    calls: tuple[Call, ...]
    dsl: str
    dsl_hash: str
    status: Status = Status.STAGED


class Execution(NamedTuple):
    """What an execution did.

    Attributes:
        entry: what was executed.
        undone: the earlier entry that it took back, if any.
    """

    entry: Entry
    undone: Entry | None = None


@dataclass(slots=True)
class RunSheet:
    """Entries of all live conversations, each conversation's own in the order of staging."""

    registry: Registry
    _sessions: dict[UUID, list[Entry]] = field(default_factory=dict[UUID, list[Entry]])

    def stage(self, session_id: UUID, event_id: UUID, calls: Sequence[Call]) -> Entry:
        """Put calls on the sheet; nothing is executed.

        Args:
            session_id: the conversation.
            event_id: the utterance that asked for it.
            calls: at least one call.
        """
        dsl = generate(calls)
        entry = Entry(uuid4(), session_id, event_id, tuple(calls), dsl, dsl_hash(dsl))
        self._sessions.setdefault(session_id, []).append(entry)
        return entry

    def execute(self, entry: Entry) -> Execution:
        """Execute a staged entry: all of its calls, or none of them.

        Raises:
            ExecutionError: a rule of the back office refused it; the entry is then ``failed``.
        """
        before = self._executed(entry.session_id)
        try:
            undone = self._check(entry, before)
        except ExecutionError:
            entry.status = Status.FAILED
            raise
        entry.status = Status.EXECUTED
        if undone is not None:
            undone.status = Status.UNDONE
        return Execution(entry, undone)

    def entries(self, session_id: UUID) -> tuple[Entry, ...]:
        """All entries of a conversation, oldest first."""
        return tuple(self._sessions.get(session_id, ()))

    def forget(self, session_id: UUID) -> None:
        """Drop the entries of a conversation that is over."""
        self._sessions.pop(session_id, None)

    def _executed(self, session_id: UUID) -> list[Entry]:
        return [entry for entry in self.entries(session_id) if entry.status is Status.EXECUTED]

    def _check(self, entry: Entry, before: list[Entry]) -> Entry | None:
        """The entry to undo, if that is what is asked; whatever is wrong is raised."""
        if entry.status is not Status.STAGED:
            raise ExecutionError("not_staged")
        if entry.calls[0].verb == UNDO_VERB:
            undoable = [done for done in before if done.calls[0].verb != UNDO_VERB]
            if not undoable:
                raise ExecutionError("nothing_to_undo")
            return undoable[-1]
        if any(call.args for call in entry.calls) and entry.dsl_hash in {done.dsl_hash for done in before}:
            raise ExecutionError("duplicate_entry")
        done = {call.verb for earlier in before for call in earlier.calls}
        for call in entry.calls:
            after = self.registry.verbs[call.verb].after
            if after and done.isdisjoint(after):
                raise ExecutionError("precondition_unmet")
            self._check_range(call)
            done.add(call.verb)
        return None

    def _check_range(self, call: Call) -> None:
        percents = {argument.name for argument in self.registry.verbs[call.verb].args if argument.type == "percent"}
        if any(_number(call.args[name]) > LARGEST_PERCENT for name in percents & call.args.keys()):
            raise ExecutionError("value_out_of_range")


def _number(value: str) -> float:
    found = match(r"\d+(?:\.\d+)?", value)
    return 0.0 if found is None else float(found.group()) / (LARGEST_PERCENT if "b" in value.lower() else 1)
