# SPDX-License-Identifier: Apache-2.0
"""OTLP over HTTP: protobuf and JSON, plain or gzipped; and whether the sink lives, is ready, and what it counts."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from intent_events.sink.answers import RefusedError, Why
from intent_events.sink.budget import Lease
from intent_events.sink.records import JSON, PROTOBUF, Format
from intent_events.sink.service import Service

TRACES: Final = "/v1/traces"
"""Where traces are posted to, as the specification has it."""

_PLAIN: Final = frozenset({"", "identity"})
_DISCARDED: Final = 4
Exposed = Callable[[], tuple[bytes, str]]
"""Gives all metrics as text, and its content type."""


class _Encoding(NamedTuple):
    """A content type: how requests are read, and answers written."""

    media_type: str
    form: Format
    transport: str

    def encode(self, message: ExportTraceServiceResponse | Status) -> bytes:
        if self.form is PROTOBUF:
            return message.SerializeToString()
        return json_format.MessageToJson(message, indent=None).encode()


_PROTOBUF: Final = _Encoding("application/x-protobuf", PROTOBUF, "http/protobuf")
_JSON: Final = _Encoding("application/json", JSON, "http/json")
_ENCODINGS: Final = {encoding.media_type: encoding for encoding in (_PROTOBUF, _JSON)}


def http_app(service: Service, exposed: Exposed) -> Starlette:
    """The application of the port for OTLP/HTTP.

    Args:
        service: what is behind it.
        exposed: the metrics.
    """
    door = _Door(service)
    health = _health_routes(service, exposed, asks_for_token=True)
    return Starlette(routes=[Route(TRACES, door.export, methods=["POST"]), *health])


def health_app(service: Service, exposed: Exposed) -> Starlette:
    """The application of a port for probes and metrics alone, which asks for no certificate."""
    return Starlette(routes=_health_routes(service, exposed, asks_for_token=False))


class _Door:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def export(self, request: Request) -> Response:
        """Take a request; whatever happens, the answer is one that OTLP knows."""
        service = self._service
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = _ENCODINGS.get(media_type, _PROTOBUF)
        stream = request.stream()
        try:
            with service.refusals(encoding.transport), service.budget.lease() as lease:
                sender = service.admit(request.headers.get("authorization"))
                gzipped = _is_gzipped(request, media_type)
                body = await self._read(request, stream, lease)
                taken = await service.take(
                    body, encoding.form, sender, lease, gzipped=gzipped, transport=encoding.transport
                )
                return Response(encoding.encode(taken.response()), media_type=encoding.media_type)
        except RefusedError as refusal:
            if "expect" not in request.headers:
                await self._discard(stream)
            return _refused(refusal, encoding)

    async def _discard(self, stream: AsyncGenerator[bytes]) -> None:
        """Read the rest of a body that is refused: a sender that is cut off while it sends does not read the answer."""
        left = _DISCARDED * self._service.limits.message_bytes
        with suppress(TimeoutError, ClientDisconnect):  # it is slow, or gone
            async with asyncio.timeout(self._service.limits.arrival_s):
                async for piece in stream:
                    left -= len(piece)
                    if left < 0:
                        return

    async def _read(self, request: Request, stream: AsyncGenerator[bytes], lease: Lease) -> bytes:
        """The body, as far as there is room for it: what is not read yet waits with the sender."""
        limits = self._service.limits
        too_large = RefusedError(Why.TOO_LARGE, f"the body has more than {limits.message_bytes} bytes")
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limits.message_bytes:
            raise too_large
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(limits.arrival_s):
                async for piece in stream:
                    size += len(piece)
                    if size > limits.message_bytes:
                        raise too_large
                    await lease.grow(len(piece))
                    pieces.append(piece)
        except TimeoutError:  # a sender that is slow, or wants to be
            raise RefusedError(Why.BUSY, "the body did not arrive in time; send it again") from None
        except ClientDisconnect:  # nobody is there any more to read the answer
            raise RefusedError(Why.BUSY, "the connection was closed before the body was complete") from None
        return b"".join(pieces)


def _is_gzipped(request: Request, media_type: str) -> bool:
    """Whether the body is compressed; refuses what the sink cannot read."""
    if media_type not in _ENCODINGS:
        raise RefusedError(Why.UNSUPPORTED, f"send {' or '.join(_ENCODINGS)}")
    compression = request.headers.get("content-encoding", "").strip().lower()
    if compression not in {*_PLAIN, "gzip"}:
        raise RefusedError(Why.UNSUPPORTED, "send it gzipped, or not compressed at all")
    return compression == "gzip"


def _refused(refusal: RefusedError, encoding: _Encoding) -> Response:
    headers = {"Connection": "close"}  # whatever of the body was not read is not waited for
    if refusal.retry_s is not None:
        headers["Retry-After"] = str(round(refusal.retry_s))
    if refusal.why is Why.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    body = encoding.encode(refusal.status())
    return Response(body, refusal.why.value.http, headers, encoding.media_type)


def _health_routes(service: Service, exposed: Exposed, *, asks_for_token: bool) -> list[Route]:
    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        if service.ready:
            return PlainTextResponse("ready\n")
        why = "stopping" if service.stopping else "Postgres does not take records"
        return PlainTextResponse(f"{why}\n", 503)

    async def metrics(request: Request) -> Response:
        if asks_for_token:
            try:
                service.admit(request.headers.get("authorization"))
            except RefusedError as refusal:
                return _refused(refusal, _JSON)
        text, media_type = exposed()
        return Response(text, media_type=media_type)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
