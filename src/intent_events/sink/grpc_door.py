# SPDX-License-Identifier: Apache-2.0
"""OTLP over gRPC.

The method is served as one that may send a stream: on the wire that is the same, but the message is then read when we
say so and not before. So a stranger is turned away before anything of theirs is read, and back-pressure reaches the
sender.
Messages are uncompressed by us: the library would do it without a bound, and refuse the gigabytes afterwards.
"""

import asyncio
from typing import Any, Final, NoReturn, cast

import grpc
from grpc import StatusCode, aio

from intent_events.sink.answers import RefusedError, Why
from intent_events.sink.compression import GZIP_MAGIC
from intent_events.sink.records import PROTOBUF
from intent_events.sink.service import Service

SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
"""Name of the service, as the specification has it."""

_TRANSPORT: Final = "grpc"
_CODES: Final = {code.value[0]: code for code in StatusCode}
_IDENTITY_AND_GZIP: Final = 0b101
_READING_AT_ONCE: Final = 64
_Context = aio.ServicerContext[Any, Any]


def grpc_server(service: Service) -> aio.Server:
    """A server of the service that listens nowhere yet."""
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", service.limits.message_bytes),
            ("grpc.per_message_decompression", 0),
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
            ("grpc.so_reuseport", 0),  # a second sink on the same port is told so
            ("grpc.server_handshake_timeout_ms", int(service.limits.arrival_s * 1000)),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.max_connection_idle_ms", 300_000),
            # Senders find new sinks behind a balancer only when they connect anew.
            ("grpc.max_connection_age_ms", 600_000),
            ("grpc.max_connection_age_grace_ms", 60_000),
        ]
    )
    export = cast("Any", grpc).stream_unary_rpc_method_handler(_Door(service).export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": export}),))
    return server


class _Door:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._readers = asyncio.Semaphore(_READING_AT_ONCE)

    async def export(self, _requests: object, context: _Context) -> bytes:
        """Take a request; whatever happens, the answer is one that OTLP knows."""
        service = self._service
        try:
            with service.refusals(_TRANSPORT), service.budget.lease() as lease:
                sender = service.admit(_authorization(context))
                body = await self._read(context)
                if body is None:
                    return b""
                await lease.grow(len(body))
                gzipped = body.startswith(GZIP_MAGIC)
                taken = await service.take(body, PROTOBUF, sender, lease, gzipped=gzipped, transport=_TRANSPORT)
                return taken.response().SerializeToString()
        except RefusedError as refusal:
            await _refuse(context, refusal)

    async def _read(self, context: _Context) -> bytes | None:
        """The message; None when the library has refused it already, for its size."""
        try:
            async with asyncio.timeout(self._service.limits.arrival_s), self._readers:
                await self._service.budget.room()
                message = await context.read()
        except TimeoutError:  # a sender that is slow, or many of them
            raise RefusedError(Why.BUSY, "the message did not arrive in time; send it again") from None
        return message if isinstance(message, bytes) else None


def _authorization(context: _Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None


async def _refuse(context: _Context, refusal: RefusedError) -> NoReturn:
    status = refusal.status()
    details = [("grpc-status-details-bin", status.SerializeToString())]
    info = refusal.retry_info()
    if info is not None:  # the SDK for Python looks here, and nowhere else
        details.append(("google.rpc.retryinfo-bin", info.SerializeToString()))
    await context.abort(_CODES[status.code], status.message, tuple(details))
    raise AssertionError("abort raises")
