# SPDX-License-Identifier: Apache-2.0
"""Stages of the handling of an utterance, each a child span of it."""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from inspect import iscoroutine, iscoroutinefunction
from typing import Any

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from intent_events import semconv
from intent_events.instrument.recorder import OpenRecording
from intent_events.instrument.troubles import trouble
from intent_events.trace import active_recording


@contextmanager
def stage(name: str) -> Generator[None]:
    """Span of one stage of the utterance that is being handled; nothing when none is.

    Args:
        name: a :class:`intent_events.semconv.Stage`, or a name of your own; keep the set of names small.

    Raises:
        Exception: whatever the body raises, untouched; only its type is recorded.
    """
    with _within(_begin(str(name))):
        yield


def _begin(name: str) -> OpenRecording | None:
    recording = active_recording.get()
    if not isinstance(recording, OpenRecording) or recording.ended or not is_instrumentation_enabled():
        return None
    try:
        return recording.child(name, {semconv.STAGE: name})
    except Exception as error:  # noqa: BLE001 - a sampler or span processor of any make raises through start_span()
        trouble("intent-events: a stage could not be recorded", error)
        return None


@contextmanager
def _within(opened: OpenRecording | None) -> Generator[None]:
    if opened is None:
        yield
        return
    attached = opened.attach()
    try:
        yield
    except BaseException as error:
        opened.detach(attached)
        opened.end(error)
        raise
    opened.detach(attached)
    opened.end()


class StageWrapper:
    """Wraps one function, plain or asynchronous, as a stage; called with the convention of wrapt."""

    __slots__ = ("_active", "_name")

    def __init__(self, name: str, active: Callable[[], object]) -> None:
        """Wrap as this stage.

        Args:
            name: the stage.
            active: gives None when the wrapper is switched off.
        """
        self._name = name
        self._active = active

    def __call__(
        self, function: Callable[..., Any], _instance: object, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call the function within the span of its stage."""
        if self._active() is None:
            return function(*args, **kwargs)
        if iscoroutinefunction(function):
            return self._await(function, args, kwargs)
        opened = _begin(self._name)
        if opened is None:
            return function(*args, **kwargs)
        attached = opened.attach()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            opened.detach(attached)
            opened.end(error)
            raise
        opened.detach(attached)
        if iscoroutine(result):
            return _finish(opened, result)
        opened.end()
        return result

    async def _await(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        with stage(self._name):
            return await function(*args, **kwargs)


async def _finish(opened: OpenRecording, work: Awaitable[Any]) -> Any:
    with _within(opened):
        return await work
