# SPDX-License-Identifier: Apache-2.0
"""``intent-events erase`` as it is typed: one subject goes from tables and spool, and nothing brings them back."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4
from zlib import crc32

import pytest
from typer.testing import Result

from integration.test_roles import login
from intent_events import semconv
from intent_events.identity import derived_uuid, event_id_of
from intent_events.privacy import Actors, Fingerprinter, HashKey, KeyRing
from intent_events.rows import Rejection, row_of
from intent_events.semconv import Record
from intent_events.settings import DeliverySettings
from intent_events.spans import SpanView
from intent_events.store.write import Writer
from intent_events_exporter import IntentEventsSpanProcessor
from intent_events_exporter.record import encode
from intent_events_exporter.spool import look
from intent_events_exporter.spool.folder import Home
from intent_events_exporter.spool.segment import CURSOR_AT, MARK, encode_cursor, encode_frame, encode_header
from support.commands import run
from support.postgres import Database, Server, run_apart
from support.records import HASH_KEY, START_NS, span_view
from support.spool_process import left_by_the_dead
from support.waiting import until

pytestmark = pytest.mark.postgres

ANNA: Final = "anna@example.com"
BERT: Final = "bert@example.com"
SESSION: Final = "session of anna"
EMITTER: Final = str(uuid4())


def said(number: int, actor: str, session: str = "", **more: Any) -> SpanView:
    """An utterance of this actor."""
    attributes: dict[str, Any] = {
        semconv.ACTOR_ID: actor,
        semconv.SESSION_ID: session or f"session of {actor}",
        semconv.EMITTER_ID: EMITTER,
        semconv.EMITTER_SEQ: number + 1,
        **more,
    }
    return span_view(number, attributes)


def key_of(span: SpanView) -> str:
    """The key of an utterance."""
    return str(event_id_of(span.trace_id, span.span_id, span.start_ns))


def after(number: int, utterance: SpanView, record: Record, **attributes: Any) -> tuple[SpanView, Record]:
    """A reply or a follow-up of an utterance."""
    about = {semconv.EVENT_ID: key_of(utterance), semconv.EMITTER_ID: EMITTER, semconv.EMITTER_SEQ: number + 1}
    return span_view(number, {**about, **attributes}), record


Said = SpanView | tuple[SpanView, Record]
"""An utterance, or another record."""


def pairs_of(records: Sequence[Said]) -> Iterator[tuple[SpanView, Record]]:
    """Each with what it is a record of."""
    for record in records:
        yield (record, Record.UTTERANCE) if isinstance(record, SpanView) else record


def segment(*records: Said) -> bytes:
    """A segment of a spool in which these wait."""
    return encode_header(1) + b"".join(encode_frame(encode(*pair), 1) for pair in pairs_of(records))


def store(dsn: str, *records: Said) -> None:
    """Store these."""

    async def write() -> None:
        writer = Writer(dsn, door="exporter")
        rows = [row for pair in pairs_of(records) if not isinstance(row := row_of(*pair), Rejection)]
        await writer.write(rows)
        await writer.close()

    run_apart(write())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The spool that INTENT_EVENTS_SPOOL_DIR names."""
    return tmp_path / "spool"


@pytest.fixture
def owner_dsn(postgres_server: Server, pg: Database) -> Iterator[str]:
    """Address of a login that is enrolled as intent_owner."""
    with login(postgres_server, pg, "intent_owner") as dsn:
        yield dsn


def erase(dsn: str, *args: str, **environment: str) -> Result:
    """Run ``erase``."""
    return run("erase", "--dsn", dsn, *args, **environment)


def actors(pg: Database) -> list[str]:
    """Who is in the table."""
    return sorted(row[0] for row in pg.fetch_now("SELECT actor_id FROM agent.intent_events"))


