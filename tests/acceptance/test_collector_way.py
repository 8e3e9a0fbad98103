# SPDX-License-Identifier: Apache-2.0
"""The second door from end to end: an emitter in any language, a real Collector with our file, the sink, Postgres."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import trustme

from support.collector import Collector
from support.emitter import UTTERANCES, emission, stored
from support.otlp_receiver import OtlpReceiver, otlp_receiver
from support.postgres import Database
from support.processes import run_app
from support.records import HASH_KEY
from support.sink_on_ports import Sink
from support.waiting import until

pytestmark = pytest.mark.postgres

TOKEN: Final = "a-token-of-the-tests-alone-0815"  # noqa: S105 - it keeps nothing secret
PREVIEW: Final = "intent.utterance.preview"


@pytest.fixture
def backend() -> Iterator[OtlpReceiver]:
    """The OTLP backend that the Collector sends traces to."""
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def sink(writer_dsn: str, tmp_path: Path) -> Iterator[Sink]:
    """A sink in front of the database of ``pg``."""
    with Sink(tmp_path, writer_dsn) as sink:
        yield sink


@pytest.fixture
def collector(sink: Sink, backend: OtlpReceiver, tmp_path: Path) -> Iterator[Collector]:
    """A Collector in front of that sink and that backend."""
    env = {"INTENT_SINK_ENDPOINT": sink.endpoint, "BACKEND_OTLP_ENDPOINT": backend.endpoint}
    with Collector(tmp_path, env) as collector:
        yield collector


def count(pg: Database) -> int:
    """Utterances that are stored."""
    return pg.fetchval_now("SELECT count(*) FROM agent.intent_events")


@pytest.mark.timeout(300)
def test_a_foreign_emitter(
    pg: Database, sink: Sink, collector: Collector, backend: OtlpReceiver, tmp_path: Path
) -> None:
    """Each utterance of the emitter in Rust is the row that it expects; the backend has the sampled traces alone.

    Spans that are no records never reach the sink, and no preview reaches the backend.
    """
    with emission(tmp_path, collector.endpoint, UTTERANCES) as emitted:
        emitted.end()
        expected = emitted.rows()
    assert len(expected) == UTTERANCES
    until(lambda: count(pg) >= UTTERANCES, "everything is stored")
    assert stored(pg) == expected
    assert sink.spans("passed_over") == 0

    sampled = {row["trace_id"] for row in expected.values() if row["trace_sampled"]}
    assert 0 < len(sampled) < UTTERANCES
    of_a_trace = ["POST /chat", "discover", "handle_utterance", "handle_utterance"]
    until(
        lambda: (
            collector.metric("otelcol_exporter_sent_spans", exporter="otlp_http/backend")
            >= len(sampled) * len(of_a_trace)
        ),
        "the traces are at the backend",
    )
    spans = backend.spans()
    assert len(spans) == len(sampled) * len(of_a_trace)
    traces: dict[str, list[str]] = {}
    for span in spans:
        traces.setdefault(span["trace_id"], []).append(span["name"])
        assert PREVIEW not in span
    assert traces.keys() == sampled
    assert all(sorted(names) == of_a_trace for names in traces.values())
    roots = [span for span in spans if span.get("intent.root")]
    assert {span["intent.utterance.hash"] for span in roots} <= {row["utterance_hash"] for row in expected.values()}


def test_tls_and_tokens(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """The Collector shows a certificate and a token to a sink that asks for both, and knows the sink by its own."""
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("collector.test")
    ca, sink_cert, cert, key, tokens = (tmp_path / name for name in ("ca", "sink.crt", "crt", "key", "tokens"))
    sink_key = tmp_path / "sink.key"
    authority.cert_pem.write_to_path(ca)
    for issued, chain_file, key_file in ((server, sink_cert, sink_key), (client, cert, key)):
        chain_file.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key_file)
    tokens.write_text(f"{TOKEN}  service.name=rust-emitter\n")
    asks = {"TLS_CERT": sink_cert, "TLS_KEY": sink_key, "TLS_CLIENT_CA": ca, "TOKENS": tokens}
    shows = {
        "INTENT_SINK_INSECURE": "false",
        "INTENT_SINK_CA_FILE": str(ca),
        "INTENT_SINK_CERT_FILE": str(cert),
        "INTENT_SINK_KEY_FILE": str(key),
        "INTENT_SINK_AUTHORIZATION": f"Bearer {TOKEN}",
    }
    with (
        Sink(tmp_path, writer_dsn, {f"INTENT_EVENTS_SINK_{name}": str(file) for name, file in asks.items()}) as sink,
        Collector(tmp_path, {"INTENT_SINK_ENDPOINT": f"localhost:{sink.grpc}", **shows}) as collector,
        emission(tmp_path, collector.endpoint, 200) as emitted,
    ):
        emitted.end()
        until(lambda: count(pg) >= 200, "everything is stored")
        assert stored(pg) == emitted.rows()


SAID: Final = "\n".join(f"{verb} an account for customer {n}" for n in range(50) for verb in ("open", "close"))


@pytest.mark.parametrize("doors", ["collector", "both"])
def test_a_python_orchestrator(
    pg: Database, writer_dsn: str, sink: Sink, collector: Collector, backend: OtlpReceiver, doors: str
) -> None:
    """An untouched application that sends its traces to the Collector: one row each, whichever doors are open.

    With both open the sink gets everything that the application stores by itself, too.
    """
    env = {
        "INTENT_EVENTS_TARGETS": "shop.chat:Orchestrator.handle",
        "INTENT_EVENTS_HASH_KEY": HASH_KEY,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.http}",
        "OTEL_SERVICE_NAME": "shop",
        **({"INTENT_EVENTS_DSN": writer_dsn} if doors == "both" else {}),
    }
    ran = run_app("-m", "shop", "chat", env=env, instrumented=True, says=SAID)
    assert ran.returncode == 0, ran.stderr
    until(lambda: sink.spans("stored") + sink.spans("duplicate") == 100, "the sink has stored all, or found it stored")
    rows = stored(pg)
    assert len(rows) == 100
    assert {row["service_name"] for row in rows.values()} == {"shop"}
    assert (sink.spans("duplicate") > 0) == (doors == "both")

    def roots() -> list[dict[str, object]]:
        return [span for span in backend.spans() if span.get("intent.root")]

    until(lambda: len(roots()) == 100, "the traces are at the backend")
    assert {span["intent.event_id"] for span in roots()} == {str(key) for key in rows}
    assert not [span for span in backend.spans() if PREVIEW in span]
