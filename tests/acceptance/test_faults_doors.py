# SPDX-License-Identifier: Apache-2.0
"""The same spans come through several doors at once: each is one row, and every door says what became of its own."""

import json
from pathlib import Path
from typing import Final

import pytest

from intent_events_exporter.spool import totals
from support.hosts import accounted, all_stored, started_family
from support.postgres import Database

pytestmark = pytest.mark.postgres

_SPANS: Final = 2000
_DOORS: Final = ("drain", "exporter")


def test_processor_exporter_and_a_second_process_at_once(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """Two processes hand in the same spans, each through its processor and its exporter; each span is one row.

    Whoever is first: of all that was handed in, all but one of each span is found stored already.
    """
    with started_family("doors", tmp_path, writer_dsn, _SPANS) as processes:
        said, _ = processes.communicate(timeout=60)
    assert (tmp_path / "host.err").read_text() == ""
    reports = [json.loads(line) for line in said.splitlines()]
    assert len(reports) == 2
    for report in reports:
        assert report["processor.records:spooled"] == _SPANS
        for door in _DOORS:
            assert became(report, door, "stored") + became(report, door, "duplicate") == _SPANS
    assert sum(became(report, door, "stored") for report in reports for door in _DOORS) == _SPANS
    assert accounted(pg, tmp_path / "host.log") == all_stored(_SPANS, duplicate=3 * _SPANS)
    assert not totals(tmp_path / "spool").owners


def became(report: dict[str, int], door: str, what: str) -> int:
    """How many records this door of a process found to be that."""
    return report.get(f"{door}.records:{what}", 0)
