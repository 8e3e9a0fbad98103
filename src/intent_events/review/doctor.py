# SPDX-License-Identifier: Apache-2.0
"""The judgement of ``doctor``: facts in, one line a check out. Pure; who gathers the facts is not its business."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from intent_events.privacy import KeyRing
from intent_events.review.doctor_model import Check, Probed, Sdk, SpoolSeen, Status, TargetSeen
from intent_events.review.windows import age
from intent_events.settings import RecordSettings
from intent_events.store.health import Emitter, Health, Role

SILENT_S: Final = 3600.0
"""Seconds for which it is told of a process that it fell silent with records in its spool."""

_SILENT_AFTER_S: Final = 300.0
_OLD_S: Final = 300.0
_MIN_ATTRIBUTES: Final = 64
_MIN_LENGTH: Final = 256
_PRIVATE: Final = 0o700
_SHOWN: Final = 3
_OURS: Final = "intent_events"
_NEEDLESS: Final = "OTEL_TRACES_EXPORTER names intent_events: needless beside the processor"
_EXCESS: Final = ("UPDATE", "DELETE", "TRUNCATE")
_NO_STAGES: Final[Mapping[str, str]] = MappingProxyType({})
_NOT_THERE: Final = re.compile(r"Requested component '([^']*)' not found in entry point '(?:opentelemetry_)?([^']*)'")
_NEEDS: Final = " of "  # as in "ModuleNotFoundError of numpy": the target is there, and what it imports is not
_MISSPELT: Final = frozenset({"", "ModuleNotFoundError", "AttributeError"})
_GRPC: Final = "otlp_proto_grpc"
_DO: Final = MappingProxyType(
    {
        "spool_full": "see why Postgres does not take records, or raise INTENT_EVENTS_SPOOL_MAX_BYTES",
        "disk_full": "make room on the disk of the spool",
        "spool_unwritable": "mend the folder of the spool, or name another by INTENT_EVENTS_SPOOL_DIR",
        "unreadable": "report it: their checksums are right, and no version knows their form",
        "internal": "report the type that the log line of the process names",
    }
)
"""What to do about records that were dropped, by the reasons that heartbeats give."""

_ENROLL: Final = "give the application a login of its own: SELECT agent.enroll('its login', 'intent_writer')"
_SEE_LOG: Final = "run `opentelemetry-instrument python -c ''` here: its log says why, often an exporter not installed"


def check_settings(problems: Sequence[str], oddities: Sequence[str] = ()) -> Check:
    """Whether every variable and every file that one names can be used, and is.

    Args:
        problems: what cannot, one line each with its remedy.
        oddities: what can, and does not do what was meant, the same.
    """
    detail = "; ".join((*problems, *oddities))
    if problems:
        return _fail("settings", detail, "mend these: until then defaults are used, or nothing is recorded")
    if oddities:
        return _warn("settings", detail, "mend these: until then it is as if they were not there")
    return _ok("settings", "every variable and file can be used")


def check_hash_key(settings: RecordSettings, ring: KeyRing | None, at_ns: int) -> Check:
    """Whether fingerprints of different processes meet, and cannot be reversed.

    Args:
        settings: how fingerprints are made.
        ring: the live keys; None when there are none, or they cannot be read.
        at_ns: the time of which the key is told, nanoseconds since 1970.
    """
    name = "hash_key"
    if settings.hash == "plain":
        remedy = "set INTENT_EVENTS_HASH_KEY and INTENT_EVENTS_HASH=keyed"
        return _warn(name, "fingerprints are plain SHA-256, which a dictionary of likely utterances reverses", remedy)
    if settings.hash_key is None and settings.hash_key_file is None and settings.hash_keyring is None:
        remedy = "set INTENT_EVENTS_HASH_KEY_FILE or INTENT_EVENTS_HASH_KEYRING, the same everywhere"
        return _warn(name, "no key: each process makes its own, so that fingerprints do not meet", remedy)
    if ring is None:
        return _fail(name, "the keys cannot be used", "see the settings above")
    now = ring.keys[ring.index_at(at_ns)].key_id
    others = [repr(key.key_id) for key in ring.keys if key.key_id != now]
    return _ok(name, f"fingerprints are keyed, by the key {now!r}" + (f"; live too: {_some(others)}" if others else ""))


def check_application(
    probed: Probed | str, exporters: Sequence[str] = (), *, stages: Mapping[str, str] = _NO_STAGES, why: str = ""
) -> Iterator[Check]:
    """Whether an application in this environment records, delivers, and loses nothing on the way.

    Args:
        probed: what a process found in itself; a text when none could be asked, and why.
        exporters: those of ``OTEL_TRACES_EXPORTER``, in their order; empty when that is not known.
        stages: target -> stage, for targets that are wrapped as one.
        why: what the process said of its failure, as far as it may be shown; empty when it said nothing.
    """
    if isinstance(probed, str):
        yield _not_started(probed, why)
        return
    if not probed.instrumented:
        yield _not_started("opentelemetry-instrument does not start our instrumentor", why)
        return
    yield _ok("instrumented", "opentelemetry-instrument starts our instrumentor")
    yield _check_targets(probed, stages)
    yield _check_delivery(probed)
    if probed.sdk is Sdk.PRESENT:
        if probed.attached:
            yield _check_sampler(probed)
        yield _check_limits(probed)
    yield _check_exporters(probed, exporters)


def _not_started(what: str, why: str) -> Check:
    missing = _NOT_THERE.search(why)
    if missing is None:
        return _fail("instrumented", f"{what} ({why})" if why else what, _SEE_LOG)
    component, group = missing.groups()
    signal, _, exporter = group.partition("_")
    variable = f"OTEL_{signal.upper()}_EXPORTER" if exporter == "exporter" else ""
    if component == _GRPC and variable:
        remedy = (
            "install opentelemetry-exporter-otlp, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or "
            f"{variable}=none where no backend takes them"
        )
    else:
        remedy = f"install the package that has it, or name another in {variable or 'the OTEL_* variable that asks it'}"
    return _fail("instrumented", f"{what}: {why}", remedy)


def _check_targets(probed: Probed, stages: Mapping[str, str]) -> Check:
    name = "targets"
    broken = [one for one in probed.targets if not one.wrapped]
    if broken:
        remedies = dict.fromkeys(remedy for one in broken for remedy in _remedies_of(one))
        told = [
            f"{one.target} ({', '.join(filter(None, (_stage_of(one, stages), one.error or 'not wrapped')))})"
            for one in broken
        ]
        return _fail(name, f"cannot be wrapped: {_some(told)}", "; ".join(remedies))
    kept = [f"{one.target} (by a {one.kept})" for one in probed.targets if one.kept]
    if kept:
        detail = f"kept from before it was wrapped, and called unrecorded from there: {_some(kept)}"
        return _warn(name, detail, "is it a route, put @record_utterance beneath its decorator instead")
    wrapped = [f"{one.target}{f' ({stage})' if (stage := _stage_of(one, stages)) else ''}" for one in probed.targets]
    if all(one.target in stages for one in probed.targets):
        remedy = "set INTENT_EVENTS_TARGETS, unless the application records by itself (@record_utterance)"
        detail = "none named: only what records by itself is recorded"
        return _ok(name, f"{detail}; wrapped: {_some(wrapped)}" if wrapped else detail, remedy)
    return _ok(name, f"wrapped: {_some(wrapped)}")


def _remedies_of(one: TargetSeen) -> tuple[str, ...]:
    if _NEEDS in one.error:
        return ("install what its module imports",)
    if one.error in _MISSPELT:
        return "check the spelling, pkg.mod:Class.method", "run this in the folder that the application starts in"
    return ("import its module here by hand to see why",)


def _stage_of(one: TargetSeen, stages: Mapping[str, str]) -> str:
    return f"stage {stages[one.target]}" if one.target in stages else ""


def _check_delivery(probed: Probed) -> Check:
    name = "delivery"
    if not probed.exporter_installed:
        return _fail(name, "intent-events-exporter is not installed", "pip install intent-events-exporter")
    if not probed.attached:
        return _fail(
            name, "the processor is not attached: no record is kept", "set INTENT_EVENTS_DSN; else see the log"
        )
    if probed.sdk is Sdk.PRESENT:
        if probed.met_sdk:
            return _ok(name, "the processor is attached to the SDK")
        return _fail(name, "the processor is not attached to the SDK", _SEE_LOG)
    why = "no SDK is set up" if probed.sdk is Sdk.ABSENT else "OTEL_SDK_DISABLED is set"
    return _ok(name, f"{why}: records take the direct way to the spool, and there are no traces")


def _check_sampler(probed: Probed) -> Check:
    if probed.sampler:
        return _ok("sampler", "records are kept whatever the sampler decides")
    return _fail("sampler", "our sampler is not on our tracer: unsampled utterances become no row", _SEE_LOG)


def _check_limits(probed: Probed) -> Check:
    name, low = "span_limits", list[str]()
    if probed.max_attributes is not None and probed.max_attributes < _MIN_ATTRIBUTES:
        low.append(f"{probed.max_attributes} attributes a span, {_MIN_ATTRIBUTES} are needed")
    if probed.max_length is not None and probed.max_length < _MIN_LENGTH:
        low.append(f"{probed.max_length} characters an attribute, {_MIN_LENGTH} are needed")
    if low:
        remedy = "raise OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT and OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
        return _warn(name, f"too low, so that fields are cut: {'; '.join(low)}", remedy)
    return _ok(name, "high enough for every record")


def _check_exporters(probed: Probed, exporters: Sequence[str]) -> Check:
    name = "exporters"
    if not probed.exporter_named:
        return _ok(name, "none of ours beside the processor")
    if not probed.attached:
        remedy = "take intent_events out of OTEL_TRACES_EXPORTER, so that the processor is attached"
        return _warn(name, "records go through the exporter only, which is best effort", remedy)
    detail, remedy = _NEEDLESS, "take intent_events out of OTEL_TRACES_EXPORTER"
    place = exporters.index(_OURS) if _OURS in exporters else len(exporters)
    behind = [each for each in exporters[place:] if each != _OURS]
    if behind:
        # The SDK shuts them down one after the other; rows and flags are the same in any order.
        detail += f", and ahead of {_some(behind)}: while Postgres is away, the last traces of a process wait for it"
        remedy += ", or name it last"
    elif exporters[:place]:
        detail += f"; it is the last of {_some(exporters)}, so that no other waits for it"
    return _warn(name, detail, remedy)


def check_spool(seen: SpoolSeen | str) -> Iterator[Check]:
    """Whether records that wait are safe, few and young.

    Args:
        seen: the spool of this host; a text when it could not be looked at, and why.
    """
    if isinstance(seen, str):
        yield _skip("spool", seen)
        return
    yield _check_folder(seen)
    if seen.there and seen.own and not seen.problem:
        yield _check_size(seen)
        yield _check_age(seen)
        yield _check_orphans(seen)
        yield _check_damage(seen)


def _check_folder(seen: SpoolSeen) -> Check:
    name = "spool"
    if seen.problem:
        return _fail(
            name, f"{seen.folder}: {seen.problem}", "let INTENT_EVENTS_SPOOL_DIR be a folder of this user's alone"
        )
    if not seen.there:
        return _ok(name, f"{seen.folder} is not there yet, and can be made")
    if not seen.own:
        remedy = "run this as the service's user; if you did, chown the folder or name another"
        return _fail(name, f"{seen.folder} belongs to another user", remedy)
    if seen.mode & ~_PRIVATE:
        detail = f"{seen.folder} has permissions {seen.mode:04o}: others may look at records"
        return _warn(name, detail, f"chmod 700 {seen.folder}")
    return _ok(name, f"{seen.folder} is writable, and this user's alone")


def _check_size(seen: SpoolSeen) -> Check:
    used = seen.used_bytes / seen.max_bytes
    detail = f"{used:.0%} of INTENT_EVENTS_SPOOL_MAX_BYTES is used"
    remedy = "see why Postgres does not take records (below), or allow more: when it is full, records are dropped"
    if used >= 0.9:  # noqa: PLR2004 - the two marks of this one check
        return _fail("spool_size", detail, remedy)
    return _warn("spool_size", detail, remedy) if used >= 0.5 else _ok("spool_size", detail)  # noqa: PLR2004 - the same


def _check_age(seen: SpoolSeen) -> Check:
    if seen.oldest_age_s is None:
        return _ok("spool_age", "nothing waits")
    detail = f"the oldest record has waited {age(seen.oldest_age_s)}"
    if seen.oldest_age_s <= _OLD_S:
        return _ok("spool_age", detail)
    return _warn("spool_age", detail, "the log of its process says why Postgres does not take it; see the checks below")


def _check_orphans(seen: SpoolSeen) -> Check:
    if not (seen.dead_processes or seen.elsewhere):
        return _ok("spool_orphans", "no dead process left anything")
    details, remedies = list[str](), list[str]()
    if seen.dead_processes:
        details.append(f"{seen.dead_bytes:,} bytes of {_n(seen.dead_processes, 'dead process', 'es')} wait")
        remedies.append("run `intent-events drain`; a living process of the service does it too")
    if seen.elsewhere:
        details.append(f"{seen.elsewhere_bytes:,} bytes wait for {_some(seen.elsewhere)}, which is another one")
        remedies.append("let its own services store that; has it moved, run `intent-events drain --any-database`")
    return _warn("spool_orphans", "; ".join(details), "; ".join(remedies))


def _check_damage(seen: SpoolSeen) -> Check:
    if not seen.set_aside_bytes:
        return _ok("spool_damage", "no damaged stretch was found")
    detail = f"{seen.set_aside_bytes:,} bytes of damaged stretches are set aside"
    return _warn("spool_damage", detail, f"check the disk; look at {seen.folder}/aside, then remove what is there")


def check_database(health: Health | str | None) -> Check:
    """Whether the database could be asked.

    Args:
        health: what it said; a text when it could not be asked, and why, with the remedy; None without an address.
    """
    name = "database"
    if health is None:
        remedy = (
            "set it to postgresql://user:password@host:5432/database: until then this application stores no rows, "
            "unless a sink gets its spans"
        )
        return _fail(name, "INTENT_EVENTS_DSN is not set", remedy)
    if isinstance(health, str):
        return _fail(name, health, "mend that: records wait in the spool until then")
    return _ok(name, f"answers, to the role {health.role.name}")


def check_schema(health: Health, detail: str, *, at_head: bool) -> Check:
    """Whether the database is at the schema of this version.

    Args:
        health: what it said.
        detail: how it stands, with the remedy.
        at_head: whether that is the newest revision.
    """
    missing = sorted(table for table, rights in health.role.tables.items() if not rights.there)
    if missing:
        return _fail("schema", f"there is no agent.{missing[0]}", "run `intent-events migrate`")
    if not health.reads_version:
        return _skip("schema", f"the role {health.role.name} may not read agent.schema_version; every table is there")
    return _ok("schema", detail) if at_head else _fail("schema", *_split(detail))


def check_role(role: Role, *, of_application: bool = True) -> Check:
    """Whether the role may INSERT, and nothing else.

    Args:
        role: who asked.
        of_application: whether an application in this environment connects as this role; False where another was given
            to ask with, as one of people, who read.
    """
    if not all(rights.there for rights in role.tables.values()):
        return _skip("role", "the database is not migrated")
    lacking = [f"agent.{table}" for table, rights in role.tables.items() if "INSERT" not in rights.may]
    if lacking or not role.may_use:
        return _check_lacking(role, lacking, of_application=of_application)
    if role.standby or role.only_reads:
        return _check_reader(role)
    excess = [] if not role.may_create else ["CREATE in schema agent"]
    excess += [
        f"{right} of agent.{table}" for table, rights in role.tables.items() for right in _EXCESS if right in rights.may
    ]
    remedy = "let the application connect as a role that has intent_writer and nothing else"
    if role.superuser:
        return _warn("role", f"{role.name} is a superuser: whoever takes the application takes the database", remedy)
    if excess:
        return _warn("role", f"{role.name} may do more than INSERT: {_some(excess)}", remedy)
    return _ok("role", f"{role.name} may INSERT, and change nothing that is there")


def _check_lacking(role: Role, lacking: Sequence[str], *, of_application: bool) -> Check:
    # A login that only reads would be none that writes after a GRANT either.
    name, grant = "role", _ENROLL if role.only_reads else f"GRANT intent_writer TO {role.name}, as an administrator"
    if not role.may_use:
        return _fail(name, f"{role.name} lacks USAGE on schema agent", grant)
    if len(lacking) < len(role.tables):
        return _fail(name, f"{role.name} lacks the right INSERT on {_some(lacking)}", grant)
    reads = f"{role.name} may not INSERT: it is a role that reads"
    if of_application:
        return _warn(name, reads, f"ask once with the application's; if this is it, {grant}")
    return _skip(name, f"{reads}; ask once with the application's")


def _check_reader(role: Role) -> Check:
    if role.standby:
        detail = f"{role.name} may INSERT, but the server is a standby, which takes no writes"
        return _fail("role", detail, "let INTENT_EVENTS_DSN name the primary")
    detail = f"{role.name} may INSERT, but each of its transactions only reads (default_transaction_read_only)"
    return _fail("role", detail, f"ALTER ROLE {role.name} RESET default_transaction_read_only; or {_ENROLL}")


def check_partitions(health: Health) -> Check:
    """Whether this month and the next have their partitions."""
    if health.missing_partitions is None:
        return _skip("partitions", "the database is not migrated")
    if health.missing_partitions:
        detail = (
            f"missing: {_some(health.missing_partitions)}; rows go to the default partition, and reports get slower"
        )
        return _warn("partitions", detail, "run `intent-events migrate`, once a month at least")
    return _ok("partitions", "this month and the next have theirs")


def check_stream(health: Health, since_s: float) -> Check:
    """Whether anything arrived lately: an utterance or a heartbeat."""
    name = "stream"
    if not health.reads_rows:
        return _may_not_read(name, health)
    if any(age is not None and age <= since_s for age in (health.row_age_s, health.beat_age_s)):
        row = "no utterance ever" if health.row_age_s is None else f"the newest utterance {age(health.row_age_s)} ago"
        beat = "no heartbeat" if health.beat_age_s is None else f"a heartbeat {age(health.beat_age_s)} ago"
        return _ok(name, f"{row}, {beat}")
    last = "there never was any" if health.row_age_s is None else f"the last one {age(health.row_age_s)} ago"
    detail = f"no utterance and no heartbeat within {age(since_s)}; {last}"
    return _warn(
        name, detail, "fine if nobody said anything; else see the checks above, in the application's environment"
    )


def check_emitters(health: Health) -> Check:
    """Whether a process dropped records, or fell silent with records in its spool."""
    name = "emitters"
    if health.emitters is None:
        return _may_not_read(name, health)
    dropped = Counter[str]()
    for one in health.emitters:
        dropped.update(one.dropped)
    silent = [one for one in health.emitters if one.spooled and one.age_s > _SILENT_AFTER_S]
    found: list[str] = []
    remedies: list[str] = []
    if dropped:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in dropped.most_common())
        found.append(f"{_n(dropped.total(), 'record')} dropped ({reasons})")
        remedies += [
            f"{reason}: {_DO.get(reason, 'see the log of the process')}" for reason, _ in dropped.most_common()
        ]
    if silent:
        found.append(f"silent with records in their spool: {_some([_told(one) for one in silent])}")
        remedies.append("`intent-events drain` on their host stores what is left there")
    if found:
        return _warn(name, "; ".join(found), "; ".join(remedies))
    return _ok(name, "no process dropped a record, or fell silent with some in its spool")


def check_dead_letters(health: Health) -> Check:
    """Whether records could not become rows lately."""
    name = "dead_letters"
    if health.dead_letters is None:
        return _may_not_read(name, health)
    if health.dead_letters:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in health.dead_letters.items())
        return _warn(
            name, f"records that could not become rows: {reasons}", "detail in agent.dead_letters names the fault"
        )
    return _ok(name, "every record became a row")


def _may_not_read(name: str, health: Health) -> Check:
    if not all(rights.there for rights in health.role.tables.values()):
        return _skip(name, "the database is not migrated")
    return _skip(name, f"the role {health.role.name} may not read this: ask with --dsn of one that may")


def _told(one: Emitter) -> str:
    process = f"{one.service_name or 'a service'} on {one.host or 'a host'}"
    return f"{process}, pid {one.pid}, {one.spooled:,} records, {age(one.age_s)} ago"


def _split(detail: str) -> tuple[str, str]:
    """A line of the form ``what: remedy`` as two."""
    what, _, remedy = detail.rpartition(": ")
    return (what, remedy) if what else (detail, "")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _n(n: int, what: str, plural: str = "s") -> str:
    return f"{n:,} {what}{'' if n == 1 else plural}"


def _ok(name: str, detail: str, remedy: str = "") -> Check:
    return Check(name=name, status=Status.OK, detail=detail, remedy=remedy)


def _warn(name: str, detail: str, remedy: str) -> Check:
    return Check(name=name, status=Status.WARN, detail=detail, remedy=remedy)


def _fail(name: str, detail: str, remedy: str) -> Check:
    return Check(name=name, status=Status.FAIL, detail=detail, remedy=remedy)


def _skip(name: str, detail: str) -> Check:
    return Check(name=name, status=Status.SKIP, detail=detail)
