# SPDX-License-Identifier: Apache-2.0
"""One wrapper around a handler of any kind: plain, coroutine, generator, asynchronous generator.

The handler is called exactly once, with the arguments it was given; its result and its exceptions reach the caller
untouched. Whatever way it ends, its recording ends once.
"""

from asyncio import CancelledError, isfuture
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future
from inspect import isasyncgen, isasyncgenfunction, iscoroutine, iscoroutinefunction, isgenerator, isgeneratorfunction
from typing import Any, cast
from weakref import finalize

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from intent_events.instrument.mapping import ArgumentReader, HandlerMapping
from intent_events.instrument.recorder import NOT_RECORDING, OpenRecording, Recorder
from intent_events.instrument.troubles import trouble
from intent_events.mending import field_of
from intent_events.trace import IntentTrace

Handler = Callable[..., Any]
Begin = Callable[[], OpenRecording]
AsyncSteps = AsyncGenerator[Any, Any]
Steps = Generator[Any, Any, Any]


class HandlerWrapper:
    """Wraps one handler; called with the convention of wrapt."""

    __slots__ = ("_drive", "_mapping", "_reader", "_recorder")

    def __init__(self, recorder: Callable[[], Recorder | None], mapping: HandlerMapping) -> None:
        """Record with whatever recorder is there at the time of a call.

        Args:
            recorder: gives the recorder; None switches the wrapper off.
            mapping: where the handler keeps things.
        """
        self._recorder = recorder
        self._mapping = mapping
        self._reader: ArgumentReader | None = None
        self._drive: Callable[[Begin, Handler], Any] | None = None

    def __call__(self, handler: Handler, _instance: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call the handler and record the utterance that it handles."""
        recorder = self._recorder()
        if recorder is None or not is_instrumentation_enabled():
            return handler(*args, **kwargs)

        def begin() -> OpenRecording:
            return self._begin(recorder, handler, args, kwargs)

        def call() -> Any:
            return handler(*args, **kwargs)

        if self._drive is None:
            self._drive = self._driver_of(handler)
        return self._drive(begin, call)

    def _driver_of(self, handler: Handler) -> Callable[[Begin, Handler], Any]:
        """How a handler of this kind is run; the kind is a wrapper's for good."""
        if iscoroutinefunction(handler):
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
            if self._reader is None:
                self._reader = ArgumentReader(handler, self._mapping)
            text, fields = self._reader.read(args, kwargs)
            return recorder.begin(text, fields)
        except Exception as error:  # noqa: BLE001 - whatever fails in recording, the handler must run
            trouble("intent-events: an utterance could not be recorded", error)
            return NOT_RECORDING

    def _hand_over(self, recording: OpenRecording, result: Any) -> Any:
        """Give the result to the caller; one that goes on working keeps its recording open until it is done."""
        if iscoroutine(result):
            return self._await(lambda: recording, lambda: cast("Awaitable[Any]", result))
        if isasyncgen(result):
            return _end_if_dropped(self._stream_async(lambda: recording, lambda: result), recording)
        if isgenerator(result):
            return _end_if_dropped(self._stream(lambda: recording, lambda: result), recording)
        if isfuture(result) or isinstance(result, Future):
            future = cast("Future[Any]", result)
            future.add_done_callback(lambda done: self._end_with_future(recording, done))
            return future
        self._end(recording, result)
        return result

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
        recording, steps = begin(), call()
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
            try:
                steps.close()
            finally:
                recording.end(error)
            raise

    async def _stream_async(self, begin: Begin, call: Callable[[], AsyncSteps]) -> AsyncSteps:
        recording, steps = begin(), call()
        step: Callable[[Any], Awaitable[Any]] = steps.asend
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
            try:
                await steps.aclose()
            finally:
                recording.end(error)
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
        _tell(found, persisted=recording.trace.telemetry_persisted)

    def _merge(self, recording: OpenRecording, result: object) -> object:
        try:
            found = self._mapping.apply(result)
            recording.merge(found)
        except Exception as error:  # noqa: BLE001 - a foreign result may do anything when it is read
            trouble("intent-events: the result of a handler could not be read", error)
            return None
        return found


def _end_if_dropped(stream: Steps | AsyncSteps, recording: OpenRecording) -> Steps | AsyncSteps:
    """A stream that nobody reads to its end is an utterance all the same."""
    finalize(stream, recording.end, GeneratorExit())
    return stream


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
