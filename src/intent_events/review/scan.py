# SPDX-License-Identifier: Apache-2.0
"""Looks for values that look like personal data, and for canaries, in texts of any kind. Tells where, never what.

Nothing is read here: tables and spool hand their texts over, and an :class:`Inspector` counts.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from pydantic_core import from_json

from intent_events.privacy.canaries import Canaries
from intent_events.review.scan_model import Finding, Place, Scan
from intent_events.store.scan import Holds, TextQuery, TextTable, read_texts

Detect = Callable[[str], Collection[str]]
"""Kinds of personal data that a text seems to hold."""

OTHER: Final = "(another attribute)"
"""Column of an attribute whose key cannot be shown."""

_REMEMBERED: Final = 1 << 16
_LONGEST_REMEMBERED: Final = 512
_LEAST_RUN: Final = 4
# What we write ourselves and what looks like a number to a detector: UUIDs, and digests in hexadecimal. Sixteen digits
# may be a card, so a digest has a letter, unless its column says what it is.
_UUID: Final = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_DIGEST: Final = r"(?=[0-9]*[a-f])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}|[0-9a-f]{16})"
_OURS: Final = re.compile(rf"(?<![0-9A-Za-z])(?:{_UUID}|{_DIGEST})(?![0-9A-Za-z])")
_HEX: Final = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")
_OF_HEX: Final = re.compile(r"(?:^|[._])(?:trace_id|span_id|hash)$")
_VERSIONS: Final = re.compile(r"(?:^|[._])version(?:_num)?$")
_VERSION: Final = re.compile(r"v?[0-9]+(?:\.[0-9]+){1,3}(?:[-+.][0-9A-Za-z.+-]*)?")
_NONE: Final = re.compile(r"(?!)")
_RUNS: Final = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f\ufffd]{4,}")


class Inspector:
    """Looks at texts and counts what it finds, by place, column and kind."""

    def __init__(self, detect: Detect, canaries: Canaries) -> None:
        """Find these.

        Args:
            detect: kinds of personal data in a text.
            canaries: values that may be nowhere.
        """
        self._detect = detect
        self.canaries: Final = canaries
        self._known: dict[str, tuple[str, ...]] = {}
        self._forms: dict[str, re.Pattern[str]] = {}
        self._found: Counter[tuple[str, str, str]] = Counter()
        self._read: dict[str, int] = {}

    def count(self, place: str, n: int) -> None:
        """Count rows, records or files that were read there; 0 says that it was looked at."""
        self._read[place] = self._read.get(place, 0) + n

    def read(self, place: str) -> int:
        """How many were read there."""
        return self._read.get(place, 0)

    def look(self, place: str, column: str, texts: Iterable[str]) -> None:
        """Look at the texts that one row has in one column."""
        kinds: set[str] = set()
        for text in texts:
            found = self.kinds_in(column, text)
            if found:
                kinds.update(found)
        self.find(place, column, kinds)

    def find(self, place: str, column: str, kinds: Iterable[str]) -> None:
        """Count one row that has values of these kinds."""
        for kind in kinds:
            self._found[place, column, kind] += 1

    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, the most frequent first."""
        return tuple(
            Finding(*where, n) for where, n in sorted(self._found.items(), key=lambda item: (-item[1], item[0]))
        )

    def kinds_in(self, column: str, text: str) -> tuple[str, ...]:
        """Kinds of values that a text of this column holds, canaries by their names."""
        if len(text) < _LEAST_RUN:
            return ()
        form = self._forms.get(column)
        if form is None:
            form = self._forms[column] = _form_of(column)
        if form is not _NONE and form.fullmatch(text):
            return self.canaries.in_text(text)
        kinds = self._known.get(text)
        if kinds is None:
            kinds = (*self._detect(_OURS.sub(" ", text)), *self.canaries.in_text(text))
            if len(text) <= _LONGEST_REMEMBERED:
                if len(self._known) >= _REMEMBERED:  # values recur: verbs, outcomes; those that do not must not pile up
                    self._known.clear()
                self._known[text] = kinds
        return kinds


def look_at_rows(inspector: Inspector, table: TextTable, rows: Sequence[Sequence[object]]) -> None:
    """Look at some rows of a table."""
    inspector.count(table.name, len(rows))
    for row in rows:
        for (column, holds), value in zip(table.columns, row, strict=True):
            if value is not None:
                inspector.look(table.name, column, _texts_in(holds, value))


def look_at_attributes(inspector: Inspector, place: str, attributes: Mapping[str, Any]) -> None:
    """Look at the attributes of one record."""
    inspector.count(place, 1)
    for key, value in attributes.items():
        inspector.look(place, OTHER, (key,))
        inspector.look(place, OTHER if inspector.kinds_in(OTHER, key) else key, strings_in(value))


async def scan(
    dsn: str,
    query: TextQuery,
    inspector: Inspector,
    *,
    kinds: Sequence[str],
    canaries: int,
    spool: tuple[str, Sequence[Place]] | None = None,
) -> Scan:
    """Look through every table, and put together what was found there and in the spool.

    Args:
        dsn: address of Postgres.
        query: what is read of the tables.
        inspector: looks, and has looked at the spool already.
        kinds: what values it looks for.
        canaries: how many canaries it looks for.
        spool: folder of the spool and what was looked through there; None when none was.

    Raises:
        SettingsError: the address cannot be used.
        UnavailableError: the question could not be asked; the text names the remedy.
    """
    tables = await read_texts(dsn, query, lambda table, rows: look_at_rows(inspector, table, rows))
    windowed = query.since is not None or query.until is not None
    places = [
        Place(table.name, len(table.columns), inspector.read(table.name), windowed and table.windowed)
        for table in tables
    ]
    return Scan(
        since=query.since,
        until=query.until,
        sample=query.sample,
        kinds=tuple(kinds),
        canaries=canaries,
        places=(*places, *(() if spool is None else spool[1])),
        spool=None if spool is None else spool[0],
        findings=inspector.findings(),
    )


def strings_in(value: object) -> set[str]:
    """Every text in a value of plain types: keys too, and whole numbers, which may be a card's or an account's."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        match one:
            case str() as text:
                found.add(text)
            case bool() | float() | None:
                pass
            case int() as number:
                found.add(str(number))
            case bytes() as data:
                found.update(texts_in_bytes(data))
            case dict():
                waiting += cast("dict[object, object]", one)
                waiting += cast("dict[object, object]", one).values()
            case list() | tuple():
                waiting += cast("Sequence[object]", one)
            case _:
                found.add(str(one))
    return found


def texts_in_bytes(data: bytes) -> list[str]:
    """What can be read in bytes of any kind: runs of printable characters."""
    return _RUNS.findall(data.decode("utf-8", "replace"))


def _texts_in(holds: Holds, value: object) -> Iterable[str]:
    if isinstance(value, str):
        return strings_in(_json(value)) if holds is Holds.JSON else (value,)
    return strings_in(value)


def _json(text: str) -> object:
    try:
        return from_json(text)
    except ValueError:  # a number or a depth that the reader refuses and Postgres does not
        return text


def _form_of(column: str) -> re.Pattern[str]:
    """The form of the values of a column, as far as its name says it."""
    if _OF_HEX.search(column):
        return _HEX
    return _VERSION if _VERSIONS.search(column) else _NONE
