# SPDX-License-Identifier: Apache-2.0
"""The SDK of the process under test, looked into: spans, metrics and log records, as they would be sent over OTLP.

The global providers of OpenTelemetry can be set once a process. Where there are none yet these are set, and stay; where
the host has set its own, they get one processor or reader more, which does nothing once nobody looks.
"""

import inspect
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

from opentelemetry import _logs as logs
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from intent_events.errors import SettingsError
from intent_events.instrument.wrappers import HandlerWrapper

_OURS: Final = ("intent_events", "intent_events_exporter", "opentelemetry", "wrapt", "contextlib")
_BEGIN: Final = HandlerWrapper._begin.__code__  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the frame that knows the handler


class Telemetry:
    """What the SDK of this process makes while somebody looks.

    Attributes:
        places: id of a span -> the function that began it.
    """

    def __init__(self) -> None:
        self.provider: Final = _tracer_provider()
        self.places: dict[int, str] = {}
        self._spans: list[ReadableSpan] = []
        self._records: list[Any] = []
        self._looking = False
        self.provider.add_span_processor(_Spans(self))
        self._reader = _reader()
        _logger_provider().add_log_record_processor(_Records(self))

    def begin(self) -> None:
        """Forget what was, and look."""
        self.places, self._spans, self._records = {}, [], []
        self._looking = True

    def end(self) -> None:
        """Look no more."""
        self._looking = False

    def sent(self) -> Iterator[tuple[str, bytes]]:
        """Everything as it would be sent over OTLP: the signal, and the bytes of an export request."""
        for span in self._spans:
            yield "traces", encode_spans([span]).SerializeToString()
        data = self._reader.get_metrics_data()
        if data is not None:
            yield "metrics", encode_metrics(data).SerializeToString()
        for record in self._records:
            yield "logs", encode_logs([record]).SerializeToString()

    def started(self, span: Span) -> None:
        """Note who began a span."""
        if self._looking:
            self.places[span.get_span_context().span_id] = _place(inspect.currentframe())

    def ended(self, span: ReadableSpan) -> None:
        """Keep a span that an exporter would get."""
        if self._looking and span.context is not None and span.context.trace_flags.sampled:
            self._spans.append(span)

    def logged(self, record: Any) -> None:
        """Keep a log record."""
        if self._looking:
            self._records.append(record)


_telemetry: Telemetry | None = None


def telemetry() -> Telemetry:
    """That of this process.

    Raises:
        SettingsError: a global provider of the host's cannot be looked into.
    """
    global _telemetry  # noqa: PLW0603 - providers are set once a process
    if _telemetry is None:
        _telemetry = Telemetry()
    return _telemetry


class _Spans(SpanProcessor):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        del parent_context
        self._telemetry.started(span)

    def on_end(self, span: ReadableSpan) -> None:
        self._telemetry.ended(span)


class _Records:
    """A log record processor by its methods alone: their names have changed from version to version of the SDK."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.on_emit: Callable[[Any], None] = telemetry.logged
        self.emit: Callable[[Any], None] = telemetry.logged

    def shutdown(self) -> None:
        """Nothing to shut down."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits."""
        del timeout_millis
        return True


def _tracer_provider() -> Any:
    provider: Any = trace.get_tracer_provider()
    if not hasattr(provider, "add_span_processor"):
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        provider = trace.get_tracer_provider()
    return _able(provider, "add_span_processor")


def _reader() -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    provider: Any = metrics.get_meter_provider()
    if isinstance(provider, MeterProvider):
        _able(provider, "add_metric_reader").add_metric_reader(reader)
    else:
        metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    return reader


def _logger_provider() -> Any:
    provider: Any = logs.get_logger_provider()
    if not hasattr(provider, "add_log_record_processor"):
        logs.set_logger_provider(LoggerProvider(shutdown_on_exit=False))
        provider = logs.get_logger_provider()
    return _able(provider, "add_log_record_processor")


def _able(provider: Any, method: str) -> Any:
    if hasattr(provider, method):
        return provider
    raise SettingsError(
        f"the global {type(provider).__name__} has no {method}(), so what it makes cannot be looked into: "
        "let the test run without it, or with a newer opentelemetry-sdk"
    )


def _place(frame: FrameType | None) -> str:
    """The handler that is recorded, or the first function that is neither ours nor OpenTelemetry's."""
    while frame is not None:
        if frame.f_code is _BEGIN:
            handler = frame.f_locals["handler"]
            return f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', type(handler).__name__)}"
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _OURS:
            return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "?"
