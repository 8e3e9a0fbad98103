# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from intent_events.cli.migrate import migrate
from intent_events.store.revisions import all_revisions
from support.postgres import Database

HEAD = all_revisions()[0]
AWAY = "postgresql://user:s3cret@127.0.0.1:1/nowhere"
app = typer.Typer()
app.command()(migrate)


def run(*arguments: str, **environment: str) -> Result:
    """Run the command with these arguments and variables."""
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_migrate_and_check(empty_pg: Database) -> None:
    """Check says 1 before and 0 after; migrate tells what it did, and a second time that there was nothing to do."""
    before = run("--check", "--dsn", empty_pg.dsn)
    assert (before.exit_code, before.stderr) == (1, "")
    assert "never migrated: run `intent-events migrate`" in before.stdout
    first = run(INTENT_EVENTS_DSN=empty_pg.dsn)
    assert first.exit_code == 0
    assert first.stdout.startswith(f"migrated from nothing to revision {HEAD}\nmade 15 partitions: intent_events_")
    second = run(INTENT_EVENTS_DSN=empty_pg.dsn)
    assert (second.exit_code, second.stdout) == (0, f"at revision {HEAD} already\n")
    after = run(INTENT_EVENTS_DSN=empty_pg.dsn, INTENT_EVENTS_MIGRATE_CHECK="true")
    assert after.exit_code == 0
    assert f"at revision {HEAD}, the newest" in after.stdout


def test_the_address_from_a_file(empty_pg: Database, tmp_path: Path) -> None:
    """The file of an application gives the address where neither flag nor variable does; a missing one is named."""
    file = tmp_path / "dsn"
    file.write_text(f"{empty_pg.dsn}\n")
    assert run("--check", INTENT_EVENTS_DSN_FILE=str(file)).exit_code == 1
    assert run(INTENT_EVENTS_DSN_FILE=str(file)).exit_code == 0
    assert run("--check", INTENT_EVENTS_DSN_FILE=str(file)).exit_code == 0
    assert run("--check", INTENT_EVENTS_DSN=AWAY, INTENT_EVENTS_DSN_FILE=str(file)).exit_code == 3
    missing = run(INTENT_EVENTS_DSN_FILE=str(tmp_path / "none"))
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "INTENT_EVENTS_DSN_FILE" in missing.stderr
    assert run("--sql", INTENT_EVENTS_DSN_FILE=str(tmp_path / "none")).exit_code == 0


@pytest.mark.parametrize("flags", [(), ("--check",)])
def test_without_a_connection_the_exit_code_is_3(flags: tuple[str, ...]) -> None:
    """No connection is never "up to date": exit 3, the remedy on stderr, no password."""
    result = run(*flags, INTENT_EVENTS_DSN=AWAY)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "INTENT_EVENTS_DSN" in result.stderr
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("--dsn", "nonsense"), ("--sql", "--check"), ("--since", "0001"), ("--no-such-flag",)]
)
def test_wrong_use_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    """Flags that contradict each other and an address that is none are wrong use."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_sql_needs_no_database() -> None:
    """--sql prints the script and connects to nothing, even when an address is set."""
    result = run("--sql", INTENT_EVENTS_DSN=AWAY)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("BEGIN;\n")
    assert result.stdout.endswith("COMMIT;\n")
    assert run("--sql", "--since", "7").exit_code == 2


def test_every_flag_names_its_variable() -> None:
    """The help names a variable for each flag."""
    text = run("--help", COLUMNS="200", TERM="dumb").stdout
    for flag in ("DSN", "MIGRATE_SQL", "MIGRATE_SINCE", "MIGRATE_CHECK"):
        assert f"INTENT_EVENTS_{flag}" in text


def test_without_the_command_line() -> None:
    """Where the core alone is installed, the command names the extra, with the exit code of wrong use."""
    code = "import sys; sys.modules['typer'] = None; from intent_events.cli.main import run; run()"
    ran = subprocess.run([sys.executable, "-c", code, "migrate"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "intent-events: the command line needs typer: pip install 'intent-events[cli]'\n"
