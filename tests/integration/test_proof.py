# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin as another project uses it: sound orchestrators pass, and each kind of leak is named."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from support.postgres import Database, Server
from support.processes import APPS, run_app

pytestmark = pytest.mark.postgres

PLANTED: Final = re.compile(r"[ghjklmnpqrstvwxz]{6}|\d{6}|\d{4} \d{4}", re.IGNORECASE)
"""What values of a proof look like; no message may hold one."""

LEAKS: Final = {
    "in_attribute": 'attribute "brain.query" of span "search" of tracer "brain": name, name in small letters, e-mail,',
    "in_list": 'attribute "brain.queries" of span "search"',
    "in_key": 'key of attribute "(holds a canary)" of span "search"',
    "in_event": 'attribute "text" of event "heard" of span "search"',
    "in_link": 'attribute "text" of link of span "search"',
    "in_span_name": 'name of span "(holds a canary)" of tracer "brain"',
    "in_tracer_name": 'name of tracer "(holds a canary)"',
    "in_status": 'message of status of span "search"',
    "in_recorded_exception": 'attribute "exception.message" of event "exception" of span "search"',
    "in_log_line": 'a line of logger "brain" at INFO',
    "in_log_line_that_does_not_fit": 'a line of logger "brain" at INFO',
    "in_many_attributes": "and 10 more",
    "in_logged_exception": 'the exception of a line of logger "brain" at ERROR',
    "in_log_field": 'field "text" of a line of logger "brain" at DEBUG',
    "in_logger_without_parent": 'a line of logger "alone" at WARNING',
    "in_otlp_log": 'body of log record of logger "brain"',
    "in_warning": "a warning",
    "on_stdout": "a line of stdout",
    "on_stderr": "a line of stderr",
    "in_metric": 'attribute "text" of metric "brain.calls" of meter "brain"',
    "in_metric_name": 'description of metric "brain.of"',
    "in_base64": 'attribute "brain.query" of span "search"',
    "in_number": 'attribute "brain.number" of span "search" of tracer "brain": phone, card',
    "in_candidates": "column verb_candidates_pre of agent.intent_events",
}
"""Each leak of ``support/apps/leaking.py``, and where the message says that it is."""

FAULTS: Final = {
    "test_leaks_into_postgres": "name in column verb_candidates_pre of agent.intent_events in Postgres",
    "test_leaks_in_exception": "text of an exception, KeyError",
    "test_leaks_in_cause_and_notes": "text of an exception, RuntimeError",
    "test_leaks_in_exception_of_the_test": "text of an exception, KeyError",
    "test_records_none": "no records of an utterance that was said once",
    "test_records_two": "2 records of an utterance that was said once",
    "test_records_from_a_second_place": "records come from 2 places: leaking.other_handle (4), leaking.handle (3)",
    "test_records_by_a_tracer_of_its_own": "a record of something that was not said, or not with these words (7 times)",
    "test_says_nothing": "nothing was said: take utterances from say(), or give the handler to run()",
    "test_calls_the_handler_wrongly": "every utterance raised a TypeError: is the handler called as it wants to be?",
    "test_says_no_value": "a sentence needs {} where the value goes",
    "test_instrumented_already": "intent_events is instrumented already",
}
"""Whatever else fails, and what its message says."""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server, _template: str) -> dict[str, str]:
    """What each test of ``leaking.py`` failed with; nothing when it passed."""
    with postgres_server.database(_template) as database:
        return _run(tmp_path_factory, database)


