# SPDX-License-Identifier: Apache-2.0
"""Every kind of handler, every way out: one root span each, and the caller notices nothing."""

import asyncio
import contextvars
import inspect
from operator import attrgetter
from typing import Any, NoReturn

import pytest
from opentelemetry.trace import StatusCode

from intent_events import current_trace, record_utterance
from intent_events.identity import milliseconds_in
from intent_events.instrument.recorder import EMITTER
from intent_events.semconv import SPAN_NAME, Outcome
from intent_events.trace import active_recording
from unit.handlers import KINDS, returning, run, run_in_loop, same
from unit.traced import UTTERANCE, Traced, attributes_of

every_kind = pytest.mark.parametrize("kind", KINDS)


class PolicyError(Exception):
    """An exception of the orchestrator's own."""


def check_told_nothing(traced: Traced) -> None:
    """Check that the span holds nothing but the type of an exception."""
    assert not traced.root.events
    assert traced.root.status.description is None


@every_kind
@pytest.mark.parametrize("value", ["the answer", None, 0, ("a", 1)])
def test_a_return(kind: str, value: object, traced: Traced) -> None:
    """The caller gets what the handler returned, and there is one root span of it."""
    handle = KINDS[kind](record_utterance, lambda: value)
    assert run(handle(UTTERANCE)) == value
    assert len(traced.spans) == 1
    assert traced.root.name == SPAN_NAME
    assert traced.root.status.status_code is StatusCode.UNSET
    assert traced.row.outcome == "unknown"
    assert traced.row.utterance_preview == "assign <name?> <number> as custodian"
    assert milliseconds_in(traced.row.event_id) == (traced.root.start_time or 0) // 1_000_000


@every_kind
async def test_a_return_in_an_event_loop(kind: str, traced: Traced) -> None:
    """The same holds where an event loop runs."""
    handle = KINDS[kind](record_utterance, lambda: "the answer")
    assert await run_in_loop(handle(UTTERANCE)) == "the answer"
    assert len(traced.spans) == len(traced.roots) == 1


