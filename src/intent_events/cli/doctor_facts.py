# SPDX-License-Identifier: Apache-2.0
"""The facts that ``intent-events doctor`` finds on this host: settings, spool, and what an application would find."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pydantic import ValidationError

from intent_events.errors import SettingsError
from intent_events.instrument.mapping import load_mapping
from intent_events.privacy import KeyRing, load_vocabulary, read_ring
from intent_events.privacy.patterns import Patterns
from intent_events.review.doctor_model import Probed, SpoolSeen
from intent_events.settings import (
    DeliverySettings,
    RecordSettings,
    environment_with,
    variable_of,
)

_PROBE: Final = "intent_events.cli.probe"
_INSTRUMENT: Final = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
_NO_EXPORTER: Final = "only intent-events-exporter can look at a spool, and it is not installed here"


def settings_seen() -> tuple[RecordSettings, DeliverySettings, list[str]]:
    """The settings, defaults where they cannot be used, and what cannot be used."""
    problems: list[str] = []

    def tried(read: Callable[[], Any], otherwise: Any = None) -> Any:
        try:
            return read()
        except SettingsError as error:  # what is asked for
            problems.append(str(error))
            return otherwise

    record: RecordSettings = tried(RecordSettings.from_environment, RecordSettings())
    delivery: DeliverySettings = tried(DeliverySettings.from_environment, DeliverySettings())
    if record.mapping is not None:
        tried(lambda path=record.mapping: load_mapping(path))
    for vocabulary in record.vocabulary:
        tried(lambda path=vocabulary: load_vocabulary(path))
    if record.preview in {"patterns", "presidio"}:
        tried(Patterns)
    tried(lambda: read_ring(record))
    tried(delivery.read_dsn)
    return record, delivery, problems


def ring_seen(record: RecordSettings) -> KeyRing | None:
    """The live keys of these settings; None when there are none, or they cannot be used."""
    try:
        return read_ring(record)
    except SettingsError:  # said among the settings
        return None


def spool_seen(folder: Path, max_bytes: int) -> SpoolSeen | str:
    """The spool of this host; a text when nothing here can look at it. Nothing in it is changed.

    Args:
        folder: of the spool.
        max_bytes: as many as there may be.
    """
    try:
        from intent_events_exporter.salvage import estate_in  # noqa: PLC0415 - another distribution, which may be absent
        from intent_events_exporter.spool import totals  # noqa: PLC0415
        from intent_events_exporter.spool.folder import bytes_in, owners_in  # noqa: PLC0415
    except ImportError:  # the core alone, as on the machine of whoever reviews
        return _NO_EXPORTER
    seen = SpoolSeen(folder=str(folder), max_bytes=max_bytes)
    try:
        seen = _folder_seen(folder, seen)
        if not seen.there or seen.problem:
            return seen
        estate, sums = estate_in(folder), totals(folder)
        return seen._replace(
            used_bytes=sum(map(bytes_in, owners_in(folder))) + sums.set_aside_bytes,
            oldest_age_s=sums.oldest_age_s,
            dead_processes=estate.dead.processes,
            dead_bytes=estate.dead.bytes,
            set_aside_bytes=sums.set_aside_bytes,
        )
    except OSError as error:  # no permission, or a disk that fails
        return seen._replace(problem=f"it cannot be read ({type(error).__name__})")


def _folder_seen(folder: Path, seen: SpoolSeen) -> SpoolSeen:
    if not folder.exists():
        above = next(path for path in folder.absolute().parents if path.exists())
        can = above.is_dir() and os.access(above, os.W_OK | os.X_OK)
        return seen if can else seen._replace(problem=f"it is missing, and cannot be made in {above}")
    found = folder.stat()
    seen = seen._replace(there=True, mode=stat.S_IMODE(found.st_mode), own=found.st_uid == os.geteuid())
    if not stat.S_ISDIR(found.st_mode):
        return seen._replace(problem="it is no folder")
    if seen.own and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return seen._replace(problem="this user may not write there")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return seen._replace(problem="its file system is read-only")
    return seen


def probed(dsn: str, *, timeout_s: float) -> Probed | str:
    """What an application of this environment would find in itself; a text when that cannot be known.

    The process imports the targets, as the application would. Its spool is an empty one, so that it takes nothing over.

    Args:
        dsn: address of Postgres that it gets; nothing is sent there.
        timeout_s: seconds that it may take.
    """
    given = {variable_of(DeliverySettings, "dsn"): dsn} if dsn else {}
    with TemporaryDirectory(prefix="intent-events-doctor-") as folder:
        given[variable_of(DeliverySettings, "spool_dir")] = f"{folder}/spool"
        said = _said(environment_with(given), timeout_s)
    if said is None:
        return f"a process under opentelemetry-instrument did not come to its end within {timeout_s:g} s"
    try:
        return Probed.model_validate_json(said)
    except ValidationError:  # it failed before it could say anything
        return "a process under opentelemetry-instrument ended before it could say what it found"


def _said(environment: dict[str, str], timeout_s: float) -> bytes | None:
    """What the probe writes to its pipe; None when it takes too long."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", _INSTRUMENT, sys.executable, "-m", _PROBE, str(writer)]
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor, no path
        try:
            process = subprocess.Popen(  # noqa: S603 - a program of ours
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(writer,),
                start_new_session=True,
            )
        finally:
            os.close(writer)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:  # a target that serves when it is imported, or a machine that is overrun
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        os.set_blocking(reader, False)  # a child that a target has started may hold the other end
        return pipe.read() or b""
