# SPDX-License-Identifier: Apache-2.0
"""Handlers that stream: what the reader sends and throws arrives, its context is its own, and one record is left."""

import asyncio
import contextvars
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan

from intent_events import IntentTrace, current_trace, record_utterance, stage
from intent_events.trace import active_recording
from unit.traced import UTTERANCE, Traced


class StreamError(Exception):
    """An exception of a reader."""


Echo = Generator[Any, Any, str]
AsyncEcho = AsyncGenerator[Any, Any]


@record_utterance
def echo(utterance: str) -> Echo:
    """Give back what is sent, answer one exception, and return."""
    assert utterance
    got: Any = "ready"
    while got != "stop":
        try:
            got = yield got
        except StreamError as error:
            got = ("caught", error)
    return "done"


@record_utterance
async def echo_async(utterance: str) -> AsyncEcho:
    """Give back what is sent, and answer one exception."""
    assert utterance
    got: Any = "ready"
    while got != "stop":
        try:
            got = yield got
        except StreamError as error:
            got = ("caught", error)


def test_what_is_sent_and_thrown_arrives(traced: Traced) -> None:
    """A generator gets what its reader sends and throws, and its return value comes back."""
    steps, error = echo(UTTERANCE), StreamError(UTTERANCE)
    assert next(steps) == "ready"
    assert steps.send("a") == "a"
    assert steps.throw(error) == ("caught", error)
    with pytest.raises(StopIteration) as stopped:
        steps.send("stop")
    assert stopped.value.value == "done"
    assert (len(traced.spans), traced.row.outcome) == (1, "unknown")


async def test_what_is_sent_and_thrown_arrives_asynchronously(traced: Traced) -> None:
    """An asynchronous generator gets what its reader sends and throws."""
    steps, error = echo_async(UTTERANCE), StreamError(UTTERANCE)
    assert await anext(steps) == "ready"
    assert await steps.asend("a") == "a"
    assert await steps.athrow(error) == ("caught", error)
    with pytest.raises(StopAsyncIteration):
        await steps.asend("stop")
    assert (len(traced.spans), traced.row.outcome) == (1, "unknown")


def test_an_exception_that_is_not_answered(traced: Traced) -> None:
    """What the reader throws and the handler does not catch comes back, and is the error of the utterance."""
    steps, error = echo(UTTERANCE), LookupError(UTTERANCE)
    next(steps)
    with pytest.raises(LookupError) as caught:
        steps.throw(error)
    assert caught.value is error
    assert (traced.row.outcome, traced.row.error_code) == ("error", "LookupError")


async def test_an_exception_that_is_not_answered_asynchronously(traced: Traced) -> None:
    """The same holds for an asynchronous generator."""
    steps, error = echo_async(UTTERANCE), LookupError(UTTERANCE)
    await anext(steps)
    with pytest.raises(LookupError) as caught:
        await steps.athrow(error)
    assert caught.value is error
    assert (traced.row.outcome, traced.row.error_code) == ("error", "LookupError")


def test_a_stop_iteration_that_is_thrown(traced: Traced) -> None:
    """Throwing StopIteration into a generator is the error that it is without us."""
    steps = echo(UTTERANCE)
    next(steps)
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        steps.throw(StopIteration())
    assert traced.row.error_code == "RuntimeError"


@record_utterance
def chunks(utterance: str, seen: list[object]) -> Generator[str]:
    """Three chunks, with a cleanup that sees its context."""
    assert utterance
    try:
        yield "one"
        current_trace().outcome = "matched"
        yield "two"
        yield "three"
    finally:
        seen.append(active_recording.get())


@record_utterance
async def chunks_async(utterance: str, seen: list[object]) -> AsyncGenerator[str]:
    """Three chunks, with a cleanup that sees its context and needs the event loop."""
    assert utterance
    try:
        yield "one"
        current_trace().outcome = "matched"
        yield "two"
        yield "three"
    finally:
        await asyncio.get_running_loop().run_in_executor(None, seen.append, active_recording.get())


def test_a_generator_that_is_closed_early(traced: Traced) -> None:
    """A reader that leaves runs the cleanup within the utterance; the utterance was cancelled."""
    seen: list[object] = []
    steps = chunks(UTTERANCE, seen)
    assert next(steps) == "one"
    steps.close()
    assert len(seen) == 1
    assert seen[0] is not None
    assert (len(traced.spans), traced.row.outcome) == (1, "cancelled")


