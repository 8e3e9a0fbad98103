# SPDX-License-Identifier: Apache-2.0
"""What processes under faults write down of their utterances, so that it is known however they end."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from intent_events.instrument.recorder import EMITTER


class Log:
    """A file to which any number of processes append.

    Each line is written with one call to a file that is open for appending, so that no way to die loses it.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def said(self, event_id: object, *, durable: bool, cost_ns: int | None) -> None:
        """Write down an utterance that was handled.

        Args:
            event_id: which.
            durable: whether its record was, when the handler had returned.
            cost_ns: what being recorded cost the caller; None when that was not measured.
        """
        self._write(f"said {event_id} {int(durable)} {'-' if cost_ns is None else cost_ns}")

    def told(self, counts: Mapping[str, int]) -> None:
        """Write down what the metrics of this process count, which its next heartbeat will say only later."""
        self._write(f"told {EMITTER.emitter_id} {json.dumps(counts)}")

    def _write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())
