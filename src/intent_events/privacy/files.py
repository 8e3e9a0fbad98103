# SPDX-License-Identifier: Apache-2.0
"""What the files hold that a setting names: keys and vocabularies. The only module of ``privacy`` that opens files."""

import tomllib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, cast

from intent_events.errors import SettingsError
from intent_events.privacy.keys import HashKey, KeyRing
from intent_events.privacy.vocabulary import phrases_in, vocabulary_in
from intent_events.settings import MIN_KEY, RecordSettings, read_secret

_LONGEST_ID: Final = 64
_KNOWN: Final = frozenset({"key", "key_file", "since"})


def load_vocabulary(path: Path) -> frozenset[str]:
    """Words of a vocabulary file, or of a registry (``.jsonl``), in UTF-8.

    Args:
        path: the file.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        text = path.read_text("utf-8")
        return phrases_in(text) if path.suffix == ".jsonl" else vocabulary_in(text)
    except (OSError, ValueError, RecursionError) as error:  # not there, not readable, not UTF-8, no JSON, or too deep
        raise SettingsError(
            f"the vocabulary file {path} cannot be read ({type(error).__name__}): give a readable UTF-8 file, "
            "one word or phrase a line, or a registry in JSON lines (.jsonl)"
        ) from error


def load_vocabularies(paths: Iterable[Path]) -> frozenset[str]:
    """Words of several files.

    Raises:
        SettingsError: a file cannot be read.
    """
    return frozenset[str]().union(*map(load_vocabulary, paths))


def read_ring(settings: RecordSettings) -> KeyRing | None:
    """Every live key that the settings name; None when they name none.

    The key of ``INTENT_EVENTS_HASH_KEY`` (or its file) is the oldest one of the ring that
    ``INTENT_EVENTS_HASH_KEYRING`` names, so that a ring can be set beside the one key there was.

    Raises:
        SettingsError: a file cannot be read, or what it holds cannot be used.
    """
    keys = [] if settings.hash_keyring is None else load_keyring(settings.hash_keyring)
    secret = _single_secret(settings)
    if secret is not None and all(key.key_id != settings.hash_key_id for key in keys):
        keys.insert(0, HashKey(settings.hash_key_id, secret, min((key.since_ns for key in keys), default=1) - 1))
    elif secret is not None and all(key.secret != secret for key in keys):
        raise SettingsError(
            f"INTENT_EVENTS_HASH_KEY and INTENT_EVENTS_HASH_KEYRING name two keys {settings.hash_key_id!r} that "
            "differ: give one of them another id"
        )
    return KeyRing(keys) if keys else None


def _single_secret(settings: RecordSettings) -> bytes | None:
    if settings.hash_key is not None:
        return settings.hash_key.get_secret_value().encode()
    if settings.hash_key_file is None:
        return None
    return _long_enough(
        read_secret(settings.hash_key_file, "INTENT_EVENTS_HASH_KEY_FILE"),
        f"INTENT_EVENTS_HASH_KEY_FILE names {settings.hash_key_file}, whose key",
    )


def load_keyring(path: Path) -> list[HashKey]:
    """Keys of a ring file.

    It is TOML: a table for each key, named by its id, with ``key`` or ``key_file`` (a path, from the folder of the
    ring) and ``since``, the date or time at which its epoch begins. Without ``since`` a key is the oldest.

    Args:
        path: the file.

    Raises:
        SettingsError: it cannot be read, or a key in it cannot be used; the text names the key's id, never the key.
    """
    named = f"INTENT_EVENTS_HASH_KEYRING names {path}"
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # not there, not UTF-8, no TOML, or nested beyond reading
        raise SettingsError(
            f"{named}, which cannot be read ({type(error).__name__}): give a TOML file with a table for each key"
        ) from None  # what a parser complains of could quote a key
    if not tables:
        raise SettingsError(f"{named}, which holds no key: add a table [id] with key or key_file, and since")
    return [_key_of(key_id, entries, path, f"{named}, whose key {key_id!r}") for key_id, entries in tables.items()]


def _key_of(key_id: str, entries: object, path: Path, named: str) -> HashKey:
    if not isinstance(entries, dict) or not 0 < len(key_id) <= _LONGEST_ID:
        raise SettingsError(f"{named} is no table with an id of at most {_LONGEST_ID} characters: write [id]")
    table = cast("dict[str, Any]", entries)
    if table.keys() - _KNOWN or ("key" in table) == ("key_file" in table):
        raise SettingsError(f"{named} needs either key or key_file, and beside it since and nothing else")
    if not isinstance(table.get("key", table.get("key_file")), str):
        raise SettingsError(f"{named} is no text: write it as a string")
    if "key" in table:
        secret = cast("str", table["key"])
    else:
        secret = read_secret(path.parent / table["key_file"], f"the key {key_id!r} of INTENT_EVENTS_HASH_KEYRING")
    return HashKey(key_id, _long_enough(secret, named), _begins_ns(table.get("since"), named))


def _long_enough(secret: str, named: str) -> bytes:
    if len(secret) < MIN_KEY:
        raise SettingsError(f"{named} is too short: put at least {MIN_KEY} characters into it")
    return secret.encode()


def _begins_ns(since: object, named: str) -> int:
    if since is None:
        return 0
    if not isinstance(since, date):
        raise SettingsError(f"{named} has a since that is no date or time: write 2026-11-01 or 2026-11-01T00:00:00Z")
    moment = since if isinstance(since, datetime) else datetime(since.year, since.month, since.day, tzinfo=UTC)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000_000
