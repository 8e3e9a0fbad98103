# SPDX-License-Identifier: Apache-2.0
"""A small real OTLP/HTTP backend: takes what any OTLP exporter posts, keeps the bytes, and reads the spans."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


class OtlpReceiver(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1.

    Attributes:
        bodies: what was posted, as it came but for its compression: traces, metrics and logs.
    """

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[tuple[str, bytes]] = []

    @property
    def endpoint(self) -> str:
        """Value for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[dict[str, Any]]:
        """Every span that came: its ``name``, ``trace_id``, ``span_id`` and ``parent`` (hex), and its attributes."""
        found: list[dict[str, Any]] = []
        for path, body in self.bodies:
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        for span in scope.spans:
                            ids = {"trace_id": span.trace_id, "span_id": span.span_id, "parent": span.parent_span_id}
                            attributes = {item.key: _value(item.value) for item in span.attributes}
                            found.append({"name": span.name, **{k: v.hex() for k, v in ids.items()}, **attributes})
        return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


class _Handler(BaseHTTPRequestHandler):
    server: OtlpReceiver  # pyright: ignore[reportIncompatibleVariableOverride] - this handler serves that server alone

    def do_POST(self) -> None:
        """Keep what is posted; an empty answer is an empty protobuf message, which means that all is well."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = decompress(body)
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Keep quiet."""


@contextmanager
def otlp_receiver() -> Generator[OtlpReceiver]:
    """A receiver that listens until the end of the block."""
    with OtlpReceiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, name="otlp-receiver")
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
