# SPDX-License-Identifier: Apache-2.0
"""Which attribute becomes which column, and how its value is read: the one table that emitter and decoder share.

Fields of :class:`intent_events.trace.IntentTrace` have the names of these columns, so the same table says which
attribute a field is recorded as.
"""

from enum import Enum, IntEnum, auto
from itertools import chain
from string import ascii_lowercase, digits
from typing import Final, NamedTuple

from intent_events import semconv
from intent_events.semconv import (
    CANDIDATES_POST,
    CANDIDATES_PRE,
    SCORES,
    SOURCES,
    TOTAL,
    VERBS,
    Entrypoint,
    Outcome,
    OutcomeKind,
    Quality,
    SelectionSource,
    SemRegMode,
)


class Candidate(NamedTuple):
    """A verb that came into question: one element of a candidate column.

    Attributes:
        verb: fully qualified verb.
        score: how well it fits, higher is better; None when unknown.
        source: the discovery that found it; None when unknown.
    """

    verb: str
    score: float | None = None
    source: str | None = None


class Kind(IntEnum):
    """How a value is read."""

    TEXT = auto()
    WORD = auto()
    """Text of one word of a given shape; another one is refused, for it could be a message or a name."""
    TEXTS = auto()
    LABEL = auto()
    """Text of an open enum: unknown values stay and are flagged."""
    UUID = auto()
    """A UUID; another text becomes the UUIDv5 of it."""
    STRICT_UUID = auto()
    """A UUID or nothing: it refers to a row of ours, which a derived one could not."""
    INTEGER = auto()
    BOOLEAN = auto()


class Attribute(NamedTuple):
    """One attribute of a record.

    Attributes:
        key: attribute key.
        kind: how its value is read.
        odd: quality flag of a value that is unknown, derived or invalid.
        missing: quality flag of an absent value, for columns that must have one.
        known: values of an open enum that are not odd.
        limit: characters that a text may have, or the largest number of an integer.
        shape: regular expression that a word fits as a whole.
        letters: characters of which every word fits, up to the limit.
    """

    key: str
    kind: Kind = Kind.TEXT
    odd: Quality | None = None
    missing: Quality | None = None
    known: frozenset[str] = frozenset()
    limit: int = semconv.MAX_STRING
    shape: str = ""
    letters: str = ""


def _label(key: str, values: type[Enum], odd: Quality, missing: Quality | None = None) -> Attribute:
    return Attribute(key, Kind.LABEL, odd, missing, frozenset(value.value for value in values))


_PREVIEW: Final = 80

CODE: Final = "[!-~]{1,256}"
"""A class, a code or a hash: printable ASCII without white space, which a message has."""

_CODE_LETTERS: Final = "".join(map(chr, range(ord("!"), ord("~") + 1)))

_ID_LETTERS: Final = "._:/#=+-"

ID: Final = (
    f"[a-z0-9{_ID_LETTERS}]{{1,64}}|[A-Z0-9{_ID_LETTERS}]{{1,64}}"
    f"|[A-Za-z{_ID_LETTERS}]{{0,63}}[0-9][A-Za-z0-9{_ID_LETTERS}]{{0,63}}"
)
"""An id: one word in small letters, or in capitals, or with a digit. A name has white space, or a capital and small
letters without a digit."""

_SMALL: Final = ascii_lowercase + digits + _ID_LETTERS

_OF_EVERY_RECORD: Final = {
    "schema_version": Attribute(semconv.RECORD_SCHEMA_VERSION, Kind.INTEGER, limit=(1 << 31) - 1),
    "emitter_id": Attribute(semconv.EMITTER_ID, Kind.STRICT_UUID, Quality.EMITTER_ID_INVALID),
    "emitter_seq": Attribute(semconv.EMITTER_SEQ, Kind.INTEGER, limit=(1 << 63) - 1),
    "error_code": Attribute(semconv.ERROR_TYPE, Kind.WORD, shape=CODE, letters=_CODE_LETTERS),
    "synthetic": Attribute(semconv.SYNTHETIC, Kind.BOOLEAN),
    "prompt_version": Attribute(semconv.PROMPT_VERSION),
    "hash_key_id": Attribute(semconv.UTTERANCE_HASH_KEY_ID),
    "session_id": Attribute(
        semconv.SESSION_ID, Kind.UUID, Quality.SESSION_ID_DERIVED, Quality.SESSION_ID_MISSING
    ),
}  # fmt: skip

_FOLLOWED: Final = Attribute(
    semconv.EVENT_ID, Kind.STRICT_UUID, Quality.FOLLOWED_EVENT_INVALID, Quality.FOLLOWED_EVENT_INVALID
)

