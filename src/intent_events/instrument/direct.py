# SPDX-License-Identifier: Apache-2.0
"""The direct way to delivery, for records of which no span is recording: no SDK, a disabled one, or none yet."""

from collections.abc import Mapping
from secrets import randbits
from time import time_ns
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from opentelemetry.trace import Span

from intent_events.identity import event_id_of
from intent_events.instrument.troubles import trouble
from intent_events.spans import SpanView


class DirectWay(Protocol):
    """Takes records without a span of the SDK; set by the delivery that was attached."""

    def accept(self, span: SpanView) -> bool:
        """Keep a record; whether it is durable now. Never raises."""
        ...

    def rescue(self, span: Span) -> bool:
        """Keep a finished span of the SDK that its processors may not have kept; whether it is durable now."""
        ...

    def meet_sdk(self) -> None:
        """An SDK records now that was not there when delivery was attached: attach to it. Never raises."""
        ...


_way: DirectWay | None = None


def direct_way() -> DirectWay | None:
    """The direct way of this process; None when no delivery is attached."""
    return _way


def set_direct_way(way: DirectWay | None) -> None:
    """Send records this way from now on; None closes it."""
    global _way  # noqa: PLW0603 - one delivery a process
    _way = way


def end_span(span: Span) -> bool:
    """End a span of ours; whether all of its processors have seen it. Never raises."""
    try:
        span.end()
    except Exception as failure:  # noqa: BLE001 - a span processor of any make raises through end()
        trouble("intent-events: a span processor failed at the end of a span", failure)
        return False
    return True


def rescue(span: Span, began_with: DirectWay | None, *, seen: bool) -> None:
    """Send the span of a record that may not be durable the direct way, if its processors cannot have kept it.

    Never raises. Kept twice it is one row all the same.

    Args:
        span: a span that has ended.
        began_with: the way that was open when it began: it still takes what it has seen begin.
        seen: whether all processors of the span have seen it.
    """
    way = _way
    if seen and (began_with is None or way is began_with):
        return
    way = way or began_with
    if way is None:
        return
    try:
        way.rescue(span)
    except Exception as failure:  # noqa: BLE001 - a way that fails against its promise must not reach the host
        trouble("intent-events: a record is lost at the end of its span", failure)


class Unspanned(NamedTuple):
    """What stands for the span of a record when none is recording.

    Attributes:
        trace_id: of the trace that the record belongs to, or one of its own.
        span_id: one of its own: a span that is not recording may have the id of its parent.
        start_ns: when it began, nanoseconds since 1970.
        sampled: whether its trace exists.
    """

    trace_id: int
    span_id: int
    start_ns: int
    sampled: bool

    @classmethod
    def of(cls, span: Span, start_ns: int) -> "Unspanned":
        """Stand for a span that is not recording."""
        context = span.get_span_context()
        trace_id = context.trace_id or randbits(128)
        return cls(trace_id, randbits(64) or 1, start_ns, context.trace_flags.sampled)

    @property
    def event_id(self) -> UUID:
        """Key of the record."""
        return event_id_of(self.trace_id, self.span_id, self.start_ns)

    def view(self, attributes: Mapping[str, Any]) -> SpanView:
        """The record, ended now."""
        return SpanView(self.trace_id, self.span_id, self.start_ns, time_ns(), attributes, self.sampled)
