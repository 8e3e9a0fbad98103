# SPDX-License-Identifier: Apache-2.0
"""A proof: an orchestrator is run on utterances with planted values, and everything it leaves is looked through."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import SecretStr

from intent_events.errors import SettingsError
from intent_events.instrument import HandlerMapping, IntentEventsInstrumentor
from intent_events.instrument.current import current_recorder
from intent_events.instrument.recorder import EMITTER
from intent_events.privacy.canaries import Canaries
from intent_events.review.scan import Inspector, strings_in
from intent_events.review.scan import scan as look_through
from intent_events.rows import ChatEventRow, IntentEventRow, IntentOutcomeRow, Rejection, Row
from intent_events.settings import DeliverySettings, RecordSettings
from intent_events.store.ledger import stored_by
from intent_events.store.scan import TextQuery
from intent_events.testing.evidence import Evidence
from intent_events.testing.output import Output
from intent_events.testing.planted import SENTENCES, Planted, planted_in
from intent_events.testing.telemetry import Telemetry, telemetry
from intent_events.testing.wire import texts_of
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.delivery import Attached
from intent_events_exporter.record import row_in
from intent_events_exporter.salvage import Salvage
from intent_events_exporter.spool import look

Handler = Callable[[str], Any]
"""Takes what is said."""

_TABLES: Final = {IntentEventRow: "intent_events", ChatEventRow: "chat_events", IntentOutcomeRow: "intent_outcomes"}
_REQUESTS: Final[Mapping[str, type[Message]]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_STORING_S: Final = 60.0
_CLOCKS: Final = timedelta(hours=1)


class Proof:
    """What a test says to its orchestrator, and what came of it."""

    def __init__(self) -> None:
        self.planted: list[Planted] = []
        self.expected: Counter[str] = Counter()
        self.raised: list[BaseException] = []

    def say(self, *sentences: str) -> Iterator[str]:
        """Utterances to handle, each once: every sentence with a planted value of each kind.

        Args:
            *sentences: each with ``{}`` where the value goes; some common ones if none is given.
        """
        for sentence in sentences or SENTENCES:
            for planted in planted_in(sentence):
                self.planted.append(planted)
                self.expected[current_recorder().privacy.record(planted.utterance).hash] += 1
                yield planted.utterance

    @contextmanager
    def attempt(self) -> Generator[None]:
        """Handle one utterance, and let it fail: what the exception says is looked through as well."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever the orchestrator raises is looked at
            self.raised.append(error)

    def run(self, handler: Handler, *sentences: str) -> None:
        """Say everything to a handler, and let it fail; coroutines and streams are run to their end.

        Args:
            handler: takes what is said.
            *sentences: as :meth:`say` takes them.
        """
        for utterance in self.say(*sentences):
            with self.attempt():
                result = handler(utterance)
                if inspect.isawaitable(result) or inspect.isasyncgen(result):
                    asyncio.run(_finished(result))
                elif inspect.isgenerator(result):
                    for _ in result:
                        pass

    async def run_async(self, handler: Handler, *sentences: str) -> None:
        """The same within an event loop.

        Args:
            handler: takes what is said.
            *sentences: as :meth:`say` takes them.
        """
        for utterance in self.say(*sentences):
            with self.attempt():
                await _finished(handler(utterance))


@contextmanager
def prove(
    folder: Path,
    targets: Sequence[str],
    *,
    mapping: HandlerMapping | None = None,
    stages: Mapping[str, str] | None = None,
    vocabulary: Collection[str] = (),
    settings: RecordSettings | None = None,
    dsn: str | None = None,
) -> Generator[Proof]:
    """Instrument an orchestrator for a block, and look through everything that it left.

    Args:
        folder: for the spool.
        targets: handlers to wrap; none for an orchestrator that records by itself.
        mapping: where the handlers keep things.
        stages: stages to wrap, by their names.
        vocabulary: words that previews may show besides the shipped ones.
        settings: what is kept of a text; default the environment, with a key of its own.
        dsn: a migrated Postgres to store the records in and to look through.

    Raises:
        LeakError: something leaked, or is not recorded once and from one place.
        SettingsError: a setting cannot be used, or something is instrumented already.
    """
    __tracebackhide__ = True  # a test that fails shows what was found
    if IntentEventsInstrumentor().is_instrumented_by_opentelemetry:
        raise SettingsError(
            "intent_events is instrumented already: call IntentEventsInstrumentor().uninstrument() before the proof"
        )
    proof, watched, output = Proof(), telemetry(), Output()
    begun = datetime.now(UTC)
    failure: BaseException | None = None
    instrumented = _instrumented(
        folder,
        watched,
        targets=targets,
        mapping=mapping,
        stages=stages,
        vocabulary=vocabulary,
        settings=settings or _settings(),
    )
    with instrumented:
        watched.begin()
        try:
            with output.kept():
                yield proof
        except Exception as error:  # noqa: BLE001 - raised again when nothing of it leaks
            failure = error
        finally:
            watched.end()
    evidence = _evidence(proof, output, watched)
    rows = [row for payload in _payloads(folder, evidence) if (row := _row_of(payload, evidence)) is not None]
    if failure is None:
        _count(proof, rows, watched, evidence)
        if dsn is not None:
            asyncio.run(_look_at_postgres(dsn, folder, begun, rows, evidence))
    else:
        evidence.look_at_error(failure)
    evidence.judge()
    if failure is not None:
        raise failure


