# SPDX-License-Identifier: Apache-2.0
"""Many machines: an agent, a real Kafka and two gateways between a foreign emitter and the sink."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import sleep

import pytest

from support.collector import AGENT, GATEWAY, Collector
from support.emitter import UTTERANCES, Stream, emission
from support.kafka import Kafka
from support.otlp_receiver import OtlpReceiver, otlp_receiver
from support.postgres import Database
from support.sink_on_ports import Sink
from support.waiting import until

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(400)]


@pytest.fixture
def backend() -> Iterator[OtlpReceiver]:
    """The OTLP backend that the gateways send traces to."""
    with otlp_receiver() as receiver:
        yield receiver


def test_agents_kafka_gateways(pg: Database, writer_dsn: str, backend: OtlpReceiver, tmp_path: Path) -> None:
    """Agent, Kafka, a gateway and the sink are killed in the middle, each in its turn: each utterance is one row.

    The backend gets traces without previews.
    """
    folders = [tmp_path / name for name in ("agent", "one", "two")]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as stack:
        kafka = stack.enter_context(Kafka(tmp_path))
        sink = stack.enter_context(Sink(tmp_path, writer_dsn))
        env = {
            "KAFKA_BROKERS": kafka.brokers,
            "INTENT_SINK_ENDPOINT": sink.endpoint,
            "INTENT_SINK_INSECURE": "true",
            "BACKEND_OTLP_ENDPOINT": backend.endpoint,
        }
        agent = stack.enter_context(Collector(folders[0], env, AGENT))
        emitted = stack.enter_context(emission(tmp_path, agent.endpoint, UTTERANCES, 500))
        until(lambda: agent.metric("otelcol_exporter_sent_spans", exporter="kafka/intent"), "Kafka has the first ones")
        one, two = (stack.enter_context(Collector(folder, env, GATEWAY)) for folder in folders[1:])
        stream = Stream(pg, emitted)
        stream.begun()
        for each in (agent, one, kafka, sink):
            sleep(0.5)
            each.kill()
            each.start()
        stream.under_way()
        stream.proven()
        sent = sum(each.metric("otelcol_exporter_sent_spans", exporter="otlp_grpc/intent_sink") for each in (one, two))
        assert sent > 0
        until(backend.spans, "the backend has traces")
        assert not [span for span in backend.spans() if "intent.utterance.preview" in span]
