# SPDX-License-Identifier: Apache-2.0
"""Turns of a session are chained: what follows a question is its answer."""

import asyncio
import os
from typing import Any
from uuid import UUID, uuid4

import pytest

from intent_events import IntentTrace, Outcome, current_trace, record_utterance, recording
from intent_events.instrument.turns import QUESTIONS, Turns
from unit.odd_values import Hostile, Unbound
from unit.traced import UTTERANCE, Traced


def say(session: Any, outcome: str | None, **fields: Any) -> IntentTrace:
    """One utterance of a session."""
    with recording(UTTERANCE, session_id=session, **fields) as trace:
        trace.outcome = outcome
    return trace


@pytest.mark.parametrize("outcome", Outcome)
def test_what_follows_a_question_is_its_answer(outcome: Outcome, traced: Traced) -> None:
    """The next utterance of the session points to the question; nothing points to what was no question."""
    first, second, third = say("s", outcome), say("s", "matched"), say("s", "matched")
    expected = first.event_id if outcome in QUESTIONS else None
    assert [row.parent_event_id for row in traced.rows] == [None, expected, None]
    assert second.parent_event_id == expected
    assert third.parent_event_id is None


def test_questions_in_a_row(traced: Traced) -> None:
    """Each question is answered by the one after it, also when the answer is a question again."""
    events = [say("s", "clarify_verb").event_id for _ in range(3)]
    assert [row.parent_event_id for row in traced.rows] == [None, *events[:2]]


def test_sessions_do_not_mix(traced: Traced) -> None:
    """A question waits for its own session, whatever others say meanwhile."""
    question = say(UUID(int=1), "clarify_args").event_id
    say(UUID(int=2), "matched")
    say(None, "clarify_verb")
    say(None, "matched")
    say(UUID(int=1), "matched")
    assert [row.parent_event_id for row in traced.rows] == [None, None, None, None, question]


def test_the_orchestrator_knows_better(traced: Traced) -> None:
    """A parent that the orchestrator names stands."""
    own = say("other", "matched").event_id
    say("s", "clarify_verb")
    say("s", "matched", parent_event_id=own)
    assert traced.rows[2].parent_event_id == own


def test_a_session_that_only_the_result_names(traced: Traced) -> None:
    """The question is found at the end when the session is not known before."""

    @record_utterance
    def handle(utterance: str, outcome: str) -> IntentTrace:
        assert utterance
        return IntentTrace(session_id="s", outcome=outcome)

    handle(UTTERANCE, "awaiting_confirmation")
    handle(UTTERANCE, "matched")
    first, second = traced.rows
    assert second.parent_event_id == first.event_id


async def test_an_utterance_does_not_answer_what_was_asked_after_it(traced: Traced) -> None:
    """An utterance that began before a question of its session is not the answer; the next one is."""
    asked = asyncio.Event()

    @record_utterance
    async def handle(utterance: str, session_id: str) -> None:
        assert utterance
        assert session_id
        await asked.wait()
        current_trace().outcome = "matched"

    slow = asyncio.create_task(handle(UTTERANCE, "s"))
    await asyncio.sleep(0)
    question = say("s", "clarify_verb").event_id
    asked.set()
    await slow
    say("s", "matched")
    assert [row.parent_event_id for row in traced.rows] == [None, None, question]


@pytest.mark.parametrize("make", [Hostile, Unbound, list, lambda: {"a": 1}, lambda: b"s"])
def test_a_session_that_has_no_text_is_not_chained(make: Any, traced: Traced) -> None:
    """A session id that cannot be read chains nothing, and there are rows."""
    say(make(), "clarify_verb")
    say(make(), "matched")
    assert [row.parent_event_id for row in traced.rows] == [None, None]


def test_a_number_and_its_text_are_one_session(traced: Traced) -> None:
    """Sessions meet as their texts do."""
    question = say(7, "clarify_verb").event_id
    say("7", "matched")
    assert traced.rows[1].parent_event_id == question


def test_the_session_that_was_silent_longest_is_forgotten() -> None:
    """Open questions are bounded in number."""
    turns, events = Turns(limit=3), [uuid4() for _ in range(4)]
    for number in range(3):
        turns.ended(str(number), events[number], "clarify_verb")
    turns.ended("0", events[0], "clarify_verb")
    turns.ended("3", events[3], "clarify_verb")
    assert [turns.answered_by(str(number)) for number in range(4)] == [events[0], None, events[2], events[3]]
    assert [turns.answered_by(str(number)) for number in range(4)] == [None] * 4


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_inherit_a_held_lock() -> None:
    """A fork while another thread holds the lock leaves the child able to go on."""
    turns = Turns()
    turns.ended("s", UUID(int=1), "clarify_verb")
    with getattr(turns, "_lock"):  # noqa: B009 - as another thread would hold it
        child = os.fork()
        if child == 0:
            os._exit(0 if turns.answered_by("s") == UUID(int=1) else 1)
    assert os.waitpid(child, 0)[1] == 0
