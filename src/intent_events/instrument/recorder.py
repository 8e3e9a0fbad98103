# SPDX-License-Identifier: Apache-2.0
"""From the beginning of an utterance to the end of its span: the one exit that every record takes."""

import os
from asyncio import CancelledError
from collections.abc import Mapping
from contextvars import Token
from itertools import count
from time import time_ns
from typing import Any, Final
from uuid import UUID, uuid4

from opentelemetry import context as context_api
from opentelemetry.metrics import Meter, get_meter
from opentelemetry.trace import Span, StatusCode, Tracer, TracerProvider, get_tracer, set_span_in_context

from intent_events import semconv
from intent_events.delivery import ending, track
from intent_events.identity import event_id_of, spelled
from intent_events.instrument.attributes import attributes_of
from intent_events.instrument.direct import DirectWay, Unspanned, direct_way, end_span, rescue
from intent_events.instrument.guard import GuardedSpan, Withheld, type_of
from intent_events.instrument.mapping import HandlerMapping
from intent_events.instrument.troubles import trouble
from intent_events.instrument.turns import Turns
from intent_events.instrument.undelivered import Undelivered, no_span, spans_only
from intent_events.mending import field_of, text
from intent_events.privacy import Privacy, TextRecord, entity_spans
from intent_events.semconv import Outcome
from intent_events.trace import TRACE_FIELDS, IntentTrace, Recording, active_recording
from intent_events.version import __version__

SCOPE_NAME: Final = "intent_events"
"""Instrumentation scope of our spans and metrics."""

_CANCELLED: Final = (CancelledError, KeyboardInterrupt)

Attached = tuple[Token[Any], Token[Recording | None]]

_WITHHELD: Final = (
    "intent-events: code within an utterance put something on its span that may not leave on it: see the metric "
    "intent_events.attributes.withheld, and INTENT_EVENTS_SPAN_ATTRIBUTES"
)


class Emitter:
    """Who emits: a process, with a running number for each record. A forked child is another emitter.

    Attributes:
        emitter_id: UUID of this process, as text.
        emitted: the last number given; 0 before the first.
        started_ns: when the process began to be one, nanoseconds since 1970.
    """

    __slots__ = ("__weakref__", "_beats", "_numbers", "emitted", "emitter_id", "started_ns")

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def next_number(self) -> int:
        """Number of the next record, from 1."""
        number = next(self._numbers)
        self.emitted = max(self.emitted, number)  # another thread may have been quicker with a later one
        return number

    def next_beat(self) -> int:
        """Number of its next heartbeat, whichever delivery writes it."""
        return next(self._beats)

    def _renew(self) -> None:
        self.emitter_id = str(uuid4())
        self._numbers = count(1)
        self._beats = count(1)
        self.emitted = 0
        self.started_ns = time_ns()


EMITTER: Final = Emitter()
"""This process."""