def on_disk(folder: Path) -> bytes:
    """Every byte of the spool."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_dry_run_changes_nothing(pg: Database, owner_dsn: str, folder: Path) -> None:
    """Without --yes it counts, in tables and spool, and both are as they were."""
    store(pg.dsn, said(0, ANNA), said(1, BERT))
    left_by_the_dead(folder, segment(said(2, ANNA), said(3, BERT)))
    before = on_disk(folder)
    ran = erase(owner_dsn, "--actor", ANNA)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "Dry run, nothing was changed." in ran.stdout
    assert "1  agent.intent_events" in ran.stdout
    assert "1  spool of this host" in ran.stdout
    assert ANNA not in ran.stdout
    assert (actors(pg), on_disk(folder)) == ([ANNA, BERT], before)
    assert pg.fetchval_now("SELECT count(*) FROM agent.admin_audit") == 0
    found = json.loads(erase(owner_dsn, "--format", "json", INTENT_EVENTS_ERASE_ACTOR=ANNA).stdout)
    assert (found["done"], found["audit"], found["rows"]["intent_events"]) == (False, None, 1)
    assert found["spool"] == {"removed": 1, "living": 0, "newer_segments": 0}


def test_what_dead_processes_left_does_not_come_back(
    pg: Database, owner_dsn: str, writer_dsn: str, folder: Path
) -> None:
    """Records of the subject go from the spool with what follows them; those of others are stored as if nothing was."""
    stored = said(0, ANNA)
    store(pg.dsn, stored, said(1, BERT))
    waiting = said(2, ANNA)
    left_by_the_dead(
        folder,
        segment(
            waiting,
            said(3, BERT),
            after(4, waiting, Record.REPLY),
            after(5, stored, Record.OUTCOME, **{semconv.OUTCOME_KIND: "executed"}),
            after(6, said(1, BERT), Record.OUTCOME, **{semconv.OUTCOME_KIND: "picked"}),
            span_view(7, {semconv.ACTOR_ID: ANNA})._replace(start_ns=300_000_000_000_000_000_000),
            said(8, BERT),
        ),
        segment(said(9, ANNA)),
    )
    ran = erase(owner_dsn, "--actor", ANNA, "--yes", "--format", "json")
    assert (ran.exit_code, ran.stderr) == (0, "")
    done = json.loads(ran.stdout)
    assert done["spool"] == {"removed": 5, "living": 0, "newer_segments": 0}
    assert done["rows"] == {"intent_events": 1, "chat_events": 0, "intent_outcomes": 0, "dead_letters": 0}
    assert ANNA.encode() not in on_disk(folder)
    assert len(list(look(folder))) == 3
    drained = run("drain", "--dsn", writer_dsn)
    assert drained.exit_code == 0
    assert actors(pg) == [BERT, BERT, BERT]
    assert [row[0] for row in pg.fetch_now("SELECT kind FROM agent.intent_outcomes")] == ["picked"]
    assert pg.fetchval_now("SELECT count(*) FROM agent.chat_events") == 0
    doctor = json.loads(run("doctor", "--dsn", owner_dsn, "--format", "json").stdout)
    (letters,) = [check for check in doctor["checks"] if check["name"] == "dead_letters"]
    assert letters["status"] == "ok"
    ledger = json.loads(run("reconcile", "--dsn", owner_dsn, "--since", "2000-01-01", "--format", "json").stdout)
    assert (ledger["total"]["missing"], ledger["total"]["dead"]) == (0, 5)


def test_a_copy_of_what_is_stored_goes_from_the_disk(owner_dsn: str, folder: Path) -> None:
    """Records before the cursor are stored already, and their bytes go from the files of the dead all the same."""
    owner = left_by_the_dead(folder, segment(said(0, ANNA), said(1, BERT)))
    (path,) = owner.glob("*.spool")
    data = bytearray(path.read_bytes())
    cursor = data.index(MARK, data.index(MARK) + 1)
    data[CURSOR_AT : CURSOR_AT + 12] = encode_cursor(cursor)
    path.write_bytes(data)
    assert erase(owner_dsn, "--actor", ANNA, "--yes").exit_code == 0
    assert ANNA.encode() not in on_disk(folder)
    assert len(list(look(folder))) == 1


def test_what_a_living_process_has_not_stored_is_told(
    pg: Database, owner_dsn: str, writer_dsn: str, folder: Path
) -> None:
    """Records that wait for a living process are left to it: exit 1; once it is dead, the next run removes them."""
    store(pg.dsn, said(0, ANNA))
    home = Home.make(folder)
    (home.path / "00000001.spool").write_bytes(segment(said(1, ANNA), said(2, BERT)))
    before = on_disk(folder)
    ran = erase(owner_dsn, "--actor", ANNA, "--yes", "--timeout", "1s")
    assert ran.exit_code == 1
    assert "Left: 1 of their records still waiting for living processes" in ran.stdout
    assert (actors(pg), on_disk(folder)) == ([], before)
    home.let_go()
    assert erase(owner_dsn, "--actor", ANNA, "--yes").exit_code == 0
    assert run("drain", "--dsn", writer_dsn).exit_code == 0
    assert actors(pg) == [BERT]


def test_while_a_living_process_stores(pg: Database, owner_dsn: str, writer_dsn: str, folder: Path) -> None:
    """It waits for what a living process stores meanwhile, erases that too, and overwrites it in its files."""
    processor = IntentEventsSpanProcessor(writer_dsn, folder, settings=DeliverySettings())
    try:
        for number in range(200):
            assert processor.accept(said(number, ANNA if number % 2 else BERT))
        ran = erase(owner_dsn, "--actor", ANNA, "--yes", "--format", "json")
        assert ran.exit_code == 0, ran.stdout
        assert ANNA not in actors(pg)
        assert processor.accept(said(200, BERT))
        until(lambda: len(actors(pg)) == 101, "the others are stored")
        assert ANNA.encode() not in on_disk(folder)
    finally:
        processor.shutdown()
    assert set(actors(pg)) == {BERT}
    assert run("drain", "--dsn", writer_dsn).exit_code == 0
    assert set(actors(pg)) == {BERT}


def test_a_session(pg: Database, owner_dsn: str, folder: Path) -> None:
    """A session is found by the orchestrator's own id and by what rows have; others of its actor stay."""
    anna = said(0, ANNA, SESSION)
    reply = span_view(5, {semconv.SESSION_ID: SESSION})
    store(pg.dsn, anna, said(1, ANNA, "another"), said(2, BERT), (reply, Record.REPLY), after(6, anna, Record.REPLY))
    left_by_the_dead(
        folder, segment(said(3, ANNA, SESSION), (span_view(7, {semconv.SESSION_ID: SESSION}), Record.REPLY))
    )
    ran = erase(owner_dsn, "--session", SESSION, "--yes", "--format", "json")
    assert json.loads(ran.stdout)["rows"] == {
        "intent_events": 1,
        "chat_events": 2,
        "intent_outcomes": 0,
        "dead_letters": 0,
    }
    assert json.loads(ran.stdout)["spool"]["removed"] == 2
    assert actors(pg) == [ANNA, BERT]
    stored_id = str(derived_uuid(semconv.SESSION_ID, "another"))
    assert erase(owner_dsn, "--yes", INTENT_EVENTS_ERASE_SESSION=stored_id).exit_code == 0
    assert actors(pg) == [BERT]


