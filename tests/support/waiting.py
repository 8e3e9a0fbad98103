# SPDX-License-Identifier: Apache-2.0
"""Waiting for what nothing announces: ask again until it is so, and fail when it never is."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_PAUSE_S = 0.01


def until(condition: Callable[[], object], what: str, *, timeout_s: float = 60.0) -> None:
    """Wait, in a thread without an event loop.

    Args:
        condition: true when the waiting is over.
        what: what is waited for, for the failure's text.
        timeout_s: seconds after which the test fails.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain until {what}"
        time.sleep(_PAUSE_S)


async def until_async(condition: Callable[[], Awaitable[object]], what: str, *, timeout_s: float = 60.0) -> None:
    """Wait, on an event loop; arguments as for :func:`until`."""
    deadline = time.monotonic() + timeout_s
    while True:
        if await condition():
            return
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain until {what}"
        await asyncio.sleep(_PAUSE_S)
