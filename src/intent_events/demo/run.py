# SPDX-License-Identifier: Apache-2.0
"""One run of the demo: the orchestrator under the instrumentor, its rows in Postgres, its traces at an OTLP backend."""

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from pydantic import SecretStr

from intent_events.demo.chat import Chat
from intent_events.demo.orchestrator import Orchestrator
from intent_events.demo.receiver import OtlpReceiver
from intent_events.demo.registry import Registry
from intent_events.demo.traffic import Played, Turn, play
from intent_events.instrument import IntentEventsInstrumentor
from intent_events.instrument.recorder import EMITTER
from intent_events.semconv import ROOT
from intent_events.settings import DeliverySettings, RecordSettings
from intent_events.store.ledger import stored_by
from intent_events.store.migrate import migrate
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.delivery import Attached

TARGET: Final = "intent_events.demo.orchestrator:Orchestrator.handle_utterance"
"""The handler that is wrapped."""

STAGES: Final = {
    name: f"intent_events.demo.orchestrator:Orchestrator.{name}" for name in ("discover", "policy", "select", "stage")
}
"""Its stages, each wrapped as a child span."""

_QUEUE_SPANS: Final = 1 << 17
_LAST_ROWS_S: Final = 60.0


@dataclass(slots=True)
class Tally:
    """What a run did, and what arrived.

    Attributes:
        utterances: utterances that were handled.
        rows: rows that arrived in Postgres.
        event_ids: different keys among them.
        otlp_intent_spans: root spans of utterances that the OTLP backend took.
        otlp_spans: spans of every kind that it took.
        outcomes: utterances by outcome.
        meant: utterances of which the traffic file says the verb that is meant.
        hit: those of them whose best candidate is that verb.
    """

    utterances: int = 0
    rows: int = 0
    event_ids: int = 0
    otlp_intent_spans: int = 0
    otlp_spans: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    meant: int = 0
    hit: int = 0

    @property
    def agrees(self) -> bool:
        """Whether every utterance arrived once at both places."""
        return self.utterances == self.rows == self.event_ids == self.otlp_intent_spans

    @property
    def accuracy(self) -> float:
        """Share of the utterances that mean a verb whose best candidate is that verb; 0 when none does."""
        return self.hit / self.meant if self.meant else 0.0

    def rate(self, *outcomes: str) -> float:
        """Share of the utterances that ended in one of these outcomes."""
        return sum(self.outcomes[outcome] for outcome in outcomes) / self.utterances if self.utterances else 0.0

    def count(self, played: Played) -> None:
        """Count one turn."""
        self.utterances += 1
        self.outcomes[played.outcome] += 1
        if played.turn.expected_verb is not None:
            self.meant += 1
            self.hit += played.best_verb == played.turn.expected_verb


def run(
    dsn: str, registry: Registry, turns: Sequence[Turn], *, endpoint: str | None, advance: Callable[[], object]
) -> Tally:
    """Play traffic through the instrumented orchestrator and count what arrived.

    Args:
        dsn: Postgres to migrate and to write to.
        registry: the verbs.
        turns: what is said.
        endpoint: OTLP/HTTP endpoint to send traces to; None starts a receiver of our own.
        advance: called after each turn.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: Postgres cannot be asked.
    """
    asyncio.run(migrate(dsn))
    tally = Tally()
    with _backend(endpoint) as backend:
        with _instrumented(dsn, registry, backend.exporter):
            asyncio.run(_play(Orchestrator(registry), turns, tally, advance))
        tally.otlp_spans, tally.otlp_intent_spans = backend.counts()
    stored = asyncio.run(stored_by(dsn, EMITTER.emitter_id))
    tally.rows, tally.event_ids = stored
    return tally


@dataclass(frozen=True, slots=True)
class _Backend:
    exporter: SpanExporter
    counts: Callable[[], tuple[int, int]]


@contextmanager
def _backend(endpoint: str | None) -> Generator[_Backend]:
    if endpoint is not None:
        acknowledged = _Acknowledged(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
        yield _Backend(acknowledged, lambda: (acknowledged.spans, acknowledged.intent_spans))
        return
    with OtlpReceiver() as receiver:
        exporter = OTLPSpanExporter(endpoint=f"{receiver.endpoint}/v1/traces")
        yield _Backend(exporter, lambda: (receiver.spans, receiver.intent_spans))


@contextmanager
def _instrumented(dsn: str, registry: Registry, exporter: SpanExporter) -> Generator[None]:
    provider = TracerProvider(resource=Resource.create({"service.name": "intent-events-demo"}))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE_SPANS))
    instrumentor = IntentEventsInstrumentor()
    instrumentor.instrument(
        settings=_settings(),
        targets=[TARGET],
        stages=STAGES,
        vocabulary=registry.vocabulary,
        tracer_provider=provider,
        delivery=False,
    )
    with TemporaryDirectory(prefix="intent-events-demo-") as folder:
        settings = DeliverySettings(shutdown_timeout=_LAST_ROWS_S)
        delivery = Attached(IntentEventsSpanProcessor(dsn, Path(folder) / "spool", settings=settings), provider)
        delivery.meet_sdk()
        try:
            yield
        finally:
            instrumentor.uninstrument()
            delivery.detach()
            provider.shutdown()


def _settings() -> RecordSettings:
    """Settings of the environment; without a key there, fingerprints get one that ends with this run."""
    settings = RecordSettings.from_environment()
    if settings.hash == "plain" or settings.hash_key is not None or settings.hash_key_file is not None:
        return settings
    return settings.model_copy(update={"hash_key": SecretStr(token_hex(32)), "hash_key_id": "demo"})


async def _play(orchestrator: Orchestrator, turns: Sequence[Turn], tally: Tally, advance: Callable[[], object]) -> None:
    async for played in play(Chat(orchestrator), turns):
        tally.count(played)
        advance()


class _Acknowledged(SpanExporter):
    """Counts what a backend says it has taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.spans = 0
        self.intent_spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.spans += len(spans)
            self.intent_spans += sum((span.attributes or {}).get(ROOT) is True for span in spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
