# SPDX-License-Identifier: Apache-2.0
"""OTLP bytes to committed rows through the sink, a process of its own, against one server-side COPY BINARY.

Requests are made beforehand and sent over gRPC, several under way at once as a Collector does. The clock runs from the
first one to the answer to the last, which comes after COMMIT.
"""

import asyncio
from collections.abc import Sequence
from statistics import quantiles
from time import perf_counter
from typing import Any, Final, NamedTuple, cast

import grpc
from grpc import aio
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from benchmarks.workload import Keep, finished_spans
from benchmarks.writer import copy_of, run
from intent_events.demo.postgres import EmbeddedPostgres
from support.sinks import METHOD, RunningSink, sink

ROWS: Final = 20_000
BATCH: Final = 500
"""Spans of one request: about a megabyte."""

UNDER_WAY: Final = 8
"""Requests that are sent before the first is answered: a Collector has so many consumers at most."""

LONE_S: Final = 10.0
"""Seconds for which lone requests are sent at each rate."""


class Speeds(NamedTuple):
    """Rows a second, round by round.

    Attributes:
        copy: of the server-side COPY.
        sink: of the sink.
        strange_us: what one strange span costs, transport included, microseconds.
    """

    copy: list[float]
    sink: list[float]
    strange_us: list[float]


class Lone(NamedTuple):
    """How long a request of one span waits for its answer, which comes after COMMIT.

    Attributes:
        rate: requests a second.
        p50_ms: median, milliseconds.
        p99_ms: 99th percentile.
    """

    rate: int
    p50_ms: float
    p99_ms: float


def requests_of(spans: Sequence[ReadableSpan], batch: int = BATCH) -> list[bytes]:
    """Requests with these spans."""
    return [encode_spans(spans[at : at + batch]).SerializeToString() for at in range(0, len(spans), batch)]


def strange_spans(n: int) -> Sequence[ReadableSpan]:
    """Spans of an HTTP server, which are no records."""
    kept, provider = Keep(), TracerProvider()
    provider.add_span_processor(kept)
    tracer = provider.get_tracer("http")
    attributes = {
        "http.request.method": "GET",
        "http.route": "/orders/{id}",
        "http.response.status_code": 200,
        "server.address": "shop.internal",
        "server.port": 8080,
        "network.protocol.version": "1.1",
        "url.path": "/orders/4711",
        "url.scheme": "https",
        "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64)",
        "client.address": "10.0.0.17",
    }
    for _ in range(n):
        tracer.start_span("GET /orders/{id}", attributes=attributes).end()
    return kept.spans


def measure(running: EmbeddedPostgres, rounds: int) -> Speeds:
    """Measure this many rounds of :data:`ROWS` rows."""
    dsn = running.dsn()
    records = requests_of(finished_spans(ROWS))
    strangers = requests_of(strange_spans(ROWS))
    file = running.data_dir / "rows.copy"
    speeds = Speeds([], [], [])
    with sink(dsn) as started:
        send(started, records)
        asyncio.run(run(dsn, f"COPY (SELECT * FROM agent.intent_events) TO '{file}' (FORMAT BINARY)"))
        for _ in range(rounds):
            speeds.copy.append(ROWS / copy_of(dsn, file))
            asyncio.run(run(dsn, "TRUNCATE agent.intent_events"))
            speeds.sink.append(ROWS / send(started, records))
            speeds.strange_us.append(send(started, strangers) / ROWS * 1e6)
    return speeds


def send(started: RunningSink, requests: Sequence[bytes]) -> float:
    """Send these; seconds until the last is answered.

    Raises:
        SystemExit: one of them is refused.
    """
    return asyncio.run(send_all(f"127.0.0.1:{started.grpc_port}", requests))


async def send_all(address: str, requests: Sequence[bytes]) -> float:
    """The same, to any receiver of OTLP/gRPC."""
    waiting = list(reversed(requests))
    async with aio.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        call = cast("Any", channel).unary_unary(METHOD)

        async def sender() -> None:
            while waiting:
                await call(waiting.pop())

        await channel.channel_ready()
        began = perf_counter()
        try:
            await asyncio.gather(*(sender() for _ in range(UNDER_WAY)))
        except grpc.RpcError as error:  # it was refused: what would be measured is no rows
            raise SystemExit(f"a request of the benchmark was refused: {cast('Any', error).code()}") from None
        return perf_counter() - began


def lone(dsn: str, rate: int) -> Lone:
    """Send requests of one span at this rate, whether or not those before are answered."""
    requests = requests_of(finished_spans(round(rate * LONE_S)), 1)
    with sink(dsn) as started:
        waits = asyncio.run(_at_rate(f"127.0.0.1:{started.grpc_port}", requests, rate))
    cuts = quantiles(waits, n=100)
    return Lone(rate, cuts[49] * 1e3, cuts[98] * 1e3)


async def _at_rate(address: str, requests: Sequence[bytes], rate: int) -> list[float]:
    waits: list[float] = []
    async with aio.insecure_channel(address) as channel:
        call = cast("Any", channel).unary_unary(METHOD)

        async def one(request: bytes, due: float) -> None:
            await call(request)
            waits.append(perf_counter() - due)

        await channel.channel_ready()
        for request in requests[:5]:  # connects, and warms what is planned
            await call(request)
        began = perf_counter()
        async with asyncio.TaskGroup() as together:
            for number, request in enumerate(requests[5:]):
                due = began + number / rate
                await asyncio.sleep(max(due - perf_counter(), 0))
                together.create_task(one(request, due))
    return waits


def memory(dsn: str, minutes: float) -> tuple[float, float]:
    """MB that the sink has more at the end of so many minutes under load than after a tenth; and rows stored."""
    records = requests_of(finished_spans(ROWS))
    strangers = requests_of(strange_spans(ROWS))
    mixed = [request for pair in zip(records, strangers, strict=True) for request in pair]
    seen: list[float] = []
    with sink(dsn) as started:
        ends = perf_counter() + minutes * 60
        while perf_counter() < ends:
            asyncio.run(run(dsn, "TRUNCATE agent.intent_events"))
            send(started, mixed)
            seen.append(started.memory_mb())
        rows = started.metric("intent_events_sink_spans_total", intent_delivery="stored")
    return max(seen[-3:]) - max(seen[: max(len(seen) // 10, 1)]), rows
