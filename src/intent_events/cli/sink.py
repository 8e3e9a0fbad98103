# SPDX-License-Identifier: Apache-2.0
"""``intent-events sink``: take spans of OpenTelemetry Collectors and write their records."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intent_events.cli.options import Dsn, Exit, address
from intent_events.errors import SettingsError
from intent_events.settings import SinkSettings, environment_with, variable_of
from intent_events.store.connect import place_of
from intent_events.version import __version__

if TYPE_CHECKING:
    from intent_events.sink.sink import Ports, Sink


def sink(
    *,
    host: Annotated[
        str,
        typer.Option(
            envvar="INTENT_EVENTS_SINK_HOST",
            metavar="ADDRESS",
            help="Address to listen on. Any but a loopback address asks for tokens or TLS.",
        ),
    ] = "127.0.0.1",
    grpc_port: Annotated[
        int, typer.Option(envvar="INTENT_EVENTS_SINK_GRPC_PORT", help="Port for OTLP/gRPC; 0 for any that is free.")
    ] = 4317,
    http_port: Annotated[
        int,
        typer.Option(
            envvar="INTENT_EVENTS_SINK_HTTP_PORT",
            help="Port for OTLP/HTTP, /healthz, /readyz and /metrics; 0 for any that is free.",
        ),
    ] = 4318,
    tokens: Annotated[
        Path | None,
        typer.Option(
            envvar="INTENT_EVENTS_SINK_TOKENS",
            metavar="FILE",
            show_default=False,
            help="File of the bearer tokens that senders must have, one a line; read anew when it changes.",
        ),
    ] = None,
    dsn: Dsn = "",
) -> None:
    """Take OTLP spans over gRPC and HTTP, and write those that are records to Postgres; answer after COMMIT.

    Runs until SIGTERM or Ctrl-C, then ends what is under way. TLS, bounds and all else are variables: see
    docs/operations.md. Exit codes: 0 stopped as told, 1 it failed, 2 wrong use.
    """
    try:
        settings = _settings({"host": host, "grpc_port": grpc_port, "http_port": http_port, "tokens": tokens})
        from intent_events.cli.sink_parts import make_sink, prepare_process  # noqa: PLC0415 - its extra may be missing

        prepare_process()
        whole = make_sink(settings, lambda: address(dsn))
        ended_as_told = asyncio.run(_run(whole, lambda ports: _say(settings, address(dsn), ports)))
    except ModuleNotFoundError as error:  # the command line without the sink
        if error.name is None or error.name.partition(".")[0] == "intent_events":
            raise
        typer.echo(f"intent-events sink needs {error.name}: pip install 'intent-events[sink]'", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    except SettingsError as error:  # a flag, a variable or a file that cannot be used, or a port that is taken
        typer.echo(f"intent-events sink: {error}", err=True)
        raise typer.Exit(Exit.WRONG_USE) from None
    if not ended_as_told:
        raise typer.Exit(Exit.FOUND)


def _settings(flags: dict[str, Any]) -> SinkSettings:
    given = {variable_of(SinkSettings, name): str(value) for name, value in flags.items() if value is not None}
    return SinkSettings.from_environment(environment_with(given))


async def _run(whole: "Sink", started: "Callable[[Ports], None]") -> bool:
    """Run until a signal says to stop; whether it was one that ended it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await whole.run(stop, started)
    return stop.is_set()


def _say(settings: SinkSettings, dsn: str, ports: "Ports") -> None:
    for line in _lines(settings, dsn, ports):
        typer.echo(line)


def _lines(settings: SinkSettings, dsn: str, ports: "Ports") -> Iterator[str]:
    scheme = "http" if settings.tls_cert is None else "https"
    yield f"intent-events sink {__version__} writes to {place_of(dsn)}"
    yield f"  OTLP/gRPC  {settings.host}:{ports.grpc}"
    yield f"  OTLP/HTTP  {scheme}://{settings.host}:{ports.http}/v1/traces"
    if ports.health is not None:
        yield f"  health     http://{settings.host}:{ports.health}/readyz"
    tls = "none" if settings.tls_cert is None else "own certificate"
    if settings.tls_client_ca is not None:
        tls = "mutual"
    tokens = "none" if settings.tokens is None else "asked for"
    yield f"  TLS {tls} · tokens {tokens}"
