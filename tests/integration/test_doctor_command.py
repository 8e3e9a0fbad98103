# SPDX-License-Identifier: Apache-2.0
"""``intent-events doctor`` as it is typed: a real application, spool and Postgres, sound and not."""

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import typer
from typer.testing import CliRunner

from intent_events.cli.doctor import doctor
from intent_events.review.doctor_model import Diagnosis
from intent_events_exporter.spool import look
from intent_events_exporter.spool.folder import ASIDE
from intent_events_exporter.spool.segment import encode_frame, encode_header
from support.postgres import Database, Server, run_apart
from support.processes import APPS, run_app
from support.records import HASH_KEY
from support.spool_process import left_by_the_dead
from support.stored import add_event

pytestmark = pytest.mark.postgres

CANARY: Final = "s3cr3t-canary"
NOWHERE: Final = f"postgresql://app:{CANARY}@127.0.0.1:1/nowhere"
SOUND: Final = {
    "INTENT_EVENTS_TARGETS": "shop.chat:Orchestrator.handle",
    "INTENT_EVENTS_HASH_KEY": HASH_KEY,
    "OTEL_TRACES_EXPORTER": "console",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "PYTHONPATH": str(APPS),
}
"""Variables of an application that is as it should be, but for the address of Postgres."""


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    code: int
    out: str
    err: str

    @property
    def diagnosis(self) -> Diagnosis:
        """Its JSON, read."""
        return Diagnosis.model_validate_json(self.out)

    def remedy(self, name: str) -> str:
        """What a check says to do."""
        (check,) = [check for check in self.diagnosis.checks if check.name == name]
        return check.remedy

    @property
    def complaints(self) -> dict[str, str]:
        """Checks that are not ok, with their status."""
        return {check.name: check.status.value for check in self.diagnosis.checks if check.status.value != "ok"}

    def detail(self, name: str) -> str:
        """What a check found."""
        (check,) = [check for check in self.diagnosis.checks if check.name == name]
        return check.detail