def test_only_what_is_the_subjects_alone(pg: Database, owner_dsn: str) -> None:
    """In a session of two, replies that name no utterance stay, and so do dead letters of a trace of two."""
    both = said(0, ANNA, "shared")
    store(pg.dsn, both, said(1, BERT, "shared"), (span_view(5, {semconv.SESSION_ID: "shared"}), Record.REPLY))
    alone = said(2, ANNA, "alone")
    store(pg.dsn, alone, (span_view(6, {semconv.SESSION_ID: "alone"}), Record.REPLY))
    shared_trace = said(3, ANNA)
    store(pg.dsn, shared_trace, said(4, BERT)._replace(trace_id=shared_trace.trace_id))
    for span in (alone, shared_trace):
        pg.execute_now(
            "INSERT INTO agent.dead_letters (dead_letter_id, door, reason, trace_id) VALUES ($1, 'sink', 'r', $2)",
            uuid4(),
            f"{span.trace_id:032x}",
        )
    ran = erase(owner_dsn, "--actor", ANNA, "--yes", "--format", "json")
    assert json.loads(ran.stdout)["rows"] == {
        "intent_events": 3,
        "chat_events": 1,
        "intent_outcomes": 0,
        "dead_letters": 1,
    }
    assert actors(pg) == [BERT, BERT]


