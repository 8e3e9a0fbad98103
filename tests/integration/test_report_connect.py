# SPDX-License-Identifier: Apache-2.0
"""Connections to where no Postgres answers."""

import asyncio
import traceback

import pytest

from intent_events.errors import UnavailableError
from intent_events.store.connect import connect

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
