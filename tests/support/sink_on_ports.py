# SPDX-License-Identifier: Apache-2.0
"""``intent-events sink`` as a process that may be killed and started again, on the same ports."""

import os
import signal
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from support.collector import free_ports, metric, reached
from support.waiting import until

_COMMAND: Final = Path(sysconfig.get_path("scripts")) / "intent-events"
_END_S: Final = 30.0


class Sink:
    """Runs from the beginning to the end of a ``with`` block.

    Args:
        folder: for its log.
        dsn: address of Postgres.
        env: variables beside those of this process.
        host: address to listen on.
        grpc: port for OTLP/gRPC; one that is free if not given.

    Attributes:
        grpc: port for OTLP/gRPC.
        http: port for OTLP/HTTP.
        starts: how often it was started.
    """

    def __init__(
        self, folder: Path, dsn: str, env: Mapping[str, str] | None = None, *, host: str = "127.0.0.1", grpc: int = 0
    ) -> None:
        free, self.http, self._health = free_ports(3)
        self.grpc = grpc or free
        self.starts = 0
        self._host = host
        self._log = folder / f"sink-{host}-{self.grpc}.log"
        self._env = {
            **os.environ,
            "INTENT_EVENTS_DSN": dsn,
            "INTENT_EVENTS_SINK_HOST": host,
            "INTENT_EVENTS_SINK_GRPC_PORT": str(self.grpc),
            "INTENT_EVENTS_SINK_HTTP_PORT": str(self.http),
            "INTENT_EVENTS_SINK_HEALTH_PORT": str(self._health),
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def endpoint(self) -> str:
        """Its address for OTLP/gRPC, as the Collector wants it."""
        return f"{self._host}:{self.grpc}"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it said, over all its starts."""
        return self._log.read_text()

    def start(self) -> None:
        """Start it, and wait until it takes records."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([_COMMAND, "sink"], env=self._env, stdout=log, stderr=log)
        self.starts += 1
        until(self.ready, "the sink is ready")

    def ready(self) -> bool:
        """Whether it says that it takes records."""
        assert self._process is not None
        assert self._process.poll() is None, f"the sink has ended: {self.log[-2000:]}"
        return reached(f"http://{self._host}:{self._health}/readyz")

    def spans(self, delivery: str) -> int:
        """How many spans it says that it dealt with in this way since its last start."""
        return int(self.metric("intent_events_sink_spans_total", intent_delivery=delivery))

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric of its own, over all of its series with these labels."""
        return metric(f"{self._host}:{self._health}", name, labels)

    def kill(self) -> None:
        """Kill it without warning, if it lives."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, and wait until it has; what it ended with."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(_END_S)
        self._process = None
        return code
