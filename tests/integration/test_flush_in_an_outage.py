# SPDX-License-Identifier: Apache-2.0
"""Whoever flushes waits for Postgres, and not for the pause that the drain makes after failures."""

from pathlib import Path

import pytest

from intent_events.settings import DeliverySettings
from intent_events_exporter import IntentEventsSpanProcessor, breaker
from support.postgres import Database
from support.records import span_view
from support.waiting import until

_HOUR_S = 3_600.0


def test_a_flush_tries_at_once(
    pg: Database, writer_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failure, in a pause of an hour, a flush stores what waits as soon as Postgres can be reached."""
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", _HOUR_S)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", _HOUR_S)
    address = tmp_path / "dsn"
    settings = DeliverySettings(dsn_file=address, spool_dir=tmp_path / "spool", flush_interval=0.01)
    processor = IntentEventsSpanProcessor(settings=settings)
    try:
        assert processor.accept(span_view(1))
        until(lambda: "Records wait in the spool" in caplog.text, "it has failed")
        address.write_text(writer_dsn)
        assert processor.force_flush(30_000)
        assert pg.fetchval_now("SELECT count(*) FROM agent.intent_events") == 1
    finally:
        processor.shutdown()
