# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from intent_events.demo.context import Context, Result
from intent_events.demo.directory import LedgerUnreachableError
from intent_events.demo.orchestrator import Orchestrator
from intent_events.errors import SettingsError
from intent_events.semconv import Outcome, OutcomeKind, SelectionSource, SemRegMode


class Talk:
    """One session with an orchestrator of its own index; the trace of the last turn is at hand."""

    def __init__(self, orchestrator: Orchestrator, **fields: Any) -> None:
        self.orchestrator = orchestrator
        self.ctx = Context(session_id=uuid4(), actor_id="tester", **fields)

    async def say(self, utterance: str, **fields: Any) -> Result:
        """One turn; fields of the context hold for this turn alone."""
        return await self.orchestrator.handle_utterance(utterance, replace(self.ctx, **fields))


@pytest.fixture(scope="module")
def orchestrator() -> Orchestrator:
    return Orchestrator()


async def test_a_clear_request_is_staged(orchestrator: Orchestrator) -> None:
    """A clear request is matched: candidates, choice, DSL hash and run sheet entry are all in the trace."""
    talk = Talk(orchestrator, synthetic=True, scope="scope-9")
    result = await talk.say("assign Moonbase Custody Bank as custodian")
    trace = result.trace
    assert (trace.outcome, trace.chosen_verb_fqn) == (Outcome.MATCHED, "cbu.assign-role")
    assert trace.selection_source == SelectionSource.DISCOVERY
    assert result.entry is not None
    assert result.entry.dsl == '(cbu.assign-role :entity "Moonbase Custody Bank" :role "custodian")'
    assert (trace.dsl_hash, trace.run_sheet_entry_id) == (result.entry.dsl_hash, result.entry.entry_id)
    assert result.entry.event_id == trace.event_id
    assert (trace.session_id, trace.scope, trace.synthetic) == (talk.ctx.session_id, "scope-9", True)
    assert trace.semreg_snapshot_id == orchestrator.semreg.snapshot_id
    assert trace.registry_version == orchestrator.registry.version
    assert trace.prompt_version == "terse-2"
    candidates = trace.verb_candidates_pre
    assert candidates
    assert candidates[0].verb == "cbu.assign-role"
    assert trace.verb_candidates_pre_total == len(candidates)
    assert all(0 < candidate.score <= 1 and candidate.source == "bm25s" for candidate in candidates)


async def test_the_pick_after_did_you_mean(orchestrator: Orchestrator) -> None:
    """The pick is matched by user choice with the values of the first request, and said of the event that asked."""
    talk = Talk(orchestrator)
    asked = await talk.say("make Sunken City Trust the transfer agent")
    assert asked.trace.outcome == Outcome.CLARIFY_VERB
    assert asked.trace.chosen_verb_fqn is None
    assert asked.entry is None
    chosen = await talk.say("the first one")
    assert chosen.trace.outcome == Outcome.MATCHED
    assert chosen.trace.selection_source == SelectionSource.USER_CHOICE
    assert chosen.follow_ups == ((asked.trace.event_id, OutcomeKind.PICKED),)
    assert chosen.entry is not None
    assert "Sunken City Trust" in chosen.entry.dsl
    assert {candidate.source for candidate in chosen.trace.verb_candidates_pre or ()} == {"offered"}


async def test_turning_all_options_down(orchestrator: Orchestrator) -> None:
    """None of the options is no match, and picks nothing."""
    talk = Talk(orchestrator)
    await talk.say("make Sunken City Trust the transfer agent")
    result = await talk.say("none of these")
    assert (result.trace.outcome, result.trace.chosen_verb_fqn, result.follow_ups) == (Outcome.NO_MATCH, None, ())


async def test_missing_arguments_are_asked_for_by_name(orchestrator: Orchestrator) -> None:
    """The names of what is missing are in the trace, the verb stays chosen, and the answer completes it."""
    talk = Talk(orchestrator)
    asked = await talk.say("please add a beneficial owner")
    assert asked.trace.outcome == Outcome.CLARIFY_ARGS
    assert asked.trace.missing_args == ("owner", "percent")
    assert asked.trace.chosen_verb_fqn == "ubo.add-owner"
    assert asked.trace.dsl_hash is None
    half = await talk.say("Alex Sample")
    assert (half.trace.outcome, half.trace.missing_args) == (Outcome.CLARIFY_ARGS, ("percent",))
    done = await talk.say("25%")
    assert done.entry is not None
    assert done.entry.dsl == '(ubo.add-owner :owner "Alex Sample" :percent "25%")'
    assert done.trace.missing_args is None


