# SPDX-License-Identifier: Apache-2.0
"""``intent-events drain`` as it is typed: what killed processes left is stored, once, and it says what it did."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import pytest
import typer
from typer.testing import CliRunner

from intent_events.cli.drain import drain
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events_exporter.spool import totals
from intent_events_exporter.spool.folder import ASIDE, owners_in, segments_in
from support.outages import frozen
from support.postgres import Database, address
from support.processes import APPS
from support.spool_process import left_by_the_dead
from support.waiting import until

pytestmark = pytest.mark.postgres

CANARY: Final = "s3cr3t-canary"
_COUNT: Final = "SELECT count(*) FROM agent.intent_events"
_TESTS: Final = APPS.parents[1]


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read."""
        return json.loads(self.out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The spool that INTENT_EVENTS_SPOOL_DIR names."""
    return tmp_path / "spool"


def run(*args: str, **environment: str) -> Ran:
    """Run ``drain``."""
    app = typer.Typer(add_completion=False)
    app.command()(drain)
    result = CliRunner(env=environment).invoke(app, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


@contextmanager
def recording(folder: Path, first: int, count: int) -> Generator[subprocess.Popen[str]]:
    """A process that has recorded so many utterances, which nobody stores; killed at the end of the block."""
    command = [sys.executable, str(APPS / "leaving.py"), str(folder), str(first), str(count)]
    env = {**os.environ, "PYTHONPATH": str(_TESTS)}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "recorded\n"
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def killed(folder: Path, first: int, count: int) -> None:
    """A process recorded so many utterances and was killed."""
    with recording(folder, first, count):
        pass


def test_what_killed_processes_left_is_stored(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Every record of the dead is a row, no file of theirs is left, and a second run finds nothing."""
    killed(folder, 0, 30)
    killed(folder, 30, 12)
    ran = run("--format", "json", "--dsn", writer_dsn)
    assert (ran.code, ran.err) == (0, "")
    expected = {"adopted": 2, "stored": 42, "duplicates": 0, "dead_letters": 0, "unreadable": 0, "set_aside": 0}
    assert ran.json.items() >= expected.items()
    assert pg.fetchval_now(_COUNT) == 42
    assert totals(folder).owners == 0
    again = run("--format", "json", "--dsn", writer_dsn)
    assert (again.code, again.json["adopted"], again.json["stored"]) == (0, 0, 0)


def test_stored_already(pg: Database, writer_dsn: str, folder: Path, tmp_path: Path) -> None:
    """Records that are rows already are told apart from new ones, and no row is doubled."""
    killed(folder, 0, 10)
    shutil.copytree(folder, tmp_path / "before")
    assert run("--dsn", writer_dsn).code == 0
    killed(tmp_path / "before", 10, 5)
    ran = run("--dsn", writer_dsn, "--spool-dir", str(tmp_path / "before"))
    assert ran.code == 0
    assert "Stored 5 records that 2 dead processes left; 10 were stored already." in ran.out
    assert pg.fetchval_now(_COUNT) == 15


def test_a_living_process_keeps_what_is_its_own(pg: Database, writer_dsn: str, folder: Path) -> None:
    """What a living process has is left to it and said; once it is killed, it is stored."""
    killed(folder, 0, 3)
    with recording(folder, 3, 4):
        ran = run("--format", "json", "--dsn", writer_dsn)
        assert (ran.code, ran.json["stored"]) == (0, 3)
        assert ran.json["left"]["living"]["processes"] == 1
        assert ran.json["left"]["living"]["bytes"] > 0
        assert ran.json["left"]["dead"] == {"processes": 0, "bytes": 0, "oldest_age_s": None}
        assert "Left to 1 living process: " in run("--dsn", writer_dsn).out
        assert pg.fetchval_now(_COUNT) == 3
    ran = run("--format", "json", "--dsn", writer_dsn)
    assert (ran.code, ran.json["stored"]) == (0, 4)
    assert pg.fetchval_now(_COUNT) == 7


def test_many_at_once(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Drains that run side by side share what there is: each record is stored by one, and none is found twice."""
    for number in range(4):
        killed(folder, number * 100, 100)
    command = [str(Path(sys.executable).parent / "intent-events"), "drain", "--format", "json"]
    env = {**os.environ, "INTENT_EVENTS_DSN": writer_dsn}
    with ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)) for _ in range(3)
        ]
        said = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(one["stored"] for one in said) == pg.fetchval_now(_COUNT) == 400
    assert [one["duplicates"] for one in said] == [0, 0, 0]
    assert totals(folder).owners == 0


def test_dead_letters_and_damage_are_told(pg: Database, writer_dsn: str, folder: Path) -> None:
    """A refused record becomes a dead letter of this door, damage is set aside, and the others are stored."""
    pg.execute_now("ALTER TABLE agent.intent_events ADD CONSTRAINT refusing CHECK (span_id <> '0000000000000003')")
    killed(folder, 0, 5)
    (segment,) = [path for owner in owners_in(folder) for path in segments_in(owner)]
    with segment.open("ab") as file:
        file.write(b"not a record")
    ran = run("--dsn", writer_dsn)
    assert ran.code == 0
    assert "Stored 4 records that 1 dead process left; 0 were stored already." in ran.out
    assert "1 record could not become rows" in ran.out
    assert "1 damaged stretch set aside" in ran.out
    assert [path.read_bytes() for path in (folder / ASIDE).iterdir()] == [b"not a record"]
    assert pg.fetchval_now("SELECT door FROM agent.dead_letters") == "drain"


def test_a_newer_segment_still_waits(pg: Database, writer_dsn: str, folder: Path) -> None:
    """A segment of a form that this version does not know is left alone: exit 1; what can be read is stored."""
    killed(folder, 0, 2)
    (segment,) = [path for owner in owners_in(folder) for path in segments_in(owner)]
    newer = bytearray(segment.read_bytes())
    newer[8] = 99
    newer[20:24] = crc32(newer[:20]).to_bytes(4, "little")
    left = left_by_the_dead(folder, bytes(newer))
    ran = run("--format", "json", "--dsn", writer_dsn)
    assert (ran.code, ran.json["stored"]) == (1, 2)
    assert ran.json["left"]["dead"]["processes"] == 1
    assert "Still waiting of 1 dead process: " in run("--dsn", writer_dsn).out
    assert [path.read_bytes() for path in segments_in(left)] == [bytes(newer)]
    assert pg.fetchval_now(_COUNT) == 2


def test_without_postgres_everything_waits(own_server: EmbeddedPostgres, folder: Path) -> None:
    """A server that does not answer: exit 3 in bounded time, and no password is shown; later everything is stored."""
    killed(folder, 0, 8)
    dsn = address(own_server.dsn(user="writer"), user="writer", password=CANARY)
    with frozen(own_server):
        ran = run("--dsn", dsn, "--timeout", "2s")
    assert (ran.code, ran.out) == (3, "")
    assert "could not store: " in ran.err
    assert CANARY not in ran.err
    ran = run("--dsn", dsn)
    assert ran.code == 0
    assert "Stored 8 records" in ran.out
    assert CANARY not in ran.out + ran.err


def test_a_database_that_was_never_migrated(empty_pg: Database, folder: Path) -> None:
    """Without our tables nothing can be stored: exit 3 with the remedy, and the records wait."""
    killed(folder, 0, 1)
    ran = run("--dsn", empty_pg.dsn)
    assert (ran.code, ran.out) == (3, "")
    assert "intent-events migrate" in ran.err
    assert totals(folder).bytes > 0


def test_interrupted(own_server: EmbeddedPostgres, folder: Path) -> None:
    """Ctrl-C ends it at once with exit 1, and what was not stored waits for the next run: none lost, none doubled."""
    killed(folder, 0, 20)
    command = [str(Path(sys.executable).parent / "intent-events"), "drain", "--format", "json"]
    env = {**os.environ, "INTENT_EVENTS_DSN": own_server.dsn(user="writer")}
    database = Database(own_server.dsn())
    with frozen(own_server):
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            until(lambda: _has_socket(process.pid), "it asks Postgres")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (1, "")
        assert (json.loads(out)["stored"], json.loads(out)["left"]["dead"]["processes"]) == (0, 1)
    assert run("--dsn", own_server.dsn(user="writer")).code == 0
    assert database.fetchval_now(_COUNT) == 20


def _has_socket(pid: int) -> bool:
    """Whether a process has a connection open, beside the pair that its event loop keeps."""
    names: list[str] = []
    for number in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(str(number.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return sum(name.startswith("socket:") for name in names) > 2


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "INTENT_EVENTS_DSN is not set"),
        (("--dsn", f"mysql://u:{CANARY}@h/d"), "INTENT_EVENTS_DSN is no postgresql:// address"),
        (("--dsn", f"postgresql://u:{CANARY}@h/d", "--timeout", "soon"), "INTENT_EVENTS_DRAIN_TIMEOUT"),
        (("--format", "csv"), "--format"),
    ],
)
def test_wrong_use(args: tuple[str, ...], says: str) -> None:
    """A flag or an address that cannot be used: exit 2, and the line names it without its value."""
    ran = run(*args)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert CANARY not in ran.err


def test_without_the_exporter(writer_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core alone cannot drain, and says what to install."""
    monkeypatch.setitem(sys.modules, "intent_events_exporter.salvage", None)
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.out) == (2, "")
    assert "pip install intent-events-exporter" in ran.err


def test_a_folder_that_is_no_folder(writer_dsn: str, folder: Path) -> None:
    """A spool that cannot be read is not an empty one: exit 3."""
    folder.write_text("")
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.out) == (3, "")
    assert "the spool cannot be read (NotADirectoryError)" in ran.err


