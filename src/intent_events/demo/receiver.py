# SPDX-License-Identifier: Apache-2.0
"""A small OTLP/HTTP backend that counts, so that a demo can prove what arrived where no backend is set."""

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self
from zlib import MAX_WBITS, decompress

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from intent_events.semconv import RECORD, ROOT, Record


class OtlpReceiver:
    """Receives traces on a free port of 127.0.0.1 and counts spans by kind.

    Attributes:
        spans: spans that arrived.
        intent_spans: root spans of utterances among them.
    """

    def __init__(self) -> None:
        self.spans = 0
        self.intent_spans = 0
        self._lock = Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, name="otlp-receiver", daemon=True)

    @property
    def endpoint(self) -> str:
        """What ``OTEL_EXPORTER_OTLP_ENDPOINT`` would be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, request: ExportTraceServiceRequest) -> None:
        """Count the spans of one request."""
        spans = [span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]
        roots = sum(_is_intent_root(span) for span in spans)
        with self._lock:
            self.spans += len(spans)
            self.intent_spans += roots

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = decompress(body, wbits=MAX_WBITS | 16)
                receiver.count(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
                """Say nothing: the demo's terminal belongs to the demo."""

        return Handler


def _is_intent_root(span: Any) -> bool:
    values = {item.key: item.value for item in span.attributes}
    record = values.get(RECORD)
    return ROOT in values and values[ROOT].bool_value and (record is None or record.string_value == Record.UTTERANCE)
