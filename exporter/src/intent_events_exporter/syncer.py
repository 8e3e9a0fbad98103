# SPDX-License-Identifier: Apache-2.0
"""Makes what was appended survive a loss of power, once a second, whatever the drain waits for."""

import threading
from contextlib import suppress
from typing import Final

from intent_events_exporter.spool import Spool, SpoolError

_EVERY_S: Final = 1.0


class Syncer:
    """Syncs a spool on a daemon thread, where its mode asks for that.

    The thread of the drain may wait for a minute, for a name server or a slow disk, and must not be waited for.
    """

    def __init__(self, spool: Spool) -> None:
        """Prepare it; nothing runs before :meth:`keep`."""
        self._spool = spool
        self._ended = threading.Event()
        self._runs = False

    def keep(self) -> None:
        """See that the thread runs; for every second, since it may not be possible at first."""
        if self._runs or not self._spool.to_be_synced:
            return
        thread = threading.Thread(target=self._run, name="intent-events-sync", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # too many threads run; or, from Python 3.12 on, the interpreter ends
            self._sync()
        else:
            self._runs = True

    def end(self) -> None:
        """End the thread, for good; it is not waited for, since a disk may hang."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._sync()

    def _sync(self) -> None:
        with suppress(SpoolError):  # the disk fails; append() says so
            self._spool.sync()
