# SPDX-License-Identifier: Apache-2.0
"""One wrapper around a handler of any kind: plain, coroutine, generator, asynchronous generator.

The handler is called exactly once, with the arguments it was given; its result and its exceptions reach the caller
untouched. Whatever way it ends, its recording ends once.
"""

import asyncio
import sys
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from inspect import (
    CO_ITERABLE_COROUTINE,
    isasyncgen,
    isasyncgenfunction,
    isawaitable,
    iscoroutine,
    iscoroutinefunction,
    isgenerator,
    isgeneratorfunction,
)
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, TypeVar, cast
from weakref import finalize

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from intent_events.instrument.mapping import ArgumentReader, HandlerMapping
from intent_events.instrument.recorder import NotRecording, OpenRecording, Recorder
from intent_events.instrument.troubles import trouble
from intent_events.mending import field_of
from intent_events.trace import IntentTrace

T = TypeVar("T")
Handler = Callable[..., Any]
Begin = Callable[[], OpenRecording]
AsyncSteps = AsyncGenerator[Any, Any]
Steps = Generator[Any, Any, Any]

_GOES_ON: Final = (CoroutineType, AsyncGeneratorType, GeneratorType, asyncio.Future, Future)
"""What a handler may return that goes on working after it has returned."""


class HandlerWrapper:
    """Wraps one handler; called with the convention of wrapt."""

    __slots__ = ("_bound", "_drive", "_mapping", "_own", "_readers", "_recorder")

    def __init__(self, recorder: Callable[[], Recorder | None], mapping: HandlerMapping | None = None) -> None:
        """Record with whatever recorder is there at the time of a call.

        Args:
            recorder: gives the recorder; None switches the wrapper off.
            mapping: where the handler keeps things; None for what the recorder says, which may come later.
        """
        self._recorder = recorder
        self._own = mapping
        self._mapping = mapping or HandlerMapping()
        self._bound: Recorder | None = None
        # By the type of what is called: a method that is called on its class without an instance has one argument more.
        self._readers: dict[type, ArgumentReader] = {}
        self._drive: Callable[[Begin, Handler], Any] | None = None

    def __call__(self, handler: Handler, _instance: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call the handler and record the utterance that it handles."""
        recorder = self._recorder()
        if recorder is None or not is_instrumentation_enabled():
            return handler(*args, **kwargs)
        if recorder is not self._bound:
            self._bind(recorder)

        def begin() -> OpenRecording:
            return self._begin(recorder, handler, args, kwargs)

        def call() -> Any:
            return handler(*args, **kwargs)

        if self._drive is None:
            self._drive = self._driver_of(handler)
        return self._drive(begin, call)

    def _bind(self, recorder: Recorder) -> None:
        """Read handlers as this recorder says, unless the wrapper has a mapping of its own."""
        if self._own is None:
            self._mapping, self._readers = recorder.mapping, {}
        self._bound = recorder

    def _driver_of(self, handler: Handler) -> Callable[[Begin, Handler], Any]:
        """How a handler of this kind is run; the kind is a wrapper's for good."""
        if iscoroutinefunction(handler) or _is_generator_coroutine(handler):
            return self._await
        if isasyncgenfunction(handler):
            return self._stream_async
        return self._stream if isgeneratorfunction(handler) else self._call

    def _call(self, begin: Begin, call: Handler) -> Any:
        recording = begin()
        attached = recording.attach()
        try:
            result = call()
        except BaseException as error:
            recording.detach(attached)
            recording.end(error)
            raise
        recording.detach(attached)
        return self._hand_over(recording, result)

    def _begin(
        self, recorder: Recorder, handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> OpenRecording:
        try:
            text, fields = self._read(handler, args, kwargs)
            return recorder.begin(text, fields)
        except Exception as error:  # noqa: BLE001 - whatever fails in recording, the handler must run
            trouble("intent-events: an utterance could not be recorded", error)
            return NotRecording()

    def _read(self, handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[object, dict[str, Any]]:
        try:
            readers = self._readers  # first, or another thread that binds a recorder could get a reader of the old one
            reader = readers.get(type(handler))
            if reader is None:
                reader = readers[type(handler)] = ArgumentReader(handler, self._mapping)
            return reader.read(args, kwargs)
        except Exception as error:  # noqa: BLE001 - a foreign argument may do anything when it is read
            trouble("intent-events: the arguments of a handler could not be read", error)
            return None, {}

    def _hand_over(self, recording: OpenRecording, result: Any) -> Any:
        """Give the result to the caller; one that goes on working keeps its recording open until it is done."""
        if not issubclass(type(result), _GOES_ON):
            self._end(recording, result)
            return result
        work: Any = result
        if iscoroutine(work) or (isgenerator(work) and isawaitable(work)):
            return _end_if_dropped(self._await(lambda: recording, lambda: work), recording, work)
        if isasyncgen(work):
            return _end_if_dropped(self._stream_async(lambda: recording, lambda: work), recording)
        if isgenerator(work):
            return _end_if_dropped(self._stream(lambda: recording, lambda: work), recording)
        work.add_done_callback(partial(self._end_with_future, recording))
        return work

    async def _await(self, begin: Begin, call: Callable[[], Awaitable[Any]]) -> Any:
        recording = begin()
        attached = recording.attach()
        try:
            result = await call()
        except BaseException as error:
            recording.detach(attached)
            recording.end(error)
            raise
        recording.detach(attached)
        return self._hand_over(recording, result)

    def _stream(self, begin: Begin, call: Callable[[], Steps]) -> Steps:
        recording, steps = _begun(begin, call)
        step: Callable[[Any], Any] = steps.send
        value: Any = None
        try:
            while True:
                attached = recording.attach()  # between two steps the reader must not see our context
                try:
                    item = step(value)
                finally:
                    recording.detach(attached)
                self._see(recording, item)
                try:
                    step, value = steps.send, (yield item)
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # noqa: BLE001 - the reader throws into the handler, which may answer
                    step, value = steps.throw, thrown
        except StopIteration as stop:
            self._end(recording, stop.value)
            return stop.value
        except BaseException as error:
            _apart(_close, recording, steps, error)
            raise

    async def _stream_async(self, begin: Begin, call: Callable[[], AsyncSteps]) -> AsyncSteps:
        recording, steps = _begun(begin, call)
        step: Callable[[Any], Awaitable[Any]] = partial(_first_step, steps)
        value: Any = None
        try:
            while True:
                attached = recording.attach()  # between two steps the reader must not see our context
                try:
                    item = await step(value)
                finally:
                    recording.detach(attached)
                self._see(recording, item)
                try:
                    step, value = steps.asend, (yield item)
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # noqa: BLE001 - the reader throws into the handler, which may answer
                    step, value = steps.athrow, thrown
        except StopAsyncIteration:
            self._end(recording, None)
        except BaseException as error:
            ended_by, attached = error, recording.attach()
            try:
                if not getattr(
                    steps, "ag_running", False
                ):  # one that is dropped in the middle of a step closes when it is freed
                    await steps.aclose()
            except BaseException as failure:
                ended_by = failure
                raise
            finally:
                recording.detach(attached)
                recording.end(ended_by)
            raise

    def _see(self, recording: OpenRecording, item: object) -> None:
        """A stream may say its trace in any of its items."""
        if not isinstance(item, (str, bytes)):
            self._merge(recording, item)

    def _end_with_future(self, recording: OpenRecording, done: "Future[Any]") -> None:
        if done.cancelled():
            recording.end(CancelledError())
        elif (error := done.exception()) is not None:
            recording.end(error)
        else:
            self._end(recording, done.result())

    def _end(self, recording: OpenRecording, result: object) -> None:
        found = self._merge(recording, result)
        recording.end()
        if found is not None and found is not recording.trace:
            _tell(found, persisted=recording.trace.telemetry_persisted)

    def _merge(self, recording: OpenRecording, result: object) -> object:
        """Record the trace that a result has, and hand it over as the orchestrator knows it."""
        try:
            found = self._mapping.trace_in(result)
            recording.merge(self._mapping.apply(found, result))
        except Exception as error:  # noqa: BLE001 - a foreign result may do anything when it is read
            trouble("intent-events: the result of a handler could not be read", error)
            return None
        return found


def _is_generator_coroutine(handler: Handler) -> bool:
    """Whether a handler is a generator function that ``types.coroutine`` made one to be awaited."""
    code = getattr(handler, "__code__", None)
    return code is not None and bool(code.co_flags & CO_ITERABLE_COROUTINE)


def _begun(begin: Begin, call: Callable[[], T]) -> tuple[OpenRecording, T]:
    """The recording and the stream; a call that does not fit the handler is an utterance all the same."""
    recording = begin()
    try:
        return recording, call()
    except BaseException as error:
        recording.end(error)
        raise


def _apart(work: Callable[..., None], *args: Any) -> None:
    """Run in a copy of the context, so that no context variable of this one is set.

    A garbage collection that frees a stream may have interrupted the very setting of a context variable, and CPython
    does not survive another one in the same context then.
    """
    copy_context().run(work, *args)


def _close(recording: OpenRecording, steps: Steps, error: BaseException) -> None:
    ended_by, attached = error, recording.attach()
    try:
        steps.close()
    except BaseException as failure:
        ended_by = failure
        raise
    finally:
        recording.detach(attached)
        recording.end(ended_by)


def _first_step(steps: AsyncSteps, value: Any) -> Awaitable[Any]:
    """Start a stream behind the event loop's back: a loop that shut down would close it under what wraps it."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return steps.asend(value)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _end_if_dropped(wrapped: T, recording: OpenRecording, work: Coroutine[Any, Any, Any] | None = None) -> T:
    """A stream that nobody reads to its end, and work that nobody awaits, is an utterance all the same."""
    finalize(wrapped, _apart, _drop, recording, work)
    return wrapped


def _drop(recording: OpenRecording, work: Coroutine[Any, Any, Any] | None) -> None:
    if work is not None:
        work.close()  # what wraps it has warned already when it was never awaited
    recording.end(GeneratorExit())


def _tell(found: object, *, persisted: bool) -> None:
    """Set the flag of a trace of the orchestrator's own, when it has one."""
    if isinstance(found, IntentTrace) or field_of(found, "telemetry_persisted") is None:
        return
    try:
        if isinstance(found, MutableMapping):
            cast("MutableMapping[str, Any]", found)["telemetry_persisted"] = persisted
        else:
            setattr(found, "telemetry_persisted", persisted)  # noqa: B010 - the type is the orchestrator's, not ours
    except Exception as error:  # noqa: BLE001 - a frozen or guarded foreign trace refuses in its own way
        trouble("intent-events: the flag telemetry_persisted of a trace could not be set", error)
