# SPDX-License-Identifier: Apache-2.0
"""The sink as a process of its own, and senders of OTLP that say exactly what they were answered."""

import gzip
import os
import re
import signal
import ssl
import subprocess
import sysconfig
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any, Final, cast

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

COMMAND: Final = Path(sysconfig.get_path("scripts")) / "intent-events"
METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_ENDS_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a sender is answered over HTTP; names of headers are in lower case."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def response(self) -> ExportTraceServiceResponse:
        """The body as the answer to an export."""
        return ExportTraceServiceResponse.FromString(self.body)

    @property
    def status(self) -> Status:
        """The body as a refusal."""
        return Status.FromString(self.body)


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    """What a sender is answered over gRPC; a code of OK comes with the response."""

    code: grpc.StatusCode
    details: str
    trailers: Mapping[str, bytes]
    response: ExportTraceServiceResponse

    @property
    def retry_s(self) -> float | None:
        """After how many seconds to try again, as the SDK for Python reads it; None when never."""
        raw = self.trailers.get("google.rpc.retryinfo-bin")
        return None if raw is None else seconds_of(RetryInfo.FromString(raw))

    @property
    def status_retry_s(self) -> float | None:
        """The same, as the Collector reads it."""
        return retry_of(Status.FromString(self.trailers["grpc-status-details-bin"]))


def retry_of(status: Status) -> float | None:
    """Seconds of the RetryInfo among the details of a refusal; None when it has none."""
    info = RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return seconds_of(info)
    return None


def seconds_of(info: RetryInfo) -> float:
    """Seconds of a RetryInfo."""
    return info.retry_delay.seconds + info.retry_delay.nanos / 1e9


@dataclass(slots=True)
class RunningSink:
    """A sink that listens.

    Attributes:
        process: it.
        grpc_port: OTLP/gRPC.
        http_port: OTLP/HTTP.
        health_port: probes alone; 0 without one.
        said: lines that it printed when it began to listen.
    """

    process: subprocess.Popen[str]
    grpc_port: int
    http_port: int
    health_port: int
    said: list[str]

    def stop(self) -> tuple[int, str]:
        """Tell it to stop, and wait until it has: its exit code, and what it logged."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=_ENDS_S)
        return self.process.returncode, log

    def kill(self) -> None:
        """Kill it at once."""
        self.process.kill()
        self.process.communicate()

    def post(
        self,
        body: bytes,
        *,
        media_type: str = PROTOBUF,
        encoding: str = "",
        token: str = "",
        path: str = "/v1/traces",
        method: str = "POST",
        tls: ssl.SSLContext | None = None,
    ) -> HttpAnswer:
        """Send a request over HTTP."""
        headers = {"Content-Type": media_type}
        if encoding:
            headers["Content-Encoding"] = encoding
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = (
            HTTPConnection("127.0.0.1", self.http_port, timeout=60)
            if tls is None
            else HTTPSConnection("localhost", self.http_port, timeout=60, context=tls)
        )
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, port: int = 0, token: str = "") -> HttpAnswer:
        """Ask for a page."""
        connection = HTTPConnection("127.0.0.1", port or self.http_port, timeout=60)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def export(
        self,
        body: bytes,
        *,
        token: str = "",
        compression: grpc.Compression = grpc.Compression.NoCompression,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> GrpcAnswer:
        """Send a request over gRPC."""
        with self.channel(credentials) as channel:
            return export(channel, body, token=token, compression=compression)

    def channel(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        """A connection over gRPC; the caller closes it."""
        options = [("grpc.max_send_message_length", -1)]
        if credentials is None:
            return grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", options)
        return grpc.secure_channel(f"localhost:{self.grpc_port}", credentials, options)

    def metric(self, name: str, **labels: str) -> float:
        """A figure of its metrics, summed over all labels but these; 0 when there is none."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            found = re.fullmatch(rf"{re.escape(name)}(?:\{{(.*)\}})? (\S+)", line)
            if found and wanted <= set((found[1] or "").split(",")):
                total += float(found[2])
        return total

    def memory_mb(self) -> float:
        """Memory that it has."""
        text = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        found = re.search(r"VmRSS:\s+(\d+)", text)
        assert found is not None
        return int(found[1]) / 1024


def exporting(channel: grpc.Channel) -> Any:
    """What exports over a connection: bytes of a request to bytes of an answer."""
    return cast("Any", channel).unary_unary(METHOD)


def export(
    channel: grpc.Channel,
    body: bytes,
    *,
    token: str = "",
    compression: grpc.Compression = grpc.Compression.NoCompression,
) -> GrpcAnswer:
    """Send a request over a connection that is open."""
    call = exporting(channel)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        answer = call(body, metadata=metadata, compression=compression, timeout=60, wait_for_ready=True)
    except grpc.RpcError as error:
        failed: Any = error
        trailers = {item.key: item.value for item in failed.trailing_metadata() or ()}
        return GrpcAnswer(failed.code(), failed.details(), trailers, ExportTraceServiceResponse())
    return GrpcAnswer(grpc.StatusCode.OK, "", {}, ExportTraceServiceResponse.FromString(answer))


def sink_process(dsn: str, **variables: str) -> subprocess.Popen[str]:
    """Start ``intent-events sink`` on ports that are free; ``HOST="x"`` sets ``INTENT_EVENTS_SINK_HOST``."""
    settings = {"GRPC_PORT": "0", "HTTP_PORT": "0", **variables}
    environment = {f"INTENT_EVENTS_SINK_{name}": value for name, value in settings.items()}
    return subprocess.Popen(
        [str(COMMAND), "sink"],
        env={**os.environ, "INTENT_EVENTS_DSN": dsn, "PYTHONWARNINGS": "default", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def sink(dsn: str, **variables: str) -> Generator[RunningSink]:
    """A sink that listens until the end of the block; settings as for :func:`sink_process`."""
    process = sink_process(dsn, **variables)
    try:
        yield listening(process)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=_ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


def listening(process: subprocess.Popen[str]) -> RunningSink:
    """Wait until a sink says where it listens."""
    output = process.stdout
    assert output is not None
    said: list[str] = []
    for line in output:
        said.append(line)
        if line.startswith("  TLS"):
            break
    else:
        _, log = process.communicate()
        raise AssertionError(f"the sink did not start: {log}")
    ports = {name: int(found[1]) for name in ("OTLP/gRPC", "OTLP/HTTP", "health") if (found := _port(name, said))}
    return RunningSink(process, ports["OTLP/gRPC"], ports["OTLP/HTTP"], ports.get("health", 0), said)


def _port(name: str, said: list[str]) -> re.Match[str] | None:
    return re.search(rf"{name}\s.*:(\d+)", "".join(said))


def gzipped(body: bytes) -> bytes:
    """The same, compressed."""
    return gzip.compress(body)
