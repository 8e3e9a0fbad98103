# SPDX-License-Identifier: Apache-2.0
"""What both transports do with a request: uncompress, read, store, and answer after COMMIT."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, NamedTuple

from intent_events.instrument.troubles import trouble
from intent_events.sink.access import Access, Sender
from intent_events.sink.answers import RefusedError, Taken, Why
from intent_events.sink.budget import Budget, Lease
from intent_events.sink.committer import Committer
from intent_events.sink.compression import gunzip
from intent_events.sink.metrics import SinkMetrics
from intent_events.sink.protobuf import UndecodableError
from intent_events.sink.records import Format, Records, records_in

_LARGE: Final = 1 << 20


class Limits(NamedTuple):
    """What one request may cost.

    Attributes:
        message_bytes: its size, as it comes and uncompressed.
        arrival_s: seconds within which all of it must have come.
    """

    message_bytes: int
    arrival_s: float


class Service:
    """The sink behind its transports.

    Attributes:
        limits: what one request may cost.
        budget: what all requests hold together.
        stopping: whether nothing new is taken.
    """

    def __init__(
        self, access: Access, limits: Limits, budget: Budget, committer: Committer, metrics: SinkMetrics
    ) -> None:
        self._access = access
        self._committer = committer
        self._metrics = metrics
        self._reading = asyncio.Lock()
        self.limits = limits
        self.budget = budget
        self.stopping = False

    @property
    def ready(self) -> bool:
        """Whether a request that came now would be stored, as far as can be told."""
        return self._committer.able and not self.stopping

    def admit(self, authorization: str | None) -> Sender:
        """Who sends, before anything that they send is looked at.

        Raises:
            RefusedError: nobody we know; the answer tells nothing else.
        """
        sender = self._access.sender_of(authorization)
        if sender is None:
            raise RefusedError(Why.UNAUTHENTICATED, "a bearer token that this sink knows is needed")
        return sender

    async def take(
        self, body: bytes, form: Format, sender: Sender, lease: Lease, *, gzipped: bool, transport: str
    ) -> Taken:
        """Store what a request brings; returns after COMMIT.

        Args:
            body: the request as it came.
            form: how it is spelled.
            sender: who sent it.
            lease: what it holds already; given back by the caller.
            gzipped: whether it is compressed.
            transport: which door it came through, for the metrics.

        Raises:
            RefusedError: nothing of it, or nobody knows what of it, is stored.
        """
        began = perf_counter()
        if gzipped:
            body = await gunzip(body, self.limits.message_bytes, lease)
        elif len(body) > self.limits.message_bytes:
            raise RefusedError(Why.TOO_LARGE, f"the body has more than {self.limits.message_bytes} bytes")
        records = await self._read(body, form, sender)
        del body
        lease.shrink_to(records.size)
        taken = Taken(await self._committer.store(records.rows, records.rejections), records.forbidden)
        self._metrics.taken(transport, records, taken, perf_counter() - began)
        return taken

    async def _read(self, body: bytes, form: Format, sender: Sender) -> Records:
        try:
            if len(body) < _LARGE:
                return await records_in(body, form, sender)
            # One after the other: read at once, each would take as long as all of them, and they would hold more.
            async with self._reading:
                return await records_in(body, form, sender)
        except UndecodableError:
            raise RefusedError(Why.MALFORMED, "the body is no ExportTraceServiceRequest") from None

    @contextmanager
    def refusals(self, transport: str) -> Generator[None]:
        """Count what is refused, and make a refusal of whatever fails in the block; nothing else leaves it."""
        try:
            yield
        except RefusedError as refusal:
            self._metrics.refused(transport, refusal.why)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: the sender keeps what it has, and sends it again
            trouble("intent-events: a request failed; its sender is asked to send it again", error)
            self._metrics.refused(transport, Why.INTERNAL)
            raise RefusedError(Why.INTERNAL, "the sink failed; send it again later") from None
