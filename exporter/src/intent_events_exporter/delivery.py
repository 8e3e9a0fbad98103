# SPDX-License-Identifier: Apache-2.0
"""Attaches the processor and the sampler when the instrumentor starts, so that no code of the host's is needed."""

import atexit
from collections.abc import Callable
from itertools import count
from typing import Any, Final, cast

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.trace import Span, TracerProvider, get_tracer_provider

from intent_events.instrument.current import current_recorder
from intent_events.instrument.direct import set_direct_way
from intent_events.instrument.troubles import trouble
from intent_events.instrument.undelivered import Undelivered
from intent_events.spans import SpanView
from intent_events_exporter.processor import IntentEventsSpanProcessor, settings_or_defaults
from intent_events_exporter.sampler import IntentSampler


def attach(tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> Callable[[], None]:
    """Deliver the records of this process to ``INTENT_EVENTS_DSN``; without it nothing, as the first utterance says.

    With an SDK, the processor is added to its provider, and our own tracer gets an :class:`IntentSampler` around the
    sampler that it has: every other tracer, and what the backend gets, stay as they were. Without one, or while it is
    disabled, records take the direct way to the same spool; an SDK that comes later is met at the next record.

    What waits is stored before the process ends, also where no SDK shuts its processors down.

    Args:
        tracer_provider: the SDK's; None takes the global one.
        meter_provider: makes the metrics; None takes the global one.

    Returns:
        What undoes it.
    """
    settings = settings_or_defaults()
    if settings.dsn is None and settings.dsn_file is None:
        # Said when an utterance comes: the host may have added a door of ours by then, and need no address here.
        current_recorder().undelivered(Undelivered.NO_ADDRESS)
        return _nothing
    attached = Attached(IntentEventsSpanProcessor(settings=settings, meter_provider=meter_provider), tracer_provider)
    set_direct_way(attached)
    attached.attach_to_sdk()
    atexit.register(attached.processor.shutdown)
    return attached.detach


class Attached:
    """The processor of this process, at the SDK or on the direct way."""

    def __init__(self, processor: IntentEventsSpanProcessor, provider: TracerProvider | None) -> None:
        """Attach this processor to this provider; None is the global one, whichever that is at the time."""
        self._processor = processor
        self._provider = provider
        self._met = False
        self._turns = count()
        self._sampled: list[tuple[SdkTracer, Any]] = []

    @property
    def processor(self) -> IntentEventsSpanProcessor:
        """Keeps the records."""
        return self._processor

    @property
    def met_sdk(self) -> bool:
        """Whether the SDK hands its spans over."""
        return self._met

    def accept(self, span: SpanView) -> bool:
        """Keep a record without a span of the SDK; whether it is durable now."""
        return self._processor.accept(span._replace(service_name=self._processor.settings.service_name))

    def rescue(self, span: Span) -> bool:
        """Keep a finished span that the SDK may not have handed over; whether it is durable now."""
        return self._processor.take(cast("ReadableSpan", span))

    def meet_sdk(self) -> None:
        """A span records: attach to whoever made it, or say that this is not possible."""
        if not self._met and not self.attach_to_sdk():
            trouble(_STRANGE)

    def attach_to_sdk(self) -> bool:
        """Attach to the SDK's provider; False if there is none yet. Never raises: what cannot be extended is said."""
        try:
            return self._attach_to(self._provider or get_tracer_provider())
        except Exception as error:  # noqa: BLE001 - a provider of another make may raise anything
            trouble(_STRANGE, error)
            return True

    def _attach_to(self, provider: TracerProvider) -> bool:
        add = getattr(provider, "add_span_processor", None)
        if add is None:
            return False
        if next(self._turns):  # another thread has met it in this moment
            return True
        add(self._processor)
        self._met = True
        tracer = current_recorder().bind(provider)
        if isinstance(tracer, SdkTracer) and not isinstance(tracer.sampler, IntentSampler):
            self._sampled.append((tracer, tracer.sampler))
            tracer.sampler = IntentSampler(tracer.sampler)
        limit = cast("int | None", getattr(getattr(provider, "_span_limits", None), "max_span_attributes", None))
        if limit is not None and limit < _ATTRIBUTES:
            trouble(
                f"intent-events: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT lets spans have {limit} attributes, and records may "
                f"need {_ATTRIBUTES}: what is beyond is lost, and flagged in quality"
            )
        return True

    def detach(self) -> None:
        """Store what waits and stop; the SDK cannot take a processor out again, so it stays without effect there.

        A record that is open now comes by :meth:`accept` or :meth:`rescue` at its end, and waits in the spool.
        """
        set_direct_way(None)
        for tracer, sampler in self._sampled:
            tracer.sampler = sampler
        atexit.unregister(self._processor.shutdown)
        self._processor.retire()


_ATTRIBUTES: Final = 64
_STRANGE: Final = (
    "intent-events: spans are recorded by a tracer provider that takes no span processor, so their records are not "
    "stored: give the instrumentor the SDK's own as tracer_provider"
)


def _nothing() -> None:
    """Undo nothing."""
