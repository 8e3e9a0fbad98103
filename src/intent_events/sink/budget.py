# SPDX-License-Identifier: Apache-2.0
"""How many bytes of requests are held at once: whoever would exceed that waits, and is then asked to come back."""

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

from intent_events.sink.answers import RefusedError, Why


class Budget:
    """Bytes that may be held; those who wait are served in order.

    Attributes:
        most: how many may be held.
        held: how many are.
    """

    def __init__(self, most: int, *, patience_s: float) -> None:
        """Allow so many.

        Args:
            most: bytes.
            patience_s: seconds that a request may wait for its share.
        """
        self.most = most
        self.held = 0
        self._patience_s = patience_s
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def lease(self) -> Generator["Lease"]:
        """The share of one request, which is given back at the end of the block."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.shrink_to(0)

    async def take(self, n: int) -> None:
        """Wait for so many bytes.

        Raises:
            RefusedError: they did not become free in time.
        """
        if not self._waiting and self._fits(n):
            self.held += n
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((n, turn))
        try:
            async with asyncio.timeout(self._patience_s):
                await turn
        except BaseException as error:  # nothing became free in time, or the sender hung up
            if turn.done() and not turn.cancelled():  # it was given at this very moment
                self.give_back(n)
            else:
                turn.cancel()
                self._serve()
            if isinstance(error, TimeoutError):
                raise RefusedError(Why.BUSY, "the sink holds as much as it may; send it again later") from None
            raise

    async def room(self) -> None:
        """Wait until there is any room at all; raises as :meth:`take` does."""
        await self.take(1)
        self.give_back(1)

    def give_back(self, n: int) -> None:
        """So many bytes are free again."""
        self.held -= n
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            n, turn = self._waiting[0]
            if not turn.done():  # else it gave up
                if not self._fits(n):
                    return
                self.held += n
                turn.set_result(None)
            self._waiting.popleft()

    def _fits(self, n: int) -> bool:
        """Whether there is room; whoever needs more than there ever is gets it when nobody else holds any."""
        return self.held == 0 or self.held + n <= self.most


class Lease:
    """What one request holds."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    async def grow(self, n: int) -> None:
        """Hold so many bytes more; raises as :meth:`Budget.take` does."""
        await self._budget.take(n)
        self._held += n

    def shrink_to(self, n: int) -> None:
        """Hold so many bytes; those beyond are free again."""
        if n < self._held:
            self._budget.give_back(self._held - n)
            self._held = n
