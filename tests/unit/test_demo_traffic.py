# SPDX-License-Identifier: Apache-2.0
import json
from collections import Counter
from collections.abc import Generator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from intent_events import semconv
from intent_events.demo.chat import Chat
from intent_events.demo.orchestrator import Orchestrator
from intent_events.demo.registry import load_registry
from intent_events.demo.traffic import Played, Turn, load_traffic, play
from intent_events.errors import SettingsError
from intent_events.instrument.current import make_recorder, set_recorder
from intent_events.semconv import Entrypoint, Outcome, OutcomeKind, Record, SelectionSource, SemRegMode
from intent_events.settings import RecordSettings

RUN = UUID(int=42)


async def played(turns: Sequence[Turn]) -> list[Played]:
    return [one async for one in play(Chat(Orchestrator()), turns)]


@pytest.fixture
def recorded() -> Generator[InMemorySpanExporter]:
    """Spans of the replies and outcomes that are recorded; nothing wraps the orchestrator."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    set_recorder(
        make_recorder(RecordSettings.model_validate({"hash_key": "a key of this test"}), tracer_provider=provider)
    )
    yield exporter
    set_recorder(None)
    provider.shutdown()


def attributes_of(exporter: InMemorySpanExporter, record: Record) -> list[dict[str, Any]]:
    attributes = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    return [one for one in attributes if one.get(semconv.RECORD) == record]


def test_the_bundled_traffic_has_the_promised_size() -> None:
    """At least 300 utterances in sessions of several turns, all synthetic, none twice the same in one context."""
    turns = load_traffic(run_id=RUN)
    assert len(turns) >= 300
    sessions = Counter(turn.session for turn in turns)
    assert sum(1 for length in sessions.values() if length > 1) > len(sessions) * 0.9
    assert len(turns) / len(sessions) > 3
    assert all(turn.ctx.synthetic for turn in turns)
    assert len({turn.utterance.lower() for turn in turns}) > len(turns) * 0.9
    assert {turn.ctx.session_id for turn in turns} == {turn.ctx.session_id for turn in load_traffic(run_id=RUN)}
    assert {turn.ctx.session_id for turn in turns}.isdisjoint(turn.ctx.session_id for turn in load_traffic())


def test_every_expected_verb_is_in_the_registry() -> None:
    """The labels of the bundled traffic name verbs that there are, most of them at least once."""
    verbs = {turn.expected_verb for turn in load_traffic() if turn.expected_verb}
    registry = load_registry()
    assert verbs <= registry.verbs.keys()
    assert len(verbs) > 0.85 * len(registry.verbs)


async def test_the_bundled_traffic_reaches_everything(recorded: InMemorySpanExporter) -> None:
    """Every outcome, SemReg mode, selection source, entrypoint, prompt version and outcome kind is reached."""
    turns = load_traffic(run_id=RUN)
    results = await played(turns)
    traces = [one.result.trace for one in results if one.result is not None]
    assert {one.outcome for one in results} == set(Outcome)
    assert {trace.semreg_mode for trace in traces} == set(SemRegMode)
    assert {trace.selection_source for trace in traces} - {None} == set(SelectionSource)
    assert {trace.entrypoint for trace in traces} == set(Entrypoint)
    assert len({trace.prompt_version for trace in traces}) == 3
    kinds = attributes_of(recorded, Record.OUTCOME)
    assert {one[semconv.OUTCOME_KIND] for one in kinds} == set(OutcomeKind)
    assert all(one[semconv.SYNTHETIC] for one in kinds)
    assert {one.get(semconv.ERROR_TYPE) for one in kinds} == {
        None,
        "precondition_unmet",
        "duplicate_entry",
        "value_out_of_range",
        "nothing_to_undo",
    }
    replies = attributes_of(recorded, Record.REPLY)
    assert [one[semconv.EVENT_ID] for one in replies] == [str(trace.event_id) for trace in traces]
    assert all(one[semconv.PROMPT_VERSION] and one[semconv.TURN_ID] for one in replies)


async def test_what_is_executed_was_matched(recorded: InMemorySpanExporter) -> None:
    """Each matched utterance is executed or fails to be, once, and no other one is."""
    matched = [one.result for one in await played(load_traffic(run_id=RUN)) if one.outcome == Outcome.MATCHED]
    ran = [
        one[semconv.EVENT_ID]
        for one in attributes_of(recorded, Record.OUTCOME)
        if one[semconv.OUTCOME_KIND] in {OutcomeKind.EXECUTED, OutcomeKind.EXECUTION_FAILED}
    ]
    assert ran == [str(result.trace.event_id) for result in matched if result is not None]


async def test_every_turn_ends_as_its_line_says() -> None:
    """Each line that says how it must end does end so, and each match that it labels is of the verb that is meant."""
    results = await played(load_traffic(run_id=RUN))
    wrong = [
        (one.turn.session, one.turn.utterance, one.turn.expected_outcome, one.outcome)
        for one in results
        if one.turn.expected_outcome not in {None, one.outcome}
    ]
    assert wrong == []
    labelled = [one for one in results if one.turn.expected_verb and one.best_verb]
    assert sum(one.best_verb == one.turn.expected_verb for one in labelled) > 0.9 * len(labelled)


async def test_policy_comes_first_in_all_of_it() -> None:
    """In no turn was a verb chosen or staged that policy had denied in it, and every denial has its reason."""
    for one in await played(load_traffic(run_id=RUN)):
        if one.result is None:
            continue
        trace = one.result.trace
        denied = set(trace.semreg_denied_verbs or ()) | set(trace.macro_denied_verbs or ())
        assert trace.chosen_verb_fqn not in denied
        assert len(trace.semreg_denied_reasons or ()) == len(trace.semreg_denied_verbs or ())
        assert denied.isdisjoint(candidate.verb for candidate in trace.verb_candidates_post or ())
        if one.result.entry is not None:
            assert denied.isdisjoint(call.verb for call in one.result.entry.calls)


async def test_a_verb_is_chosen_only_when_it_is() -> None:
    """Questions about the verb, refusals and talk of other things leave the chosen verb empty; matches never do."""
    for one in await played(load_traffic(run_id=RUN)):
        if one.result is None:
            continue
        trace = one.result.trace
        with_verb = {Outcome.MATCHED, Outcome.CLARIFY_ARGS, Outcome.AWAITING_CONFIRMATION}
        assert (trace.chosen_verb_fqn is not None) == (trace.outcome in with_verb)
        assert (trace.selection_source is not None) == (trace.outcome in with_verb)
        assert (trace.dsl_hash is not None) == (trace.outcome == Outcome.MATCHED)
        assert bool(trace.missing_args) == (trace.outcome == Outcome.CLARIFY_ARGS)


async def test_the_same_run_twice_is_the_same() -> None:
    """Two runs of the same traffic give the same replies, outcomes, candidates and DSL hashes."""
    turns = load_traffic(run_id=RUN)

    def shape(results: list[Played]) -> list[object]:
        return [
            (one.outcome, one.error)
            if one.result is None
            else (
                one.outcome,
                one.result.reply,
                one.result.trace.verb_candidates_pre,
                one.result.trace.verb_candidates_post,
                one.result.trace.dsl_hash,
                one.result.trace.semreg_denied_reasons,
            )
            for one in results
        ]

    assert shape(await played(turns)) == shape(await played(turns))


async def test_a_failure_is_a_turn_with_an_error() -> None:
    """A turn that fails is played as an error with the class of the failure, and its session goes on."""
    results = await played(load_traffic(run_id=RUN))
    failed = [at for at, one in enumerate(results) if one.result is None]
    assert {results[at].error for at in failed} == {"LedgerUnreachableError"}
    assert all(results[at + 1].turn.session == results[at].turn.session for at in failed)


def test_plain_lines_are_enough(tmp_path: Path) -> None:
    """Lines with an utterance and a label alone are traffic: one session each, or as many turns as one asks for."""
    file = tmp_path / "plain.jsonl"
    lines = [{"utterance": f"say {number}", "expected_verb": None if number else "a.b"} for number in range(5)]
    file.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"utterance": "no label"}]), encoding="utf-8")
    turns = load_traffic(file)
    assert len({turn.ctx.session_id for turn in turns}) == 6
    assert [turn.expected_verb for turn in turns] == ["a.b", None, None, None, None, None]
    assert [turn.labelled for turn in turns] == [True] * 5 + [False]
    grouped = load_traffic(file, turns_per_session=4)
    assert [len(list(group)) for _, group in groupby(grouped, key=lambda turn: turn.ctx.session_id)] == [4, 2]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([{"text": "private words"}], ":1: utterance: Field required; text: Extra inputs are not permitted"),
        ([{"utterance": "a"}, {"utterance": "private words", "semreg": "sideways"}], ":2: semreg: Input should be"),
        ([{"utterance": "private words", "session": "s", "turn": 2}], ":1: turn 2 of session s stands where turn 1 "),
        ([], "no utterances; write one JSON object a line"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: list[dict[str, Any]], problem: str) -> None:
    """The error of a wrong line says file, line and remedy, and quotes no utterance."""
    file = tmp_path / "wrong.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_traffic(file)
    assert str(file) in str(caught.value)
    assert problem in str(caught.value)
    assert "private words" not in str(caught.value)
