# SPDX-License-Identifier: Apache-2.0
"""What recording one utterance costs the caller, against the SDK's own span with the same attributes.

Both run in one process, in turns, on the same provider with a processor that does nothing.
"""

import gc
from collections.abc import Callable
from statistics import median, quantiles
from time import perf_counter_ns
from typing import NamedTuple

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.util.types import AnyValue

from benchmarks.workload import ARGUMENTS, UTTERANCE, Keep, handle, instrumented, recorder_on

CALLS = 2000


class CallerCost(NamedTuple):
    """One round.

    Attributes:
        bare_us: median of the SDK's span, microseconds.
        ours_us: median of a recorded utterance without its handler, microseconds.
        p50_ratio: the second over the first.
        p99_ratio: the same of the 99th percentiles.
    """

    bare_us: float
    ours_us: float
    p50_ratio: float
    p99_ratio: float


def measure(rounds: int) -> list[CallerCost]:
    """Measure this many rounds of :data:`CALLS` calls each."""
    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    wrapper = instrumented(recorder_on(provider))
    attributes = _attributes()
    tracer = provider.get_tracer("bare")

    def bare() -> None:
        span = tracer.start_span("handle_utterance")
        span.set_attributes(attributes)
        span.end()

    def recorded() -> None:
        wrapper(handle, None, (UTTERANCE,), ARGUMENTS)

    def handler() -> None:
        handle(UTTERANCE, **ARGUMENTS)

    gc.disable()
    try:
        for call in (bare, recorded, handler):
            _times(call)
        return [_round(_times(bare), _times(recorded), _times(handler)) for _ in range(rounds)]
    finally:
        gc.enable()


def _round(bare: list[float], recorded: list[float], handler: list[float]) -> CallerCost:
    own = median(handler)
    ours = median(recorded) - own
    p99 = (_p99(recorded) - own) / _p99(bare)
    return CallerCost(median(bare), ours, ours / median(bare), p99)


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]


def _times(call: Callable[[], None]) -> list[float]:
    times: list[float] = []
    for _ in range(CALLS):
        began = perf_counter_ns()
        call()
        times.append((perf_counter_ns() - began) / 1000)
    return times


def _attributes() -> dict[str, AnyValue]:
    kept, provider = Keep(), TracerProvider()
    provider.add_span_processor(kept)
    instrumented(recorder_on(provider))(handle, None, (UTTERANCE,), ARGUMENTS)
    return dict(kept.spans[0].attributes or {})
