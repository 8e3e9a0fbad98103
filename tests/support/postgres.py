# SPDX-License-Identifier: Apache-2.0
"""Real Postgres for tests: servers, and databases of one's own on them."""

import asyncio
import os
import secrets
import tempfile
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.store.migrate import migrate

T = TypeVar("T")

GIVEN_DSN: Final = os.environ.get("INTENT_EVENTS_TEST_DSN", "")
"""Superuser's address of a server to use instead of an embedded one; its roles and databases are left as they were."""

IN_CI: Final = os.environ.get("CI", "").lower() == "true"
"""Whether a server version that is missing is a failure rather than a skip."""

SYSTEM_15: Final = Path("/usr/lib/postgresql/15/bin")
"""Where Debian and Ubuntu keep the programs of Postgres 15."""

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - what is made there is for its owner alone
_ROOM_BYTES: Final = 6 << 30


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop and thread of its own, whether or not this thread has a loop."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run, name="run_apart")
    thread.start()
    thread.join()
    for error in errors:
        raise error
    return results[0]


def address(dsn: str, *, database: str = "", user: str = "", password: str = "") -> str:
    """An address on the same server, for another database or another user."""
    parts = urlsplit(dsn)
    netloc, path = parts.netloc, parts.path
    query = dict(parse_qsl(parts.query))
    if database:
        path = f"/{quote(database, safe='')}"
        query.pop("dbname", None)
    if user:
        credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        netloc = f"{credentials}@{netloc.rpartition('@')[2]}"
        query.pop("user", None)
        query.pop("password", None)
    return urlunsplit((parts.scheme, netloc, path, urlencode(query, safe="/"), ""))


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one's own.

    Every call uses a connection of its own, so it works from any event loop. The methods that end in ``_now`` are for
    tests that have none.
    """

    dsn: str
    """Address for the superuser, who owns it."""

    @property
    def superuser_dsn(self) -> str:
        """The same, for tests that use another role beside it."""
        return self.dsn

    def as_user(self, user: str, password: str = "") -> str:
        """Address of the same database for another user."""
        return address(self.dsn, user=user, password=password)

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """All rows of a query."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    async def fetchrow(self, sql: str, *args: Any) -> asyncpg.Record | None:
        """The first row of a query."""
        rows = await self.fetch(sql, *args)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first value of the first row of a query."""
        rows = await self.fetch(sql, *args)
        return rows[0][0] if rows else None

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement, or a script of several when there are no arguments."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.execute(sql, *args)
        finally:
            await connection.close()

    def fetch_now(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """All rows of a query, from a thread without an event loop."""
        return run_apart(self.fetch(sql, *args))

    def fetchval_now(self, sql: str, *args: Any) -> Any:
        """The first value of the first row of a query, from a thread without an event loop."""
        return run_apart(self.fetchval(sql, *args))

    def execute_now(self, sql: str, *args: Any) -> str:
        """Run a statement or a script, from a thread without an event loop."""
        return run_apart(self.execute(sql, *args))


class Server:
    """A server to make databases on.

    Args:
        dsn: superuser's address of any database of it.
    """

    def __init__(self, dsn: str) -> None:
        self.admin: Final = Database(dsn)

    @contextmanager
    def database(self, template: str = "template0") -> Generator[Database]:
        """A fresh database, dropped afterwards with whoever is connected to it."""
        name = f"test_{secrets.token_hex(6)}"
        self.admin.execute_now(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield Database(address(self.admin.dsn, database=name))
        finally:
            self.admin.execute_now(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def migrated_template(self) -> Generator[str]:
        """Name of a migrated database that others are made from."""
        with self.database() as database:
            run_apart(migrate(database.dsn))
            yield urlsplit(database.dsn).path.lstrip("/")

    @contextmanager
    def writer(self) -> Generator[tuple[str, str]]:
        """Name and password of a role that may log in and has the rights of ``intent_writer`` alone."""
        name, password = f"test_writer_{secrets.token_hex(6)}", secrets.token_hex(16)
        self.admin.execute_now(f"CREATE ROLE {name} LOGIN INHERIT PASSWORD '{password}' IN ROLE intent_writer")
        try:
            yield name, password
        finally:
            self.admin.execute_now(f"DROP ROLE {name}")


@contextmanager
def embedded(bin_dir: Path | None = None, version: int = 18) -> Generator[EmbeddedPostgres]:
    """An embedded server, its files in memory where there is room: some disks take 20 times as long for a database.

    Args:
        bin_dir: of its programs; None for those of the wheel.
        version: of those.
    """
    server = EmbeddedPostgres(bin_dir=bin_dir, version=version)
    before = tempfile.tempdir
    if _has_room(_MEMORY):
        tempfile.tempdir = str(_MEMORY)
    try:
        server.start()
    finally:
        tempfile.tempdir = before
    try:
        yield server
    finally:
        server.stop()


def _has_room(folder: Path) -> bool:
    """Whether servers can have their files there, and programs, which are copied to where their user can run them."""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    found = os.statvfs(folder)
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize >= _ROOM_BYTES


@contextmanager
def private_server() -> Generator[EmbeddedPostgres]:
    """A server of one's own that may be stopped and killed.

    Its database ``postgres`` is migrated; besides the superuser ``postgres`` there is ``writer``, who has the rights of
    ``intent_writer`` alone: ``server.dsn(user="writer")``.
    """
    with embedded() as server:
        run_apart(migrate(server.dsn()))
        Database(server.dsn()).execute_now("CREATE ROLE writer LOGIN INHERIT IN ROLE intent_writer")
        yield server
