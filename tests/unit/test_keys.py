# SPDX-License-Identifier: Apache-2.0
"""Several keys are live at once, each makes fingerprints in its own epoch, and one that is destroyed leads nowhere."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import recording
from intent_events.errors import SettingsError
from intent_events.instrument.current import make_privacy
from intent_events.privacy import (
    Actors,
    HashKey,
    KeyRing,
    Masker,
    Privacy,
    forms_of_actor,
    load_keyring,
    read_ring,
    shipped_vocabulary,
)
from intent_events.settings import RecordSettings
from unit.odd_values import ANY_TEXT
from unit.traced import SETTINGS, Traced, traced_by

ONE, TWO = HashKey("one", b"1" * 16), HashKey("two", b"2" * 16, 100)
BOTH = KeyRing([TWO, ONE])
MASKER = Masker(shipped_vocabulary())
SECRET = "0123456789abcdef"  # noqa: S105 - what must not be shown


@pytest.mark.parametrize(("at_ns", "key_id"), [(0, "one"), (99, "one"), (100, "two"), (1 << 62, "two")])
def test_a_key_is_used_in_its_epoch(at_ns: int, key_id: str) -> None:
    """From the beginning of its epoch on a key makes the fingerprints, until that of the next one."""
    both = Privacy(BOTH, MASKER).record("hello there", at_ns)
    alone = Privacy(KeyRing([{"one": ONE, "two": TWO}[key_id]]), MASKER).record("hello there", at_ns)
    assert both == alone
    assert both.key_id == key_id


@given(ANY_TEXT)
def test_every_live_key_finds_what_it_made(text: str) -> None:
    """Whatever epoch a text was said in, its fingerprints are among those of the live keys."""
    privacy = Privacy(BOTH, MASKER)
    every = privacy.every_record(text)
    assert [each.key_id for each in every] == ["one", "two"]
    assert [privacy.record(text, 0), privacy.record(text, 100)] == every
    assert len({each.hash for each in every}) == len({each.template_hash for each in every}) == 2


@given(
    st.sampled_from(["hello there", "assign Zebedee Quux", "close account 4711"]), st.binary(min_size=16, max_size=32)
)
def test_a_destroyed_key_makes_its_hashes_unlinkable(text: str, other: bytes) -> None:
    """Without the key no text gives its hash again: not under the keys that are left, any other one, or none."""
    gone = Privacy(KeyRing([ONE]), MASKER).record(text)
    left = Privacy(KeyRing([TWO, HashKey("x", other)]), MASKER).every_record(text) if other != ONE.secret else []
    known = [*left, *Privacy(None, MASKER).every_record(text)]
    assert not {gone.hash, gone.template_hash} & {each for one in known for each in (one.hash, one.template_hash)}
    actor = Actors("pseudonymous", KeyRing([ONE])).recorded("user-1", 0)
    assert actor not in forms_of_actor("user-1", KeyRing([TWO]))


def test_a_ring_file(tmp_path: Path) -> None:
    """A table is a key: in the file or in one beside it, from a date, a time, or the beginning."""
    (tmp_path / "b.key").write_text(f"{SECRET}b\n")
    path = tmp_path / "ring.toml"
    path.write_text(
        f'[a]\nkey = "{SECRET}a"\n[b]\nkey_file = "b.key"\nsince = 2026-11-01\n'
        f'["c d"]\nkey = "{SECRET}c"\nsince = 2027-02-01T01:00:00+01:00\n'
        f'[e]\nkey = "{SECRET}e"\nsince = 2027-03-01T00:00:00\n'
    )
    ring = KeyRing(load_keyring(path))
    starts = [0, *(datetime(*day, tzinfo=UTC).timestamp() * 1e9 for day in ((2026, 11, 1), (2027, 2, 1), (2027, 3, 1)))]
    assert [(key.key_id, key.secret.decode()[-1], key.since_ns) for key in ring.keys] == [
        (key_id, key_id[0], start) for key_id, start in zip(("a", "b", "c d", "e"), starts, strict=True)
    ]
    assert SECRET not in repr(ring.keys)


def test_the_one_key_is_older_than_the_ring(tmp_path: Path) -> None:
    """A ring can be set beside the key there was: it is live, and its epoch ends where that of the ring begins."""
    path = tmp_path / "ring.toml"
    path.write_text(f'[new]\nkey = "{SECRET}n"\nsince = 2026-11-01\n')
    settings = RecordSettings.from_environment(
        {"INTENT_EVENTS_HASH_KEY": SECRET, "INTENT_EVENTS_HASH_KEY_ID": "old", "INTENT_EVENTS_HASH_KEYRING": str(path)}
    )
    ring = read_ring(settings)
    assert ring is not None
    assert [key.key_id for key in ring.keys] == ["old", "new"]
    assert make_privacy(settings).record("x", 0).key_id == "old"
    assert make_privacy(settings).record("x", ring.keys[1].since_ns).key_id == "new"
    again = tmp_path / "again.toml"
    again.write_text(f'[old]\nkey = "{SECRET}"\n')
    same = read_ring(settings.model_copy(update={"hash_keyring": again}))
    assert same is not None
    assert [key.key_id for key in same.keys] == ["old"]
    again.write_text(f'[old]\nkey = "{SECRET}x"\n')
    with pytest.raises(SettingsError, match="two keys 'old' that differ") as caught:
        read_ring(settings.model_copy(update={"hash_keyring": again}))
    assert SECRET not in str(caught.value)
    assert read_ring(RecordSettings()) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no key"),
        ("key = ", "cannot be read (TOMLDecodeError)"),
        (f'key = "{SECRET}"', "is no table"),
        (f'["{"x" * 65}"]\nkey = "{SECRET}"', "is no table with an id of at most 64"),
        ("[a]\nsince = 2026-11-01", "needs either key or key_file"),
        (f'[a]\nkey = "{SECRET}"\nkey_file = "{SECRET}"', "needs either key or key_file"),
        (f'[a]\nkey = "{SECRET}"\nuntil = 2026-11-01', "needs either key or key_file"),
        ("[a]\nkey = 7", "is no text"),
        ('[a]\nkey = "short-0123"', "too short: put at least 16"),
        ('[a]\nkey_file = "none.key"', "the key 'a' of INTENT_EVENTS_HASH_KEYRING names"),
        (f'[a]\nkey = "{SECRET}"\nsince = "tomorrow"', "no date or time"),
        (f'[a]\nkey = "{SECRET}"\n[b]\nkey = "{SECRET}"', "the beginning (since) in common"),
    ],
)
def test_a_ring_file_that_cannot_be_used(content: str, says: str, tmp_path: Path) -> None:
    """The error names the file or the key's id and the remedy, and never the key."""
    path = tmp_path / "ring.toml"
    path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        KeyRing(load_keyring(path))
    told = f"{caught.value} {caught.value.__context__} {caught.value.__cause__}"
    assert says in str(caught.value)
    assert SECRET not in told
    assert "short-0123" not in told


