# SPDX-License-Identifier: Apache-2.0
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from intent_events.columns import Candidate
from intent_events.demo.context import Context
from intent_events.demo.files import bundled, read_json
from intent_events.demo.policy import CONFIRMATION_NOT_PERMITTED, ENTRYPOINT_NOT_PERMITTED, load_gate
from intent_events.demo.registry import load_registry
from intent_events.demo.selection import Thresholds, select
from intent_events.demo.semreg import (
    PHASE_FROZEN,
    SEMREG_UNAVAILABLE,
    Denial,
    Rule,
    Ruling,
    SemReg,
    Snapshot,
    load_semreg,
)
from intent_events.semconv import Outcome, SelectionSource, SemRegMode

REGISTRY = load_registry()
SEMREG = load_semreg()
GATE = load_gate()
VERBS = tuple(REGISTRY.verbs)


def context(**fields: Any) -> Context:
    return Context(session_id=UUID(int=1), actor_id="tester", **fields)


def reason(verb: str, **fields: Any) -> str | None:
    denial = SEMREG.judge((verb,), context(**fields)).denied.get(verb)
    return None if denial is None else denial.reason


def test_rules_speak_of_role_phase_and_subject() -> None:
    """A verb is denied where all conditions of a rule hold, with the rule's reason, and allowed elsewhere."""
    assert reason("kyc.approve-case", actor_role="analyst") == "needs_compliance"
    assert reason("kyc.approve-case", actor_role="compliance") is None
    assert reason("mandate.allow-market", phase="intake") == "phase_too_early"
    assert reason("mandate.allow-market", phase="setup") is None
    assert reason("case.add-note", subject_ref_type="entity") == "subject_is_no_case"
    assert reason("case.add-note", subject_ref_type="case") is None
    assert reason("case.add-note", subject_ref_type=None) is None


def test_an_auditor_reads_and_nothing_else() -> None:
    """An auditor is denied every verb that is not a way of looking at something."""
    denied = SEMREG.judge(VERBS, context(actor_role="auditor")).denied
    looking = (".show", ".list-", ".find", "ubo.trace-chain")
    assert {verb for verb in VERBS if verb not in denied} == {
        verb for verb in VERBS if any(part in verb for part in looking)
    }


@pytest.mark.parametrize(
    ("fields", "mode", "denied"),
    [
        ({}, SemRegMode.APPLIED, None),
        ({"phase": "frozen"}, SemRegMode.DENY_ALL, PHASE_FROZEN),
        ({"semreg_reachable": False}, SemRegMode.UNAVAILABLE, SEMREG_UNAVAILABLE),
        ({"semreg_reachable": False, "entrypoint": "repl"}, SemRegMode.FAIL_OPEN, None),
    ],
)
def test_every_mode(fields: dict[str, Any], mode: SemRegMode, denied: str | None) -> None:
    """Each mode says what it is, and an outage is closed unless the entrypoint is one that fails open."""
    ruling = SEMREG.judge(("cbu.create",), context(**fields))
    assert ruling.mode is mode
    assert [denial.reason for denial in ruling.denials] == ([denied] if denied else [])
    assert ruling.snapshot_id == (SEMREG.snapshot_id if fields.get("semreg_reachable", True) else None)


def test_looking_needs_no_registry() -> None:
    """While the registry is away, verbs that only look are still allowed."""
    assert reason("cbu.show", semreg_reachable=False) is None
    assert reason("case.list-open", semreg_reachable=False) is None


