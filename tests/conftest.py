# SPDX-License-Identifier: Apache-2.0
"""Fixtures of every test: real Postgres, a clean environment, and nothing left behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from intent_events import delivery
from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.instrument import troubles
from intent_events.instrument.direct import direct_way, set_direct_way
from intent_events.instrument.recorder import EMITTER
from intent_events.store.migrate import migrate
from support.leaks import nothing_left_behind
from support.postgres import GIVEN_DSN, IN_CI, SYSTEM_15, Database, Server, embedded, private_server, run_apart

_SCRUBBED = ("INTENT_EVENTS_", "OTEL_", "PG")
_NEED_POSTGRES = {"postgres_server", "own_server", "server_of_each_version"}


def pytest_configure() -> None:
    """Let Ctrl-C reach what the tests start: a shell that runs them in the background has them ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a Postgres server, so that ``-m "not postgres"`` leaves them out."""
    for item in items:
        if _NEED_POSTGRES & set(getattr(item, "fixturenames", ())):
            item.add_marker("postgres")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(_SCRUBBED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("INTENT_EVENTS_SPOOL_DIR", str(tmp_path / "spool"))
    # Each test numbers its records as a process that has just begun, or its ledger would miss those of other tests.
    EMITTER._renew()  # pyright: ignore[reportPrivateUsage] - what a fork does
    delivery._begin_anew()  # pyright: ignore[reportPrivateUsage] - as well
    monkeypatch.setattr(troubles, "_last", {})  # nor has it said anything yet


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    with nothing_left_behind():
        yield
    left, _ = direct_way(), set_direct_way(None)
    assert left is None, "a delivery is still attached: the next test's records would go to it"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The server of this session: INTENT_EVENTS_TEST_DSN, or an embedded one."""
    if GIVEN_DSN:
        yield Server(GIVEN_DSN)
        return
    with embedded() as server:
        yield Server(server.dsn())


@pytest.fixture(scope="session")
def _template(postgres_server: Server) -> Iterator[str]:
    with postgres_server.migrated_template() as name:
        yield name


@pytest.fixture(scope="session")
def _writer(postgres_server: Server, _template: str) -> Iterator[tuple[str, str]]:
    with postgres_server.writer() as name_and_password:
        yield name_and_password


@pytest.fixture
def pg(postgres_server: Server, _template: str) -> Iterator[Database]:
    """A migrated database of one's own."""
    with postgres_server.database(_template) as database:
        yield database


@pytest.fixture
def empty_pg(postgres_server: Server) -> Iterator[Database]:
    """An empty database of one's own."""
    with postgres_server.database() as database:
        yield database


@pytest.fixture
def writer_dsn(pg: Database, _writer: tuple[str, str]) -> str:
    """Address of the database of ``pg`` for a role that has the rights of ``intent_writer`` alone."""
    return pg.as_user(*_writer)


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A private server with a migrated database ``postgres``, to be stopped and killed."""
    with private_server() as server:
        yield server


@pytest.fixture(scope="session", params=["embedded 18", "embedded 16", "system 15"])
def server_of_each_version(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each version that is supported and at hand."""
    kind, _, version = str(request.param).partition(" ")
    if kind == "system" and not (SYSTEM_15 / "postgres").is_file():
        reason = f"no Postgres 15 in {SYSTEM_15}: apt-get install postgresql-15"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    bin_dir = SYSTEM_15 if kind == "system" else None
    with embedded(bin_dir, int(version)) as server:
        yield Server(server.dsn())


@pytest.fixture
def any_server_version(server_of_each_version: Server) -> Iterator[Database]:
    """An empty database on a server of each version that is supported."""
    with server_of_each_version.database() as database:
        yield database


@pytest.fixture
def any_server_version_migrated(any_server_version: Database) -> Database:
    """A migrated database on a server of each version that is supported."""
    run_apart(migrate(any_server_version.dsn))
    return any_server_version
