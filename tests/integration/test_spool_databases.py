# SPDX-License-Identifier: Apache-2.0
"""A spool that services with different databases share: what one of them left never goes to the database of another."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from integration.test_drain_command import run
from integration.test_processor import kept
from intent_events.cli.doctor_facts import spool_seen
from intent_events.store.connect import named_place_of
from intent_events_exporter.spool import Spool, SpoolError
from intent_events_exporter.spool.folder import Home, database_of, owners_in
from support.postgres import Database
from support.records import span_view
from support.spool_process import adopted, left_by_the_dead

BANK: Final = "postgresql://bank:s3cr3t@127.0.0.1:1/bank"
BANK_NAMED: Final = 'database "bank" on 127.0.0.1:1'
_COUNT: Final = "SELECT count(*) FROM agent.intent_events"


def left_for(folder: Path, new_spool: Callable[..., Spool], database: str | None, payload: bytes = b"record") -> Path:
    """A process left a record for this database; its folder."""
    before = set(owners_in(folder))
    spool = new_spool()
    spool.database = database
    spool.append(payload)
    spool.close()
    (owner,) = set(owners_in(folder)) - before
    return owner


@pytest.mark.parametrize("database", ["bank", "b" * 3000, "é" * 700])
def test_only_those_of_the_same_database(folder: Path, new_spool: Callable[..., Spool], database: str) -> None:
    """A record goes to whoever stores in the database that it is for, however that is called, and to nobody else."""
    owner = left_for(folder, new_spool, database)
    shop = new_spool()
    shop.database = "shop"
    assert shop.adopt() is None
    assert owner.exists()
    bank = new_spool()
    bank.database = database
    assert adopted(bank) == [b"record"]
    assert not owner.exists()


def test_of_those_that_did_not_know(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """What an earlier version left, or a process without an address, goes to anybody; who asks for any gets all."""
    left_for(folder, new_spool, None, b"unknown")
    shop = new_spool()
    shop.database = "shop"
    assert adopted(shop) == [b"unknown"]
    left_for(folder, new_spool, "bank", b"of the bank")
    assert adopted(new_spool()) == [b"of the bank"]
    assert list(owners_in(folder)) == []


def test_a_database_that_changes(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """The last one that a process knew counts: the file of an address may be written anew while it runs."""
    spool = new_spool()
    spool.append(b"record")
    (owner,) = owners_in(folder)
    assert database_of(owner) is None
    for database in ("bank", "shop", "shop", None):
        spool.database = database
    assert database_of(owner) == "shop"
    assert owner.joinpath("database").stat().st_mode & 0o777 == 0o600
    spool.close()
    assert sorted(path.name for path in owner.iterdir()) == ["00000001.spool", "database", "lock"]


def test_a_folder_in_which_nothing_can_be_written(folder: Path, new_spool: Callable[..., Spool]) -> None:
    """A record is not kept where it cannot be said whom it is for; what was said before stays when it cannot change."""
    spool = new_spool()
    spool.database = "bank"
    spool.append(b"record")
    (owner,) = owners_in(folder)
    (owner / "database.new").mkdir()
    spool.database = "shop"
    assert database_of(owner) == "bank"
    (owner / "database.new").rmdir()


def test_a_record_is_not_kept_for_nobody(
    folder: Path, new_spool: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk fails before a process has said which database it records for, its record is refused."""

    def fail(home: Home, database: str) -> None:
        raise OSError(28, f"{home.path.name}: no room to say {database}")

    spool = new_spool()
    spool.database = "bank"
    with monkeypatch.context() as patched:
        patched.setattr(Home, "name_database", fail)
        with pytest.raises(SpoolError):
            spool.append(b"record")
    assert list(owners_in(folder)) == []


def test_killed_between_the_two(folder: Path, spool: Spool) -> None:
    """A process that died when it had said so, and nothing more, leaves no folder for ever."""
    owner = left_by_the_dead(folder)
    (owner / "database").write_text("bank", "utf-8")
    (owner / "database.new").write_text("sho", "utf-8")
    spool.database = "bank"
    assert spool.adopt() is None
    assert not owner.exists()


@pytest.mark.postgres
def test_two_services_with_one_spool(pg: Database, writer_dsn: str, folder: Path) -> None:
    """A service leaves what another one recorded for a database that is away, and stores its own."""
    with kept(BANK, folder) as bank:
        assert all(bank.processor.accept(span_view(number)) for number in range(3))
    (owner,) = owners_in(folder)
    assert database_of(owner) == BANK_NAMED
    with kept(writer_dsn, folder) as shop:
        assert shop.processor.accept(span_view(10))
        assert shop.processor.force_flush()
    assert pg.fetchval_now(_COUNT) == 1
    assert list(owners_in(folder)) == [owner]
    assert not any(b"s3cr3t" in file.read_bytes() for file in owner.iterdir())


@pytest.mark.postgres
def test_what_is_said_and_done_about_it(pg: Database, writer_dsn: str, folder: Path) -> None:
    """``drain`` leaves it alone and names that database, ``doctor`` sees it, and a flag stores it after a move."""
    with kept(BANK, folder) as bank:
        assert all(bank.processor.accept(span_view(number)) for number in range(3))
    ran = run("--dsn", writer_dsn, "--spool-dir", str(folder))
    assert ran.code == 0
    assert f"Left alone, of 1 dead process that recorded for {BANK_NAMED}:" in ran.out
    assert "--any-database" in ran.out
    as_json = run("--dsn", writer_dsn, "--spool-dir", str(folder), "--format", "json").json
    assert (as_json["stored"], as_json["left"]["elsewhere"]["databases"]) == (0, [BANK_NAMED])
    assert as_json["left"]["elsewhere"]["bytes"] > as_json["left"]["dead"]["bytes"] == 0
    seen = spool_seen(folder, 1 << 30, named_place_of(writer_dsn))
    assert not isinstance(seen, str)
    assert (seen.dead_processes, seen.elsewhere) == (0, (BANK_NAMED,))
    assert seen.elsewhere_bytes == as_json["left"]["elsewhere"]["bytes"]
    assert pg.fetchval_now(_COUNT) == 0
    moved = run("--any-database", "--dsn", writer_dsn, "--spool-dir", str(folder), "--format", "json")
    assert (moved.code, moved.json["stored"], moved.json["left"]["elsewhere"]["bytes"]) == (0, 3, 0)
    assert pg.fetchval_now(_COUNT) == 3
