# SPDX-License-Identifier: Apache-2.0
"""An application that was never touched, under ``opentelemetry-instrument`` and with environment variables alone."""

from collections.abc import Iterator
from typing import Final

import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.privacy import normalize
from support.otlp_receiver import OtlpReceiver, otlp_receiver
from support.postgres import GIVEN_DSN, Database, Server, address
from support.processes import APPS, run_app
from support.records import HASH_KEY

pytestmark = pytest.mark.postgres

CANARIES: Final = ("zibaldone", "quockerwodger", "0815-4711", "snickersnee", "velleity", "ulotrichous")
"""Words that nobody but the user has: none may be found anywhere."""

UTTERANCES: Final = (
    "assign Zibaldone as custodian",
    "open an account for quockerwodger@snickersnee.example",
    "close account 0815-4711 of Velleity",
    "open it or make ULOTRICHOUS custodian",
    "velleity?",
    "explode zibaldone\tsnickersnee",
    "all of: open zibaldone and open velleity and open 0815-4711",
    "\uff3a\uff29\uff22\uff21\uff2c\uff24\uff2f\uff2e\uff25 custodian",  # the first canary in full width
)

OUTCOMES: Final = {"matched": 4, "no_allowed_verbs": 1, "clarify_verb": 1, "no_match": 1, "error": 1}


@pytest.fixture(scope="session")
def tcp_server() -> Iterator[Server]:
    """A server that listens on TCP, as those of applications do."""
    if GIVEN_DSN:
        yield Server(GIVEN_DSN)
        return
    with EmbeddedPostgres(tcp=True) as server:
        yield Server(address(server.tcp_dsn()).replace("@127.0.0.1:", "@localhost:"))


@pytest.fixture(scope="session")
def _template(tcp_server: Server) -> Iterator[str]:
    with tcp_server.migrated_template() as name:
        yield name


@pytest.fixture
def pg(tcp_server: Server, _template: str) -> Iterator[Database]:
    """A migrated database of one's own, reached by a host name over TCP."""
    with tcp_server.database(_template) as database:
        yield database


@pytest.fixture
def backend() -> Iterator[OtlpReceiver]:
    """The OTLP backend that the application's traces go to."""
    with otlp_receiver() as receiver:
        yield receiver


def shop(backend: OtlpReceiver, dsn: str, **more: str) -> dict[str, str]:
    """Variables that instrument the shop: all that an operator would write."""
    return {
        "INTENT_EVENTS_TARGETS": "shop.chat:Orchestrator.handle",
        "INTENT_EVENTS_DSN": dsn,
        "INTENT_EVENTS_HASH_KEY": HASH_KEY,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": backend.endpoint,
        "OTEL_SERVICE_NAME": "shop",
        **more,
    }


_TABLES: Final = """
SELECT oid::regclass::text AS name FROM pg_class
WHERE relnamespace = 'agent'::regnamespace AND relkind IN ('r', 'p')
"""


async def assert_no_canary(pg: Database, backend: OtlpReceiver, *outputs: str) -> None:
    """None of the user's words is in any column of any table, in what the backend got, or in what was printed."""
    tables = await pg.fetch(_TABLES)
    places = {"output": "".join(outputs)}
    for table in tables:
        rows = await pg.fetch(f"SELECT t::text AS whole FROM {table['name']} AS t")
        places[table["name"]] = "\n".join(row["whole"] for row in rows)
    places |= {f"{path} {n}": body.decode("utf-8", "replace") for n, (path, body) in enumerate(backend.bodies)}
    assert len(places) > 10
    for place, text in places.items():
        for canary in CANARIES:
            assert canary not in normalize(text), f"{canary} was found in {place}"


