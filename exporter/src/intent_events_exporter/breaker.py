# SPDX-License-Identifier: Apache-2.0
"""When to try Postgres again: pauses that grow with jitter up to a ceiling, and a circuit that opens. Pure."""

from collections.abc import Callable
from enum import IntEnum
from random import uniform
from typing import Final

FIRST_PAUSE_S: Final = 0.1
"""Pause after the first failure, seconds."""

LONGEST_PAUSE_S: Final = 30.0
"""Longest pause, seconds."""

OPENS_AFTER: Final = 5
"""Failures in a row that open the circuit."""


class Circuit(IntEnum):
    """State of the way to Postgres, as the metric shows it."""

    CLOSED = 0
    """It works, or has just begun to fail."""

    HALF_OPEN = 1
    """It failed again and again; a few records are tried next."""

    OPEN = 2
    """It failed again and again; nothing is tried until the pause is over."""


class Breaker:
    """Counts failures in a row; says how long to wait, and whether to send a few records only."""

    __slots__ = ("_failures", "_jitter", "_retry_at")

    def __init__(self, jitter: Callable[[float, float], float] = uniform) -> None:
        """Begin closed.

        Args:
            jitter: picks a number between two; so that the processes of a fleet do not come back all at once.
        """
        self._jitter = jitter
        self._failures = 0
        self._retry_at = 0.0

    def failed(self, now: float) -> float:
        """Note a failure.

        Args:
            now: seconds of a monotonic clock.

        Returns:
            Seconds to wait.
        """
        longest = min(FIRST_PAUSE_S * 2.0 ** min(self._failures, 30), LONGEST_PAUSE_S)
        self._failures += 1
        pause_s = self._jitter(longest / 2, longest)
        self._retry_at = now + pause_s
        return pause_s

    def succeeded(self) -> None:
        """Note that Postgres took something."""
        self._failures = 0
        self._retry_at = 0.0

    def hurry(self) -> None:
        """Let the next try come at once, for somebody who waits for it; its failure is followed by a longer pause."""
        self._retry_at = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until the next try; 0 when it may come at once."""
        return max(self._retry_at - now, 0.0)

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def circuit(self, now: float) -> Circuit:
        """State of the circuit."""
        if self._failures < OPENS_AFTER:
            return Circuit.CLOSED
        return Circuit.OPEN if self.wait_s(now) > 0 else Circuit.HALF_OPEN
