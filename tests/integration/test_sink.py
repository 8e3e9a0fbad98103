# SPDX-License-Identifier: Apache-2.0
"""The sink as a process: what is answered, and what is in Postgres then."""

import json
from itertools import product

import grpc

from intent_events.rows import Row
from support.otlp import json_request, json_span, request
from support.postgres import Database
from support.records import span_view, utterances
from support.sinks import JSON, gzipped, sink
from support.stored import stored_rows


def rows(since: int, until: int) -> list[Row]:
    """Rows that the spans of these numbers must become."""
    return utterances(since, until)


def test_every_way_in_gives_the_same_rows(pg: Database, writer_dsn: str) -> None:
    """gRPC, HTTP with protobuf and HTTP with JSON, each plain and gzipped, store the rows that their spans are."""
    with sink(writer_dsn) as running:
        for number, compressed in product(range(3), (False, True)):
            since = number * 20 + compressed * 10
            views = [span_view(n) for n in range(since, since + 10)]
            if number == 0:
                compression = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
                assert running.export(request(views), compression=compression).code is grpc.StatusCode.OK
                continue
            spans = [json_span(view) for view in views]
            body = request(views) if number == 1 else json.dumps(json_request(spans)).encode()
            media_type = "application/x-protobuf" if number == 1 else JSON
            answer = running.post(
                gzipped(body) if compressed else body, media_type=media_type, encoding="gzip" if compressed else ""
            )
            assert (answer.code, answer.headers["content-type"]) == (200, media_type)
            assert answer.body == (b"" if number == 1 else b"{}")
        assert running.stop()[0] == 0
    assert stored_rows(pg) == rows(0, 60)
