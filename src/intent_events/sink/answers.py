# SPDX-License-Identifier: Apache-2.0
"""What the sink answers, for both transports: the codes of the OTLP specification, and what a sender makes of them.

A sender drops what is refused for good and sends again what is refused for now. Nothing unexpected is ever answered as
UNKNOWN or 500, which senders take for good.
"""

from enum import Enum
from random import uniform
from typing import Final, NamedTuple

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

_SHORTEST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 3.0


class _Meaning(NamedTuple):
    label: str
    grpc: int
    http: int
    retryable: bool


class Why(Enum):
    """Why a request is refused: its name in metrics, the codes of gRPC and HTTP, and whether to send it again."""

    MALFORMED = _Meaning("malformed", 3, 400, retryable=False)
    """It is no OTLP request, or its compression is broken: INVALID_ARGUMENT."""

    UNAUTHENTICATED = _Meaning("unauthenticated", 16, 401, retryable=False)
    """No token, or one that is not known."""

    TOO_LARGE = _Meaning("too_large", 8, 413, retryable=False)
    """Larger than a message may be, as it came or uncompressed: RESOURCE_EXHAUSTED without RetryInfo."""

    UNSUPPORTED = _Meaning("unsupported", 12, 415, retryable=False)
    """A content type or a compression that the sink does not know: UNIMPLEMENTED."""

    BUSY = _Meaning("busy", 14, 503, retryable=True)
    """Too much is held already, or the request did not arrive in time: UNAVAILABLE."""

    UNAVAILABLE = _Meaning("unavailable", 14, 503, retryable=True)
    """Postgres does not take it now, or the sink is stopping: UNAVAILABLE."""

    INTERNAL = _Meaning("internal", 14, 503, retryable=True)
    """A failure of ours that nobody expected: UNAVAILABLE, for it may be gone at the next try."""


class RefusedError(Exception):
    """A request is refused; its text says why to the sender and holds nothing of what was sent.

    Attributes:
        why: the kind of refusal.
        retry_s: seconds after which the sender shall try again; None when it shall not.
    """

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why
        # Spread, so that senders which were refused together do not come back together.
        self.retry_s = uniform(_SHORTEST_RETRY_S, _LONGEST_RETRY_S) if why.value.retryable else None  # noqa: S311 - no secret

    def status(self) -> Status:
        """The refusal as senders read it; RetryInfo is among its details when they shall try again."""
        status = Status(code=self.why.value.grpc, message=str(self))
        info = self.retry_info()
        if info is not None:
            packed = AnyMessage()
            packed.Pack(info)
            status.details.append(packed)
        return status

    def retry_info(self) -> RetryInfo | None:
        """When to try again; None when it is refused for good."""
        if self.retry_s is None:
            return None
        seconds = int(self.retry_s)
        return RetryInfo(retry_delay=Duration(seconds=seconds, nanos=int((self.retry_s - seconds) * 1e9)))


class Taken(NamedTuple):
    """A request that is stored: all of it, but for what can never be.

    Attributes:
        dead: records that are kept as dead letters.
        forbidden: records that this sender may not send.
    """

    dead: int = 0
    forbidden: int = 0

    def response(self) -> ExportTraceServiceResponse:
        """The answer: empty when every record is stored, a partial success otherwise, which is not sent again."""
        response = ExportTraceServiceResponse()
        if self.dead or self.forbidden:
            reasons = (
                (self.dead, "could not become rows and are kept in agent.dead_letters"),
                (self.forbidden, "are of a service or scope that this token may not send"),
            )
            response.partial_success.rejected_spans = self.dead + self.forbidden
            response.partial_success.error_message = "; ".join(f"{n} {reason}" for n, reason in reasons if n)
        return response
