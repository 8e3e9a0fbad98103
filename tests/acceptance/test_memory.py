# SPDX-License-Identifier: Apache-2.0
"""What waits is on disk and not in memory."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.backlog import Backlog
from support.postgres import Database

_WAITING = 30_000
_WAITING_MB = 10.0
"""Less than a third of what waits, so that keeping it in memory would show."""
_MOST_MB = 50.0


def test_a_backlog_costs_no_more_memory_than_is_stated(pg: Database) -> None:
    """With many records waiting, and while they are stored, a process has at most 50 MB more than idle; all arrive."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.backlog", pg.dsn, str(_WAITING)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found = Backlog(**json.loads(done.stdout))
    assert found.waiting_mb <= _WAITING_MB
    assert found.peak_mb <= _MOST_MB
    assert found.came > 0
    assert found.rows == _WAITING + 1 + found.came
