# SPDX-License-Identifier: Apache-2.0
"""The judgement of ``doctor`` on a database: its address, the role that asks, its schema, and what arrived."""

from typing import Any, Final

import pytest

from intent_events.review import doctor
from intent_events.review.doctor_model import Status
from intent_events.store.health import WRITTEN, Emitter, Rights, Role
from intent_events_exporter.metrics import Dropped
from intent_events_exporter.spool.refusal import Refusal
from unit.healths import HEALTH, ROLE

NO_TABLE: Final = Rights(there=False, may=frozenset())
STREAM: Final = 900.0


def rights(**of_tables: str) -> Role:
    """The role of an application with these rights on tables instead."""
    changed = {table: Rights(there=True, may=frozenset(may.split())) for table, may in of_tables.items()}
    return ROLE._replace(tables={**ROLE.tables, **changed})


@pytest.mark.parametrize(
    ("role", "status", "says"),
    [
        (ROLE._replace(superuser=True), Status.WARN, "superuser"),
        (ROLE._replace(may_create=True), Status.WARN, "CREATE in schema agent"),
        (rights(chat_events="INSERT DELETE"), Status.WARN, "DELETE of agent.chat_events"),
        (rights(emitters="INSERT SELECT"), Status.OK, "may INSERT"),
        (rights(emitters="SELECT"), Status.FAIL, "lacks the right INSERT on agent.emitters"),
        (rights(**dict.fromkeys(WRITTEN, "SELECT")), Status.WARN, "app may not INSERT: it is a role that reads"),
        (rights(**dict.fromkeys(WRITTEN, "")), Status.WARN, "app may not INSERT: it is a role that reads"),
        (rights(**dict.fromkeys(WRITTEN, ""))._replace(may_use=False), Status.FAIL, "lacks USAGE on schema agent"),
        (ROLE._replace(may_use=False), Status.FAIL, "lacks USAGE on schema agent"),
        (ROLE._replace(tables={**ROLE.tables, "emitters": NO_TABLE}), Status.SKIP, "is not migrated"),
        (
            ROLE._replace(superuser=True, may_use=False, tables=dict.fromkeys(WRITTEN, NO_TABLE)),
            Status.SKIP,
            "is not migrated",
        ),
        (rights(emitters="UPDATE")._replace(superuser=True), Status.FAIL, "lacks the right INSERT"),
    ],
)
def test_a_role(role: Role, status: Status, says: str) -> None:
    """A role that cannot INSERT fails, one that can do more is warned of, and reading is no fault."""
    check = doctor.check_role(role)
    assert check.status is status
    assert says in check.detail


@pytest.mark.parametrize(
    ("role", "says", "remedy"),
    [
        (ROLE._replace(standby=True), "a standby", "name the primary"),
        (ROLE._replace(only_reads=True), "each of its transactions only reads", "RESET default_transaction_read_only"),
    ],
)
def test_a_role_whose_writes_are_refused(role: Role, says: str, remedy: str) -> None:
    """A right to INSERT is none where nothing can be written."""
    check = doctor.check_role(role)
    assert check.status is Status.FAIL
    assert says in check.detail
    assert remedy in check.remedy


def test_a_role_that_would_read_after_a_grant_too() -> None:
    """A login of a reviewer's, whose transactions only read, is not made one that writes by a GRANT."""
    check = doctor.check_role(rights(**dict.fromkeys(WRITTEN, "SELECT"))._replace(only_reads=True))
    assert check.status is Status.WARN
    assert "a login of its own: SELECT agent.enroll" in check.remedy
    assert "GRANT" not in check.remedy


@pytest.mark.parametrize("may", ["", "SELECT"])
def test_a_role_that_reads(may: str) -> None:
    """A role of people, given for asking alone, is not judged as that of an application, whose own would be."""
    role = rights(**dict.fromkeys(WRITTEN, may))
    asked = doctor.check_role(role, of_application=False)
    assert (asked.status, "ask once with the application's" in asked.detail) == (Status.SKIP, True)
    own = doctor.check_role(role)
    assert own.status is Status.WARN
    assert "GRANT intent_writer TO app" in own.remedy


