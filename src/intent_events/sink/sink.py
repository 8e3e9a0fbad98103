# SPDX-License-Identifier: Apache-2.0
"""The sink as a whole: what listens, in which order it starts, and in which it stops."""

import asyncio
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from opentelemetry.metrics import Meter
from starlette.applications import Starlette

from intent_events.errors import SettingsError
from intent_events.settings import SinkSettings
from intent_events.sink.access import Access
from intent_events.sink.budget import Budget
from intent_events.sink.committer import Committer
from intent_events.sink.grpc_door import grpc_server
from intent_events.sink.http_door import Exposed, health_app, http_app
from intent_events.sink.listeners import HttpListener, listening
from intent_events.sink.metrics import SinkMetrics
from intent_events.sink.service import Limits, Service
from intent_events.sink.transport_security import TlsFiles
from intent_events.store.connect import check
from intent_events.store.write import Writer

DOOR: Final = "sink"
"""Who stores, as ``agent.dead_letters`` names it."""

_LEAST_MESSAGES: Final = 2


class Ports(NamedTuple):
    """Where a sink listens.

    Attributes:
        grpc: OTLP/gRPC.
        http: OTLP/HTTP.
        health: probes and metrics alone; None when that has no port of its own.
    """

    grpc: int
    http: int
    health: int | None


class Sink:
    """Everything of one process; belongs to one event loop."""

    def __init__(self, settings: SinkSettings, dsn: Callable[[], str], meter: Meter, exposed: Exposed) -> None:
        """Prepare it; nothing listens or connects before :meth:`run`.

        Args:
            settings: where it listens, who may send, and what it holds.
            dsn: gives the address of Postgres as it is now.
            meter: makes the metrics.
            exposed: gives them as text.

        Raises:
            SettingsError: a setting, a file that it names, or the address cannot be used.
        """
        check_settings(settings)
        check(dsn())
        self._settings = settings
        self._exposed = exposed
        self._tls = _tls_of(settings)
        if self._tls is not None:
            self._tls.check()
        metrics = SinkMetrics(meter)
        budget = Budget(settings.max_in_flight, patience_s=settings.patience)
        self._committer = Committer(
            lambda: Writer(dsn(), door=DOOR, timeout_s=settings.store_timeout), settings.connections, metrics
        )
        limits = Limits(settings.max_message, settings.arrival_timeout)
        self._service = Service(Access(settings.tokens), limits, budget, self._committer, metrics)
        metrics.observe(budget, lambda: self._committer.waiting, lambda: self._service.ready)

    async def run(self, stop: asyncio.Event, started: Callable[[Ports], None]) -> None:
        """Listen until told to stop, then end what is under way.

        It says that it is not ready first, so that balancers look elsewhere; then takes nothing new, answers what it
        has taken once that is committed, and closes its connections.

        Args:
            stop: set when it shall end.
            started: told where it listens, once it does.

        Raises:
            SettingsError: it cannot listen there.
        """
        settings, service = self._settings, self._service
        grpc_side = grpc_server(service)
        credentials = None if self._tls is None else self._tls.grpc_credentials()
        place = f"{_bracketed(settings.host)}:{settings.grpc_port}"
        try:
            grpc_port = (
                grpc_side.add_insecure_port(place)
                if credentials is None
                else grpc_side.add_secure_port(place, credentials)
            )
        except RuntimeError:  # no such address here, a port that is taken, or one that needs a right
            raise SettingsError(f"INTENT_EVENTS_SINK_GRPC_PORT: cannot listen on {place}: choose another") from None
        http = self._http_side(http_app(service, self._exposed), settings.http_port, "HTTP", self._tls)
        health = None
        if settings.health_port is not None:
            health = self._http_side(health_app(service, self._exposed), settings.health_port, "HEALTH", None)
        committing = asyncio.create_task(self._committer.run())
        serving = [asyncio.create_task(side.run()) for side in (http, health) if side is not None]
        await grpc_side.start()
        started(Ports(grpc_port, http.port, None if health is None else health.port))
        ending = asyncio.create_task(stop.wait())
        try:
            # A listener or a writer that ends by itself has failed: better started anew than half alive.
            await asyncio.wait({ending, committing, *serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            service.stopping = True
            if ending.done():
                await asyncio.sleep(settings.stop_delay)
            ending.cancel()
            http.stop(settings.stop_timeout)
            await asyncio.gather(grpc_side.stop(settings.stop_timeout), serving[0], return_exceptions=True)
            self._committer.stop()
            await self._end(committing)
            if health is not None:
                health.stop(1)
            await asyncio.gather(*serving)

    async def _end(self, committing: asyncio.Task[None]) -> None:
        with suppress(TimeoutError):  # Postgres does not answer, and nobody waits for it any more
            async with asyncio.timeout(self._settings.store_timeout):
                await committing

    def _http_side(self, app: Starlette, port: int, name: str, tls: TlsFiles | None) -> HttpListener:
        settings = self._settings
        listener = listening(settings.host, port, f"INTENT_EVENTS_SINK_{name}_PORT")
        return HttpListener(app, listener, arrival_s=settings.arrival_timeout, tls=tls)


def check_settings(settings: SinkSettings) -> None:
    """Refuse settings that do not go together.

    Raises:
        SettingsError: they would let anybody write who reaches the port, or no request fits.
    """
    if settings.max_in_flight < _LEAST_MESSAGES * settings.max_message:
        raise SettingsError(
            "INTENT_EVENTS_SINK_MAX_IN_FLIGHT is less than twice INTENT_EVENTS_SINK_MAX_MESSAGE: "
            "a request is held as it came and uncompressed"
        )
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("INTENT_EVENTS_SINK_TLS_CERT and INTENT_EVENTS_SINK_TLS_KEY go together: set both")
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        raise SettingsError(
            "INTENT_EVENTS_SINK_TLS_CLIENT_CA needs INTENT_EVENTS_SINK_TLS_CERT and INTENT_EVENTS_SINK_TLS_KEY"
        )
    if settings.tls_cert is None and settings.tokens is None and not _is_loopback(settings.host):
        raise SettingsError(
            "INTENT_EVENTS_SINK_HOST is no loopback address, and anybody who reaches it could write: set "
            "INTENT_EVENTS_SINK_TOKENS, or INTENT_EVENTS_SINK_TLS_CERT, _TLS_KEY and _TLS_CLIENT_CA"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, which may mean any address
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _tls_of(settings: SinkSettings) -> TlsFiles | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
