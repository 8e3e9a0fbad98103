# SPDX-License-Identifier: Apache-2.0
"""Taking a lock with a bound on the wait, so that no signal can leave it taken."""

from contextlib import AbstractContextManager
from functools import partial
from threading import RLock
from typing import Any, Final, cast

PATIENCE_S: Final = 5.0
"""How long an append waits for a disk that hangs, or for a thread that died in it."""

IMPATIENCE_S: Final = 0.001
"""How long the next ones wait."""


def patient(lock: RLock, at_most_s: float = PATIENCE_S) -> AbstractContextManager[bool]:
    """A context that holds the lock; what it gives is whether it got it in time.

    Python looks at signals after each call, so a handler that raises (a soft time limit, Ctrl-C in a notebook) may come
    between ``acquire()`` and the ``try`` behind it, and nobody would ever release the lock. A ``with`` calls this
    context's methods, which are C code, without looking.

    Args:
        lock: what is held.
        at_most_s: how long it waits, seconds.

    Raises:
        RuntimeError: at the end of a block that did not get it.
    """
    acquire = partial(lock.acquire, True, at_most_s)  # noqa: FBT003 - whether to wait
    methods: dict[str, Any] = {"__enter__": staticmethod(acquire), "__exit__": staticmethod(lock.__exit__)}
    return cast("AbstractContextManager[bool]", type("Patient", (), {"__slots__": (), **methods})())