def test_a_segment_that_cannot_be_read(pg: Database, writer_dsn: str, folder: Path) -> None:
    """What a broken disk keeps is not called nothing: exit 3, after everything else was stored, which is said."""
    left = left_by_the_dead(folder)
    (left / "00000001.spool").mkdir()
    killed(folder, 0, 6)
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.out) == (3, "")
    assert "the spool cannot be read (IsADirectoryError)" in ran.err
    assert "6 records were stored before that" in ran.err
    assert pg.fetchval_now(_COUNT) == 6


def test_no_spool_at_all(writer_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which nothing was ever spooled: nothing waits, exit 0, and no folder is made."""
    monkeypatch.delenv("INTENT_EVENTS_SPOOL_DIR")
    ran = run("--dsn", writer_dsn, XDG_STATE_HOME=str(tmp_path))
    assert (ran.code, ran.err) == (0, "")
    assert "No dead process left anything" in ran.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_folder_that_is_not_there(writer_dsn: str, tmp_path: Path, *, by_variable: bool) -> None:
    """A folder that was named and is not there is a slip of whoever typed it, and no empty spool: exit 2."""
    missing = tmp_path / "typo"
    if by_variable:
        ran = run("--dsn", writer_dsn, INTENT_EVENTS_SPOOL_DIR=str(missing))
    else:
        ran = run("--dsn", writer_dsn, "--spool-dir", str(missing))
    assert (ran.code, ran.out) == (2, "")
    assert f"there is no spool at {missing}: check --spool-dir (INTENT_EVENTS_SPOOL_DIR)" in ran.err
    assert not missing.exists()


def test_a_folder_that_others_use(writer_dsn: str, folder: Path) -> None:
    """A folder where everybody may write is no spool: exit 3 with the remedy, and it stays open to them."""
    folder.mkdir()
    folder.chmod(0o1777)
    ran = run("--dsn", writer_dsn)
    assert (ran.code, ran.out) == (3, "")
    assert f"the spool cannot be in {folder}, where everybody may write" in ran.err
    assert folder.stat().st_mode & 0o7777 == 0o1777


def test_the_mode_of_the_folder_stays(pg: Database, writer_dsn: str, folder: Path) -> None:
    """Storing what is left changes nothing of a folder that others may look into."""
    killed(folder, 0, 3)
    folder.chmod(0o755)
    assert run("--dsn", writer_dsn).code == 0
    assert pg.fetchval_now(_COUNT) == 3
    assert folder.stat().st_mode & 0o7777 == 0o755