@pytest.mark.parametrize("exporters", ["otlp,intent_events", "intent_events,otlp", "otlp"])
async def test_an_untouched_application(pg: Database, backend: OtlpReceiver, exporters: str) -> None:
    """Rows, root spans at the backend and utterances are as many, and the user's words are nowhere.

    With ``otlp`` alone nobody names our exporter: the instrumentor attaches it for the address.
    """
    env = shop(backend, pg.dsn, OTEL_TRACES_EXPORTER=exporters)
    ran = run_app("-m", "shop", "chat", env=env, instrumented=True, says="\n".join(UTTERANCES))
    assert (ran.returncode, ran.stdout) == (0, "handled 8, of which 1 failed\n"), ran.stderr
    rows = await pg.fetch("SELECT * FROM agent.intent_events ORDER BY emitter_seq")
    roots = {span["span_id"]: span for span in backend.spans() if span.get("intent.root")}
    assert len(rows) == len(roots) == len(UTTERANCES)
    for row in rows:
        span = roots[row["span_id"]]
        assert (row["trace_id"], str(row["event_id"])) == (span["trace_id"], span["intent.event_id"])
        assert row["outcome"] == span["intent.outcome"]
        assert (row["service_name"], row["scope"]) == ("shop", "tenant-1")
    counted = await pg.fetch("SELECT outcome, count(*) AS n FROM agent.intent_events GROUP BY 1")
    assert {row["outcome"]: row["n"] for row in counted} == OUTCOMES
    nested = [span for span in backend.spans() if span.get("intent.root") is False]
    assert len(nested) == 3, "calls within a call are child spans"
    assert {span["parent"] for span in nested} <= set(roots)
    assert rows[5]["error_code"] == "RuntimeError"
    assert {row["actor_id"] for row in rows} == {"actor-0", "actor-1"}
    await assert_no_canary(pg, backend, ran.stdout, ran.stderr)
    assert not [line for line in ran.stderr.splitlines() if "intent" in line], ran.stderr


async def test_an_application_with_names_of_its_own(pg: Database, backend: OtlpReceiver) -> None:
    """A mapping file says where the fields are; a session that is no UUID becomes one, flagged; stages are children."""
    env = shop(
        backend,
        pg.dsn,
        INTENT_EVENTS_TARGETS="bank.desk:ask",
        INTENT_EVENTS_MAPPING=str(APPS / "bank" / "mapping.toml"),
    )
    said = "open an account for zibaldone\nvelleity\n"
    ran = run_app("-m", "bank", env=env, instrumented=True, says=said)
    assert (ran.returncode, ran.stdout) == (0, "handed out 2 tickets\n"), ran.stderr
    found, nothing = await pg.fetch("SELECT * FROM agent.intent_events ORDER BY emitter_seq")
    assert (found["outcome"], found["chosen_verb_fqn"]) == ("matched", "account.open")
    assert (nothing["outcome"], nothing["chosen_verb_fqn"]) == ("no_match", None)
    assert found["actor_id"] == nothing["actor_id"] == "teller-1"
    assert found["session_id"] == nothing["session_id"]
    assert found["session_id"].version == 5
    assert "session_id_derived" in found["quality"]
    stages = [span for span in backend.spans() if span.get("intent.stage") == "discover"]
    assert {span["parent"] for span in stages} == {found["span_id"], nothing["span_id"]}
    await assert_no_canary(pg, backend, ran.stdout, ran.stderr)


async def test_a_script_that_ends_at_once(pg: Database, backend: OtlpReceiver) -> None:
    """What is queued when the interpreter ends is flushed, to an address with a host name."""
    assert "@localhost:" in pg.dsn
    ran = run_app("-m", "shop", "exit", env=shop(backend, pg.dsn), instrumented=True, says="open it")
    assert (ran.returncode, ran.stdout) == (3, "handled 1, of which 0 failed\n"), ran.stderr
    assert await pg.fetchval("SELECT outcome FROM agent.intent_events") == "matched"
    assert len([span for span in backend.spans() if span.get("intent.root")]) == 1


async def test_a_script_that_fails(pg: Database, backend: OtlpReceiver) -> None:
    """An exception ends the script as it would without us, and its utterance is a row."""
    env = shop(backend, pg.dsn)
    ran = run_app("-m", "shop", "raise", env=env, instrumented=True, says="open it\nexplode")
    alone = run_app("-m", "shop", "raise", env={}, says="open it\nexplode")
    assert ran.returncode == alone.returncode == 1
    assert ran.stderr.splitlines()[-1] == alone.stderr.splitlines()[-1] == "RuntimeError: cannot handle: explode"
    rows = await pg.fetch("SELECT outcome, error_code FROM agent.intent_events ORDER BY emitter_seq")
    assert [tuple(row) for row in rows] == [("matched", None), ("error", "RuntimeError")]


def lines_of_ours(stderr: str) -> list[str]:
    """Log lines that speak of us."""
    return [line for line in stderr.splitlines() if "intent" in line.lower()]


NAMED, ATTACHED = "otlp,intent_events", "otlp"


