# SPDX-License-Identifier: Apache-2.0
"""Calls within calls are child spans without a row, and utterances side by side do not mix."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.context import attach, detach
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from intent_events import IntentTrace, current_trace, record_utterance, recording
from intent_events.rows import IntentEventRow
from intent_events.select import Skipped, select
from intent_events.semconv import ROOT
from intent_events_exporter.convert import view_of
from unit.handlers import KINDS, calling, run, same
from unit.traced import UTTERANCE, Traced, attributes_of


@record_utterance
def countdown(utterance: str, depth: int) -> UUID:
    """Call itself so many times."""
    event_id = current_trace().event_id
    if depth:
        assert countdown(utterance, depth - 1) == event_id
    return event_id


def test_recursion(traced: Traced) -> None:
    """Each inner call is a child span of the one around it, of the same utterance, and only the outermost is a row."""
    event_id = countdown(UTTERANCE, 3)
    assert len(traced.spans) == 4
    assert [row.event_id for row in traced.rows] == [event_id]
    spans = {span.context.span_id: span for span in traced.spans if span.context}
    depth, span = 0, traced.spans[0]
    while span.parent is not None:
        assert attributes_of(span) == {ROOT: False}
        assert select(view_of(span)) is Skipped.NESTED
        depth, span = depth + 1, spans[span.parent.span_id]
    assert (depth, span) == (3, traced.root)


@pytest.mark.parametrize("kind", KINDS)
def test_a_nested_call_of_every_kind(kind: str, traced: Traced) -> None:
    """A handler that calls a handler of another kind is one utterance."""
    inner = KINDS[kind](record_utterance, lambda: "inner")

    @record_utterance
    def outer(utterance: str) -> Any:
        return run(inner(utterance))

    assert outer(UTTERANCE) == "inner"
    assert (len(traced.roots), len(traced.nested), len(traced.spans)) == (1, 1, 2)


def test_the_result_of_a_nested_call_is_not_the_utterances(traced: Traced) -> None:
    """What a nested call returns or raises marks its own span; the utterance ends as the outermost handler says."""

    @record_utterance
    def inner(utterance: str) -> IntentTrace:
        return IntentTrace(outcome="no_match") if utterance == "a" else (_ for _ in ()).throw(ValueError(utterance))

    @record_utterance
    def outer(utterance: str) -> IntentTrace:
        inner("a")
        with pytest.raises(ValueError, match="assign"):
            inner(utterance)
        return IntentTrace(outcome="matched")

    outer(UTTERANCE)
    assert (traced.row.outcome, traced.row.error_code) == ("matched", None)
    fine, failed = traced.nested
    assert (fine.status.status_code, failed.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert attributes_of(failed) == {ROOT: False, "error.type": "ValueError"}
    assert failed.status.description is None
    assert not failed.events


def test_a_nested_call_that_is_cancelled_is_no_error(traced: Traced) -> None:
    """Cancellation marks no span as failed."""

    def cancel() -> None:
        raise asyncio.CancelledError

    inner = KINDS["function"](record_utterance, cancel)
    with pytest.raises(asyncio.CancelledError):
        calling(inner)(UTTERANCE)
    assert traced.row.outcome == "cancelled"
    assert traced.nested[0].status.status_code is StatusCode.UNSET


def test_a_recording_within_a_handler_is_nested(traced: Traced) -> None:
    """The context manager, too, belongs to the utterance that is being handled."""

    @record_utterance
    def handle(utterance: str) -> None:
        with recording(utterance, session_id="ignored") as trace:
            assert trace is current_trace()
            trace.outcome = "matched"

    handle(UTTERANCE)
    assert (traced.row.outcome, len(traced.nested)) == ("matched", 1)
    assert "session_id_missing" in (traced.row.quality or ())


async def test_tasks_side_by_side_do_not_mix(traced: Traced) -> None:
    """Handlers that run in turns in one event loop have each their own utterance."""
    barrier = asyncio.Barrier(5)

    @record_utterance
    async def handle(utterance: str, session_id: str) -> UUID:
        assert utterance
        before = current_trace()
        await barrier.wait()
        assert current_trace() is before
        assert before.session_id == session_id
        before.scope = session_id
        return before.event_id

    sessions = [f"s-{number}" for number in range(5)]
    event_ids = await asyncio.gather(*(handle(UTTERANCE, session) for session in sessions))
    assert {row.event_id: row.scope for row in traced.rows} == dict(zip(event_ids, sessions, strict=True))
    assert len({row.trace_id for row in traced.rows}) == 5


def test_threads_side_by_side_do_not_mix(traced: Traced) -> None:
    """Handlers that run in threads have each their own utterance."""
    barrier = threading.Barrier(5)

    @record_utterance
    def handle(utterance: str, session_id: str) -> UUID:
        assert utterance
        barrier.wait()
        assert current_trace().session_id == session_id
        current_trace().scope = session_id
        return current_trace().event_id

    sessions = [f"s-{number}" for number in range(5)]
    with ThreadPoolExecutor(5) as threads:
        event_ids = list(threads.map(handle, [UTTERANCE] * 5, sessions))
    assert {row.event_id: row.scope for row in traced.rows} == dict(zip(event_ids, sessions, strict=True))
    assert sorted(row.emitter_seq or 0 for row in traced.rows) == list(
        range(min(row.emitter_seq or 0 for row in traced.rows), max(row.emitter_seq or 0 for row in traced.rows) + 1)
    )


async def test_a_thread_of_the_handler_is_within_its_utterance(traced: Traced) -> None:
    """What a handler does in ``asyncio.to_thread`` is of its utterance, a handler in there is nested."""

    @record_utterance
    async def handle(utterance: str) -> None:
        assert utterance
        here = current_trace()
        assert await asyncio.to_thread(current_trace) is here
        assert await asyncio.to_thread(countdown, utterance, 0) == here.event_id

    await handle(UTTERANCE)
    assert (len(traced.roots), len(traced.nested)) == (1, 1)


async def test_a_handler_in_a_thread(traced: Traced) -> None:
    """A handler that a host runs in a thread is recorded there."""
    event_id = await asyncio.to_thread(countdown, UTTERANCE, 1)
    assert traced.row.event_id == event_id
    assert len(traced.nested) == 1


async def test_a_task_that_outlives_its_utterance(traced: Traced) -> None:
    """A background task is within the utterance that started it until that has ended; then it has its own."""
    go_on = asyncio.Event()

    async def background() -> tuple[UUID, UUID]:
        during = countdown(UTTERANCE, 0)
        await go_on.wait()
        return during, countdown(UTTERANCE, 0)

    @record_utterance
    async def handle(utterance: str) -> tuple[UUID, "asyncio.Task[tuple[UUID, UUID]]"]:
        assert utterance
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        return current_trace().event_id, task

    event_id, task = await handle(UTTERANCE)
    go_on.set()
    during, after = await task
    assert during == event_id != after
    assert {row.event_id for row in traced.rows} == {event_id, after}
    assert len(traced.nested) == 1


async def test_a_task_of_a_nested_call_that_outlives_it(traced: Traced) -> None:
    """A background task of a nested call is within the utterance as long as that goes on."""
    go_on = asyncio.Event()

    async def background() -> UUID:
        await go_on.wait()
        return countdown(UTTERANCE, 0)

    @record_utterance
    async def inner(utterance: str) -> "tuple[asyncio.Task[UUID]]":
        assert utterance
        return (asyncio.create_task(background()),)

    @record_utterance
    async def outer(utterance: str) -> UUID:
        (task,) = await inner(utterance)
        go_on.set()
        return await task

    assert await outer(UTTERANCE) == traced.row.event_id
    assert len(traced.nested) == 2


def test_the_parent_of_a_root_may_be_any_span(traced: Traced) -> None:
    """A server's span around the handler is the parent of the root span, also when it comes from another process."""
    remote = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    token = attach(set_span_in_context(NonRecordingSpan(remote)))
    try:
        countdown(UTTERANCE, 0)
    finally:
        detach(token)
    assert traced.root.parent == remote
    assert traced.row.trace_id == f"{0xABC:032x}"


