# SPDX-License-Identifier: Apache-2.0
"""For orchestrators that record by themselves: a decorator and a context manager."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, overload

import wrapt
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from intent_events.instrument.current import current_recorder
from intent_events.instrument.mapping import HandlerMapping
from intent_events.instrument.recorder import NotRecording, OpenRecording
from intent_events.instrument.troubles import trouble
from intent_events.instrument.wrappers import HandlerWrapper
from intent_events.trace import TRACE_FIELDS, IntentTrace

F = TypeVar("F", bound=Callable[..., Any])
_FIELDS: Final = frozenset(TRACE_FIELDS)


@overload
def record_utterance(handler: F, /) -> F: ...
@overload
def record_utterance(*, mapping: HandlerMapping | None = None) -> Callable[[F], F]: ...
def record_utterance(handler: F | None = None, /, *, mapping: HandlerMapping | None = None) -> F | Callable[[F], F]:
    """Record every utterance that a handler handles, as ``@record_utterance`` or ``@record_utterance(…)``.

    Args:
        handler: a function, coroutine function, generator function or asynchronous generator function.
        mapping: where the handler keeps things, when they have other names; default that of the instrumentor, or of
            ``INTENT_EVENTS_MAPPING``. Its stages are not wrapped: give them to the instrumentor, or use
            :func:`intent_events.stage`.

    Returns:
        The handler, wrapped; its signature, result and exceptions are the same.
    """

    def wrap(function: F) -> F:
        wrapper = HandlerWrapper(current_recorder, mapping)
        return wrapt.FunctionWrapper(function, wrapper)  # pyright: ignore[reportReturnType] - a transparent proxy of the function

    return wrap if handler is None else wrap(handler)


@contextmanager
def recording(utterance: str, **fields: Any) -> Generator[IntentTrace]:
    """Record one utterance around the code that handles it, plain or asynchronous.

    Args:
        utterance: the raw text; it does not leave this call.
        **fields: fields of the trace that are known already, such as ``session_id``.

    Yields:
        The trace to fill.

    Raises:
        TypeError: a field is none of an IntentTrace.
        Exception: whatever the body raises, untouched; only its type is recorded.
    """
    open_recording = _begin(utterance, fields)
    attached = open_recording.attach()
    try:
        yield open_recording.trace
    except BaseException as error:
        open_recording.detach(attached)
        open_recording.end(error)
        raise
    open_recording.detach(attached)
    open_recording.end()


def _begin(utterance: str, fields: dict[str, Any]) -> OpenRecording:
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        raise TypeError(f"recording() takes the fields of an IntentTrace, which has none named {', '.join(unknown)}")
    if not is_instrumentation_enabled():
        return NotRecording(IntentTrace(**fields))
    try:
        return current_recorder().begin(utterance, fields)
    except Exception as error:  # noqa: BLE001 - whatever fails in recording, the body must run
        trouble("intent-events: an utterance could not be recorded", error)
        return NotRecording(IntentTrace(**fields))