@pytest.mark.parametrize("settings", [{"INTENT_EVENTS_HASH_KEY": HASH_KEY, "INTENT_EVENTS_HASH_KEY_ID": "k7"}, {}])
def test_the_audit_has_counts_and_no_id(pg: Database, owner_dsn: str, settings: Mapping[str, str]) -> None:
    """The audit says who did what to how many rows; whose they were can be checked by whoever has key and id."""
    store(pg.dsn, said(0, ANNA))
    ran = erase(owner_dsn, "--actor", ANNA, "--yes", "--format", "json", **settings)
    (row,) = pg.fetch_now(
        "SELECT audit_id::text, subject_mark, mark_key_id, a::text AS whole FROM agent.admin_audit AS a"
    )
    assert json.loads(ran.stdout)["audit"] == row["audit_id"]
    assert "anna" not in row["whole"]
    if settings:
        mark = Fingerprinter(HashKey("k7", HASH_KEY.encode())).fingerprint(f"erased actor:{ANNA}")
        assert (row["subject_mark"], row["mark_key_id"]) == (mark, "k7")
    else:
        assert (row["subject_mark"], row["mark_key_id"]) == (None, None)


def test_every_stored_form_of_an_actor_is_found(pg: Database, owner_dsn: str, folder: Path, tmp_path: Path) -> None:
    """Recorded plain and under pseudonyms of two keys: all go, from tables and spool; without keys, the plain alone."""
    keys = [HashKey("old", HASH_KEY.encode()), HashKey("new", f"{HASH_KEY} anew".encode(), since_ns=START_NS)]
    pseudonyms = Actors("pseudonymous", KeyRing(keys))
    old, new = (pseudonyms.recorded(ANNA, at) or "" for at in (0, START_NS))
    assert len({ANNA, old, new}) == 3
    others = pseudonyms.recorded(BERT, START_NS) or ""
    store(pg.dsn, said(0, ANNA), said(1, old), said(2, new), said(3, others))
    left_by_the_dead(folder, segment(said(4, old), said(5, new), said(6, others)))
    ring = tmp_path / "ring.toml"
    ring.write_text(f'[old]\nkey = "{HASH_KEY}"\n[new]\nkey = "{HASH_KEY} anew"\nsince = 2026-01-01\n')
    without = erase(owner_dsn, "--actor", ANNA, "--format", "json")
    assert json.loads(without.stdout)["rows"]["intent_events"] == 1
    assert "pseudonym of theirs, as INTENT_EVENTS_ACTOR=pseudonymous" in erase(owner_dsn, "--actor", ANNA).stdout
    assert "pseudonym" not in erase(owner_dsn, "--actor", ANNA, INTENT_EVENTS_HASH_KEYRING=str(ring)).stdout
    ran = erase(owner_dsn, "--actor", ANNA, "--yes", "--format", "json", INTENT_EVENTS_HASH_KEYRING=str(ring))
    assert json.loads(ran.stdout)["rows"]["intent_events"] == 3
    assert json.loads(ran.stdout)["spool"]["removed"] == 2
    assert actors(pg) == [others]
    assert pg.fetchval_now("SELECT mark_key_id FROM agent.admin_audit") == "new"


def test_nobody_of_that_name(owner_dsn: str, folder: Path) -> None:
    """An id of which nothing is stored may be misspelt, and that is said; a spool that was named must be there."""
    assert not folder.exists()
    ran = erase(owner_dsn, "--actor", ANNA)
    assert ran.exit_code == 0
    assert "Nothing of theirs was found: check the id." in ran.stdout
    other = folder.with_name("other")
    named = erase(owner_dsn, "--actor", ANNA, "--spool-dir", str(other))
    assert (named.exit_code, named.stdout) == (2, "")
    assert f"there is no spool at {other}" in named.stderr


def test_a_newer_segment_is_told(owner_dsn: str, folder: Path) -> None:
    """In a segment of a form that this version does not know nothing can be told: exit 1, and it stays as it is."""
    newer = bytearray(segment(said(0, ANNA)))
    newer[8] = 99
    newer[20:24] = crc32(newer[:20]).to_bytes(4, "little")
    left_by_the_dead(folder, bytes(newer), segment(said(1, ANNA)))
    ran = erase(owner_dsn, "--actor", ANNA, "--yes")
    assert ran.exit_code == 1
    assert "Left: 1 of the spool's segments, written by a newer version" in ran.stdout
    assert bytes(newer) in on_disk(folder)