async def test_an_asynchronous_generator_that_is_closed_early(traced: Traced) -> None:
    """The same holds for an asynchronous generator, whose cleanup may wait."""
    seen: list[object] = []
    async with aclosing(chunks_async(UTTERANCE, seen)) as steps:
        assert await anext(steps) == "one"
    assert len(seen) == 1
    assert seen[0] is not None
    assert (len(traced.spans), traced.row.outcome) == (1, "cancelled")


def test_an_outcome_that_was_said_before_the_reader_left_stays(traced: Traced) -> None:
    """What the handler knew before its reader left is true all the same."""
    steps = chunks(UTTERANCE, [])
    assert [next(steps), next(steps)] == ["one", "two"]
    del steps
    gc.collect()
    assert (len(traced.spans), traced.row.outcome) == (1, "matched")


async def test_an_asynchronous_generator_that_is_abandoned(traced: Traced) -> None:
    """A stream that its reader drops is closed by the event loop, and recorded."""
    seen: list[object] = []
    steps = chunks_async(UTTERANCE, seen)
    assert await anext(steps) == "one"
    del steps
    gc.collect()
    await asyncio.sleep(0)  # the loop starts the task that closes it
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
    assert (len(traced.spans), traced.row.outcome, len(seen)) == (1, "cancelled", 1)


@pytest.mark.parametrize("handle", [chunks, chunks_async])
def test_a_stream_that_is_never_read(handle: Any, traced: Traced) -> None:
    """A generator that was never started has handled nothing."""
    steps = handle(UTTERANCE, [])
    del steps
    gc.collect()
    assert not traced.spans


@pytest.mark.parametrize("stream", [chunks.__wrapped__, chunks_async.__wrapped__])  # pyright: ignore[reportFunctionMemberAccess] - of the wrapper
def test_a_returned_stream_that_is_never_read(stream: Any, traced: Traced) -> None:
    """A plain function that ran and whose stream is dropped unread is an utterance that was cancelled."""

    @record_utterance
    def handle(utterance: str) -> Any:
        return stream(utterance, [])

    steps = handle(UTTERANCE)
    assert not traced.spans
    del steps
    gc.collect()
    assert (len(traced.spans), traced.row.outcome) == (1, "cancelled")


def test_a_handler_that_will_not_close(traced: Traced) -> None:
    """A generator that ignores its end raises what Python raises for it, and is recorded with that."""

    @record_utterance
    def stubborn(utterance: str) -> Generator[str]:
        assert utterance
        try:
            yield "one"
        except GeneratorExit:
            yield "two"

    steps = stubborn(UTTERANCE)
    next(steps)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        steps.close()
    assert (len(traced.spans), traced.row.error_code) == (1, "RuntimeError")


async def test_a_cleanup_that_fails(traced: Traced) -> None:
    """An exception of the cleanup reaches whoever closes, and is the error of the utterance."""

    @record_utterance
    async def untidy(utterance: str) -> AsyncGenerator[str]:
        assert utterance
        try:
            yield "one"
        finally:
            raise StreamError(UTTERANCE)

    steps = untidy(UTTERANCE)
    await anext(steps)
    with pytest.raises(StreamError):
        await steps.aclose()
    assert (len(traced.spans), traced.row.error_code) == (1, f"{__name__}.StreamError")


def in_our_context() -> bool:
    """Whether anything of an utterance is in the context of whoever asks."""
    return active_recording.get() is not None or otel.get_current_span().get_span_context().is_valid


def test_between_two_chunks_the_context_is_the_readers(traced: Traced) -> None:
    """The handler runs within its utterance, the reader outside of it, whatever the handler has open."""
    within: list[bool] = []

    @record_utterance
    def handle(utterance: str) -> Iterator[int]:
        assert utterance
        for chunk in range(3):
            with stage("select"):
                within.append(in_our_context())
                yield chunk
            within.append(in_our_context())

    for _ in handle(UTTERANCE):
        assert not in_our_context()
    assert not in_our_context()
    assert within == [True] * 6
    assert (len(traced.roots), len(traced.spans)) == (1, 4)