@given(
    st.lists(st.sampled_from(VERBS), unique=True),
    st.sampled_from(sorted(GATE.entrypoints)),
    st.sampled_from(["intake", "due_diligence", "setup", "live", "closing", "frozen"]),
    st.sampled_from(["entity", "case", "none"]),
    st.booleans(),
)
def test_every_denial_has_a_reason_code(
    verbs: list[str],
    role: str,
    phase: str,
    subject: str,
    reachable: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    """Whoever asks, every denial is of a verb that was asked about and has a reason that is a code, no sentence."""
    ctx = context(actor_role=role, phase=phase, subject_ref_type=subject, semreg_reachable=reachable)
    denials = SEMREG.judge(verbs, ctx).denials + GATE.refusals((REGISTRY.verbs[verb] for verb in verbs), ctx)
    assert all(denial.verb in verbs for denial in denials)
    assert all(denial.reason.replace("_", "").isalpha() and denial.reason.islower() for denial in denials)


def test_what_policy_offers_instead_exists() -> None:
    """A verb that a rule offers in place of another is in the registry, and so is every verb that is named in full."""
    rules = read_json(Snapshot, bundled("semreg.json")).rules
    named = {verb for rule in rules for verb in rule.verbs if "*" not in verb}
    assert named <= REGISTRY.verbs.keys()
    assert {rule.instead for rule in rules if rule.instead} <= REGISTRY.verbs.keys()


def test_a_snapshot_is_immutable_and_versioned_by_its_content() -> None:
    """A snapshot cannot be changed; another rule makes another id; the same content makes the same."""
    rule = Rule(id="r", verbs=("a.*",), reason="no")
    snapshot = Snapshot(name="s-1", rules=(rule,))
    with pytest.raises(ValidationError, match="frozen"):
        snapshot.name = "s-2"  # pyright: ignore[reportAttributeAccessIssue] - that it is refused is the test
    assert SemReg(snapshot).snapshot_id == SemReg(Snapshot(name="s-1", rules=(rule,))).snapshot_id
    assert SemReg(snapshot).snapshot_id != SemReg(Snapshot(name="s-1", rules=())).snapshot_id


def test_the_gate_knows_roles_and_doors() -> None:
    """Entrypoints, direct DSL and dangerous verbs each take a role that may use them."""
    closing = REGISTRY.verbs["cbu.close"]
    assert GATE.refusals([closing], context(actor_role="approver")) == ()
    assert GATE.refusals([closing], context()) == (Denial("cbu.close", CONFIRMATION_NOT_PERMITTED),)
    assert GATE.refusals([closing], context(actor_role="auditor", entrypoint="repl")) == (
        Denial("cbu.close", ENTRYPOINT_NOT_PERMITTED),
    )
    assert GATE.refusals([closing], context(actor_role="stranger"))[0].reason == ENTRYPOINT_NOT_PERMITTED
    assert GATE.admits_dsl(context(actor_role="operations", entrypoint="execute"))
    assert not GATE.admits_dsl(context(actor_role="operations", entrypoint="chat"))
    assert not GATE.admits_dsl(context(actor_role="compliance", entrypoint="repl"))


CLOSE = (Candidate("a.one", 0.8), Candidate("a.two", 0.78), Candidate("a.three", 0.3))


@pytest.mark.parametrize(
    ("denied", "outcome", "options", "source"),
    [
        ((), Outcome.CLARIFY_VERB, ["a.one", "a.two"], None),
        (("a.one",), Outcome.MATCHED, ["a.two"], SelectionSource.SEMREG),
        (("a.three",), Outcome.CLARIFY_VERB, ["a.one", "a.two"], None),
        (("a.one", "a.two"), Outcome.NO_ALLOWED_VERBS, [], None),
    ],
)
def test_policy_comes_first(
    denied: tuple[str, ...], outcome: Outcome, options: list[str], source: SelectionSource | None
) -> None:
    """What is denied is never selected, and nothing far worse takes its place."""
    ruling = Ruling(SemRegMode.APPLIED, tuple(Denial(verb, "no") for verb in denied), "s")
    selection = select(CLOSE, ruling, Thresholds())
    assert selection.outcome is outcome
    assert [option.verb for option in selection.options] == options
    assert selection.source == source


def test_selection_without_policy() -> None:
    """One candidate that stands out is chosen; nothing, or nothing above the floor, is no match."""
    free = Ruling(SemRegMode.APPLIED, (), "s")
    alone = select(CLOSE[1:], free, Thresholds())
    assert (alone.outcome, alone.source) == (Outcome.MATCHED, SelectionSource.DISCOVERY)
    assert select((), free, Thresholds()).outcome is Outcome.NO_MATCH
    assert select(CLOSE, free, Thresholds(floor=0.9)).outcome is Outcome.NO_MATCH
