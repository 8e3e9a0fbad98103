# SPDX-License-Identifier: Apache-2.0
"""The spool: records that wait for Postgres in files, so that they outlive the process that made them.

``<folder>/<owner>/`` holds the segments of one process, and a lock that it keeps as long as it lives; whoever gets that
lock later adopts what is left. ``<folder>/aside/`` keeps what is no record any more. Standard library only.
"""

from intent_events_exporter.spool.chain import Batch, Position
from intent_events_exporter.spool.look import Spooled, Totals, look, totals
from intent_events_exporter.spool.orphans import Orphans, Round
from intent_events_exporter.spool.refusal import Refusal, SpoolError, UnsyncedError
from intent_events_exporter.spool.spool import Fsync, Spool, Waiting

__all__ = [
    "Batch",
    "Fsync",
    "Orphans",
    "Position",
    "Refusal",
    "Round",
    "Spool",
    "SpoolError",
    "Spooled",
    "Totals",
    "UnsyncedError",
    "Waiting",
    "look",
    "totals",
]