async def test_a_new_request_leaves_the_question(orchestrator: Orchestrator) -> None:
    """Whoever asks for something else instead of answering has abandoned the first request."""
    talk = Talk(orchestrator)
    asked = await talk.say("open a securities account", phase="setup")
    result = await talk.say("actually show me the custody accounts that we already have")
    assert result.trace.chosen_verb_fqn == "custody.list-accounts"
    assert result.follow_ups == ((asked.trace.event_id, OutcomeKind.ABANDONED),)


async def test_rephrasing_is_told_from_giving_up(orchestrator: Orchestrator) -> None:
    """The same words in another sentence rephrase what was not understood; other words do not."""
    talk = Talk(orchestrator)
    lost = await talk.say("I have a prospect who wants to start with us, can we set up the client?")
    assert lost.trace.outcome == Outcome.NO_MATCH
    again = await talk.say("please set up a new client called Rubber Duck Ventures")
    assert again.trace.outcome == Outcome.MATCHED
    assert again.follow_ups == ((lost.trace.event_id, OutcomeKind.REPHRASED),)
    await talk.say("tell me a joke")
    assert (await talk.say("show the run sheet")).follow_ups == ()


async def test_dangerous_verbs_are_confirmed(orchestrator: Orchestrator) -> None:
    """A dangerous verb is staged after a yes only; a no cancels it."""
    talk = Talk(orchestrator, actor_role="operations", phase="live")
    asked = await talk.say("freeze the cash account ACC-20411")
    assert (asked.trace.outcome, asked.entry) == (Outcome.AWAITING_CONFIRMATION, None)
    refused = await talk.say("no, better not")
    assert refused.trace.outcome == Outcome.CANCELLED
    assert refused.follow_ups == ((asked.trace.event_id, OutcomeKind.ABANDONED),)
    await talk.say("freeze the cash account ACC-20411")
    confirmed = await talk.say("yes, go ahead")
    assert confirmed.trace.outcome == Outcome.MATCHED
    assert confirmed.trace.selection_source == SelectionSource.DISCOVERY
    assert confirmed.entry is not None


async def test_policy_is_asked_again_before_an_answer_counts(orchestrator: Orchestrator) -> None:
    """What was allowed when it was asked about is not staged when it is denied by the time of the answer."""
    talk = Talk(orchestrator, actor_role="operations", phase="live")
    await talk.say("freeze the cash account ACC-20411")
    result = await talk.say("yes", phase="frozen")
    assert (result.trace.outcome, result.entry) == (Outcome.NO_ALLOWED_VERBS, None)
    assert result.trace.semreg_mode == SemRegMode.DENY_ALL
    assert result.trace.chosen_verb_fqn is None


async def test_a_denied_verb_is_seen_and_never_chosen(orchestrator: Orchestrator) -> None:
    """What policy took out stands in the list before policy, with its reason, and not in the list after."""
    talk = Talk(orchestrator, actor_role="analyst", phase="due_diligence")
    trace = (await talk.say("please sign off this KYC review")).trace
    assert (trace.outcome, trace.chosen_verb_fqn) == (Outcome.NO_ALLOWED_VERBS, None)
    reasons = dict(zip(trace.semreg_denied_verbs or (), trace.semreg_denied_reasons or (), strict=True))
    assert reasons["kyc.approve-case"] == "needs_compliance"
    assert "kyc.approve-case" in {candidate.verb for candidate in trace.verb_candidates_pre or ()}
    assert "kyc.approve-case" not in {candidate.verb for candidate in trace.verb_candidates_post or ()}


async def test_policy_can_decide_between_two(orchestrator: Orchestrator) -> None:
    """When policy leaves one of several that came close, policy is what selected it."""
    talk = Talk(orchestrator, phase="due_diligence", subject_ref_type="entity", subject_ref_id=UUID(int=3))
    trace = (await talk.say("close it")).trace
    assert (trace.outcome, trace.selection_source) == (Outcome.MATCHED, SelectionSource.SEMREG)
    assert trace.chosen_verb_fqn == "cbu.request-closure"