def run(*args: str, **environment: str) -> Ran:
    """Run ``doctor`` in the environment of an application that is sound but for these variables."""
    app = typer.Typer(add_completion=False)
    app.command()(doctor)
    result = CliRunner(env={**SOUND, **environment}).invoke(app, ["--format", "json", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The spool that INTENT_EVENTS_SPOOL_DIR names."""
    return tmp_path / "spool"


@pytest.fixture
def reader_dsn(pg: Database, writer_dsn: str) -> str:
    """A role that may INSERT and read, and nothing else."""
    pg.execute_now(f"GRANT SELECT ON ALL TABLES IN SCHEMA agent TO {urlsplit(writer_dsn).username}")
    return writer_dsn


def test_a_sound_application(reader_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an untouched application has recorded, every check is ok, exit 0; the password is shown nowhere."""
    monkeypatch.setenv("INTENT_EVENTS_DSN", reader_dsn)
    password = urlsplit(reader_dsn).password
    assert password
    ran_app = run_app("-m", "shop", "chat", env=SOUND, instrumented=True, says="open it\n")
    assert ran_app.returncode == 0, ran_app.stderr
    ran = run()
    assert (ran.code, ran.complaints, ran.err) == (0, {}, "")
    assert ran.diagnosis.status == "ok"
    assert set(json.loads(ran.out)) == {"status", "checks"}
    assert {tuple(check) for check in json.loads(ran.out)["checks"]} == {("name", "status", "detail", "remedy")}
    assert len(ran.diagnosis.checks) >= 16
    assert password not in ran.out
    shown = run("--format", "table")
    assert shown.code == 0
    assert "Everything is as it should be." in shown.out
    assert password not in shown.out + shown.err


def test_the_writers_role_cannot_know_everything(writer_dsn: str) -> None:
    """With the least rights, what may not be read is skipped with the reason, and nothing fails."""
    ran = run("--dsn", writer_dsn)
    assert ran.complaints == dict.fromkeys(("schema", "stream", "emitters", "dead_letters"), "skip")
    assert ran.code == 0
    assert "may not read" in ran.detail("stream")


@pytest.mark.parametrize(
    ("dsn", "says", "remedy"),
    [
        (NOWHERE, "no connection to database", "records wait in the spool"),
        ("", "INTENT_EVENTS_DSN is not set", "until then this application stores no rows"),
        (f"mysql://app:{CANARY}@h/d", "is no postgresql:// address", "records wait in the spool"),
    ],
)
def test_no_database(dsn: str, says: str, remedy: str) -> None:
    """A database that cannot be asked: exit 3, which is told from silence; the rest is looked at all the same."""
    ran = run(INTENT_EVENTS_DSN=dsn)
    assert ran.code == 3
    assert ran.diagnosis.status == "could_not_ask"
    assert says in ran.detail("database")
    assert remedy in ran.remedy("database")
    assert ("delivery" in ran.complaints) == ("stores no rows" in ran.remedy("database")), "no two of them contradict"
    assert ran.complaints["schema"] == "skip"
    assert "stream" not in ran.complaints
    assert {"settings", "targets", "spool"}.isdisjoint(ran.complaints)
    assert CANARY not in ran.out + ran.err


def test_a_database_that_was_never_migrated(empty_pg: Database) -> None:
    """Without our tables the schema fails with the remedy, and nothing is said to be silent."""
    ran = run("--dsn", empty_pg.dsn)
    assert ran.code == 1
    assert (ran.complaints["schema"], ran.complaints["role"]) == ("fail", "skip")
    assert (ran.complaints["partitions"], ran.complaints["stream"]) == ("skip", "skip")


ROLES: Final = ("intent_writer", "intent_reviewer", "intent_tuner", "intent_owner")


@pytest.fixture
def enrolled(postgres_server: Server, pg: Database) -> Iterator[dict[str, str]]:
    """Address of a login for each role."""
    with ExitStack() as stack:
        dsns: dict[str, str] = {}
        for role in ROLES:
            name, password = f"test_{secrets.token_hex(6)}", secrets.token_hex(16)
            pg.execute_now(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'; SELECT agent.enroll('{name}', '{role}')")
            stack.callback(postgres_server.admin.execute_now, f"DROP ROLE {name}")
            dsns[role] = pg.as_user(name, password)
        yield dsns


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_ask(role: str, enrolled: dict[str, str]) -> None:
    """No role of the documentation fails for what it is not for; an application that has the wrong one is warned."""
    given = run("--dsn", enrolled[role])
    assert (given.code, "fail" in given.complaints.values()) == (0, False)
    assert given.complaints.get("role") == (None if role == "intent_writer" else "skip")
    own = run(INTENT_EVENTS_DSN=enrolled[role])
    assert (own.code, "fail" in own.complaints.values()) == (0, False)
    assert own.complaints.get("role") == (None if role == "intent_writer" else "warn")
    shown = run("--dsn", enrolled[role], "--format", "table").out
    assert "Everything is as it should be" not in shown, "something was not looked at, or not fine"


def test_another_revision(pg: Database) -> None:
    """A database of a newer version fails."""
    pg.execute_now("UPDATE agent.schema_version SET version_num = '9999'")
    ran = run("--dsn", pg.dsn)
    assert (ran.code, ran.complaints["schema"]) == (1, "fail")
    assert "9999" in ran.detail("schema")


def test_a_role_that_is_too_powerful_or_too_weak(pg: Database, writer_dsn: str) -> None:
    """A superuser and a role that may change rows are warned of; one that may not INSERT fails."""
    assert "superuser" in run("--dsn", pg.dsn).detail("role")
    pg.execute_now(f"GRANT UPDATE ON agent.intent_events TO {urlsplit(writer_dsn).username}")
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.complaints["role"]) == (0, "warn")
    assert "UPDATE of agent.intent_events" in ran.detail("role")
    pg.execute_now("REVOKE INSERT ON agent.emitters FROM intent_writer")
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.complaints["role"]) == (1, "fail")


def test_a_missing_partition(pg: Database) -> None:
    """A month that has no partition of its own is warned of before it begins."""
    month = datetime.now(UTC).replace(day=1) + timedelta(days=31)
    pg.execute_now(f"DROP TABLE agent.chat_events_{month:%Y_%m}")
    ran = run("--dsn", pg.dsn)
    assert ran.complaints["partitions"] == "warn"
    assert f"chat_events_{month:%Y_%m}" in ran.detail("partitions")


HEARTBEAT: Final = """
INSERT INTO agent.emitters
    (emitter_id, beat, at, started_at, received_at, emitted, stored, duplicates, dead, spooled, host, pid, dropped)
VALUES ($1, $2, $3, $3, $3, 9, 0, 0, 0, $4, 'host-1', 7, $5::text::jsonb)
"""
DEAD_LETTER: Final = "INSERT INTO agent.dead_letters (dead_letter_id, door, reason) VALUES ($1, 'x', 'row_refused')"


def heartbeat(pg: Database, emitter: UUID, beat: int, minutes_ago: float, spooled: int, **dropped: int) -> None:
    """Store a heartbeat of so long ago."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    pg.execute_now(HEARTBEAT, emitter, beat, at, spooled, json.dumps(dropped))


def test_what_arrived(pg: Database) -> None:
    """Silence, drops of the window, processes that stopped with records left, and dead letters are each warned of."""
    run_apart(add_event(pg, datetime.now(UTC) - timedelta(hours=2)))
    emitter = uuid4()
    heartbeat(pg, emitter, 1, 50, 0, disk_full=5)
    heartbeat(pg, emitter, 2, 30, 4, disk_full=5)
    ran = run("--dsn", pg.dsn)
    assert ran.complaints == dict.fromkeys(("role", "stream", "emitters"), "warn")
    assert "the last one 2h ago" in ran.detail("stream")
    assert "host-1, pid 7, 4 records" in ran.detail("emitters")
    assert "dropped" not in ran.detail("emitters"), "what was dropped before the window is no news"
    heartbeat(pg, emitter, 3, 1, 0, disk_full=7)
    pg.execute_now(
        "INSERT INTO agent.dead_letters (dead_letter_id, door, reason) VALUES ($1, 'x', 'row_refused')", emitter
    )
    ran = run("--dsn", pg.dsn)
    assert ran.complaints == dict.fromkeys(("role", "emitters", "dead_letters"), "warn")
    assert "2 records dropped (disk_full 2)" in ran.detail("emitters")
    assert "silent" not in ran.detail("emitters")
    assert "row_refused 1" in ran.detail("dead_letters")
    assert run("--dsn", pg.dsn, "--since", "2h").detail("emitters").startswith("7 records dropped")


def test_a_spool_that_is_not_as_it_should_be(pg: Database, folder: Path) -> None:
    """Permissions, fullness, age, orphans and damage are told; doctor itself changes and stores nothing of it."""
    old = time.time_ns() - 3_600_000_000_000
    owner = left_by_the_dead(folder, encode_header(old) + encode_frame(b"x" * 600, old))
    (folder / ASIDE).mkdir()
    (folder / ASIDE / "1.torn").write_bytes(b"torn")
    folder.chmod(0o755)
    ran = run("--dsn", pg.dsn, INTENT_EVENTS_SPOOL_MAX_BYTES="1000")
    names = ("role", "stream", "spool", "spool_size", "spool_age", "spool_orphans", "spool_damage")
    assert ran.complaints == dict.fromkeys(names, "warn")
    assert ran.detail("spool_age") == "the oldest record has waited 60m"
    assert run("--dsn", pg.dsn, INTENT_EVENTS_SPOOL_MAX_BYTES="700").code == 1
    assert [(one.owner, one.payload) for one in look(folder)] == [(owner.name, b"x" * 600)]
    assert folder.stat().st_mode & 0o777 == 0o755
    assert pg.fetchval_now("SELECT count(*) FROM agent.emitters") == 0


def test_a_spool_that_cannot_be_used(pg: Database, folder: Path) -> None:
    """A file where the folder should be fails."""
    folder.write_text("")
    ran = run("--dsn", pg.dsn)
    assert (ran.code, ran.complaints["spool"]) == (1, "fail")
    assert "it is no folder" in ran.detail("spool")
    ran = run("--dsn", pg.dsn, "--spool-dir", str(folder / "below"))
    assert (ran.code, ran.complaints["spool"]) == (1, "fail")


def test_a_spool_without_the_exporter(pg: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exporter is not installed, nothing is claimed of a spool."""
    folder.write_text("")
    monkeypatch.setitem(sys.modules, "intent_events_exporter.salvage", None)
    ran = run("--dsn", pg.dsn)
    assert (ran.code, ran.complaints["spool"]) == (0, "skip")


def test_an_application_that_is_not_as_it_should_be(pg: Database) -> None:
    """Targets that cannot be imported or found, low limits and a needless exporter are each told."""
    targets = "shop.chat:Orchestrator.handle,shop.chat:Orchestrator.hand,shoop.chat:handle"
    ran = run(
        "--dsn",
        pg.dsn,
        INTENT_EVENTS_TARGETS=targets,
        OTEL_TRACES_EXPORTER="console,intent_events",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="32",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="100",
    )
    assert ran.code == 1
    assert ran.complaints.items() >= {"targets": "fail", "span_limits": "warn", "exporters": "warn"}.items()
    assert ran.detail("targets") == (
        "cannot be wrapped: shop.chat:Orchestrator.hand (AttributeError), shoop.chat:handle (ModuleNotFoundError)"
    )
    assert "32 attributes" in ran.detail("span_limits")
    assert "100 characters" in ran.detail("span_limits")
    assert "it is the last of console, intent_events" in ran.detail("exporters")


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
def test_sampling_is_no_fault(pg: Database, sampler: str) -> None:
    """Whatever the host samples, our own sampler is found on our tracer."""
    ran = run("--dsn", pg.dsn, OTEL_TRACES_SAMPLER=sampler)
    assert ran.code == 0
    assert "whatever the sampler decides" in ran.detail("sampler")


def test_without_an_sdk_the_direct_way_is_fine(pg: Database) -> None:
    """A disabled SDK is no fault: records take the direct way, and that is said."""
    ran = run("--dsn", pg.dsn, OTEL_SDK_DISABLED="true")
    assert ran.code == 0
    assert "OTEL_SDK_DISABLED is set: records take the direct way" in ran.detail("delivery")


def test_an_exporter_that_is_not_installed(pg: Database) -> None:
    """When opentelemetry-instrument itself cannot start, that is the failure, with the command that says why."""
    ran = run("--dsn", pg.dsn, OTEL_TRACES_EXPORTER="no_such_exporter")
    assert (ran.code, ran.complaints["instrumented"]) == (1, "fail")
    assert "Requested component 'no_such_exporter' not found" in ran.detail("instrumented")
    assert "name another in OTEL_TRACES_EXPORTER" in ran.remedy("instrumented")
    assert "delivery" not in {check.name for check in ran.diagnosis.checks}


def test_an_sdk_that_does_not_start(pg: Database) -> None:
    """A failure whose text quotes a variable is told by its type alone."""
    ran = run("--dsn", pg.dsn, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=CANARY)
    assert (ran.code, ran.complaints["instrumented"]) == (1, "fail")
    assert ran.detail("instrumented").endswith("ended before it could say what it found (ValueError)")
    assert CANARY not in ran.out + ran.err


_ENDLESS: Final = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        (_ENDLESS, "instrumented", "did not come to its end within 4 s"),
        ("import os; os._exit(3)", "instrumented", "ended before it could say"),
        ("raise SystemExit(3)", "targets", "SystemExit"),
        ("print('noise', flush=True)\ndef handle(utterance): return 1", "", ""),
    ],
)
def test_targets_that_misbehave_when_imported(pg: Database, tmp_path: Path, module: str, name: str, says: str) -> None:
    """A target that serves, ends the process or prints when it is imported costs bounded time, and is told."""
    (tmp_path / "host.py").write_text(module)
    path = f"{tmp_path}{os.pathsep}{APPS}"
    ran = run("--dsn", pg.dsn, "--timeout", "4s", INTENT_EVENTS_TARGETS="host:handle", PYTHONPATH=path)
    if not name:
        assert ran.code == 0
        return
    assert (ran.code, ran.complaints[name]) == (1, "fail")
    assert says in ran.detail(name)


