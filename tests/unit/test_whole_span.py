# SPDX-License-Identifier: Apache-2.0
"""One whole span of each kind, with fixed ids and clock: every name, value and type of the contract."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import opentelemetry.sdk.trace as sdk
import pytest
from inline_snapshot import snapshot
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind

from intent_events import Candidate, IntentTrace, Outcome, record_outcome, record_reply, record_utterance, stage
from intent_events.instrument import recorder
from intent_events.rows import CandidateItem, row_of
from intent_events.select import select
from intent_events.semconv import Record
from intent_events_exporter.convert import view_of
from unit.traced import Traced, attributes_of, traced_by

START_NS = 1_750_000_000_123_000_000


class Counting(IdGenerator):
    """Ids that count."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def generate_trace_id(self) -> int:
        """The next trace id."""
        return 0xA0000000000000000000000000000000 + next(self._numbers)

    def generate_span_id(self) -> int:
        """The next span id."""
        return 0xB000000000000000 + next(self._numbers)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    """An SDK whose ids count, whose clock moves a millisecond at each look, and an emitter that begins at 1."""
    clock = itertools.count(START_NS, 1_000_000)
    monkeypatch.setattr(recorder, "time_ns", lambda: next(clock))
    monkeypatch.setattr(sdk, "time_ns", lambda: next(clock))
    monkeypatch.setattr(recorder.EMITTER, "emitter_id", "5c4f2f7e-0d0b-4a55-9c8a-2f1a4f3c9b11")
    monkeypatch.setattr(recorder.EMITTER, "_numbers", itertools.count(1))
    with traced_by(Traced(ids=Counting())) as traced:
        yield traced


def whole(span: ReadableSpan) -> dict[str, Any]:
    """Everything of a span but its resource."""
    context, scope = span.context, span.instrumentation_scope
    assert context is not None
    assert scope is not None
    return {
        "name": span.name,
        "kind": span.kind.name,
        "ids": (f"{context.trace_id:x}", f"{context.span_id:x}"),
        "parent": None if span.parent is None else f"{span.parent.span_id:x}",
        "times": ((span.start_time or 0) - START_NS, (span.end_time or 0) - START_NS),
        "status": (span.status.status_code.name, span.status.description),
        "events": span.events,
        "links": span.links,
        "scope": (scope.name, scope.version),
        "attributes": attributes_of(span),
    }


@record_utterance
def handle(utterance: str, ctx: dict[str, Any]) -> IntentTrace:
    """Assign a custodian."""
    assert utterance
    assert ctx
    with stage("discover"):
        pass
    return IntentTrace(
        semreg_mode="applied",
        semreg_denied_verbs=["cbu.delete"],
        semreg_denied_reasons=["role"],
        semreg_snapshot_id="2025-06-01",
        verb_candidates_pre=[Candidate("cbu.assign-role", 0.75, "lexical"), Candidate("cbu.delete", 0.5, "lexical")],
        verb_candidates_post=[Candidate("cbu.assign-role", 0.75)],
        chosen_verb_fqn="cbu.assign-role",
        forced_verb_fqn="cbu.assign-role",
        selection_source="discovery",
        outcome=Outcome.CLARIFY_ARGS,
        missing_args=["custodian"],
        error_code="E-1",
        dsl_hash="9f2c",
        run_sheet_entry_id="0190163d-8694-739b-aea5-966c26f8ad93",
        macro_semreg_checked=True,
        macro_denied_verbs=[],
        prompt_version="p-7",
        boost_version="b-2",
        registry_version="r-3",
    )


CTX = {
    "session_id": UUID("0190163d-8694-739b-aea5-966c26f8ad91"),
    "actor_id": "a-1",
    "entrypoint": "chat",
    "scope": "book-1",
    "subject_ref_type": "case",
    "subject_ref_id": "0190163d-8694-739b-aea5-966c26f8ad92",
    "synthetic": True,
}


