# SPDX-License-Identifier: Apache-2.0
"""Spans through Monocle's exporter to Postgres; runs in Monocle's environment, which ``peers`` makes.

Reads from standard input a JSON object with ``n``, ``rounds``, ``batch`` and ``attributes``, and from
MONOCLE_POSTGRES_CONNECTION_URL where the exporter writes to. Prints one: ``seconds`` and ``stored`` rows of each round.
"""

import gc
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from time import perf_counter
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

# Spans without it are none of Monocle's, and its exporter passes over them.
_MARK: Final = {"monocle_apptrace.version": "benchmark"}


class _Keep(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _spans(n: int, attributes: dict[str, Any]) -> Sequence[ReadableSpan]:
    kept, provider = _Keep(), TracerProvider()
    provider.add_span_processor(kept)
    tracer = provider.get_tracer("monocle_peer")
    for _ in range(n):
        tracer.start_span("handle_utterance", attributes={**attributes, **_MARK}).end()
    return kept.spans


def _ask(statement: str) -> Any:
    # Found at run time: neither is a part of the project's own environment.
    connection = import_module("psycopg2").connect(os.environ["MONOCLE_POSTGRES_CONNECTION_URL"])
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def _round(exporter: Any, spans: Sequence[ReadableSpan], batch: int) -> float:
    _ask("TRUNCATE traces")
    _ask("CHECKPOINT")
    began = perf_counter()
    for start in range(0, len(spans), batch):
        if exporter.export(spans[start : start + batch]) is not SpanExportResult.SUCCESS:
            raise SystemExit("Monocle's exporter reports a failure")
    return perf_counter() - began


def main() -> None:
    """Export this many rounds, after one that is not counted."""
    given = json.load(sys.stdin)
    exporter = import_module("monocle_apptrace.exporters.postgres.postgres_exporter").PostgresSpanExporter()
    spans = _spans(given["n"], given["attributes"])
    gc.collect()
    gc.freeze()  # the spans of all rounds are the benchmark's own burden, not an exporter's
    _round(exporter, spans, given["batch"])
    seconds: list[float] = []
    stored: list[int] = []
    for _ in range(given["rounds"]):
        seconds.append(_round(exporter, spans, given["batch"]))
        stored.append(_ask("SELECT count(*) FROM traces"))
    exporter.shutdown()
    json.dump({"seconds": seconds, "stored": stored}, sys.stdout)


if __name__ == "__main__":
    main()