def test_the_callers_context_is_as_it_was(traced: Traced) -> None:
    """After a handler, whatever way it ended, nothing of its utterance is left in the context."""

    def fail() -> None:
        raise ValueError(UTTERANCE)

    before = contextvars.copy_context()
    for kind in KINDS.values():
        run(kind(record_utterance, lambda: None)(UTTERANCE))
        with pytest.raises(ValueError, match="assign"):
            run(kind(record_utterance, fail)(UTTERANCE))
        assert not get_current_span().get_span_context().is_valid
        assert current_trace().delivery is None
    after = contextvars.copy_context()
    assert {name.name: value for name, value in after.items() if value} == {
        name.name: value for name, value in before.items() if value
    }
    assert len(traced.roots) == 2 * len(KINDS)


def test_two_decorators_are_one_utterance(traced: Traced) -> None:
    """A handler that is wrapped twice has one row."""
    handle = record_utterance(calling(same))
    assert handle("hello") == "hello"
    assert (len(traced.roots), len(traced.nested)) == (1, 1)


def test_a_handler_that_is_nested_and_outlives_its_utterance(traced: Traced) -> None:
    """A stream that an utterance hands out, read after its end, leaves no second row."""

    @record_utterance
    def outer(utterance: str) -> Any:
        inner = KINDS["generator function"](record_utterance, lambda: current_trace().event_id)(utterance)
        assert next(inner) == "chunk"
        return (inner, current_trace().event_id)

    inner, event_id = outer(UTTERANCE)
    assert list(inner) == [event_id]
    assert (len(traced.roots), len(traced.nested)) == (1, 1)
    assert isinstance(traced.records()[0], IntentEventRow)
