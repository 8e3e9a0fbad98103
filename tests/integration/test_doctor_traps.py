# SPDX-License-Identifier: Apache-2.0
"""What looks right to ``intent-events doctor`` and is not: a login that cannot write, a route that records nothing."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from integration.test_doctor_command import run
from intent_events.cli.app import app as commands
from intent_events.semconv import Record
from intent_events_exporter.record import encode
from intent_events_exporter.spool.segment import encode_frame, encode_header
from support.postgres import Database
from support.processes import APPS
from support.records import span_view
from support.spool_process import left_by_the_dead

pytestmark = pytest.mark.postgres


def test_a_login_that_only_reads(pg: Database, writer_dsn: str, folder: Path) -> None:
    """With every right to INSERT it writes nothing: that fails, `drain` names the remedy, and following it helps."""
    user = urlsplit(writer_dsn).username
    pg.execute_now(f"ALTER ROLE {user} SET default_transaction_read_only = on")
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.complaints["role"]) == (1, "fail")
    assert f"ALTER ROLE {user} RESET default_transaction_read_only" in ran.remedy("role")
    owner = left_by_the_dead(folder, encode_header(1) + encode_frame(encode(span_view(1), Record.UTTERANCE), 1))
    drained = CliRunner().invoke(commands, ["drain", "--dsn", writer_dsn, "--spool-dir", str(folder)])
    assert drained.exit_code == 3
    assert "takes no writes (a standby, or a login that only reads)" in drained.stderr
    assert owner.exists()
    pg.execute_now(f"ALTER ROLE {user} RESET default_transaction_read_only")
    assert run("--dsn", writer_dsn).complaints.get("role") is None
    assert CliRunner().invoke(commands, ["drain", "--dsn", writer_dsn, "--spool-dir", str(folder)]).exit_code == 0


_ROUTES: Final = """
class Route:
    def __init__(self, endpoint):
        self.endpoint = endpoint
ROUTES = []
def route(handler):
    ROUTES.append(Route(handler))
    return handler
@route
def handle(utterance): return 1
"""


_DECORATED: Final = """
from functools import wraps
def retried(handler):
    @wraps(handler)
    def retry(*args, **kwargs):
        return handler(*args, **kwargs)
    return retry
@retried
def handle(utterance): return 1
class Brain:
    @retried
    def handle(self, utterance): return 1
    @staticmethod
    def say(utterance): return 1
    @classmethod
    def ask(cls, utterance): return 1
"""


def test_what_is_decorated_is_no_trap(pg: Database, tmp_path: Path) -> None:
    """A decorator of the host's beneath our wrapper has the function that it wraps, and calls it through ours."""
    (tmp_path / "decorated.py").write_text(_DECORATED)
    targets = ",".join(f"decorated:{name}" for name in ("handle", "Brain.handle", "Brain.say", "Brain.ask"))
    ran = run("--dsn", pg.dsn, INTENT_EVENTS_TARGETS=targets, PYTHONPATH=f"{tmp_path}{os.pathsep}{APPS}")
    assert ran.complaints.get("targets") is None, ran.detail("targets")


def test_a_route_that_has_the_handler_itself(pg: Database, tmp_path: Path) -> None:
    """A framework that keeps a function before it can be wrapped calls it unrecorded: that is warned of."""
    (tmp_path / "routed.py").write_text(_ROUTES)
    path = f"{tmp_path}{os.pathsep}{APPS}"
    ran = run("--dsn", pg.dsn, INTENT_EVENTS_TARGETS="routed:handle", PYTHONPATH=path)
    assert (ran.code, ran.complaints["targets"]) == (0, "warn")
    assert "routed:handle (by a Route)" in ran.detail("targets")
    assert "put @record_utterance beneath its decorator" in ran.remedy("targets")
