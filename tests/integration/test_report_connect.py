# SPDX-License-Identifier: Apache-2.0
"""Connections to where no Postgres answers, or one that does not know what the address says."""

import asyncio
import traceback

import pytest

from intent_events.errors import SettingsError, UnavailableError
from intent_events.store.connect import connect, disconnect
from support.postgres import Database

SECRET = "secret"  # noqa: S105 - what must not be shown


async def test_nobody_at_home() -> None:
    """A refused connection names the place and the remedy, and hides the driver's error for good."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(
        UnavailableError, match=rf'no connection to database "db" on 127.0.0.1:{port} .*refused'
    ) as caught:
        await connect(f"postgresql://someone:{SECRET}@127.0.0.1:{port}/db", timeout_s=5)
    text = "".join(traceback.format_exception(caught.value))
    assert "INTENT_EVENTS_DSN" in text
    assert SECRET not in text
    assert caught.value.__context__ is None


async def test_a_server_that_does_not_answer() -> None:
    """Connecting ends in its time when whoever listens says nothing."""
    over = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(UnavailableError, match=r"accepted no connection within 0.2 s"):
            await connect(f"postgresql://someone:secret@127.0.0.1:{port}/db", timeout_s=0.2)
    finally:
        over.set()
        server.close()
        await server.wait_closed()


async def test_an_unknown_host() -> None:
    """A host that no name service knows is said to be unknown."""
    with pytest.raises(UnavailableError, match="unknown host name"):
        await connect("postgresql://someone:secret@nowhere.invalid/db", timeout_s=20)


def with_parameters(pg: Database, parameters: str) -> str:
    """The address of a database with more parameters."""
    return f"{pg.dsn}{'&' if '?' in pg.dsn else '?'}{parameters}"


async def test_parameters_of_libpq(empty_pg: Database) -> None:
    """An address that psql takes is taken, and settings of the server in it hold."""
    libpq = "connect_timeout=5&channel_binding=prefer&gssencmode=disable&keepalives=1&fallback_application_name=x"
    connection = await connect(with_parameters(empty_pg, f"{libpq}&statement_timeout=7s"), timeout_s=20)
    try:
        assert await connection.fetchval("SHOW statement_timeout") == "7s"
        assert await connection.fetchval("SHOW application_name") == "intent-events"
    finally:
        await disconnect(connection)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ("no_such_setting=secret", "the parameter no_such_setting of the address"),
        ("pgbouncer=true&connect_timeout=1", "the parameter pgbouncer of the address"),
        ("shared_buffers=17", "the parameter shared_buffers of the address"),
        ("statement_timeout=secret", "the parameter statement_timeout of the address"),
        ("password=a&secret=b", "a parameter of the address"),
        ("a=b@c&secret=d", "a parameter of the address"),
    ],
)
async def test_a_parameter_that_the_server_does_not_take(empty_pg: Database, parameters: str, named: str) -> None:
    """It is named with the remedy, without its value; and not where it could be a piece of a password."""
    with pytest.raises(SettingsError, match=rf"INTENT_EVENTS_DSN: .* does not take {named}; correct it") as caught:
        await connect(with_parameters(empty_pg, parameters), timeout_s=20)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


async def test_a_parameter_that_a_pooler_does_not_take() -> None:
    """PgBouncer refuses the connection in words of its own; the parameter is named all the same."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        text = b"SERROR\0C08P01\0Munsupported startup parameter: no_such_setting\0\0"
        writer.write(b"E" + (len(text) + 4).to_bytes(4, "big") + text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(SettingsError, match="does not take the parameter no_such_setting of the address"):
            await connect(f"postgresql://a@127.0.0.1:{port}/db?sslmode=disable&no_such_setting=1", timeout_s=5)
        with pytest.raises(UnavailableError, match="ProtocolViolationError"):
            await connect(f"postgresql://a@127.0.0.1:{port}/db?sslmode=disable", timeout_s=5)
    finally:
        server.close()