def test_rings_that_are_none() -> None:
    """A ring has a key, and its keys have ids of their own."""
    with pytest.raises(SettingsError, match="no key"):
        KeyRing([])
    with pytest.raises(SettingsError, match="the id in common"):
        KeyRing([ONE, HashKey("one", b"3" * 16, 7)])


def test_a_ring_that_cannot_be_read_costs_the_preview(tmp_path: Path) -> None:
    """The host runs on with a key of the process, and nothing of a text is shown."""
    traced = Traced(settings=SETTINGS.model_copy(update={"hash_keyring": tmp_path / "none.toml"}))
    with traced_by(traced), recording("hello"):
        pass
    assert traced.row.utterance_preview is None
    assert (traced.row.hash_key_id or "").startswith("process-")


@pytest.mark.parametrize("mode", ["plain", "pseudonymous", "off"])
def test_actors(mode: str) -> None:
    """Span and row hold the id as given, a pseudonym that names its key, or nothing; the trace keeps its own."""
    traced = Traced(settings=SETTINGS.model_copy(update={"actor": mode}))
    with traced_by(traced):
        with recording("hello", actor_id="user-é") as trace:
            pass
        with recording("hello"):
            pass
    said, unsaid = traced.rows
    assert trace.actor_id == "user-é"
    assert unsaid.actor_id == "unknown"
    forms = forms_of_actor("user-é", read_ring(SETTINGS))
    assert len(forms) == 2
    assert said.actor_id == {"plain": forms[0], "pseudonymous": forms[1], "off": "unknown"}[mode]
    assert forms[1].startswith("1:")
    assert len(forms[1]) == 34


def test_pseudonyms_of_each_epoch() -> None:
    """An actor is one within an epoch and another in the next, and every form is known to whoever has the keys."""
    actors = Actors("pseudonymous", BOTH)
    first, second = actors.recorded("user-1", 0), actors.recorded("user-1", 100)
    assert first == actors.recorded("user-1", 99) != second
    assert first != actors.recorded("user-2", 0)
    assert forms_of_actor("user-1", BOTH) == ["user-1", first, second]
    assert forms_of_actor("user-1", None) == ["user-1"]


@given(ANY_TEXT)
def test_a_pseudonym_is_no_fingerprint(text: str) -> None:
    """What somebody says and who they are never meet, even when the words are the same."""
    pseudonym = Actors("pseudonymous", KeyRing([ONE])).recorded(text or "x", 0) or ""
    kept = Privacy(KeyRing([ONE]), MASKER).record(text or "x")
    assert pseudonym.partition(":")[2] not in kept.hash + kept.template_hash