def test_a_whole_utterance(fixed: Traced) -> None:
    """Every attribute of an utterance, in its order, with its type; and the stage beneath it."""
    handle("assign Zebedee as custodian", CTX)
    found, root = map(whole, fixed.spans)
    assert found == snapshot(
        {
            "name": "discover",
            "kind": "INTERNAL",
            "ids": ("a0000000000000000000000000000001", "b000000000000003"),
            "parent": "b000000000000002",
            "times": (1000000, 2000000),
            "status": ("UNSET", None),
            "events": (),
            "links": (),
            "scope": ("intent_events", "0.1.0"),
            "attributes": {"intent.stage": "discover"},
        }
    )
    assert root == snapshot(
        {
            "name": "handle_utterance",
            "kind": "INTERNAL",
            "ids": ("a0000000000000000000000000000001", "b000000000000002"),
            "parent": None,
            "times": (0, 3000000),
            "status": ("UNSET", None),
            "events": (),
            "links": (),
            "scope": ("intent_events", "0.1.0"),
            "attributes": {
                "intent.schema_version": 1,
                "intent.actor.id": "a-1",
                "intent.scope": "book-1",
                "intent.subject.type": "case",
                "intent.semreg.snapshot_id": "2025-06-01",
                "intent.verb.chosen": "cbu.assign-role",
                "intent.verb.forced": "cbu.assign-role",
                "error.type": "E-1",
                "intent.dsl.hash": "9f2c",
                "intent.prompt.version": "p-7",
                "intent.boost.version": "b-2",
                "intent.registry.version": "r-3",
                "intent.entrypoint": "chat",
                "intent.semreg.mode": "applied",
                "intent.selection.source": "discovery",
                "session.id": "0190163d-8694-739b-aea5-966c26f8ad91",
                "intent.subject.id": "0190163d-8694-739b-aea5-966c26f8ad92",
                "intent.run_sheet.entry_id": "0190163d-8694-739b-aea5-966c26f8ad93",
                "intent.macro.semreg_checked": True,
                "intent.synthetic": True,
                "intent.semreg.denied_verbs": ("cbu.delete",),
                "intent.semreg.denied_reasons": ("role",),
                "intent.missing_args": ("custodian",),
                "intent.macro.denied_verbs": (),
                "intent.candidates.pre.verbs": ("cbu.assign-role", "cbu.delete"),
                "intent.candidates.pre.scores": (0.75, 0.5),
                "intent.candidates.pre.total": 2,
                "intent.candidates.pre.sources": ("lexical", "lexical"),
                "intent.candidates.post.verbs": ("cbu.assign-role",),
                "intent.candidates.post.scores": (0.75,),
                "intent.candidates.post.total": 1,
                "intent.utterance.hash": "a2e1dcdad485126110653f8b5fc84e9510c0dc12583809542f620a8f8039087d",
                "intent.utterance.template_hash": "ece8021d8f68188d399b97addc9f844b86a4287c6974872151e268ca6d3fdc60",
                "intent.utterance.hash_key_id": "1",
                "intent.utterance.preview": "assign <name?> as custodian",
                "intent.emitter.id": "5c4f2f7e-0d0b-4a55-9c8a-2f1a4f3c9b11",
                "intent.emitter.seq": 1,
                "intent.event_id": "01977420-dc7b-7b5e-8177-c9584ded5911",
                "intent.root": True,
                "intent.outcome": "clarify_args",
            },
        }
    )