@pytest.mark.parametrize(
    ("module", "says", "remedy"),
    [
        ("import no_such_library", "host:handle (ModuleNotFoundError of no_such_library)", "install what its module"),
        ("import host.below", "host:handle (ModuleNotFoundError of host.below)", "install what its module"),
        ("raise ValueError('x')", "host:handle (ValueError)", "import its module here by hand"),
        ("def hand(): ...", "host:handle (AttributeError)", "check the spelling"),
    ],
)
def test_targets_that_cannot_be_imported(pg: Database, tmp_path: Path, module: str, says: str, remedy: str) -> None:
    """What is spelled right and lacks a library is told from what is misspelt."""
    (tmp_path / "host.py").write_text(module)
    ran = run("--dsn", pg.dsn, INTENT_EVENTS_TARGETS="host:handle", PYTHONPATH=f"{tmp_path}{os.pathsep}{APPS}")
    assert (ran.code, ran.complaints["targets"]) == (1, "fail")
    assert says in ran.detail("targets")
    assert ran.remedy("targets").startswith(remedy)


def test_a_mapping_that_is_misspelt(pg: Database, tmp_path: Path) -> None:
    """A stage of a mapping is tried as targets are, and an outcome that does not exist is told."""
    (tmp_path / "host.py").write_text("def handle(utterance): ...\ndef pick(): ...\n")
    mapping = tmp_path / "mapping.toml"
    variables = {
        "INTENT_EVENTS_TARGETS": "host:handle",
        "INTENT_EVENTS_MAPPING": str(mapping),
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{APPS}",
    }
    mapping.write_text('[outcomes]\nDONE = "matched"\n[stages]\nselect = "host:pick"\n')
    ran = run("--dsn", pg.dsn, **variables)
    assert {"settings", "targets"}.isdisjoint(ran.complaints)
    assert ran.detail("targets") == "wrapped: host:handle, host:pick (stage select)"
    mapping.write_text('[outcomes]\nDONE = "matchd"\n[stages]\nselect = "host:pck"\n')
    ran = run("--dsn", pg.dsn, **variables)
    assert (ran.code, ran.complaints["settings"], ran.complaints["targets"]) == (1, "warn", "fail")
    assert "gives DONE in [outcomes] no outcome of the contract: did you mean matched?" in ran.detail("settings")
    assert ran.detail("targets") == "cannot be wrapped: host:pck (stage select, AttributeError)"


