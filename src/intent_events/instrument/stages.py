# SPDX-License-Identifier: Apache-2.0
"""Stages of the handling of an utterance, each a child span of it."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any

from opentelemetry.trace import StatusCode, use_span

from intent_events import semconv
from intent_events.instrument.recorder import OpenRecording, type_of
from intent_events.trace import active_recording


@contextmanager
def stage(name: str) -> Generator[None]:
    """Span of one stage of the utterance that is being handled; nothing when none is.

    Args:
        name: a :class:`intent_events.semconv.Stage`, or a name of your own; keep the set of names small.

    Raises:
        Exception: whatever the body raises, untouched; only its type is recorded.
    """
    recording = active_recording.get()
    if not isinstance(recording, OpenRecording) or recording.ended:
        yield
        return
    span = recording.tracer.start_span(str(name), attributes={semconv.STAGE: str(name)})
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            span.set_status(StatusCode.ERROR)
            span.set_attribute(semconv.ERROR_TYPE, type_of(error))
            raise


class StageWrapper:
    """Wraps one function as a stage; called with the convention of wrapt."""

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
        with stage(self._name):
            return function(*args, **kwargs)

    async def _await(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        with stage(self._name):
            return await function(*args, **kwargs)