class OpenRecording:
    """One utterance while it is being handled; also a nested call or a stage of it, which leaves a child span only."""

    __slots__ = (
        *("_asked", "_asked_as", "_emitter_id", "_outer", "_recorder", "_span", "_start_ns", "_unspanned"),
        *("_utterance", "_visible"),
        *("ended", "event_id", "trace", "way"),
    )

    def __init__(
        self,
        recorder: "Recorder",
        span: Span,
        event_id: UUID,
        trace: IntentTrace,
        utterance: str | None,
        outer: "OpenRecording | None" = None,
        unspanned: Unspanned | None = None,
        start_ns: int = 0,
    ) -> None:
        self._recorder = recorder
        self._span = span
        self._visible = GuardedSpan(span, recorder.withhold, recorder.allowed)
        self._utterance = utterance  # let go at the end: it is masked when all entities in it are known
        self._start_ns = start_ns
        self._outer = outer
        self._unspanned = unspanned
        self.way: DirectWay | None = None
        # The process in which it began: a copy that a forked child ends is not another record.
        self._emitter_id = EMITTER.emitter_id
        self._asked_as = trace.session_id
        self._asked = None if outer else recorder.chain(trace)
        self.event_id = event_id
        self.trace = trace
        self.ended = False

    def child(self, name: str, attributes: Mapping[str, bool | str]) -> "OpenRecording":
        """Start a child span of this utterance: a nested call of a handler, or a stage.

        Args:
            name: name of the span.
            attributes: attributes of the span.
        """
        span = self._recorder.tracer.start_span(name, attributes=attributes)
        return OpenRecording(self._recorder, span, self.event_id, self.trace, None, self._outer or self)

    def attach(self) -> Attached | None:
        """Make the span current in this task or thread; give the result to :meth:`detach` in the same one."""
        token = context_api.attach(set_span_in_context(self._visible))
        return token, active_recording.set(self._outer or self)

    def detach(self, attached: Attached | None) -> None:
        """Undo :meth:`attach`."""
        if attached is None:
            return
        token, recording = attached
        try:
            active_recording.reset(recording)
        except ValueError:  # dropped from another context, as by a dying event loop: there is nothing of ours in it
            return
        context_api.detach(token)

    def merge(self, found: object) -> None:
        """Take what a trace of the orchestrator's own says over what is known so far.

        Args:
            found: an IntentTrace, or an object or mapping with fields named as its fields.
        """
        trace = self.trace
        if found is None or found is trace or self._outer:
            return
        if isinstance(found, IntentTrace):
            found.event_id, found.delivery = trace.event_id, trace.delivery
            for name in TRACE_FIELDS:
                value = getattr(found, name)
                if value is not None:
                    setattr(trace, name, value)
            return
        for name in TRACE_FIELDS:
            value = field_of(found, name)
            if value is not None:
                setattr(trace, name, value)

    def end(self, error: BaseException | None = None) -> None:
        """End the span; the second call does nothing, so that there is one exit whatever happens.

        Args:
            error: what the handler raised; its type is recorded, never its text.
        """
        if self.ended:
            return
        self.ended = True
        event_id = spelled(self.event_id)
        try:
            if self._outer is None:
                ending(event_id, self.trace.delivery)
                self._record(error, event_id)
            elif error is not None and not isinstance(error, (GeneratorExit, *_CANCELLED)):
                self._span.set_status(StatusCode.ERROR)
                self._span.set_attribute(semconv.ERROR_TYPE, type_of(error))
        except Exception as failure:  # noqa: BLE001 - whatever fails in recording must not reach the host
            trouble("intent-events: a record is incomplete", failure)
        finally:
            self._utterance = None
            seen = end_span(self._span)
            if self._outer is None:
                delivery = self.trace.delivery
                if self._unspanned is None and not (delivery and delivery.persisted):
                    rescue(self._span, self.way, seen=seen)
                ending(event_id, None)

    def _record(self, error: BaseException | None, event_id: str) -> None:
        trace, span = self.trace, self._span
        if error is not None:
            _judge(trace, error)
        if self._recorder.synthetic:
            trace.synthetic = True
        same = trace.session_id is self._asked_as
        session = self._asked if same else self._recorder.chain(trace, self._asked)
        if session is not None:
            label = trace.outcome
            label = label if type(label) is str else text(label, set())
            self._recorder.turns.ended(session, self.event_id, label)
        unspanned = self._unspanned
        way = None if unspanned is None else direct_way() or self.way
        if way is None and not span.is_recording():
            return
        attributes: dict[str, Any] = {}
        try:
            attributes = attributes_of(trace, self._kept(trace))
            self._recorder.hide_actor(attributes, self._start_ns)
        finally:
            # At the end of the last call, because the SDK evicts the oldest attribute beyond its limit.
            outcome = attributes.pop(semconv.OUTCOME, None)
            attributes[semconv.EMITTER_ID] = self._emitter_id
            if self._emitter_id is EMITTER.emitter_id:
                attributes[semconv.EMITTER_SEQ] = EMITTER.next_number()
            attributes[semconv.EVENT_ID] = event_id
            attributes[semconv.ROOT] = True
            if outcome is not None:
                attributes[semconv.OUTCOME] = outcome
            if way is None or unspanned is None:
                span.set_attributes(attributes)
            else:
                way.accept(unspanned.view(attributes))
        if outcome == Outcome.ERROR:
            span.set_status(StatusCode.ERROR)

    def _kept(self, trace: IntentTrace) -> TextRecord | None:
        """What may be kept of the utterance; None when the handler has no text."""
        if self._utterance is None:
            return None
        given = trace.entity_spans
        entities = () if given is None else entity_spans(given)
        return self._recorder.privacy.record(self._utterance, self._start_ns, entities)


class NotRecording(OpenRecording):
    """Records nothing, so that a handler takes the same way when its recording could not begin."""

    __slots__ = ()

    def __init__(self, trace: IntentTrace | None = None) -> None:  # pyright: ignore[reportMissingSuperCall] - it has no span to hold
        """Stand in for a recording.

        Args:
            trace: what the handler may fill all the same.
        """
        self.trace = trace or IntentTrace()

    def attach(self) -> Attached | None:
        """Leave the context as it is."""

    def detach(self, attached: Attached | None) -> None:
        """Leave the context as it is."""

    def merge(self, found: object) -> None:
        """Take nothing."""

    def end(self, error: BaseException | None = None) -> None:
        """End nothing."""


