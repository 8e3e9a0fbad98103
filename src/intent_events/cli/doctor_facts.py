# SPDX-License-Identifier: Apache-2.0
"""The facts that ``intent-events doctor`` finds on this host: settings, spool, and what an application would find."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO, Final, NamedTuple

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from intent_events.cli.app import COMMANDS, app
from intent_events.errors import SettingsError
from intent_events.instrument.mapping import HandlerMapping, load_mapping
from intent_events.privacy import KeyRing, load_vocabulary, read_ring
from intent_events.privacy.patterns import Patterns
from intent_events.review.doctor_model import Probed, SpoolSeen
from intent_events.semconv import Outcome
from intent_events.settings import (
    DeliverySettings,
    RecordSettings,
    environment_with,
    misspelt,
    strangers,
    variable_of,
)

_PROBE: Final = "intent_events.cli.probe"
_INSTRUMENT: Final = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
_NO_EXPORTER: Final = "only intent-events-exporter can look at a spool, and it is not installed here"


_TAIL: Final = 1 << 16
_TRACEBACK: Final = "Traceback (most recent call last):"
_TYPE: Final = re.compile(r"[A-Za-z_][\w.]*(?=:|$)")
_HARMLESS: Final = re.compile(
    r"RuntimeError: Requested component '[\w.-]*' not found in entry point '[\w.-]*'"
    r"|ModuleNotFoundError: No module named '[\w.]*'"
)
"""Errors whose texts name a part of the SDK or a module; others may quote a variable, and so a secret."""


class SettingsSeen(NamedTuple):
    """What the environment says.

    Attributes:
        record: settings, defaults where they cannot be used.
        delivery: the same.
        stages: target -> stage, of the mapping.
        problems: what cannot be used, one line each.
        oddities: what is not what was meant, most likely; one line each.
    """

    record: RecordSettings
    delivery: DeliverySettings
    stages: dict[str, str]
    problems: list[str]
    oddities: list[str]


def settings_seen() -> SettingsSeen:
    """The settings, defaults where they cannot be used, and what is wrong with them."""
    problems: list[str] = []

    def tried(read: Callable[[], Any], otherwise: Any = None) -> Any:
        try:
            return read()
        except SettingsError as error:  # what is asked for
            problems.append(str(error))
            return otherwise

    # As an application takes them: one that cannot be used costs itself alone, and not the address beside it.
    environment = environment_with({})
    record, of_record = RecordSettings.usable_from_environment(environment)
    delivery, of_delivery = DeliverySettings.usable_from_environment(environment)
    problems += filter(None, (of_record, of_delivery))
    oddities = [misspelt(name, near) for name, near in strangers(flag_variables()).items()]
    mapping = HandlerMapping()
    if record.mapping is not None:
        mapping = tried(lambda path=record.mapping: load_mapping(path), mapping)
        oddities += _odd_outcomes(record.mapping, mapping)
    for vocabulary in record.vocabulary:
        tried(lambda path=vocabulary: load_vocabulary(path))
    if record.preview in {"patterns", "presidio"}:
        tried(Patterns)
    tried(lambda: read_ring(record))
    tried(delivery.read_dsn)
    stages = {target: stage for stage, target in mapping.stages.items()}
    return SettingsSeen(record, delivery, stages, problems, oddities)


def _odd_outcomes(path: Path, mapping: HandlerMapping) -> list[str]:
    ours = [outcome.value for outcome in Outcome]
    lines: list[str] = []
    for label, outcome in mapping.outcomes.items():
        if outcome not in ours:
            near = get_close_matches(outcome, ours, 1)
            hint = f"did you mean {near[0]}?" if near else f"write one of {', '.join(ours)}"
            lines.append(f"the mapping file {path} gives {label} in [outcomes] no outcome of the contract: {hint}")
    return lines


def flag_variables() -> set[str]:
    """Environment variables of the flags of all commands, as the commands declare them."""
    group = get_command(app)
    if not isinstance(group, TyperGroup):  # never: typer makes one of what has commands
        return set()
    context = typer.Context(group)
    commands = [group.get_command(context, name) for name in COMMANDS]
    options = [each for command in commands if isinstance(command, TyperCommand) for each in command.params]
    declared = [option.envvar for option in options if isinstance(option, TyperOption)]
    return {name for names in declared for name in ([names] if isinstance(names, str) else names or ())}


def ring_seen(record: RecordSettings) -> KeyRing | None:
    """The live keys of these settings; None when there are none, or they cannot be used."""
    try:
        return read_ring(record)
    except SettingsError:  # said among the settings
        return None


def spool_seen(folder: Path, max_bytes: int, database: str | None) -> SpoolSeen | str:
    """The spool of this host; a text when nothing here can look at it. Nothing in it is changed.

    Args:
        folder: of the spool.
        max_bytes: as many as there may be.
        database: where rows go, in words; None when that is not known.
    """
    try:
        from intent_events_exporter.salvage import estate_in  # noqa: PLC0415 - another distribution, which may be absent
        from intent_events_exporter.spool import totals  # noqa: PLC0415
        from intent_events_exporter.spool.folder import bytes_in, owners_in, unfit  # noqa: PLC0415
    except ImportError:  # the core alone, as on the machine of whoever reviews
        return _NO_EXPORTER
    seen = SpoolSeen(folder=str(folder), max_bytes=max_bytes)
    try:
        seen = _folder_seen(folder, seen)
        if not seen.there or seen.problem:
            return seen
        if seen.own and (why := unfit(folder)):
            return seen._replace(problem=f"the spool cannot be in a folder {why}")
        estate, sums = estate_in(folder, database), totals(folder)
        return seen._replace(
            used_bytes=sum(map(bytes_in, owners_in(folder))) + sums.set_aside_bytes,
            oldest_age_s=sums.oldest_age_s,
            dead_processes=estate.dead.processes,
            dead_bytes=estate.dead.bytes,
            elsewhere=tuple(sorted(estate.databases)),
            elsewhere_bytes=estate.elsewhere.bytes,
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


def probed(dsn: str, *, timeout_s: float) -> tuple[Probed | str, str]:
    """What an application of this environment would find in itself; a text when that cannot be known.

    The process imports the targets, as the application would. Its spool is an empty one, so that it takes nothing over.

    Args:
        dsn: address of Postgres that it gets; nothing is sent there.
        timeout_s: seconds that it may take.

    Returns:
        What it found, and the last failure of which it told, as :func:`failure_in` has it.
    """
    given = {variable_of(DeliverySettings, "dsn"): dsn} if dsn else {}
    with TemporaryDirectory(prefix="intent-events-doctor-") as folder, TemporaryFile() as log:
        given[variable_of(DeliverySettings, "spool_dir")] = f"{folder}/spool"
        said = _said(environment_with(given), log, timeout_s)
        if said is None:
            return f"a process under opentelemetry-instrument did not come to its end within {timeout_s:g} s", ""
        log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
        why = failure_in(log.read().decode("utf-8", "replace"))
    try:
        return Probed.model_validate_json(said), why
    except ValidationError:  # it failed before it could say anything
        return "a process under opentelemetry-instrument ended before it could say what it found", why


def failure_in(log: str) -> str:
    """The last failure that a process told of: its type alone, unless its text is known to hold no value.

    Args:
        log: what the process wrote to standard error.

    Returns:
        One line; empty when there is no traceback.
    """
    failure, within = "", False
    for line in log.splitlines():
        if line.strip() == _TRACEBACK:
            within = True
        elif within and line and not line[0].isspace():  # frames are indented
            within = False
            kind = _TYPE.match(line)
            failure = line if _HARMLESS.fullmatch(line) else kind[0] if kind else ""
    return failure


def _said(environment: dict[str, str], log: BinaryIO, timeout_s: float) -> bytes | None:
    """What the probe writes to its pipe; None when it takes too long. The log gets its standard error."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", _INSTRUMENT, sys.executable, "-m", _PROBE, str(writer)]
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor, no path
        try:
            process = subprocess.Popen(  # noqa: S603 - a program of ours
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
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