@pytest.mark.parametrize(
    ("dsn", "says", "exporters"),
    [
        ("postgresql://writer:pa55word-canary@127.0.0.1:1/shop", "no connection to", NAMED),
        ("postgresql://writer:pa55word-canary@127.0.0.1:1/shop", "no connection to", ATTACHED),
        ("postgresql://writer:pa55word-canary@127.0.0.1:port/shop", "INTENT_EVENTS_DSN has an @", ATTACHED),
        ("mysql://writer:pa55word-canary@127.0.0.1/shop", "INTENT_EVENTS_DSN is no postgresql:// address", NAMED),
        ("mysql://writer:pa55word-canary@127.0.0.1/shop", "INTENT_EVENTS_DSN is no postgresql:// address", ATTACHED),
        ("postgresql://writer:pa55/word-canary@127.0.0.1/shop", "INTENT_EVENTS_DSN", NAMED),
    ],
    ids=["nobody, named", "nobody, attached", "no port", "scheme, named", "scheme, attached", "unescaped password"],
)
def test_a_wrong_address(backend: OtlpReceiver, dsn: str, says: str, exporters: str) -> None:
    """The application ends with its own code, its traces reach the backend, and one line a door says what is wrong."""
    env = shop(backend, dsn, OTEL_TRACES_EXPORTER=exporters, INTENT_EVENTS_EXPORT_TIMEOUT="300ms")
    ran = run_app("-m", "shop", "exit", env=env, instrumented=True, says="open it\nclose it")
    assert (ran.returncode, ran.stdout) == (3, "handled 2, of which 0 failed\n")
    assert len([span for span in backend.spans() if span.get("intent.root")]) == 2
    lines = lines_of_ours(ran.stderr)
    assert len(lines) == (2 if exporters == NAMED else 1), ran.stderr
    assert all(says in line for line in lines)
    assert "canary" not in ran.stderr + ran.stdout
    assert "pa55" not in ran.stderr + ran.stdout


async def test_a_database_that_was_never_migrated(tcp_server: Server, backend: OtlpReceiver) -> None:
    """The one line names the command that mends it."""
    with tcp_server.database() as database:
        env = shop(backend, database.dsn, INTENT_EVENTS_EXPORT_TIMEOUT="300ms")
        ran = run_app("-m", "shop", "exit", env=env, instrumented=True, says="open it")
    assert ran.returncode == 3
    (line,) = lines_of_ours(ran.stderr)
    assert "intent-events migrate" in line


@pytest.mark.parametrize(
    "target",
    ["shop.chat:Orchestrator.handel", "shop.chat:Orchestra.handle", "shop.chat.Orchestrator", "shop.chat:VERBS"],
)
def test_a_misspelt_target(pg: Database, backend: OtlpReceiver, target: str) -> None:
    """A target that names nothing costs one line that names it, and the application runs."""
    env = shop(backend, pg.dsn, INTENT_EVENTS_TARGETS=target)
    ran = run_app("-m", "shop", "exit", env=env, instrumented=True, says="open it")
    assert (ran.returncode, ran.stdout) == (3, "handled 1, of which 0 failed\n")
    (line,) = lines_of_ours(ran.stderr)
    assert target in line


def test_a_target_in_the_script_itself(pg: Database, backend: OtlpReceiver) -> None:
    """The script has not run when targets are wrapped: the one line names the decorator."""
    env = shop(backend, pg.dsn, INTENT_EVENTS_TARGETS="__main__:main")
    ran = run_app("-m", "shop", "exit", env=env, instrumented=True, says="open it")
    assert ran.returncode == 3
    (line,) = lines_of_ours(ran.stderr)
    assert "__main__:main names nothing yet: put @record_utterance on" in line


def test_without_an_address(backend: OtlpReceiver) -> None:
    """Spans reach the backend as ever, and one line says that there are no rows, and which variable is missing."""
    ran = run_app("-m", "shop", "exit", env=shop(backend, ""), instrumented=True, says="open it\nclose it")
    assert (ran.returncode, ran.stdout) == (3, "handled 2, of which 0 failed\n")
    assert len([span for span in backend.spans() if span.get("intent.root")]) == 2
    (line,) = lines_of_ours(ran.stderr)
    assert "this process stores no rows: set INTENT_EVENTS_DSN" in line


def test_a_mapping_that_cannot_be_used(pg: Database, backend: OtlpReceiver) -> None:
    """A mapping file that is not there costs one line, and the usual names are read."""
    env = shop(backend, pg.dsn, INTENT_EVENTS_MAPPING="/nowhere/mapping.toml")
    ran = run_app("-m", "shop", "exit", env=env, instrumented=True, says="open it")
    assert ran.returncode == 3
    (line,) = lines_of_ours(ran.stderr)
    assert "/nowhere/mapping.toml" in line
    assert pg.fetchval_now("SELECT outcome FROM agent.intent_events") == "matched"
