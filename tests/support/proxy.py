# SPDX-License-Identifier: Apache-2.0
"""A network that fails on command: a TCP proxy in front of a real server, of Postgres or of something else.

Nothing is pretended to a client: its bytes travel over a real socket, which is cut, reset, held or slowed.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

T = TypeVar("T")

COMMIT: Final = b"Q\0\0\0\x0bCOMMIT\0"
"""The whole message of ``execute("COMMIT")``.

The bare word occurs in ``ON COMMIT DELETE ROWS`` too; the driver's own ``transaction()`` says ``COMMIT;``.
"""

_CALL_S: Final = 30.0
_CHUNK: Final = 65536
_SLICES_A_SECOND: Final = 50
_ENCRYPTION_REQUESTS: Final = (struct.pack("!ii", 8, 80877103), struct.pack("!ii", 8, 80877104))
_STARTUP_HEAD, _HEAD = 4, 5
_BIND, _PARSE, _READY, _COPY_IN = b"B", b"P", b"Z", b"G"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Fault(StrEnum):
    """What a connection can meet; see the method of :class:`Proxy` with the same name."""

    CUT = "cut"
    RESET = "reset"
    STALL = "stall"
    SLOW = "slow"
    HALF_OPEN = "half_open"
    CUT_AFTER = "cut_after"
    CUT_ON = "cut_on"


class _Trigger(NamedTuple):
    pattern: bytes
    forward: bool


@dataclass(slots=True)
class _State:
    """What the connections of a proxy share; changed on its event loop alone."""

    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    bytes_per_s: int | None = None
    bytes_left: int | None = None
    trigger: _Trigger | None = None
    bytes_to_server: int = 0
    faults: Counter[Fault] = field(default_factory=Counter[Fault])


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything on, until told otherwise.

    Runs on a thread and an event loop of its own, from the beginning to the end of a ``with`` block. Its methods may be
    called from any other thread at any time; when they return, the fault is in effect.

    Args:
        target_dsn: address of a Postgres, whose socket is of the file system or TCP (IPv4), without encryption; or
            ``tcp://host:port``, of which nothing is understood, so that :meth:`cut_on` finds nothing.

    Attributes:
        connections: how many were taken so far. A client that cancels a statement opens one more to say so.
    """

    def __init__(self, target_dsn: str) -> None:
        self.connections = 0
        self._state = _State()
        self._target_dsn = target_dsn
        self._port = 0
        self._listener: socket.socket | None = None
        self._accepting = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres-proxy")
        self._open: dict[_Connection, asyncio.Task[None]] = {}
        self._half_open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._state.flowing.set()
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._call(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def dsn(self) -> str:
        """The target's address with this proxy in its place, for as long as the block lasts."""
        parts = urlsplit(self._target_dsn)
        credentials, at, _ = parts.netloc.rpartition("@")
        query = {key: value for key, value in parse_qsl(parts.query) if key not in {"host", "port", "sslmode"}}
        netloc = f"{credentials}{at}127.0.0.1:{self._port}"
        return urlunsplit((parts.scheme, netloc, parts.path, urlencode({**query, "sslmode": "disable"}), ""))

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1, for as long as the block lasts."""
        return self._port

    @property
    def open(self) -> int:
        """Connections that are passed on at this moment."""
        return len(self._open)

    @property
    def bytes_to_server(self) -> int:
        """Bytes that were sent on to the server so far."""
        return self._state.bytes_to_server

    @property
    def faults(self) -> Counter[Fault]:
        """For each fault, how many connections met it so far.

        Those that were cut, reset or left half open; and those that had a byte to pass while it was stalled or slow.
        Whom the system refused is not counted.
        """
        return self._state.faults.copy()

    def cut(self) -> None:
        """Close every connection in good order, to both sides."""
        self._call(self._end_all(Fault.CUT))

    def reset(self) -> None:
        """Break every connection off: the client gets a TCP reset."""
        self._call(self._end_all(Fault.RESET))

    def half_open(self) -> None:
        """Leave every client with a connection on which nothing answers any more; close those to the server."""
        self._call(self._end_all(Fault.HALF_OPEN))

    def stall(self) -> None:
        """Hold every byte in both directions, of new connections too, until :meth:`resume`."""
        self._call(self._set_pace(flowing=False, bytes_per_s=self._state.bytes_per_s))

    def slow(self, bytes_per_s: int) -> None:
        """Pass this many bytes a second, in each direction of each connection, until :meth:`resume`."""
        self._call(self._set_pace(flowing=self._state.flowing.is_set(), bytes_per_s=bytes_per_s))

    def resume(self) -> None:
        """Pass everything on at full speed again, beginning with what was held."""
        self._call(self._set_pace(flowing=True, bytes_per_s=None))

    def refuse(self) -> None:
        """Refuse new connections until :meth:`accept`; those that are open stay so."""
        self._call(self._stop_listening())

    def accept(self) -> None:
        """Take new connections."""
        self._call(self._listen())

    def cut_after(self, n_bytes_to_server: int) -> None:
        """Let this many more bytes through to the server, of all connections together; then cut whoever sent the last.

        Happens once; the other direction is not counted.
        """
        self._call(self._arm(self._state.trigger, n_bytes_to_server))

    def cut_on(self, pattern: bytes, *, forward: bool) -> None:
        """Cut the next connection whose client sends a message that contains a pattern; happens once.

        The text of a statement with arguments is sent ahead to be prepared, and perhaps kept; it counts as a part of
        each message that runs it, together with the arguments.

        Args:
            pattern: bytes of one message, such as :data:`COMMIT`, a piece of a statement, or a value.
            forward: cut when the server's answer to the message is here, without passing it on; otherwise cut before
                the server gets the message.
        """
        self._call(self._arm(_Trigger(pattern, forward), self._state.bytes_left))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    async def _set_pace(self, *, flowing: bool, bytes_per_s: int | None) -> None:
        self._state.bytes_per_s = bytes_per_s
        if flowing:
            self._state.flowing.set()
        else:
            self._state.flowing.clear()

    async def _arm(self, trigger: _Trigger | None, bytes_left: int | None) -> None:
        self._state.trigger, self._state.bytes_left = trigger, bytes_left

    async def _listen(self) -> None:
        if not self._accepting:
            self._accepting = True
            listener = self._bound()
            listener.listen()
            self._loop.add_reader(listener, self._accept_one, listener)

    async def _stop_listening(self) -> None:
        if self._accepting:
            self._accepting = False
            self._bound()

    def _bound(self) -> socket.socket:
        """A new socket on the same port; the old one goes after it, so that nobody else gets the port."""
        listener = socket.socket()
        listener.settimeout(0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        self._listener = listener
        return listener

    def _accept_one(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # whoever knocked is gone again
            return
        client.settimeout(0)
        self.connections += 1
        connection = _Connection(self._state, client, self._target_dsn)
        self._open[connection] = task = self._loop.create_task(connection.serve())
        task.add_done_callback(partial(self._forget, connection))

    def _forget(self, connection: "_Connection", _task: asyncio.Task[None]) -> None:
        del self._open[connection]
        connection.close()
        if connection.fault is Fault.HALF_OPEN:
            self._half_open.append(connection.client)

    async def _end_all(self, fault: Fault) -> None:
        ending = dict(self._open)
        for connection, task in ending.items():
            connection.fault = fault
            self._state.faults[fault] += 1
            task.cancel()
        if ending:
            await asyncio.wait(ending.values())

    async def _close(self) -> None:
        await self._stop_listening()
        for task in (ending := list(self._open.values())):
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for left in (self._listener, *self._half_open):
            if left is not None:
                left.close()


class _Connection:
    """One client, and its connection to the server."""

    def __init__(self, state: _State, client: socket.socket, target_dsn: str) -> None:
        self.client = client
        self.fault: Fault | None = None
        self._state = state
        family, self._address = _target_of(target_dsn)
        self._in_messages = urlsplit(target_dsn).scheme != "tcp"
        self._server = socket.socket(family)
        self._server.settimeout(0)
        self._statements: dict[bytes, bytes] = {}
        self._answer: bytearray | None = None
        self._held = False
        self._slowed = False

    async def serve(self) -> None:
        """Pass everything on until either side is gone or a fault ends it."""
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps: list[asyncio.Task[None]] = []
        try:
            await asyncio.get_running_loop().sock_connect(self._server, self._address)
            pumps = [asyncio.create_task(self._pump_to_server()), asyncio.create_task(self._pump_to_client())]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:  # the server is not there: the client finds its connection closed
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            results = await asyncio.gather(*pumps, return_exceptions=True)
        for result in results:
            # A peer that went away ends a pump; anything else is a mistake of ours and is not to be hidden.
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    def close(self) -> None:
        """Close both sides, in the way of the fault that ended it; a half-open client stays."""
        _end(self._server)
        if self.fault is Fault.RESET:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.client.close()
        elif self.fault is not Fault.HALF_OPEN:
            _end(self.client)

    async def _pump_to_server(self) -> None:
        async for message in self._messages():
            meaning, trigger = self._meaning_of(message), self._state.trigger
            if trigger is not None and trigger.pattern in meaning:
                self._state.trigger = None
                self._state.faults[Fault.CUT_ON] += 1
                if not trigger.forward:
                    return
                self._answer = bytearray()
            left = self._state.bytes_left
            if left is None or left > len(message):
                self._state.bytes_left = None if left is None else left - len(message)
                await self._send(self._server, message)
            else:
                self._state.bytes_left = None
                await self._send(self._server, message[:left])
                self._state.faults[Fault.CUT_AFTER] += 1
                return

    async def _pump_to_client(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._server, _CHUNK):
            if self._answer is None:
                await self._send(self.client, data)
                continue
            self._answer += data
            while message := _take_message(self._answer, _HEAD):
                if message[:1] in {_READY, _COPY_IN}:
                    return

    async def _messages(self) -> AsyncGenerator[bytes]:
        """What the client sends, message by message; before it is logged in they bear no letter of their kind."""
        loop = asyncio.get_running_loop()
        buffer, head = bytearray(), _STARTUP_HEAD
        while data := await loop.sock_recv(self.client, _CHUNK):
            if not self._in_messages:
                yield data
                continue
            buffer += data
            while message := _take_message(buffer, head):
                if head == _STARTUP_HEAD and message in _ENCRYPTION_REQUESTS:
                    await self._send(self.client, b"N")
                else:
                    head = _HEAD
                    yield message

    def _meaning_of(self, message: bytes) -> bytes:
        """The message, with the statement that it runs; nothing when it only has one prepared."""
        kind, body = message[:1], message[_HEAD:]
        if kind == _PARSE:
            name, _, text = body.partition(b"\0")
            self._statements[name] = text
            return b""
        if kind == _BIND:
            _, _, rest = body.partition(b"\0")
            return message + self._statements.get(rest.partition(b"\0")[0], b"")
        return message

    async def _send(self, to: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # Nothing is awaited between this question and the sending: once stalled, not one more byte passes.
            if not self._state.flowing.is_set():
                await self._hold()
                continue
            rate = self._state.bytes_per_s
            try:
                sent = to.send(view if rate is None else view[: max(rate // _SLICES_A_SECOND, 1)])
            except BlockingIOError:  # the peer reads more slowly than the other side writes
                await _writable(to)
                continue
            view = view[sent:]
            if to is self._server:
                self._state.bytes_to_server += sent
            if rate is not None:
                self._state.faults[Fault.SLOW] += not self._slowed
                self._slowed = True
                await asyncio.sleep(sent / rate)

    async def _hold(self) -> None:
        self._state.faults[Fault.STALL] += not self._held
        self._held = True
        await self._state.flowing.wait()
        self._held = False


def _take_message(buffer: bytearray, head: int) -> bytes:
    """Take the first message out of a buffer; empty when it is not all there."""
    if len(buffer) < head:
        return b""
    (length,) = struct.unpack_from("!i", buffer, head - 4)
    size = length + head - 4
    if len(buffer) < size:
        return b""
    message = bytes(buffer[:size])
    del buffer[:size]
    return message


async def _writable(to: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(to, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(to)


def _end(connection: socket.socket) -> None:
    """Close in good order; what came and was not read would make a reset of it."""
    try:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(_CHUNK):
            pass
    except OSError:  # it was never connected, its peer is gone, or there is nothing left to read
        pass
    connection.close()


def _target_of(dsn: str) -> tuple[socket.AddressFamily, Any]:
    """Family and address of the socket that an address means."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    place = parts.netloc.rpartition("@")[2]
    host, _, port = place.partition(":") if ":" in place else (place, "", "")
    host, port = unquote(host) or query.get("host", "127.0.0.1"), port or query.get("port", "5432")
    if host.startswith("/"):
        return socket.AF_UNIX, f"{host}/.s.PGSQL.{port}"
    return socket.AF_INET, (host, int(port))
