# SPDX-License-Identifier: Apache-2.0
"""What ``doctor`` looks at, and what it says: frozen shapes. ``Diagnosis.model_dump_json()`` is its JSON."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It works, and something about it is not as it should be."""
    FAIL = "fail"
    """Records are lost, or will not arrive."""
    SKIP = "skip"
    """It could not be looked at; the detail says why."""


class Verdict(StrEnum):
    """How all checks together ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    COULD_NOT_ASK = "could_not_ask"
    """There was no database to ask, so that nothing can be said of what arrived."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Check(_Frozen):
    """One thing that was looked at.

    Attributes:
        name: of the check; stable, for programs.
        status: how it ended.
        detail: what was found, one line.
        remedy: what to do, one line; empty when there is nothing to do.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


class Diagnosis(_Frozen):
    """Everything that was looked at.

    Attributes:
        status: how it ended.
        checks: one by one, from the settings of the application to what arrived.
    """

    status: Verdict
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: Iterable[Check], *, asked: bool) -> Self:
        """Sum checks up.

        Args:
            checks: all of them.
            asked: whether the database could be asked.
        """
        done = tuple(checks)
        found = {check.status for check in done}
        if not asked:
            return cls(status=Verdict.COULD_NOT_ASK, checks=done)
        worst = next((status for status in (Status.FAIL, Status.WARN) if status in found), Status.OK)
        return cls(status=Verdict(worst.value), checks=done)


class TargetSeen(_Frozen):
    """One target of ``INTENT_EVENTS_TARGETS``, or of a stage of the mapping.

    Attributes:
        target: as it is spelled there.
        wrapped: whether our wrapper is around it.
        error: type of the error with which it could not be found, with `` of module`` where a module that it imports is
            missing; empty when it could.
        kept: type of an object that has the function as it was before; empty when none has.
    """

    target: str
    wrapped: bool = False
    error: str = ""
    kept: str = ""


class Sdk(StrEnum):
    """Which OpenTelemetry SDK a process has."""

    PRESENT = "present"
    DISABLED = "disabled"
    """By ``OTEL_SDK_DISABLED``."""
    ABSENT = "absent"


class Probed(_Frozen):
    """What a process found in itself that ``opentelemetry-instrument`` started in this environment.

    Attributes:
        instrumented: whether our instrumentor is on.
        targets: what it wraps.
        exporter_installed: whether intent-events-exporter can be imported.
        attached: whether records are delivered at all: the processor is there.
        met_sdk: whether the SDK hands its spans over to it.
        sampler: whether our sampler is on our tracer.
        sdk: which SDK it has.
        max_attributes: attributes that a span may have; None without a limit or an SDK.
        max_length: characters that an attribute may have; None without a limit or an SDK.
        exporter_named: whether ``OTEL_TRACES_EXPORTER`` names our exporter.
    """

    instrumented: bool = False
    targets: tuple[TargetSeen, ...] = ()
    exporter_installed: bool = False
    attached: bool = False
    met_sdk: bool = False
    sampler: bool = False
    sdk: Sdk = Sdk.ABSENT
    max_attributes: int | None = None
    max_length: int | None = None
    exporter_named: bool = False


class SpoolSeen(NamedTuple):
    """The spool of this host.

    Attributes:
        folder: where it is.
        problem: why it cannot be used; empty when it can.
        there: whether the folder is there; when not, it can be made.
        mode: its permissions.
        own: whether it belongs to this user.
        used_bytes: bytes of all files.
        max_bytes: as many as there may be.
        oldest_age_s: seconds since the oldest record was appended; None when none waits.
        dead_processes: dead processes of which something waits.
        dead_bytes: bytes that wait of them.
        elsewhere: databases, in words, that the records of other dead processes are for.
        elsewhere_bytes: bytes that wait of these.
        set_aside_bytes: bytes of damaged stretches.
    """

    folder: str
    problem: str = ""
    there: bool = False
    mode: int = 0o700
    own: bool = True
    used_bytes: int = 0
    max_bytes: int = 1
    oldest_age_s: float | None = None
    dead_processes: int = 0
    dead_bytes: int = 0
    elsewhere: tuple[str, ...] = ()
    elsewhere_bytes: int = 0
    set_aside_bytes: int = 0