@every_kind
@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (ValueError(UTTERANCE), Outcome.ERROR, "ValueError"),
        (PolicyError(UTTERANCE), Outcome.ERROR, f"{PolicyError.__module__}.PolicyError"),
        (TimeoutError(), Outcome.ERROR, "TimeoutError"),
        (SystemExit(UTTERANCE), Outcome.ERROR, "SystemExit"),
        (KeyboardInterrupt(UTTERANCE), Outcome.CANCELLED, None),
        (asyncio.CancelledError(UTTERANCE), Outcome.CANCELLED, None),
        (GeneratorExit(UTTERANCE), Outcome.CANCELLED, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_exception(kind: str, error: BaseException, outcome: str, code: str | None, traced: Traced) -> None:
    """The very exception that the handler raised reaches the caller, and of it only the type is recorded."""

    def body() -> NoReturn:
        raise error

    handle = KINDS[kind](record_utterance, body)
    with pytest.raises(type(error)) as caught:
        run(handle(UTTERANCE))
    assert caught.value is error
    assert error.__cause__ is None
    assert len(traced.spans) == 1
    assert (traced.row.outcome, traced.row.error_code) == (outcome, code)
    expected = StatusCode.ERROR if outcome == Outcome.ERROR else StatusCode.UNSET
    assert traced.root.status.status_code is expected
    check_told_nothing(traced)


@every_kind
async def test_an_exception_in_an_event_loop(kind: str, traced: Traced) -> None:
    """The same holds where an event loop runs."""
    error = PolicyError(UTTERANCE)

    def body() -> NoReturn:
        raise error

    handle = KINDS[kind](record_utterance, body)
    with pytest.raises(PolicyError) as caught:
        await run_in_loop(handle(UTTERANCE))
    assert caught.value is error
    assert (traced.row.outcome, len(traced.spans)) == ("error", 1)
    check_told_nothing(traced)


@every_kind
def test_wrong_arguments(kind: str, traced: Traced) -> None:
    """Arguments that do not fit raise the TypeError that they would raise without us, and are recorded."""
    handle = KINDS[kind](record_utterance, lambda: None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'utterances'"):
        run(handle(utterances=UTTERANCE))
    assert traced.row.error_code == "TypeError"


class Orchestrator:
    """One whose handler is a method."""

    @record_utterance
    def handle(self, utterance: str) -> None:
        """Do nothing."""


def test_a_method_that_is_called_on_its_class(traced: Traced) -> None:
    """However a method is called, and even after a call that lacks the instance, its text is found."""
    with pytest.raises(TypeError, match="missing 2 required positional arguments"):
        Orchestrator.handle()  # pyright: ignore[reportCallIssue] - the mistake
    Orchestrator.handle(Orchestrator(), UTTERANCE)
    Orchestrator().handle(UTTERANCE)
    without, *others = (row.utterance_preview for row in traced.rows)
    assert without is None
    assert len(others) == 2
    assert None not in others


@pytest.mark.parametrize(
    "kind", ["function", "coroutine function", "generator function", "asynchronous generator function"]
)
def test_the_wrapped_handler_looks_like_the_handler(kind: str) -> None:
    """Frameworks that look at a handler's kind, name and signature see the handler's own."""
    bare = KINDS[kind](same, lambda: None)
    handle = KINDS[kind](record_utterance, lambda: None)
    looks: list[Any] = [
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.signature,
        attrgetter("__name__", "__doc__", "__module__"),
    ]
    assert [look(handle) for look in looks] == [look(bare) for look in looks]


async def test_a_function_that_returns_a_task(traced: Traced) -> None:
    """The recording of a handler that starts a task is open until the task is done, within its context."""
    started, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        started.set()
        await go_on.wait()
        return "done"

    @record_utterance
    def handle(utterance: str) -> "asyncio.Task[str]":
        assert utterance
        return asyncio.create_task(work())

    task = handle(UTTERANCE)
    await started.wait()
    assert not traced.spans
    go_on.set()
    assert await task == "done"
    assert (len(traced.spans), traced.row.outcome) == (1, "unknown")


async def test_a_task_that_fails(traced: Traced) -> None:
    """What the task raised is the outcome, and whoever awaits the task gets it."""
    error = PolicyError(UTTERANCE)

    async def work() -> NoReturn:
        raise error

    @record_utterance
    def handle(utterance: str) -> "asyncio.Task[Any]":
        assert utterance
        return asyncio.create_task(work())

    with pytest.raises(PolicyError) as caught:
        await handle(UTTERANCE)
    assert caught.value is error
    assert traced.row.error_code == f"{__name__}.PolicyError"
    check_told_nothing(traced)


async def test_a_task_that_is_cancelled(traced: Traced) -> None:
    """A cancelled task is a cancelled utterance."""

    @record_utterance
    def handle(utterance: str) -> "asyncio.Task[Any]":
        assert utterance
        return asyncio.ensure_future(asyncio.Event().wait())

    task = handle(UTTERANCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert traced.row.outcome == "cancelled"


async def test_an_asyncio_future(traced: Traced) -> None:
    """A bare future of an event loop is waited for as a task is."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    handle = returning(future)
    assert handle(UTTERANCE) is future
    assert not traced.spans
    asyncio.get_running_loop().call_soon(future.set_result, "done")
    assert await future == "done"
    assert len(traced.roots) == 1


async def test_cancellation_of_the_task_that_handles(traced: Traced) -> None:
    """A handler whose task is cancelled ends cancelled, and the cancellation goes on."""
    started = asyncio.Event()

    @record_utterance
    async def handle(utterance: str) -> None:
        assert utterance
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(handle(UTTERANCE))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (traced.row.outcome, traced.row.error_code) == ("cancelled", None)


async def test_a_timeout_outside(traced: Traced) -> None:
    """A caller that does not wait longer cancels the handler, however it stops waiting."""
    loop = asyncio.get_running_loop()

    @record_utterance
    async def handle(utterance: str, scope: asyncio.Timeout | None = None) -> None:
        assert utterance
        if scope is not None:
            scope.reschedule(loop.time())
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handle(UTTERANCE), timeout=0.001)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as scope:
            await handle(UTTERANCE, scope)
    assert [(row.outcome, row.error_code) for row in traced.rows] == [("cancelled", None)] * 2
    assert len(traced.spans) == 2


async def test_a_timeout_inside(traced: Traced) -> None:
    """A handler that runs into its own timeout fails with it."""

    @record_utterance
    async def handle(utterance: str) -> None:
        assert utterance
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await handle(UTTERANCE)
    assert (traced.row.outcome, traced.row.error_code) == ("error", "TimeoutError")


async def test_a_cancellation_that_is_answered(traced: Traced) -> None:
    """A handler that catches its cancellation and returns has not been cancelled."""
    started = asyncio.Event()

    @record_utterance
    async def handle(utterance: str) -> str:
        assert utterance
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "saved"
        return "never"

    task = asyncio.create_task(handle(UTTERANCE))
    await started.wait()
    task.cancel()
    assert await task == "saved"
    assert traced.row.outcome == "unknown"


def test_the_outcome_of_an_exception_goes_over_what_was_said(traced: Traced) -> None:
    """A handler that had set an outcome and then raised has failed; its own error code is kept."""

    @record_utterance
    def handle(utterance: str) -> None:
        assert utterance
        current_trace().outcome = "matched"
        current_trace().error_code = "E-17"
        raise PolicyError(UTTERANCE)

    with pytest.raises(PolicyError):
        handle(UTTERANCE)
    assert (traced.row.outcome, traced.row.error_code) == ("error", "E-17")


def test_the_outcome_error_marks_the_span(traced: Traced) -> None:
    """An error that is returned rather than raised is an error of the span too."""
    handle = returning({"trace": {"outcome": "error"}})
    handle(UTTERANCE)
    assert traced.root.status.status_code is StatusCode.ERROR
    check_told_nothing(traced)


def test_a_coroutine_that_nobody_awaits(traced: Traced) -> None:
    """A coroutine that was never started has handled nothing, and nothing is recorded."""
    handle = KINDS["coroutine function"](record_utterance, lambda: None)
    handle(UTTERANCE).close()
    assert not traced.spans


def test_a_returned_coroutine_that_nobody_awaits(traced: Traced) -> None:
    """A plain function that ran and whose coroutine is dropped is an utterance that was cancelled."""
    handle = KINDS["decorated coroutine function"](record_utterance, lambda: None)
    work = handle(UTTERANCE)
    work.close()
    del work
    assert traced.row.outcome == "cancelled"


def test_a_coroutine_that_is_closed_in_another_context(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that a dying event loop drops from elsewhere is recorded, without noise."""

    class Pause:
        def __await__(self) -> Any:
            yield

    @record_utterance
    async def handle(utterance: str) -> None:
        assert utterance
        await Pause()

    work = handle(UTTERANCE)
    contextvars.copy_context().run(work.send, None)
    work.close()
    assert traced.row.outcome == "cancelled"
    assert not caplog.records


def test_a_recording_ends_once(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """A second end changes nothing, takes no number, which would look like a loss, and is not worth a log line."""
    seen: list[Any] = []
    handle = KINDS["function"](record_utterance, lambda: seen.append(active_recording.get()))
    handle(UTTERANCE)
    seen[0].end(ValueError(UTTERANCE))
    assert len(traced.spans) == 1
    assert not caplog.records
    assert EMITTER.next_number() == (traced.row.emitter_seq or 0) + 1
    assert "error.type" not in attributes_of(traced.root)
