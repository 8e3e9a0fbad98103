# SPDX-License-Identifier: Apache-2.0
"""The context manager for orchestrators that record by themselves, and the trace of the current context."""

import asyncio
import contextvars
from collections.abc import Generator
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import get_current_span

from intent_events import IntentTrace, current_trace, record_utterance, recording
from intent_events.columns import UTTERANCE as COLUMNS
from intent_events.identity import is_uuid7
from intent_events.trace import TRACE_FIELDS
from unit.handlers import calling, same
from unit.traced import UTTERANCE, Traced


def test_a_recording(traced: Traced) -> None:
    """The block is the utterance: its fields and its trace are the row."""
    with recording(UTTERANCE, session_id="s-1", actor_id="a-1") as trace:
        assert trace is current_trace()
        assert trace.session_id == "s-1"
        trace.outcome = "matched"
    row = traced.row
    assert (row.event_id, row.outcome, row.actor_id) == (trace.event_id, "matched", "a-1")
    assert row.utterance_preview == "assign <name?> <number> as custodian"


async def test_a_recording_around_code_that_waits(traced: Traced) -> None:
    """The same block works in asynchronous code, and tasks that it starts are within it."""
    with recording(UTTERANCE) as trace:
        assert await asyncio.create_task(asyncio.to_thread(current_trace)) is trace
        trace.outcome = "no_match"
    assert traced.row.outcome == "no_match"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError(UTTERANCE), "error"), (KeyboardInterrupt(), "cancelled"), (asyncio.CancelledError(), "cancelled")],
    ids=repr,
)
def test_an_exception_in_the_block(error: BaseException, outcome: str, traced: Traced) -> None:
    """What the block raises is raised, the very same, and only its type is recorded."""
    with pytest.raises(type(error)) as caught, recording(UTTERANCE):
        raise error
    assert caught.value is error
    assert traced.row.outcome == outcome
    assert traced.root.status.description is None
    assert not traced.root.events


@pytest.mark.parametrize("fields", [{"sesion_id": "s"}, {"event_id": UUID(int=1)}, {"delivery": None}])
def test_a_misspelt_field(fields: dict[str, Any], traced: Traced) -> None:
    """A field that a trace does not take is said at once, by its name, and nothing is recorded."""
    with pytest.raises(TypeError, match=next(iter(fields))), recording(UTTERANCE, **fields):
        pytest.fail("the block must not run")
    assert not traced.spans


def test_a_misspelt_field_of_a_trace() -> None:
    """A trace itself takes no unknown field either, at its making or later."""
    with pytest.raises(TypeError, match="sesion_id"):
        IntentTrace(sesion_id="s")  # pyright: ignore[reportCallIssue] - the mistake
    with pytest.raises(AttributeError, match="sesion_id"):
        IntentTrace().sesion_id = "s"  # pyright: ignore[reportAttributeAccessIssue] - the mistake


def test_every_field_of_a_trace_is_recorded(traced: Traced) -> None:
    """Every field can be given to the block, and each has a column, is a list of candidates, or masks the preview."""
    lists = {name for name in TRACE_FIELDS if name.startswith("verb_candidates")} | {"entity_spans"}
    assert set(TRACE_FIELDS) - lists <= set(COLUMNS)
    with recording(UTTERANCE, **dict.fromkeys(TRACE_FIELDS)):
        pass
    assert traced.row.outcome == "unknown"


def test_without_an_utterance_there_is_a_trace_of_nothing() -> None:
    """Code of a handler runs the same when nobody records: each time a fresh trace that belongs to nothing."""
    trace = current_trace()
    trace.outcome = "matched"
    assert is_uuid7(trace.event_id)
    assert current_trace() is not trace
    assert current_trace().outcome is None
    assert (trace.telemetry_persisted, trace.telemetry_committed, trace.wait_committed(0)) == (False, False, False)


async def test_a_trace_of_nothing_is_never_committed() -> None:
    """Whoever awaits a trace that nobody records is told at once."""
    assert await IntentTrace().committed(60) is False


def test_suppressed(traced: Traced) -> None:
    """Within ``suppress_instrumentation`` nothing is recorded, and everything runs the same."""
    handle = calling(same)
    with suppress_instrumentation():
        assert handle(UTTERANCE) == UTTERANCE
        with recording(UTTERANCE, session_id="s-1") as trace:
            assert trace.session_id == "s-1"
            trace.outcome = "matched"
            assert not get_current_span().get_span_context().is_valid
        with recording(UTTERANCE) as other:
            assert (other.outcome, other.session_id) == (None, None)
    assert not traced.spans
    handle(UTTERANCE)
    assert len(traced.spans) == 1


def test_the_keyword_form_of_the_decorator(traced: Traced) -> None:
    """``@record_utterance()`` is ``@record_utterance``."""

    @record_utterance()
    def handle(utterance: str) -> str:
        """Say it again."""
        return utterance

    assert handle(UTTERANCE) == UTTERANCE
    assert handle.__doc__ == "Say it again."
    assert len(traced.roots) == 1


class Orchestrator:
    """An orchestrator with a decorated method."""

    @record_utterance
    def handle(self, ctx: dict[str, str], message: str) -> str:
        """Say it again."""
        assert ctx
        return message


class Heir(Orchestrator):
    """An orchestrator that calls the method it overrides."""

    def handle(self, ctx: dict[str, str], message: str) -> str:
        """Say it again."""
        return super().handle(ctx, message)


def test_a_method_is_read_by_position_however_it_is_called(traced: Traced) -> None:
    """Called through the class or through an object, first or later, the text is the text."""
    orchestrator = Orchestrator()
    ctx = {"session_id": "s-1"}
    Orchestrator.handle(orchestrator, ctx, UTTERANCE)
    orchestrator.handle(ctx, UTTERANCE)
    Heir().handle(ctx, UTTERANCE)
    Orchestrator.handle(orchestrator, ctx=ctx, message=UTTERANCE)
    assert {row.utterance_preview for row in traced.rows} == {"assign <name?> <number> as custodian"}
    assert len({row.session_id for row in traced.rows}) == 1
    assert len(traced.rows) == 4


def test_a_block_that_is_left_in_another_context(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """A generator of the host's that holds the block open and is dropped elsewhere is recorded, without noise."""

    def work() -> Generator[None]:
        with recording(UTTERANCE):
            yield

    steps = work()
    contextvars.copy_context().run(next, steps)
    steps.close()
    assert traced.row.outcome == "cancelled"
    assert not caplog.records


def test_a_recording_that_was_never_attached(traced: Traced) -> None:
    """Detaching what could not be attached does nothing."""
    opened = traced.recorder.begin(UTTERANCE, {})
    opened.detach(None)
    opened.end()
    assert len(traced.roots) == 1


def test_synthetic_fields(traced: Traced) -> None:
    """An utterance may be marked as test traffic on its own."""
    with recording(UTTERANCE, synthetic=True):
        pass
    with recording(UTTERANCE):
        pass
    assert [row.synthetic for row in traced.rows] == [True, False]
