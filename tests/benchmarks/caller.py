# SPDX-License-Identifier: Apache-2.0
"""What recording one utterance costs the caller, against the SDK's own span with the same attributes.

The peer is the span that an application would put around its handler by itself: ``start_as_current_span``, all
attributes set at once, and a processor that does nothing. Ours runs with its sampler, its processor and its spool while
the drain stores in Postgres. The time of the handler itself is taken away.

Both are called in turns, 500 times a second: twenty in a row every 40 ms, where all but the first find their caches
warm, as in the loop that the budget was thought of; and one every 2 ms, where every call finds them cold and both cost
a multiple of that, which differs from run to run with what else the hardware does meanwhile.
"""

import gc
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter_ns, sleep
from typing import Final, NamedTuple

from opentelemetry.sdk.trace import SpanProcessor, Tracer, TracerProvider
from opentelemetry.util.types import AnyValue

from benchmarks.workload import ARGUMENTS, UTTERANCE, Keep, handle, instrumented, recorder_on
from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor, IntentSampler

ROUNDS: Final = 15
"""More than elsewhere: a round takes two seconds, and they differ more."""

CALLS: Final = 1000
PERIOD_NS: Final = 2_000_000
BURST: Final = 20
"""Calls in a row, in the first of the two ways."""

NOBODY: Final = "postgresql://nobody@127.0.0.1:1/nothing"
"""Address at which no Postgres answers."""


Calls = tuple[Callable[[], None], ...]
Times = tuple[list[float], ...]


class CallerCost(NamedTuple):
    """One round.

    Attributes:
        bare_us: median of the SDK's span, microseconds.
        ours_us: median of a recorded utterance without its handler, microseconds.
        bare_p99_us: 99th percentile of the SDK's span, microseconds.
        ours_p99_us: the same of a recorded utterance, without the median of its handler.
    """

    bare_us: float
    ours_us: float
    bare_p99_us: float
    ours_p99_us: float


def measure(rounds: int, dsn: str, burst: int) -> list[CallerCost]:
    """Measure this many rounds of :data:`CALLS` calls each.

    Args:
        rounds: how often.
        dsn: address of a migrated database, or :data:`NOBODY`.
        burst: calls in a row.
    """
    attributes = _attributes()
    bare_provider, provider = TracerProvider(), TracerProvider()
    bare_provider.add_span_processor(SpanProcessor())
    tracer = bare_provider.get_tracer("bare")
    recorder = recorder_on(provider)
    wrapper = instrumented(recorder)
    sampled = recorder.tracer
    if isinstance(sampled, Tracer):
        sampled.sampler = IntentSampler(sampled.sampler)

    def bare() -> None:
        with tracer.start_as_current_span("handle_utterance") as span:
            span.set_attributes(attributes)

    def recorded() -> None:
        wrapper(handle, None, (UTTERANCE,), ARGUMENTS)

    def handler() -> None:
        handle(UTTERANCE, **ARGUMENTS)

    with TemporaryDirectory() as folder:
        processor = IntentEventsSpanProcessor(dsn, Path(folder) / "spool", settings=DeliverySettings())
        provider.add_span_processor(processor)
        gc.collect()
        gc.freeze()
        try:
            _paced((bare, recorded, handler), burst)
            return [_round(*_paced((bare, recorded, handler), burst)) for _ in range(rounds)]
        finally:
            gc.unfreeze()
            processor.shutdown()


def _round(bare: list[float], recorded: list[float], handler: list[float]) -> CallerCost:
    own = median(handler)
    ours = median(recorded) - own
    return CallerCost(median(bare), ours, _p99(bare), _p99(recorded) - own)


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]


def _paced(calls: Calls, burst: int) -> Times:
    """Microseconds of each call, one each every :data:`PERIOD_NS` on average; they take turns in coming first."""
    times: dict[Callable[[], None], list[float]] = {call: [] for call in calls}
    due = perf_counter_ns()
    for turn in range(CALLS // burst):
        for place in range(len(calls)):
            call = calls[(turn + place) % len(calls)]
            for _ in range(burst):
                began = perf_counter_ns()
                call()
                times[call].append((perf_counter_ns() - began) / 1000)
        due += PERIOD_NS * burst
        sleep(max(due - perf_counter_ns(), 0) / 1e9)
    return tuple(times.values())


def _attributes() -> dict[str, AnyValue]:
    kept, provider = Keep(), TracerProvider()
    provider.add_span_processor(kept)
    instrumented(recorder_on(provider))(handle, None, (UTTERANCE,), ARGUMENTS)
    return dict(kept.spans[0].attributes or {})