def test_a_misspelt_variable(pg: Database) -> None:
    """A variable that nothing reads is a warning with the name that is meant, and without its value."""
    ran = run(
        "--dsn", pg.dsn, INTENT_EVENTS_PREVIEWS=CANARY, INTENT_EVENTS_TEST_DSN="x", INTENT_EVENTS_LOOKUP_LIMIT="5"
    )
    assert (ran.code, ran.complaints["settings"]) == (0, "warn")
    assert ran.detail("settings") == "nothing reads INTENT_EVENTS_PREVIEWS: did you mean INTENT_EVENTS_PREVIEW?"
    assert CANARY not in ran.out + ran.err


def test_settings_that_cannot_be_used(pg: Database, tmp_path: Path) -> None:
    """Every variable and every file that one names is tried; what cannot be used fails, without its value."""
    key = tmp_path / "key"
    key.write_text("short")
    ran = run(
        "--dsn",
        pg.dsn,
        INTENT_EVENTS_HASH_KEY="",
        INTENT_EVENTS_HASH_KEY_FILE=str(key),
        INTENT_EVENTS_VOCABULARY=str(tmp_path / "no-words"),
        INTENT_EVENTS_MAPPING=str(tmp_path / "no-mapping"),
        INTENT_EVENTS_HEARTBEAT=CANARY,
    )
    assert (ran.code, ran.complaints["settings"]) == (1, "fail")
    for said in ("INTENT_EVENTS_HEARTBEAT", "HASH_KEY_FILE", "no-words", "no-mapping"):
        assert said in ran.detail("settings")
    assert "INTENT_EVENTS_HEARTBEAT: write 200ms, 30s or 15m" in ran.detail("settings")
    assert CANARY not in ran.out


def test_an_address_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is named and is not there is the reason, and not that no variable is set."""
    ran = run(INTENT_EVENTS_DSN_FILE=str(tmp_path / "none"))
    assert ran.code == 3
    assert "INTENT_EVENTS_DSN_FILE names" in ran.detail("database")


def test_an_address_from_a_file(pg: Database, tmp_path: Path) -> None:
    """The address may come from the file that the application reads it from."""
    file = tmp_path / "dsn"
    file.write_text(pg.dsn)
    assert run(INTENT_EVENTS_DSN_FILE=str(file)).code == 0
    ran = run(INTENT_EVENTS_DSN_FILE=str(file), INTENT_EVENTS_HEARTBEAT="60")
    assert (ran.code, ran.complaints["settings"]) == (1, "fail")
    assert {"delivery", "database"}.isdisjoint(ran.complaints), "what cannot be used costs itself alone"


@pytest.mark.parametrize("args", [("--since", "soon"), ("--timeout", "0s"), ("--format", "csv"), ("--sinse", "1h")])
def test_wrong_use(args: tuple[str, ...]) -> None:
    """A flag that cannot be used: exit 2, and nothing is looked at."""
    ran = run(*args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err