async def test_a_demanded_verb_can_be_overridden(orchestrator: Orchestrator) -> None:
    """A verb that is named in full and denied gives way to the one that policy offers; both are in the trace."""
    talk = Talk(orchestrator, phase="closing")
    trace = (await talk.say("please run cbu.close on Paper Whale Growth")).trace
    assert (trace.forced_verb_fqn, trace.chosen_verb_fqn) == ("cbu.close", "cbu.request-closure")
    assert trace.selection_source == SelectionSource.SEMREG
    assert next(iter(trace.verb_candidates_pre or ())).verb == "cbu.close"
    assert next(iter(trace.verb_candidates_post or ())).verb == "cbu.request-closure"
    allowed = (await talk.say("please run case.list-open")).trace
    assert (allowed.forced_verb_fqn, allowed.chosen_verb_fqn) == ("case.list-open", "case.list-open")


async def test_macros_are_checked_verb_by_verb(orchestrator: Orchestrator) -> None:
    """A macro is staged as one block when SemReg allows all of its verbs, and not at all when it denies one."""
    talk = Talk(orchestrator, phase="setup")
    staged = await talk.say("launch a fund with its first share class, called Purple Whale")
    assert staged.trace.selection_source == SelectionSource.MACRO
    assert (staged.trace.macro_semreg_checked, staged.trace.macro_denied_verbs) == (True, ())
    assert staged.entry is not None
    assert staged.entry.dsl == '(do (fund.create :name "Purple Whale") (share-class.create :name "Purple Whale"))'
    denied = await talk.say("launch a fund with its first share class, called Purple Whale", phase="closing")
    assert (denied.trace.outcome, denied.trace.chosen_verb_fqn) == (Outcome.NO_ALLOWED_VERBS, None)
    assert denied.trace.macro_denied_verbs == ("fund.create", "share-class.create")


async def test_a_macro_is_not_checked_when_nobody_can_be_asked(orchestrator: Orchestrator) -> None:
    """When the registry is away and the entrypoint fails open, the macro runs and its trace says it was not checked."""
    talk = Talk(orchestrator, actor_role="operations", entrypoint="repl", phase="setup", semreg_reachable=False)
    trace = (await talk.say("launch a fund with its first share class, called Purple Whale")).trace
    assert (trace.outcome, trace.semreg_mode) == (Outcome.MATCHED, SemRegMode.FAIL_OPEN)
    assert trace.macro_semreg_checked is False
    assert trace.semreg_snapshot_id is None


async def test_direct_dsl(orchestrator: Orchestrator) -> None:
    """Allowed DSL is staged as it is written, and asks for what is missing."""
    talk = Talk(orchestrator, actor_role="operations", entrypoint="repl", phase="setup")
    done = await talk.say('(settlement.add-instruction :market "Japan" :currency JPY)')
    assert done.entry is not None
    assert done.trace.forced_verb_fqn == done.trace.chosen_verb_fqn == "settlement.add-instruction"
    assert done.trace.selection_source == SelectionSource.USER_CHOICE
    assert done.entry.dsl == '(settlement.add-instruction :market "Japan" :currency "JPY")'
    assert (await talk.say("(settlement.add-instruction)")).trace.missing_args == ("market",)


@pytest.mark.parametrize(
    ("dsl", "fields", "code"),
    [
        ("(cbu.show)", {"entrypoint": "chat"}, "dsl_not_permitted"),
        ("(cbu.show)", {"actor_role": "compliance"}, "dsl_not_permitted"),
        ("(cbu.show", {}, "dsl_syntax"),
        ("(cbu.fly)", {}, "unknown_verb"),
        ("(macro.launch-fund)", {}, "unknown_verb"),
        ("(cbu.show :colour blue)", {}, "unknown_argument"),
        ("(fee.set-management-fee :percent 1%)", {}, "needs_client_manager"),
        ("(cbu.show)", {"phase": "frozen"}, "phase_frozen"),
    ],
)
async def test_direct_dsl_is_denied(orchestrator: Orchestrator, dsl: str, fields: dict[str, Any], code: str) -> None:
    """DSL of the wrong people, at the wrong door, of the wrong form or against SemReg is denied with a code."""
    context: dict[str, Any] = {"actor_role": "operations", "entrypoint": "repl"}
    result = await Talk(orchestrator, **(context | fields)).say(dsl)
    assert (result.trace.outcome, result.trace.error_code) == (Outcome.DIRECT_DSL_DENIED, code)
    assert (result.trace.chosen_verb_fqn, result.entry) == (None, None)
    assert not result.trace.verb_candidates_post


