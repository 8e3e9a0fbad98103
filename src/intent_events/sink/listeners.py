# SPDX-License-Identifier: Apache-2.0
"""The HTTP listener: uvicorn on a loop that is ours, with an end to connections that begin no request."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from intent_events.errors import SettingsError
from intent_events.sink.transport_security import TlsFiles

_BACKLOG: Final = 2048
_LOOK_EVERY_S: Final = 5.0


def listening(host: str, port: int, variable: str) -> socket.socket:
    """A socket that listens.

    Args:
        host: address or name.
        port: port; 0 for any that is free.
        variable: which setting says the port, for the error.

    Raises:
        SettingsError: it cannot listen there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:  # no such address here, a port that is taken, or one that needs a right
        raise SettingsError(f"{variable}: cannot listen on {host}:{port} ({error.strerror}): choose another") from None
    listener.setblocking(False)  # noqa: FBT003 - the signature is the library's
    return listener


class HttpListener:
    """Serves an application on a socket until it is stopped.

    Attributes:
        port: where it listens.
    """

    def __init__(self, app: Starlette, listener: socket.socket, *, arrival_s: float, tls: TlsFiles | None) -> None:
        """Prepare it.

        Args:
            app: what answers.
            listener: the socket.
            arrival_s: seconds within which the head of a request must have come.
            tls: files of the certificate; None to speak plain.
        """
        self._tls = tls
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=type("Protocol", (_Protocol,), {"arrival_s": arrival_s}),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # whoever sends nonsense must not fill the log
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
        )
        config.load()
        config.ssl = None if tls is None else tls.http_context()
        self._ssl = config.ssl
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until :meth:`stop`; requests under way are ended."""
        watching = asyncio.create_task(self._watch()) if self._tls is not None else None
        try:
            await self._server.serve([self._listener])
        finally:
            if watching is not None:
                watching.cancel()

    def stop(self, timeout_s: float) -> None:
        """Take nothing new, and end when what is under way has ended, or the time is up."""
        self._server.config.timeout_graceful_shutdown = max(1, round(timeout_s))
        self._server.should_exit = True

    async def _watch(self) -> None:
        """Let new connections have the certificate that is there."""
        tls, context = self._tls, self._ssl
        if tls is None or context is None:
            return
        seen = tls.state()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            state = tls.state()
            if state == seen:
                continue
            try:
                tls.http_context()
                tls.load_into(context)
            except SettingsError:  # it is being replaced: looked at again in a moment
                continue
            seen = state


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to whoever runs the sink: it has another port beside this one."""
        yield


class _Protocol(H11Protocol):
    """Closes a connection on which the head of a request does not come in time."""

    arrival_s: float
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _expect(self) -> None:
        """Wait for a head, unless a request is under way; between requests the server's own time-out counts."""
        if self._is_under_way():
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.arrival_s, self._give_up)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._is_under_way():
            self.transport.close()

    def _is_under_way(self) -> bool:
        cycle: Any = self.cycle  # pyright: ignore[reportUnknownMemberType] - set in the base class
        return cycle is not None and not cycle.response_complete