class Recorder:
    """Begins recordings with one tracer and one set of privacy rules.

    Attributes:
        mapping: where handlers that say nothing of their own keep things.
    """

    __slots__ = (
        *("_told", "_tracer", "_undelivered", "_unrecorded", "_withheld"),
        *("allowed", "mapping", "privacy", "synthetic", "turns"),
    )

    def __init__(
        self,
        privacy: Privacy,
        *,
        synthetic: bool = False,
        allowed: frozenset[str] = frozenset(),
        mapping: HandlerMapping | None = None,
        tracer: Tracer | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Record with these.

        Args:
            privacy: what may be kept of a text.
            synthetic: mark every record as test traffic.
            allowed: attributes of the host's that it may set on our spans.
            mapping: where handlers that say nothing of their own keep things; None for the usual names.
            tracer: makes the spans; None takes the global provider's.
            meter: makes the metrics; None takes the global provider's.
        """
        self.privacy = privacy
        self.turns = Turns()
        self.synthetic = synthetic
        self._tracer = tracer or get_tracer(SCOPE_NAME, __version__)
        self.allowed: Final = allowed
        self.mapping: Final = mapping or HandlerMapping()
        self._undelivered = Undelivered.CHOSEN
        self._told = True
        meter = meter or get_meter(SCOPE_NAME, __version__)
        self._withheld = meter.create_counter(
            "intent_events.attributes.withheld",
            unit="{item}",
            description="What code within an utterance set on its span and did not stay there, by the reason.",
        )
        self._unrecorded = meter.create_counter(
            "intent_events.records.unrecorded",
            unit="{record}",
            description="Utterances of which no span was recording, so that no row can be written.",
        )

    @property
    def tracer(self) -> Tracer:
        """Makes the spans."""
        return self._tracer

    def withhold(self, why: Withheld) -> None:
        """Count something that was set on our span and does not stay there."""
        self._withheld.add(1, {"error.type": why.value})
        trouble(_WITHHELD)

    def begin(self, utterance: object, fields: Mapping[str, Any]) -> OpenRecording:
        """Start the span of an utterance, or a child span when one is being handled in this context already.

        Args:
            utterance: the raw text; anything but a string counts as none.
            fields: fields of the trace that are known at the start.
        """
        outer = active_recording.get()
        if isinstance(outer, OpenRecording) and not outer.ended:
            return outer.child(semconv.SPAN_NAME, {semconv.ROOT: False})
        way = direct_way()
        start_ns = time_ns()
        span = self._tracer.start_span(semconv.SPAN_NAME, start_time=start_ns)
        if span.is_recording():
            ids, unspanned = span.get_span_context(), None
            event_id = event_id_of(ids.trace_id, ids.span_id, start_ns)
            if way is not None:
                way.meet_sdk()
            elif not self._told:
                self._tell()
        else:
            unspanned = Unspanned.of(span, start_ns)
            event_id = unspanned.event_id
            if way is None:
                self._unrecorded.add(1)
                trouble(no_span(self._undelivered))
        trace = IntentTrace(event_id=event_id, delivery=track(event_id), **fields)
        raw = str.__str__(utterance) if isinstance(utterance, str) else None
        opened = OpenRecording(self, span, event_id, trace, raw, None, unspanned, start_ns)
        opened.way = way  # it takes the record also when delivery has been detached by its end
        return opened

    def undelivered(self, why: Undelivered) -> None:
        """Say why no delivery is attached, should an utterance come all the same.

        Args:
            why: the reason.
        """
        self._undelivered = why
        self._told = False

    def _tell(self) -> None:
        """Say once that spans are recorded and no rows are stored: not before, since a door may be added until then."""
        self._told = True
        line = spans_only(self._undelivered)
        if line is not None:
            trouble(line)

    def hide_actor(self, attributes: dict[str, Any], at_ns: int) -> None:
        """Record whoever speaks as the settings say.

        Args:
            attributes: attributes of the record, changed in place.
            at_ns: when the utterance began, nanoseconds since 1970.
        """
        actors = self.privacy.actors
        if actors is not None and actors.mode != "plain":
            recorded = actors.recorded(attributes.pop(semconv.ACTOR_ID, ""), at_ns)
            if recorded:
                attributes[semconv.ACTOR_ID] = recorded

    def bind(self, provider: TracerProvider) -> Tracer:
        """Make spans with the tracer of this provider from now on, and give it."""
        self._tracer = get_tracer(SCOPE_NAME, __version__, provider)
        return self._tracer

    def chain(self, trace: IntentTrace, asked: str | None = None) -> str | None:
        """Say whose question the utterance answers, unless the orchestrator did.

        Args:
            trace: asked at the start, and at the end again for a session that only the result names.
            asked: the session that was asked for at the start; a question that it was asked since is not answered yet.

        Returns:
            The session that was asked for.
        """
        session = trace.session_id
        if session is None:
            return None
        session = text(session, set())
        if session is not None and session != asked and trace.parent_event_id is None:
            trace.parent_event_id = self.turns.answered_by(session)
        return session


def _judge(trace: IntentTrace, error: BaseException) -> None:
    """Outcome of a handler that did not return."""
    if isinstance(error, GeneratorExit):
        trace.outcome = trace.outcome or Outcome.CANCELLED  # the reader left; what was said before stays true
    elif isinstance(error, _CANCELLED):
        trace.outcome = Outcome.CANCELLED
    else:
        trace.outcome = Outcome.ERROR
        trace.error_code = trace.error_code or type_of(error)