def test_a_whole_follow_up(fixed: Traced) -> None:
    """Every attribute of a reply and of an outcome."""
    event_id = UUID("01977420-dc7b-76eb-9726-8c403f16c32c")
    record_reply(event_id, "Assigned Zebedee.", session_id="s-1", turn_id=3, prompt_version="p-7", synthetic=True)
    record_outcome(event_id, "execution_failed", error_type="TimeoutError", synthetic=False)
    reply, outcome = map(whole, fixed.spans)
    assert reply == snapshot(
        {
            "name": "intent.reply",
            "kind": "INTERNAL",
            "ids": ("a0000000000000000000000000000001", "b000000000000002"),
            "parent": None,
            "times": (0, 1000000),
            "status": ("UNSET", None),
            "events": (),
            "links": (),
            "scope": ("intent_events", "0.1.0"),
            "attributes": {
                "intent.record": "reply",
                "intent.schema_version": 1,
                "intent.emitter.id": "5c4f2f7e-0d0b-4a55-9c8a-2f1a4f3c9b11",
                "intent.emitter.seq": 1,
                "intent.event_id": "01977420-dc7b-76eb-9726-8c403f16c32c",
                "session.id": "19eeccad-8f80-50bf-a81f-4e7e289075b3",
                "intent.turn_id": "3",
                "intent.prompt.version": "p-7",
                "intent.reply.hash": "e3baccf4c37ecb076bd7fcbe15335639a00c68973dbf8acc6799f472be0bfea9",
                "intent.reply.preview": "Assigned <name?>",
                "intent.utterance.hash_key_id": "1",
                "intent.synthetic": True,
                "intent.quality": ("session_id_derived",),
            },
        }
    )
    assert outcome == snapshot(
        {
            "name": "intent.outcome",
            "kind": "INTERNAL",
            "ids": ("a0000000000000000000000000000003", "b000000000000004"),
            "parent": None,
            "times": (2000000, 3000000),
            "status": ("UNSET", None),
            "events": (),
            "links": (),
            "scope": ("intent_events", "0.1.0"),
            "attributes": {
                "intent.record": "outcome",
                "intent.schema_version": 1,
                "intent.emitter.id": "5c4f2f7e-0d0b-4a55-9c8a-2f1a4f3c9b11",
                "intent.emitter.seq": 2,
                "intent.event_id": "01977420-dc7b-76eb-9726-8c403f16c32c",
                "intent.outcome.kind": "execution_failed",
                "error.type": "TimeoutError",
                "intent.synthetic": False,
            },
        }
    )


def test_a_whole_row(fixed: Traced) -> None:
    """Every column of the same utterance."""
    handle("assign Zebedee as custodian", CTX)
    view = view_of(fixed.root)
    assert select(view) is Record.UTTERANCE
    row: Any = row_of(view, Record.UTTERANCE)
    assert fixed.root.kind is SpanKind.INTERNAL
    assert {name: value for name, value in row._asdict().items() if name != "service_name"} == snapshot(
        {
            "event_id": UUID("01977420-dc7b-7b5e-8177-c9584ded5911"),
            "ts": datetime(2025, 6, 15, hour=15, minute=6, second=40, microsecond=123000, tzinfo=UTC),
            "schema_version": 1,
            "emitter_id": UUID("5c4f2f7e-0d0b-4a55-9c8a-2f1a4f3c9b11"),
            "emitter_seq": 1,
            "error_code": "E-1",
            "synthetic": True,
            "prompt_version": "p-7",
            "hash_key_id": "1",
            "session_id": UUID("0190163d-8694-739b-aea5-966c26f8ad91"),
            "parent_event_id": None,
            "actor_id": "a-1",
            "entrypoint": "chat",
            "utterance_hash": "a2e1dcdad485126110653f8b5fc84e9510c0dc12583809542f620a8f8039087d",
            "template_hash": "ece8021d8f68188d399b97addc9f844b86a4287c6974872151e268ca6d3fdc60",
            "utterance_preview": "assign <name?> as custodian",
            "scope": "book-1",
            "subject_ref_type": "case",
            "subject_ref_id": UUID("0190163d-8694-739b-aea5-966c26f8ad92"),
            "semreg_mode": "applied",
            "semreg_denied_verbs": ["cbu.delete"],
            "semreg_denied_reasons": ["role"],
            "semreg_snapshot_id": "2025-06-01",
            "chosen_verb_fqn": "cbu.assign-role",
            "forced_verb_fqn": "cbu.assign-role",
            "selection_source": "discovery",
            "outcome": "clarify_args",
            "missing_args": ["custodian"],
            "dsl_hash": "9f2c",
            "run_sheet_entry_id": UUID("0190163d-8694-739b-aea5-966c26f8ad93"),
            "macro_semreg_checked": True,
            "macro_denied_verbs": [],
            "boost_version": "b-2",
            "registry_version": "r-3",
            "verb_candidates_pre": [
                CandidateItem("cbu.assign-role", 0.75, "lexical"),
                CandidateItem("cbu.delete", 0.5, "lexical"),
            ],
            "verb_candidates_pre_total": 2,
            "verb_candidates_post": [CandidateItem("cbu.assign-role", 0.75)],
            "verb_candidates_post_total": 1,
            "duration_ms": 3.0,
            "trace_sampled": True,
            "trace_id": "a0000000000000000000000000000001",
            "span_id": "b000000000000002",
            "quality": None,
        }
    )
