# SPDX-License-Identifier: Apache-2.0
"""A real Kafka of one broker, as a process that may be killed and started again."""

import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from support.built import built
from support.collector import free_ports
from support.waiting import until

_END_S: Final = 30.0
_START_S: Final = 120.0
_CLUSTER: Final = "4L6g3nShT-eMCtK--X86sw"
_SETTINGS: Final = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={folder}/kafka-data
num.partitions=4
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
"""


class Kafka:
    """Runs from the beginning to the end of a ``with`` block; makes topics of four partitions when they are asked for.

    Args:
        folder: for its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self._program = built("kafka")
        self._folder = folder
        self._broker, controller = free_ports(2)
        self._settings = folder / "kafka.properties"
        self._settings.write_text(_SETTINGS.format(broker=self._broker, controller=controller, folder=folder))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [self._program, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", self._settings]
        subprocess.run(command, check=True, capture_output=True, timeout=_START_S)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def brokers(self) -> str:
        """Value for ``KAFKA_BROKERS``."""
        return f"127.0.0.1:{self._broker}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self._folder / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "kafka.Kafka", self._settings], stdout=log, stderr=log, cwd=self._folder
            )
        until(self._answers, "Kafka is there", timeout_s=_START_S)

    def kill(self) -> None:
        """Kill it without warning, if it lives."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_END_S)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Kafka has ended: {(self._folder / 'kafka.log').read_text()[-2000:]}"
        try:
            socket.create_connection(("127.0.0.1", self._broker), timeout=1).close()
        except OSError:  # not yet
            return False
        return True
