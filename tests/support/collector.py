# SPDX-License-Identifier: Apache-2.0
"""A real OpenTelemetry Collector with a configuration of ours, as a process that may be killed and started again."""

import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.error import URLError
from urllib.request import urlopen

from support.built import PROJECT, built
from support.waiting import until

CONFIG: Final = PROJECT / "otel-collector.yaml"
AGENT: Final = PROJECT / "deploy/collector/agent.yaml"
GATEWAY: Final = PROJECT / "deploy/collector/gateway.yaml"

SECRET: Final = "a key of the tests alone, of 32 bytes at least"  # noqa: S105 - it keeps nothing secret
"""Key of the hashes that redaction makes."""

_END_S: Final = 30.0
_ASK_S: Final = 5.0
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def free_ports(n: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has at this moment."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Collector:
    """Runs from the beginning to the end of a ``with`` block; its queues outlive its process.

    Args:
        folder: for its queues and its log.
        env: variables of its configuration.
        config: the configuration.

    Attributes:
        grpc: port for OTLP/gRPC.
        http: port for OTLP/HTTP.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], config: Path = CONFIG) -> None:
        self._program = built("otelcol")
        self._config = config
        self._folder = folder
        self.grpc, self.http, self._health, self._metrics = free_ports(4)
        self._env = {
            "OTLP_GRPC_LISTEN": f"127.0.0.1:{self.grpc}",
            "OTLP_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "HEALTH_LISTEN": f"127.0.0.1:{self._health}",
            "METRICS_PORT": str(self._metrics),
            "INTENT_QUEUE_DIR": str(folder / "intent-queue"),
            "BACKEND_QUEUE_DIR": str(folder / "backend-queue"),
            "BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:9",
            # Every sampled trace, and soon: what the tests count.
            "BACKEND_SAMPLING_PERCENT": "100",
            "BACKEND_DECISION_WAIT": "1s",
            "REDACTION_HMAC_KEY": SECRET,
            # A machine with many cores would start a thread for each.
            "GOMAXPROCS": "2",
            **env,
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
        """Value for ``OTEL_EXPORTER_OTLP_ENDPOINT`` of an exporter that speaks gRPC."""
        return f"http://127.0.0.1:{self.grpc}"

    @property
    def log(self) -> str:
        """What it said, over all its starts."""
        return (self._folder / "otelcol.log").read_text()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it takes spans."""
        with (self._folder / "otelcol.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "--config", self._config], env=self._env, stdout=log, stderr=log
            )
        until(self._takes_spans, "the Collector is ready")

    def kill(self) -> None:
        """Kill it without warning, if it lives."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric of its own, over all of its series with these labels."""
        return metric(f"127.0.0.1:{self._metrics}", name, labels)

    def queued(self) -> float:
        """Bytes that wait for the sink."""
        return self.metric("otelcol_exporter_queue_size", exporter="otlp_grpc/intent_sink")

    def _takes_spans(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the Collector has ended: {self.log[-2000:]}"
        return reached(f"http://127.0.0.1:{self._health}/")

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_END_S)
            self._process = None


def metric(address: str, name: str, labels: Mapping[str, str]) -> float:
    """Sum of a metric that a process shows at ``host:port``, over all of its series with these labels."""
    with urlopen(f"http://{address}/metrics", timeout=_ASK_S) as answer:
        text: str = answer.read().decode()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    samples = [sample.groups(default="") for line in text.splitlines() if (sample := _SAMPLE.match(line))]
    return sum(
        float(value) for found, given, value in samples if found == name and all(label in given for label in wanted)
    )


def reached(url: str) -> bool:
    """Whether an address answers with success."""
    try:
        answer: Any
        with urlopen(url, timeout=_ASK_S) as answer:  # noqa: S310 - an address of this machine
            return bool(answer.status == 200)
    except (URLError, HTTPException, OSError):  # not there yet, or it says that it is not ready
        return False