async def test_scopes(orchestrator: Orchestrator) -> None:
    """A scope is switched at once or picked from several, and every later utterance is recorded in it by its id."""
    talk = Talk(orchestrator, scope="scope-9")
    assert (await talk.say("show the run sheet")).trace.scope == "scope-9"
    asked = await talk.say("switch to harbour")
    assert (asked.trace.outcome, asked.trace.scope) == (Outcome.SCOPE_CANDIDATES, "scope-9")
    picked = await talk.say("the property one")
    assert (picked.trace.outcome, picked.trace.scope) == (Outcome.SCOPE_RESOLVED, "scope-103")
    assert picked.follow_ups == ((asked.trace.event_id, OutcomeKind.PICKED),)
    assert (await talk.say("show the run sheet")).trace.scope == "scope-103"
    await talk.say("switch to moonlight")
    assert (await talk.say("none of them")).trace.outcome == Outcome.CANCELLED
    other = Talk(orchestrator)
    assert (await other.say("show the run sheet")).trace.scope is None


async def test_cancelling(orchestrator: Orchestrator) -> None:
    """What is taken back is cancelled, its question is closed, and nothing is staged."""
    talk = Talk(orchestrator)
    asked = await talk.say("please add a beneficial owner")
    result = await talk.say("never mind")
    assert (result.trace.outcome, result.entry) == (Outcome.CANCELLED, None)
    assert result.follow_ups == ((asked.trace.event_id, OutcomeKind.ABANDONED),)
    assert (await talk.say("cancel that")).follow_ups == ()
    assert (await Talk(orchestrator).say("cancel that")).trace.outcome != Outcome.CANCELLED


async def test_a_back_end_can_fail(orchestrator: Orchestrator) -> None:
    """A record of the legacy ledger raises out of the handler, and the session works on."""
    talk = Talk(orchestrator, phase="setup", actor_role="operations")
    with pytest.raises(LedgerUnreachableError, match="change the standing instruction LGY-20031"):
        await talk.say("change the standing instruction LGY-20031")
    assert (await talk.say("change the standing instruction SSI-20031")).trace.outcome == Outcome.MATCHED


async def test_prompt_versions_reply_differently(orchestrator: Orchestrator) -> None:
    """The version that is asked for is recorded and speaks; one that there is not is an error that names the others."""
    replies: set[str] = set()
    for version in ("plain-1", "terse-2", "guided-3"):
        result = await Talk(orchestrator, prompt_version=version).say("close it")
        assert result.trace.prompt_version == version
        replies.add(result.reply)
    assert len(replies) == 3
    with pytest.raises(SettingsError, match="use one of"):
        await Talk(orchestrator, prompt_version="loud-9").say("hello")


async def test_an_open_question_is_abandoned_at_the_end(orchestrator: Orchestrator) -> None:
    """Ending a session tells which question stays open; a session without one, or unknown, tells nothing."""
    talk = Talk(orchestrator)
    asked = await talk.say("please add a beneficial owner")
    assert orchestrator.end_session(talk.ctx.session_id) == ((asked.trace.event_id, OutcomeKind.ABANDONED),)
    assert orchestrator.end_session(talk.ctx.session_id) == ()


@pytest.mark.parametrize(
    "utterance", ["", " ", "\x00", "\ud800", "(" * 5_000, "A" * 100_000, "“" * 3_000, "é" * 20_000]
)
async def test_any_utterance_is_handled(orchestrator: Orchestrator, utterance: str) -> None:
    """Empty, broken and huge utterances end with an outcome and a reply."""
    result = await Talk(orchestrator).say(utterance)
    assert result.trace.outcome in set(Outcome)
    assert result.reply
