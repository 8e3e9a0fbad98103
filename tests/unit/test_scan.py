# SPDX-License-Identifier: Apache-2.0
"""What a scan takes for personal data, and what of our own it does not."""

from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.cli.scan import KINDS, detect
from intent_events.privacy.canaries import Canaries, canary_of
from intent_events.review import scan as scanning
from intent_events.review.scan import OTHER, Inspector, look_at_attributes, look_at_rows, strings_in, texts_in_bytes
from intent_events.review.scan_model import Finding
from intent_events.store.scan import Holds, TextColumn, TextTable

CARD: Final = "4111111111111111"
PERSONAL: Final = {
    "email": "zebedee.quux@example.org",
    "phone": "+44 20 7946 0123",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ip": "203.0.113.77",
    "national_id": "RSSMRA85T10A562S",
}


def kinds_of(column: str, *texts: str) -> set[str]:
    """Kinds that are found in these texts of one column."""
    inspector = Inspector(detect, Canaries())
    inspector.look("agent.t", column, texts)
    return {finding.kind for finding in inspector.findings()}


@pytest.mark.parametrize("kind", PERSONAL)
def test_personal_data_is_found(kind: str) -> None:
    """A value of each kind is found in a sentence, in any column."""
    assert kind in kinds_of("utterance_preview", f"ask {PERSONAL[kind]} about it")
    assert kind in KINDS


@given(st.binary(max_size=20), st.integers(0, (1 << 64) - 1), st.uuids())
def test_what_we_write_is_not(data: bytes, span_id: int, event_id: UUID) -> None:
    """Fingerprints, ids of traces and spans, UUIDs and placeholders are no personal data, whatever their digits are."""
    digest = sha256(data).hexdigest()
    assert kinds_of("utterance_hash", digest) == set()
    assert kinds_of("intent.dsl.hash", digest[:16]) == set()
    assert kinds_of("trace_id", digest[:32]) == set()
    assert kinds_of("span_id", format(span_id, "016x")) == set()
    assert kinds_of("detail", f"see {event_id} and {digest}, {digest[:40]}") == set()
    assert kinds_of("utterance_preview", "send <number> to <email> on <date>, <id> <name?> …") == set()


def test_digits_count_where_no_digest_is_due() -> None:
    """Sixteen digits are a card, unless their column holds ids of spans; a text in a column of digests is looked at."""
    assert kinds_of("span_id", CARD) == set()
    assert kinds_of("detail", CARD) == {"card"}
    assert kinds_of("utterance_hash", "zebedee.quux@example.org") == {"email"}
    assert kinds_of("utterance_hash", "pay 4111 1111 1111 1111") == {"card"}


def test_versions_are_no_addresses() -> None:
    """Four numbers in a column of versions are a version; elsewhere an address."""
    assert kinds_of("prompt_version", "10.1.2.30") == kinds_of("intent.boost.version", "v1.2.3.4") == set()
    assert kinds_of("scope", "10.1.2.30") == kinds_of("prompt_version", "of 10.1.2.30") == {"ip"}


def test_rows_are_counted_by_column() -> None:
    """A row counts once for each kind and column, whatever number of values it has; JSON is looked into."""
    columns = tuple(TextColumn(name, holds) for name, holds in zip("abcd", Holds, strict=True))
    table = TextTable("agent.t", columns, windowed=True)
    inspector = Inspector(detect, Canaries([canary_of("canary 1", "Zebedee")]))
    mail = PERSONAL["email"]
    look_at_rows(
        inspector,
        table,
        [
            (mail, [mail, mail], f'[{{"verb": "{mail}", "score": 4111111111111111.5}}]', f"\x93{mail}\x00".encode()),
            (None, [None, "x"], '{"4111111111111111": [null, true, "ask zEbEdEe"]}', None),
            ("of no interest", None, "4111111111111111", b"Zebe"),
        ],
    )
    assert inspector.read("agent.t") == 3
    assert set(inspector.findings()) == {
        Finding("agent.t", "a", "email", 1),
        Finding("agent.t", "a", "canary 1", 1),
        Finding("agent.t", "b", "email", 1),
        Finding("agent.t", "b", "canary 1", 1),
        Finding("agent.t", "c", "email", 1),
        Finding("agent.t", "c", "card", 2),
        Finding("agent.t", "c", "canary 1", 2),
        Finding("agent.t", "d", "email", 1),
        Finding("agent.t", "d", "canary 1", 1),
    }
    assert inspector.findings()[0].n == 2


def test_attributes_of_a_record() -> None:
    """Values and keys of attributes are looked at, each under its key, unless the key itself is what is found."""
    inspector = Inspector(detect, Canaries())
    look_at_attributes(inspector, "spool", {"a": ["x", {"b": PERSONAL["email"]}], PERSONAL["ip"]: 1, "c": int(CARD)})
    assert {(finding.column, finding.kind) for finding in inspector.findings()} == {
        ("a", "email"),
        (OTHER, "ip"),
        ("c", "card"),
    }


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different values there are, what is remembered of them stays small, and all are looked at."""
    monkeypatch.setattr(scanning, "_REMEMBERED", 10)
    asked: list[str] = []
    inspector = Inspector(lambda text: asked.append(text) or (), Canaries())
    for text in [f"value {n}" for n in range(50)] + ["x" * 600] * 2 + ["value 49"] * 5:
        inspector.look("agent.t", "a", [text])
    assert len(asked) == 52
    assert len(vars(inspector)["_known"]) <= 10


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary() | st.uuids(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_value_can_be_looked_at(value: Any) -> None:
    """Values of any plain type give texts and never raise."""
    assert all(isinstance(text, str) for text in strings_in(value))


def test_bytes_give_their_printable_runs() -> None:
    """What can be read in bytes is what has at least four printable characters in a row."""
    assert texts_in_bytes(b"\x93\xa5Zebed\x00abc\x01\xff\xfeZo\xc3\xab Quux\xd9") == ["Zebed", "Zoë Quux"]


def test_json_that_cannot_be_read_is_looked_at_as_it_is() -> None:
    """JSON that Postgres holds and the reader refuses is looked at as text."""
    table = TextTable("agent.t", (TextColumn("a", Holds.JSON),), windowed=False)
    inspector = Inspector(detect, Canaries())
    look_at_rows(inspector, table, [("[" * 5_000 + f'"{PERSONAL["email"]}"' + "]" * 5_000,)])
    assert [finding.kind for finding in inspector.findings()] == ["email"]