def _run(tmp_path_factory: pytest.TempPathFactory, database: Database) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("proof")
    report = folder / "report.xml"
    ran = run_app(
        *("-m", "pytest", "-q", "leaking.py", f"--junit-xml={report}", f"--rootdir={APPS}", f"--basetemp={folder}/own"),
        *("-c", "/dev/null", "-p", "no:cacheprovider"),
        env={"PROOF_DSN": database.dsn},
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - our own report
    return {str(case.get("name")): _message_of(case) for case in cases}


def _message_of(case: ET.Element) -> str:
    failed = case.find("failure") if case.find("failure") is not None else case.find("error")
    if failed is None:
        return ""
    # The attribute "message" is cut after some lines, and what pytest calls the error stands behind E in the text.
    return "\n".join(line[1:].strip() for line in str(failed.text).splitlines() if line.startswith("E "))


def test_sound_orchestrators_pass(messages: dict[str, str]) -> None:
    """Whatever way a sound orchestrator is recorded and run, the proof holds."""
    sound = {name: message for name, message in messages.items() if name.startswith("test_sound")}
    assert len(sound) >= 12
    assert "\n".join(f"{name}: {message}" for name, message in sound.items() if message) == ""


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_named(messages: dict[str, str], leak: str) -> None:
    """A leak is caught, and the message says where, and never what."""
    message = messages[f"test_leaks[{leak}]"]
    assert LEAKS[leak] in message
    assert not PLANTED.search(message)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(messages: dict[str, str], fault: str) -> None:
    """A record too few or too many, from elsewhere, or a test that shows nothing: the message says so."""
    assert FAULTS[fault] in messages[fault]
    assert not PLANTED.search(messages[fault])


def test_nothing_else_failed_or_was_left_out(messages: dict[str, str]) -> None:
    """Every test of the other project is judged here."""
    judged = {*(f"test_leaks[{leak}]" for leak in LEAKS), *FAULTS}
    assert {name for name in messages if not name.startswith("test_sound")} == judged


_HOST: Final = """
import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from intent_events import record_utterance

trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False, sampler=SAMPLER))
metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
_logs.set_logger_provider(LoggerProvider(shutdown_on_exit=False))


@record_utterance
def handle(utterance):
    metrics.get_meter("host").create_counter("host.calls").add(1, {"text": utterance})
    _logs.get_logger("host").emit(_logs.LogRecord(body=utterance))
    trace.get_tracer("host").start_span("look", attributes={"text": utterance}).end()


def test_it(intent_events_proof):
    with intent_events_proof() as proof:
        proof.run(handle)
"""


@pytest.mark.parametrize(("sampler", "traces"), [("None", 1), ("ALWAYS_OFF", 0)])
def test_with_providers_of_the_host(tmp_path: Path, sampler: str, traces: int) -> None:
    """Providers that the host has set are looked into; what its sampler drops is sent to nobody, and recorded."""
    ran = _pytest(tmp_path, _HOST.replace("SAMPLER", sampler))
    assert "1 failed" in ran.stdout, ran.stdout + ran.stderr
    message = [line for line in ran.stdout.splitlines() if line.startswith("E ")]
    assert sum('attribute "text" of metric "host.calls"' in line for line in message) == 1
    assert sum('body of log record of logger "host"' in line for line in message) == 1
    assert sum('attribute "text" of span "look"' in line for line in message) == traces
    assert not [line for line in message if "records" in line]


def test_a_provider_that_cannot_be_looked_into(tmp_path: Path) -> None:
    """A proof that could not see what is sent is none: it says which provider of the host's is in its way."""
    source = _HOST.replace("TracerProvider(shutdown_on_exit=False, sampler=SAMPLER)", "trace.NoOpTracerProvider()")
    ran = _pytest(tmp_path, source)
    assert "1 failed" in ran.stdout, ran.stdout + ran.stderr
    assert (
        "the global NoOpTracerProvider has no add_span_processor(), so what it makes cannot be looked into"
        in ran.stdout
    )


def _pytest(folder: Path, source: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run a test of another project."""
    (folder / "test_it.py").write_text(source, "utf-8")
    command = [*("-m", "pytest", "-q", "-c", "/dev/null", f"--rootdir={folder}", "-p", "no:cacheprovider"), *args]
    return subprocess.run(
        [sys.executable, *command, "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_the_extra(tmp_path: Path) -> None:
    """Where the SDK is missing, pytest starts all the same, and the fixture says what to install."""
    (tmp_path / "opentelemetry_sdk_is_missing.py").write_text(
        "import sys\nsys.modules['opentelemetry.sdk'] = None\n", "utf-8"
    )
    source = "def test_other(): pass\ndef test_it(intent_events_proof): pass\n"
    ran = _pytest(tmp_path, source, "-p", "opentelemetry_sdk_is_missing")
    assert "1 passed, 1 error" in ran.stdout, ran.stdout + ran.stderr
    assert "pip install 'intent-events[testing]'" in ran.stdout