async def _finished(result: Any) -> None:
    if inspect.isasyncgen(result):
        async for _ in result:
            pass
    elif inspect.isawaitable(result):
        await result
    elif inspect.isgenerator(result):
        for _ in result:
            pass


@contextmanager
def _instrumented(folder: Path, watched: Telemetry, **asked: Any) -> Generator[None]:
    instrumentor = IntentEventsInstrumentor()
    instrumentor.instrument(tracer_provider=watched.provider, delivery=False, skip_dep_check=True, **asked)
    delivery = Attached(_Keeping(None, folder, settings=DeliverySettings()), watched.provider)
    delivery.meet_sdk()
    try:
        yield
    finally:
        instrumentor.uninstrument()
        delivery.detach()


class _Keeping(IntentEventsSpanProcessor):
    """Keeps records in the spool, where they are looked at; what is stored later, is stored from there."""

    def _open_writers(self) -> tuple[()]:
        return ()


def _settings() -> RecordSettings:
    settings = RecordSettings.from_environment()
    if settings.hash == "plain" or settings.hash_key is not None or settings.hash_key_file is not None:
        return settings
    return settings.model_copy(update={"hash_key": SecretStr(token_hex(32)), "hash_key_id": "proof"})


def _evidence(proof: Proof, output: Output, watched: Telemetry) -> Evidence:
    """What the process said: over OTLP, in log lines, on its terminal, and with exceptions."""
    evidence = Evidence(Canaries(planted.canary for planted in proof.planted))
    for where, text in output.said():
        evidence.look(where, text)
    for error in proof.raised:
        evidence.look_at_error(error)
    for signal, sent in watched.sent():
        request = _REQUESTS[signal].FromString(sent)
        found = [evidence.look(where, text) for where, text in texts_of(request, evidence.shown)]
        if not any(found):  # in whatever part of the message that nobody thought of
            evidence.look(f"bytes of {signal} sent over OTLP", sent.decode("utf-8", "replace"))
    return evidence


def _payloads(folder: Path, evidence: Evidence) -> Iterator[bytes]:
    """Records as they are in the spool."""
    for waiting in look(folder):
        evidence.look("spool: bytes of a record", waiting.payload.decode("utf-8", "replace"))
        yield waiting.payload


def _row_of(payload: bytes, evidence: Evidence) -> Row | None:
    """The row that a record would be stored as."""
    row = row_in(payload)
    if isinstance(row, Rejection):
        evidence.say(f"a record cannot become a row: {row.reason}")
        return None
    for column, value in row._asdict().items():
        for text in strings_in(value):
            evidence.look(f"column {column} of agent.{_TABLES[type(row)]}", text)
    return row


def _count(proof: Proof, rows: Iterable[Row], watched: Telemetry, evidence: Evidence) -> None:
    """One record for each utterance, all of them from one place."""
    recorded = [row for row in rows if isinstance(row, IntentEventRow)]
    if not proof.planted:
        evidence.say("nothing was said: take utterances from say(), or give the handler to run()")
        return
    if len(proof.raised) == len(proof.planted) and all(type(error) is TypeError for error in proof.raised):
        evidence.say("every utterance raised a TypeError: is the handler called as it wants to be?")
    found = Counter(row.utterance_hash for row in recorded)
    for utterance_hash, n in proof.expected.items():
        if found[utterance_hash] != n:
            evidence.say(f"{found[utterance_hash] or 'no'} records of an utterance that was said {_times(n)}")
    for row in recorded:
        if row.utterance_hash not in proof.expected:
            evidence.say("a record of something that was not said, or not with these words")
    places = Counter(watched.places.get(int(row.span_id, 16), "somebody unknown") for row in recorded)
    if len(places) > 1:
        named = ", ".join(f"{evidence.shown(place)} ({n})" for place, n in places.most_common())
        evidence.say(f"records come from {len(places)} places: {named}")


async def _look_at_postgres(dsn: str, folder: Path, begun: datetime, rows: Iterable[Row], evidence: Evidence) -> None:
    """Store what waits, and look at what is stored."""
    emitter_id = EMITTER.emitter_id
    before = await stored_by(dsn, emitter_id)
    await Salvage(folder, dsn, timeout_s=_STORING_S).run()
    stored = (await stored_by(dsn, emitter_id)).rows - before.rows
    expected = sum(isinstance(row, IntentEventRow) for row in rows)
    if stored != expected:
        evidence.say(f"{stored} rows were stored of {expected} records")
    inspector = Inspector(lambda _: (), evidence.canaries)
    query = TextQuery(since=begun - _CLOCKS, timeout_s=_STORING_S)
    for finding in (await look_through(dsn, query, inspector, kinds=(), canaries=len(evidence.canaries))).findings:
        evidence.say(f"{finding.kind} in column {finding.column} of {finding.place} in Postgres")


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