async def test_between_two_chunks_the_context_is_the_readers_asynchronously(traced: Traced) -> None:
    """The same holds for an asynchronous generator, also when each chunk is read by another task."""

    @record_utterance
    async def handle(utterance: str) -> AsyncIterator[bool]:
        assert utterance
        for _ in range(3):
            yield in_our_context()
            await asyncio.to_thread(lambda: None)
            yield in_our_context()

    steps = handle(UTTERANCE)

    async def read() -> bool:
        inside = await anext(steps)
        assert not in_our_context()
        return inside

    assert [await asyncio.create_task(read()) for _ in range(6)] == [True] * 6
    with pytest.raises(StopAsyncIteration):
        await anext(steps)
    assert len(traced.spans) == 1


def test_a_stream_that_an_event_loop_closes_at_its_end(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """An event loop that shuts down closes an unread stream once, as it would without us."""
    seen: list[object] = []
    steps = chunks_async(UTTERANCE, seen)

    async def read_one() -> None:
        assert await anext(steps) == "one"

    asyncio.run(read_one())
    assert (len(traced.spans), traced.row.outcome, len(seen)) == (1, "cancelled", 1)
    assert not caplog.records


def parents(spans: list[ReadableSpan]) -> dict[str, int | None]:
    """Span id of the parent of each span, by name."""
    return {span.name: span.parent.span_id if span.parent else None for span in spans}


def test_two_streams_read_in_turns_do_not_mix(traced: Traced) -> None:
    """Streams that a reader alternates between have each its own utterance."""

    @record_utterance
    def handle(utterance: str, session_id: str) -> Iterator[str]:
        assert utterance
        yield str(current_trace().session_id)
        with stage(f"stage of {session_id}"):
            pass
        yield str(current_trace().session_id)

    one, other = handle(UTTERANCE, "s-1"), handle(UTTERANCE, "s-2")
    assert [next(one), next(other), next(one), next(other)] == ["s-1", "s-2", "s-1", "s-2"]
    assert [list(one), list(other)] == [[], []]
    first, second = traced.roots
    assert parents(traced.spans)["stage of s-1"] == (first.context.span_id if first.context else None)
    assert parents(traced.spans)["stage of s-2"] == (second.context.span_id if second.context else None)


@pytest.mark.parametrize("last", [True, False])
def test_a_trace_in_a_chunk(last: bool, traced: Traced) -> None:  # noqa: FBT001 - a table of cases
    """A stream may say its trace in any chunk, as an object or a mapping, and chunks of text are passed over."""

    @record_utterance
    def handle(utterance: str) -> Iterator[Any]:
        assert utterance
        trace = IntentTrace(outcome="matched", chosen_verb_fqn="a.b")
        yield from ("text", b"bytes", trace)[:: 1 if last else -1]
        yield {"trace": {"dsl_hash": "d"}}

    assert len(list(handle(UTTERANCE))) == 4
    assert (traced.row.outcome, traced.row.chosen_verb_fqn, traced.row.dsl_hash) == ("matched", "a.b", "d")


def test_a_trace_as_the_return_value_of_a_generator(traced: Traced) -> None:
    """What a generator returns is a result as any other."""

    @record_utterance
    def handle(utterance: str) -> Generator[str, None, IntentTrace]:
        assert utterance
        yield "text"
        return IntentTrace(outcome="no_match")

    assert list(handle(UTTERANCE)) == ["text"]
    assert traced.row.outcome == "no_match"


async def test_cancellation_while_the_handler_waits(traced: Traced) -> None:
    """A reader that is cancelled while it waits for a chunk cancels the utterance, and the cleanup runs."""
    cleaned: list[bool] = []
    waiting = asyncio.Event()

    @record_utterance
    async def handle(utterance: str) -> AsyncIterator[str]:
        assert utterance
        try:
            yield "one"
            waiting.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(in_our_context())

    async def read() -> None:
        async for _ in handle(UTTERANCE):
            pass

    task = asyncio.create_task(read())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (cleaned, len(traced.spans), traced.row.outcome) == ([True], 1, "cancelled")


def test_a_stream_that_is_dropped_while_it_waits_in_another_context(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that a dying event loop drops in the middle of a chunk is recorded, without noise."""

    class Pause:
        def __await__(self) -> Any:
            yield

    @record_utterance
    async def handle(utterance: str) -> AsyncIterator[str]:
        assert utterance
        await Pause()
        yield "never"

    steps = handle(UTTERANCE)
    step: Any = anext(steps)
    contextvars.copy_context().run(step.send, None)
    step.close()
    del step, steps
    gc.collect()
    assert traced.row.outcome == "cancelled"
    assert not caplog.records