@pytest.mark.parametrize(
    ("health", "detail", "remedy", "never"),
    [
        (None, "INTENT_EVENTS_DSN is not set", "set it to postgresql://", "records wait"),
        ("INTENT_EVENTS_DSN is no postgresql:// address; write x", "; write x", "records wait in the spool", "set it"),
    ],
)
def test_a_database_that_was_not_asked(health: str | None, detail: str, remedy: str, never: str) -> None:
    """Without an address no record is kept, and nothing waits for anything; with any address records wait."""
    check = doctor.check_database(health)
    assert check.status is Status.FAIL
    assert detail in check.detail
    assert remedy in check.remedy
    assert never not in check.remedy


def test_a_schema() -> None:
    """A missing table and an old revision fail; a revision that may not be read is not guessed at."""
    missing = HEALTH._replace(role=ROLE._replace(tables={**ROLE.tables, "emitters": NO_TABLE}))
    assert doctor.check_schema(missing, "", at_head=False).status is Status.FAIL
    behind = doctor.check_schema(HEALTH, "db is at revision 1: run `intent-events migrate`", at_head=False)
    assert (behind.status, behind.remedy) == (Status.FAIL, "run `intent-events migrate`")
    unread = HEALTH._replace(reads_version=False)
    assert doctor.check_schema(unread, "permission denied", at_head=False).status is Status.SKIP


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"row_age_s": 10_000.0, "beat_age_s": 800.0}, Status.OK),
        ({"row_age_s": 900.0, "beat_age_s": None}, Status.OK),
        ({"row_age_s": 901.0, "beat_age_s": None}, Status.WARN),
        ({"row_age_s": None, "beat_age_s": None}, Status.WARN),
        ({"row_age_s": None, "beat_age_s": None, "reads_rows": False}, Status.SKIP),
    ],
)
def test_a_stream(facts: dict[str, Any], status: Status) -> None:
    """Silence is a warning; not being allowed to look is not silence."""
    assert doctor.check_stream(HEALTH._replace(**facts), STREAM).status is status


def test_emitters() -> None:
    """Drops are summed by reason; a process is silent when it stopped with records in its spool, and not when idle."""
    lost = [Emitter("shop", "h", 1, 5.0, 0, {"disk_full": 2}), Emitter("shop", "h", 2, 5.0, 0, {"disk_full": 1})]
    check = doctor.check_emitters(HEALTH._replace(emitters=tuple(lost)))
    assert (check.status, "3 records dropped (disk_full 3)" in check.detail) == (Status.WARN, True)
    for age_s, spooled, status in ((301.0, 1, Status.WARN), (299.0, 1, Status.OK), (9999.0, 0, Status.OK)):
        emitters = (Emitter(None, None, None, age_s, spooled, {}),)
        assert doctor.check_emitters(HEALTH._replace(emitters=emitters)).status is status


@pytest.mark.parametrize("reason", [reason.value for kind in (Dropped, Refusal) for reason in kind])
def test_drops_have_the_remedy_of_their_reason(reason: str) -> None:
    """Records that were dropped are nowhere, so no command is named that would look for them; the cause is."""
    lost = Emitter("shop", "h", 1, 5.0, 0, {reason: 12})
    check = doctor.check_emitters(HEALTH._replace(emitters=(lost,)))
    assert f"12 records dropped ({reason} 12)" in check.detail
    assert check.remedy.startswith(f"{reason}: ")
    assert "reconcile" not in check.remedy
    assert "drain` on" not in check.remedy
    silent = Emitter("shop", "h", 1, 999.0, 3, {reason: 12})
    assert "`intent-events drain` on" in doctor.check_emitters(HEALTH._replace(emitters=(silent,))).remedy


def test_drops_of_an_unknown_reason() -> None:
    """A newer version may give a reason that this one does not know: then the log of the process is named."""
    lost = Emitter("shop", "h", 1, 5.0, 0, {"moonlight": 1, "disk_full": 2})
    remedy = doctor.check_emitters(HEALTH._replace(emitters=(lost,))).remedy
    assert remedy.startswith("disk_full: make room")
    assert "moonlight: see the log" in remedy
