# SPDX-License-Identifier: Apache-2.0
"""The contract between whoever records an utterance and whoever stores it: attribute keys and closed value sets.

Every key of the span contract is spelled here and nowhere else; ``docs/spec.md`` explains them for emitters in
other languages. Enums are open on the wire: an unknown value is stored as it is and flagged in ``intent.quality``.
"""

from enum import StrEnum
from typing import Final

SCHEMA_VERSION: Final = 1
"""Version of this contract, sent as ``intent.schema_version``."""

SPAN_NAME: Final = "handle_utterance"
"""Name of the span of an utterance; low cardinality, kind INTERNAL."""

MAX_KEYS: Final = 64
"""Attributes a record may have."""

MAX_CANDIDATES: Final = 20
"""Candidates a list may have; how many there were is counted in ``.total``."""

MAX_STRING: Final = 256
"""Characters a string attribute may have."""

MAX_SPAN_BYTES: Final = 64 * 1024
"""Bytes that the attributes of one record may have together."""

RECORD: Final = "intent.record"
"""Which table the span is a record of: see :class:`Record`. Absent means ``utterance``."""

RECORD_SCHEMA_VERSION: Final = "intent.schema_version"
"""Version of the contract that the emitter follows, an int."""

ROOT: Final = "intent.root"
"""True on the outermost handler of an utterance, whatever the span's parent is."""

EVENT_ID: Final = "intent.event_id"
"""UUIDv7 of the utterance. On ``reply`` and ``outcome`` spans: the utterance that they follow."""

PARENT_EVENT_ID: Final = "intent.parent_event_id"
"""UUID of the event whose question this utterance answers."""

EMITTER_ID: Final = "intent.emitter.id"
"""UUID of the emitting process."""

EMITTER_SEQ: Final = "intent.emitter.seq"
"""Running number of the record in its process, from 1: gaps are losses."""

SESSION_ID: Final = "session.id"
"""UUID of the conversation."""

ACTOR_ID: Final = "intent.actor.id"
"""Whoever speaks, as the orchestrator knows them."""

ENTRYPOINT: Final = "intent.entrypoint"
"""Where the utterance came in: see :class:`Entrypoint`."""

UTTERANCE_HASH: Final = "intent.utterance.hash"
"""Fingerprint of the normalised utterance, hex."""

UTTERANCE_HASH_KEY_ID: Final = "intent.utterance.hash_key_id"
"""Which key made the fingerprints; absent means plain SHA-256."""

UTTERANCE_TEMPLATE_HASH: Final = "intent.utterance.template_hash"
"""Fingerprint of the masked utterance: the same for utterances that differ in values only."""

UTTERANCE_PREVIEW: Final = "intent.utterance.preview"
"""Masked utterance of at most 80 characters; absent when previews are off."""

SCOPE: Final = "intent.scope"
"""Id of the tenant or book of business, never a name."""

SUBJECT_TYPE: Final = "intent.subject.type"
"""Kind of what the utterance is about: ``entity``, ``case``, ``none``."""

SUBJECT_ID: Final = "intent.subject.id"
"""UUID of what the utterance is about."""

SEMREG_MODE: Final = "intent.semreg.mode"
"""What the policy registry did: see :class:`SemRegMode`."""

SEMREG_DENIED_VERBS: Final = "intent.semreg.denied_verbs"
"""Verbs that policy took out of the candidates."""

SEMREG_DENIED_REASONS: Final = "intent.semreg.denied_reasons"
"""Why, in step with the denied verbs."""

SEMREG_SNAPSHOT_ID: Final = "intent.semreg.snapshot_id"
"""Version of the policy snapshot that was asked."""

CANDIDATES_PRE: Final = "intent.candidates.pre"
"""Prefix of the candidates that discovery found, before policy: ``.verbs``, ``.scores``, ``.sources``, ``.total``."""

CANDIDATES_POST: Final = "intent.candidates.post"
"""Prefix of the candidates that policy left, with the same four lists."""

VERBS: Final = ".verbs"
"""Suffix: fully qualified verbs, best first."""

SCORES: Final = ".scores"
"""Suffix: scores in step with the verbs; left out when any is unknown."""

SOURCES: Final = ".sources"
"""Suffix: which discovery found each verb; left out when any is unknown."""

TOTAL: Final = ".total"
"""Suffix: how many candidates there were before the list was cut."""

VERB_CHOSEN: Final = "intent.verb.chosen"
"""The verb that was selected; absent when none was."""

VERB_FORCED: Final = "intent.verb.forced"
"""The verb that a user or a caller demanded."""

SELECTION_SOURCE: Final = "intent.selection.source"
"""Who selected: see :class:`SelectionSource`."""

OUTCOME: Final = "intent.outcome"
"""How the utterance ended: see :class:`Outcome`."""

MISSING_ARGS: Final = "intent.missing_args"
"""Names (never values) of arguments that were asked for."""

ERROR_TYPE: Final = "error.type"
"""Class or code of a failure, never its message."""

DSL_HASH: Final = "intent.dsl.hash"
"""Fingerprint of the generated DSL."""

RUN_SHEET_ENTRY_ID: Final = "intent.run_sheet.entry_id"
"""UUID of the staged run sheet entry."""