UTTERANCE: Final[dict[str, Attribute]] = {
    **_OF_EVERY_RECORD,
    "parent_event_id": Attribute(
        semconv.PARENT_EVENT_ID, Kind.STRICT_UUID, Quality.PARENT_EVENT_ID_INVALID
    ),
    "actor_id": Attribute(semconv.ACTOR_ID, missing=Quality.ACTOR_ID_MISSING),
    "entrypoint": _label(
        semconv.ENTRYPOINT, Entrypoint, Quality.ENTRYPOINT_UNKNOWN, Quality.ENTRYPOINT_MISSING
    ),
    "utterance_hash": Attribute(semconv.UTTERANCE_HASH, missing=Quality.UTTERANCE_MISSING),
    "template_hash": Attribute(semconv.UTTERANCE_TEMPLATE_HASH),
    "utterance_preview": Attribute(semconv.UTTERANCE_PREVIEW, limit=_PREVIEW),
    "scope": Attribute(semconv.SCOPE, Kind.WORD, shape=ID, letters=_SMALL, limit=64),
    "subject_ref_type": Attribute(semconv.SUBJECT_TYPE),
    "subject_ref_id": Attribute(semconv.SUBJECT_ID, Kind.UUID, Quality.SUBJECT_ID_DERIVED),
    "semreg_mode": _label(
        semconv.SEMREG_MODE, SemRegMode, Quality.SEMREG_MODE_UNKNOWN, Quality.SEMREG_MODE_MISSING
    ),
    "semreg_denied_verbs": Attribute(semconv.SEMREG_DENIED_VERBS, Kind.TEXTS),
    "semreg_denied_reasons": Attribute(semconv.SEMREG_DENIED_REASONS, Kind.TEXTS),
    "semreg_snapshot_id": Attribute(semconv.SEMREG_SNAPSHOT_ID),
    "chosen_verb_fqn": Attribute(semconv.VERB_CHOSEN),
    "forced_verb_fqn": Attribute(semconv.VERB_FORCED),
    "selection_source": _label(
        semconv.SELECTION_SOURCE, SelectionSource, Quality.SELECTION_SOURCE_UNKNOWN
    ),
    "outcome": _label(semconv.OUTCOME, Outcome, Quality.OUTCOME_UNKNOWN, Quality.OUTCOME_MISSING),
    "missing_args": Attribute(semconv.MISSING_ARGS, Kind.TEXTS),
    "dsl_hash": Attribute(semconv.DSL_HASH, Kind.WORD, shape=CODE, letters=_CODE_LETTERS),
    "run_sheet_entry_id": Attribute(
        semconv.RUN_SHEET_ENTRY_ID, Kind.UUID, Quality.RUN_SHEET_ENTRY_ID_DERIVED
    ),
    "macro_semreg_checked": Attribute(semconv.MACRO_SEMREG_CHECKED, Kind.BOOLEAN),
    "macro_denied_verbs": Attribute(semconv.MACRO_DENIED_VERBS, Kind.TEXTS),
    "boost_version": Attribute(semconv.BOOST_VERSION),
    "registry_version": Attribute(semconv.REGISTRY_VERSION),
}  # fmt: skip
"""Columns of ``agent.intent_events`` that one attribute each becomes."""

REPLY: Final[dict[str, Attribute]] = {
    **{name: attribute for name, attribute in _OF_EVERY_RECORD.items() if name != "error_code"},
    "intent_event_id": _FOLLOWED,
    "turn_id": Attribute(semconv.TURN_ID),
    "assistant_message_hash": Attribute(semconv.REPLY_HASH),
    "assistant_message_preview": Attribute(semconv.REPLY_PREVIEW, limit=_PREVIEW),
}
"""Columns of ``agent.chat_events`` that one attribute each becomes."""

OUTCOME: Final[dict[str, Attribute]] = {
    **{
        name: attribute
        for name, attribute in _OF_EVERY_RECORD.items()
        if name not in {"prompt_version", "hash_key_id", "session_id"}
    },
    "intent_event_id": _FOLLOWED,
    "kind": _label(
        semconv.OUTCOME_KIND, OutcomeKind, Quality.OUTCOME_KIND_UNKNOWN, Quality.OUTCOME_KIND_MISSING
    ),
}  # fmt: skip
"""Columns of ``agent.intent_outcomes`` that one attribute each becomes."""

KEYS: Final = frozenset(
    chain(
        (attribute.key for table in (UTTERANCE, REPLY, OUTCOME) for attribute in table.values()),
        (
            prefix + suffix
            for prefix in (CANDIDATES_PRE, CANDIDATES_POST)
            for suffix in ("", VERBS, SCORES, SOURCES, TOTAL)
        ),
        (semconv.RECORD, semconv.ROOT, semconv.EVENT_ID, semconv.QUALITY),
    )
)
"""Every attribute that a reader looks at; what else is on a span is the host's, and could hold the utterance."""