def test_an_interrupted_rewriting_is_taken_up(owner_dsn: str, folder: Path) -> None:
    """What an interrupted run has left half written is removed by the next."""
    owner = left_by_the_dead(folder, segment(said(0, ANNA), said(1, BERT)))
    (owner / "00000001.fresh").write_bytes(segment(said(0, ANNA)))
    assert erase(owner_dsn, "--actor", ANNA, "--yes").exit_code == 0
    assert ANNA.encode() not in on_disk(folder)
    assert len(list(look(folder))) == 1


def test_what_cannot_be_read_stays(owner_dsn: str, folder: Path) -> None:
    """A record of no form that this version knows, and bytes that are none, are nobody's and stay."""
    left_by_the_dead(folder, segment(said(0, ANNA)) + encode_frame(b"no record", 1) + b"no frame")
    assert erase(owner_dsn, "--actor", ANNA, "--yes").exit_code == 0
    kept = on_disk(folder)
    assert b"no record" in kept
    assert b"no frame" in kept
    assert ANNA.encode() not in kept


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "name one of --actor"),
        (("--actor", ANNA, "--session", SESSION), "name one of --actor"),
        (("--actor", "\0"), "no row can have this one"),
        (("--actor", ANNA, "--timeout", "soon"), "INTENT_EVENTS_ERASE_TIMEOUT"),
        (("--actor", ANNA, "--dsn", "mysql://u:s3cret@h/d"), "no postgresql:// address"),
    ],
)
def test_wrong_use(args: tuple[str, ...], says: str) -> None:
    """Flags that name nobody or cannot be used: exit 2, without the value."""
    ran = run("erase", "--dsn", "postgresql://127.0.0.1:1/x", *args)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert says in ran.stderr
    assert ANNA not in ran.stderr
    assert "s3cret" not in ran.stderr


def test_a_key_file_that_cannot_be_read(owner_dsn: str, tmp_path: Path) -> None:
    """The key of the mark is a setting like others: exit 2 when its file is missing; one that is there is used."""
    ran = erase(owner_dsn, "--actor", ANNA, INTENT_EVENTS_HASH_KEY_FILE=str(tmp_path / "none"))
    assert (ran.exit_code, ran.stdout) == (2, "")
    (tmp_path / "key").write_text(HASH_KEY)
    assert erase(owner_dsn, "--actor", ANNA, INTENT_EVENTS_HASH_KEY_FILE=str(tmp_path / "key")).exit_code == 0


def test_whoever_may_not_changes_nothing(pg: Database, writer_dsn: str, folder: Path) -> None:
    """A role that may not erase rows does not touch the spool either: exit 3."""
    store(pg.dsn, said(0, ANNA))
    left_by_the_dead(folder, segment(said(1, ANNA)))
    before = on_disk(folder)
    ran = erase(writer_dsn, "--actor", ANNA, "--yes")
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert "permission denied for function erase_subject" in ran.stderr
    assert (actors(pg), on_disk(folder)) == ([ANNA], before)


def test_a_spool_that_cannot_be_read(pg: Database, owner_dsn: str, folder: Path) -> None:
    """A spool that is none is not an empty one: exit 3, and no row was erased."""
    store(pg.dsn, said(0, ANNA))
    folder.write_text("")
    ran = erase(owner_dsn, "--actor", ANNA, "--yes")
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert "the spool cannot be changed (NotADirectoryError)" in ran.stderr
    assert actors(pg) == [ANNA]


def test_without_the_exporter(owner_dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core alone erases rows, but where a spool is, it says what it needs to look into it."""
    monkeypatch.setitem(sys.modules, "intent_events_exporter.erasure", None)
    assert erase(owner_dsn, "--actor", ANNA, "--yes").exit_code == 0
    folder.mkdir()
    ran = erase(owner_dsn, "--actor", ANNA, "--yes")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "pip install intent-events-exporter" in ran.stderr