MACRO_SEMREG_CHECKED: Final = "intent.macro.semreg_checked"
"""True when the verbs of an expanded macro were checked against policy."""

MACRO_DENIED_VERBS: Final = "intent.macro.denied_verbs"
"""Verbs of an expanded macro that policy denied."""

PROMPT_VERSION: Final = "intent.prompt.version"
"""Version of the prompt pack in use."""

BOOST_VERSION: Final = "intent.boost.version"
"""Version of the ranking boosts in use."""

REGISTRY_VERSION: Final = "intent.registry.version"
"""Version of the verb registry in use."""

SYNTHETIC: Final = "intent.synthetic"
"""True for test, demo and canary traffic."""

QUALITY: Final = "intent.quality"
"""What had to be mended in this record: see :class:`Quality`."""

TURN_ID: Final = "intent.turn_id"
"""On a ``reply``: the turn of the conversation that it closes."""

REPLY_HASH: Final = "intent.reply.hash"
"""On a ``reply``: fingerprint of the assistant's message."""

REPLY_PREVIEW: Final = "intent.reply.preview"
"""On a ``reply``: masked assistant's message of at most 80 characters."""

OUTCOME_KIND: Final = "intent.outcome.kind"
"""On an ``outcome``: see :class:`OutcomeKind`."""

STAGE: Final = "intent.stage"
"""On the child span of a stage: see :class:`Stage`."""


class Record(StrEnum):
    """Which table a span is a record of."""

    UTTERANCE = "utterance"
    REPLY = "reply"
    OUTCOME = "outcome"


class Outcome(StrEnum):
    """How an utterance ended."""

    MATCHED = "matched"
    CLARIFY_VERB = "clarify_verb"
    CLARIFY_ARGS = "clarify_args"
    NO_MATCH = "no_match"
    NO_ALLOWED_VERBS = "no_allowed_verbs"
    DIRECT_DSL_DENIED = "direct_dsl_denied"
    SCOPE_RESOLVED = "scope_resolved"
    SCOPE_CANDIDATES = "scope_candidates"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    CANCELLED = "cancelled"
    ERROR = "error"


class SemRegMode(StrEnum):
    """What the policy registry did with the candidates."""

    APPLIED = "applied"
    DENY_ALL = "deny_all"
    UNAVAILABLE = "unavailable"
    FAIL_OPEN = "fail_open"


class Entrypoint(StrEnum):
    """Where an utterance came in."""

    CHAT = "chat"
    MCP = "mcp"
    REPL = "repl"
    EXECUTE = "execute"


class SelectionSource(StrEnum):
    """Who selected the verb."""

    DISCOVERY = "discovery"
    USER_CHOICE = "user_choice"
    SEMREG = "semreg"
    MACRO = "macro"


class OutcomeKind(StrEnum):
    """What became of an utterance after it had been handled."""

    EXECUTED = "executed"
    EXECUTION_FAILED = "execution_failed"
    UNDONE = "undone"
    PICKED = "picked"
    REPHRASED = "rephrased"
    ABANDONED = "abandoned"
    FEEDBACK_UP = "feedback_up"
    FEEDBACK_DOWN = "feedback_down"


class Stage(StrEnum):
    """Steps of the handling of an utterance; each a child span."""

    DISCOVER = "discover"
    POLICY = "policy"
    SELECT = "select"
    STAGE = "stage"


class Quality(StrEnum):
    """What had to be mended in a record, or is missing from it."""

    EVENT_ID_DERIVED = "event_id_derived"
    EVENT_ID_TIME = "event_id_time"
    SCHEMA_VERSION_UNKNOWN = "schema_version_unknown"
    SESSION_ID_MISSING = "session_id_missing"
    SESSION_ID_DERIVED = "session_id_derived"
    SUBJECT_ID_DERIVED = "subject_id_derived"
    RUN_SHEET_ENTRY_ID_DERIVED = "run_sheet_entry_id_derived"
    PARENT_EVENT_ID_INVALID = "parent_event_id_invalid"
    EMITTER_ID_INVALID = "emitter_id_invalid"
    ACTOR_ID_MISSING = "actor_id_missing"
    ENTRYPOINT_MISSING = "entrypoint_missing"
    ENTRYPOINT_UNKNOWN = "entrypoint_unknown"
    UTTERANCE_MISSING = "utterance_missing"
    SEMREG_MODE_MISSING = "semreg_mode_missing"
    SEMREG_MODE_UNKNOWN = "semreg_mode_unknown"
    SELECTION_SOURCE_UNKNOWN = "selection_source_unknown"
    OUTCOME_MISSING = "outcome_missing"
    OUTCOME_UNKNOWN = "outcome_unknown"
    OUTCOME_KIND_MISSING = "outcome_kind_missing"
    OUTCOME_KIND_UNKNOWN = "outcome_kind_unknown"
    FOLLOWED_EVENT_INVALID = "followed_event_invalid"
    CANDIDATES_MISMATCH = "candidates_mismatch"
    REASONS_MISMATCH = "reasons_mismatch"
    VALUE_CUT = "value_cut"
    VALUE_MENDED = "value_mended"
    VALUE_REFUSED = "value_refused"
    ATTRIBUTES_DROPPED = "attributes_dropped"
