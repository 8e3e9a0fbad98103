# SPDX-License-Identifier: Apache-2.0
"""An utterance is found under every live key, by nobody without one, and its text is given by standard input alone."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from intent_events.cli.lookup import lookup
from intent_events.privacy import HashKey, KeyRing, Masker, Privacy, shipped_vocabulary
from intent_events.review.lookup import lookup as find
from support.postgres import Database
from support.stored import add_event

pytestmark = pytest.mark.postgres

SAID = "assign Zebedee Quux as custodian"
OTHER = "assign State Street as custodian"
OLD, NEW, GONE = (HashKey(name, name.encode().ljust(16, b"-"), at) for at, name in enumerate(("old", "new", "gone")))


def privacy(*keys: HashKey) -> Privacy:
    """Rules of these keys; of none, plain ones."""
    return Privacy(KeyRing(keys) if keys else None, Masker(shipped_vocabulary()))


@pytest.fixture
async def stored(pg: Database) -> Database:
    """The same words said under each of three keys and under none, and other words of the same template."""
    now = datetime.now(UTC)
    for age, (text, key) in enumerate([(SAID, OLD), (SAID, NEW), (SAID, GONE), (SAID, None), (OTHER, NEW)]):
        kept = privacy(*([key] if key else [])).record(text)
        await add_event(
            pg,
            now - timedelta(hours=age),
            utterance_hash=kept.hash,
            hash_key_id=kept.key_id,
            template_hash=kept.template_hash,
            utterance_preview=kept.preview,
        )
    return pg


async def test_an_utterance_is_found_under_every_live_key(stored: Database) -> None:
    """Each live key finds its own, and what was never keyed is found by anybody; a key that is gone finds nothing."""
    since = datetime.now(UTC) - timedelta(days=1)
    found = await find(stored.dsn, f"  {SAID.upper()} ", privacy(OLD, NEW), since=since)
    assert {each.hash_key_id: each.n for each in found.keys} == {"old": 1, "new": 1, None: 1}
    assert (found.n, [each.hash_key_id for each in found.events]) == (3, ["old", "new", None])
    everything = await find(stored.dsn, SAID, privacy(OLD, NEW, GONE), since=since)
    assert everything.n == 4
    recent = await find(stored.dsn, SAID, privacy(OLD, NEW), since=datetime.now(UTC) - timedelta(minutes=30), limit=1)
    assert [each.hash_key_id for each in recent.events] == ["old"]


async def test_a_template_is_found(stored: Database) -> None:
    """Utterances that differ in values only are found by any of them."""
    since = datetime.now(UTC) - timedelta(days=1)
    found = await find(stored.dsn, "assign Goldman Sachs as custodian", privacy(NEW), since=since, template=True)
    assert (found.by, found.n, {each.utterance_preview for each in found.events}) == (
        "template",
        2,
        {"assign <name?> as custodian"},
    )


@dataclass(frozen=True)
class Ran:
    """What the command did."""

    code: int
    out: str
    err: str


def run(*args: str, text: str = SAID, **environment: str) -> Ran:
    """Run ``lookup`` with a text on its standard input."""
    app = typer.Typer(add_completion=False)
    app.command()(lookup)
    result = CliRunner(env=environment).invoke(app, list(args), input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def ring(tmp_path: Path) -> str:
    """A file with two of the keys."""
    path = tmp_path / "keys.toml"
    path.write_text('[old]\nkey = "old-------------"\n[new]\nkey = "new-------------"\nsince = 2026-01-01\n')
    return str(path)


def test_the_command(stored: Database, ring: str) -> None:
    """It says how often, under which keys and when, and never what was looked for."""
    ran = run(text=f"{SAID}\n", INTENT_EVENTS_DSN=stored.dsn, INTENT_EVENTS_HASH_KEYRING=ring)
    assert ran.code == 0, ran.err
    assert "3 utterances of this text" in ran.out
    assert "by key: old 1, new 1, plain 1" in ran.out
    assert "Zebedee" not in ran.out + ran.err
    told = json.loads(run("--format", "json", INTENT_EVENTS_DSN=stored.dsn, INTENT_EVENTS_HASH_KEYRING=ring).out)
    assert (told["n"], told["by"], len(told["events"])) == (3, "utterance", 3)
    terminal = run(INTENT_EVENTS_DSN=stored.dsn, INTENT_EVENTS_HASH_KEYRING=ring, COLUMNS="80", FORCE_COLOR="1")
    for event in told["events"]:
        assert event["event_id"] in ran.out
        assert event["event_id"] in terminal.out


def test_what_was_not_said(stored: Database, ring: str) -> None:
    """Nothing found is exit code 1, and no failure."""
    ran = run(text="close the account", INTENT_EVENTS_DSN=stored.dsn, INTENT_EVENTS_HASH_KEYRING=ring)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("No utterance of this text since ")


@pytest.mark.parametrize(
    ("args", "text", "code", "says"),
    [
        ([], "", 2, "no text on standard input"),
        (["--since", "zebedee"], SAID, 2, "--since (INTENT_EVENTS_LOOKUP_SINCE)"),
        (["--dsn", "postgresql://nobody@127.0.0.1:9/none"], SAID, 3, "could not ask"),
    ],
)
def test_wrong_use(args: list[str], text: str, code: int, says: str, stored: Database, ring: str) -> None:
    """What cannot be used or asked is told on stderr, with its own exit code."""
    ran = run(*args, text=text, INTENT_EVENTS_DSN=stored.dsn, INTENT_EVENTS_HASH_KEYRING=ring)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err


def test_without_a_key(stored: Database) -> None:
    """A key that this process would make finds nothing, so the command asks for one."""
    ran = run(INTENT_EVENTS_DSN=stored.dsn)
    assert ran.code == 2
    assert "set INTENT_EVENTS_HASH_KEY_FILE or INTENT_EVENTS_HASH_KEYRING" in ran.err
    assert run(INTENT_EVENTS_DSN=stored.dsn, INTENT_EVENTS_HASH="plain").code == 0
