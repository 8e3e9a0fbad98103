# SPDX-License-Identifier: Apache-2.0
"""Whatever breaks around us or in us, the host does not notice."""

import logging
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import StatusCode

from intent_events import record_outcome, record_reply, record_utterance, recording, stage
from intent_events.instrument import current, recorder, troubles, wrappers
from intent_events.instrument.current import current_recorder, set_recorder
from intent_events.settings import RecordSettings
from unit.handlers import KINDS, calling, run, same
from unit.traced import TROUBLES, UTTERANCE, Traced, attributes_of, traced_by


class BrokenError(Exception):
    """What a broken part raises."""


def broken(*_: object, **__: object) -> NoReturn:
    """Raise."""
    raise BrokenError(UTTERANCE)


class BrokenStart(SpanProcessor):
    """A span processor that raises at every start."""

    on_start = broken


class BrokenEnd(SpanProcessor):
    """A span processor that raises at every end."""

    on_end = broken


class BrokenSampler(Sampler):
    """A sampler that raises."""

    should_sample = broken

    def get_description(self) -> str:
        """Its name."""
        return "broken"


BROKEN: dict[str, Callable[[], Traced]] = {
    "processor at the start": lambda: Traced(processors=[BrokenStart()]),
    "processor at the end": lambda: Traced(processors=[BrokenEnd()]),
    "sampler": lambda: Traced(sampler=BrokenSampler()),
}


@pytest.mark.parametrize("part", BROKEN)
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_sdk_does_not_reach_the_host(part: str, kind: str) -> None:
    """Handlers of every kind, their stages and what follows them run the same."""
    with traced_by(BROKEN[part]()):

        def body() -> str:
            with stage("select"):
                record_outcome(UUID(int=1), "picked")
            record_reply(UUID(int=1), "hello")
            return "the answer"

        assert run(KINDS[kind](record_utterance, body)(UTTERANCE)) == "the answer"
        error = ValueError(UTTERANCE)

        def fail() -> NoReturn:
            with stage("select"):
                raise error

        with pytest.raises(ValueError, match="assign") as caught:
            run(KINDS[kind](record_utterance, fail)(UTTERANCE))
        assert caught.value is error


@pytest.mark.parametrize("part", BROKEN)
def test_a_broken_sdk_is_said_once(part: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log says which part failed by its type, once a minute, and nothing of what was said."""
    with traced_by(BROKEN[part]()):
        for _ in range(3):
            with recording(UTTERANCE, scope="b") as trace, stage("select"):
                assert trace.scope == "b"
    ours = [record.getMessage() for record in caplog.records if record.name == "intent_events"]
    assert any("(BrokenError)" in message for message in ours)
    assert len(ours) == len(set(ours))
    assert "assign" not in " ".join(ours)


@pytest.mark.parametrize("where", ["attributes_of", "EMITTER", "event_id_of", "track"])
def test_a_failure_of_ours_does_not_reach_the_host(where: str, traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in recording costs the record at worst."""
    monkeypatch.setattr(recorder, where, broken)
    handle = calling(same)
    assert handle(UTTERANCE) == UTTERANCE
    with recording(UTTERANCE):
        pass
    assert all(span.status.status_code is StatusCode.UNSET for span in traced.spans)


def test_a_record_is_there_even_when_its_attributes_failed(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a record still says that it is one, and has its key and number."""
    monkeypatch.setattr(recorder, "attributes_of", broken)
    with recording(UTTERANCE) as trace:
        trace.outcome = "matched"
    assert traced.row.event_id == trace.event_id
    assert traced.row.emitter_seq is not None


def test_a_failure_while_arguments_are_read(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in reading arguments leaves a row without them."""
    monkeypatch.setattr(wrappers, "ArgumentReader", broken)
    calling(same)(UTTERANCE)
    assert traced.row.utterance_hash == "unknown"


def test_an_unsampled_span_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """An utterance that no span records is counted and said once, and its handler runs the same."""
    with traced_by(Traced(sampler=ALWAYS_OFF)) as traced:
        handle = calling(same)
        for _ in range(3):
            assert handle(UTTERANCE) == UTTERANCE
        with recording(UTTERANCE, session_id="s") as trace, stage("select"):
            trace.outcome = "clarify_verb"
        assert traced.metric("intent_events.records.unrecorded") == 4
        assert not traced.spans
        assert (trace.telemetry_persisted, trace.telemetry_committed) == (False, False)
    assert caplog.text.count("no span is recording") == 1


def test_a_recorded_span_is_not_counted(traced: Traced) -> None:
    """What is recorded is not counted as unrecorded."""
    with recording(UTTERANCE):
        pass
    assert traced.metric("intent_events.records.unrecorded") is None


@pytest.mark.parametrize("limit", [8, 3])
def test_the_sdks_limit_of_attributes(limit: int) -> None:
    """When the SDK keeps few attributes only, the key, the mark of a root and the outcome are among them."""
    with traced_by(Traced(limits=SpanLimits(max_span_attributes=limit))) as traced:
        with recording(UTTERANCE, session_id="s", actor_id="a", scope="b", entrypoint="chat") as trace:
            trace.outcome = "matched"
            trace.chosen_verb_fqn = "a.b"
            trace.verb_candidates_pre = [("a.b", 0.5, "x")]
        attributes = attributes_of(traced.root)
        assert len(attributes) == limit
        assert list(attributes)[-3:] == ["intent.event_id", "intent.root", "intent.outcome"]
        assert (traced.row.event_id, traced.row.outcome) == (trace.event_id, "matched")
        assert "attributes_dropped" in (traced.row.quality or ())
        assert "event_id_derived" not in (traced.row.quality or ())


def test_the_sdks_limit_of_lengths() -> None:
    """When the SDK cuts texts, ids are cut to nothing that could be mistaken for another id."""
    with traced_by(Traced(limits=SpanLimits(max_span_attribute_length=16))) as traced:
        with recording(UTTERANCE, session_id=UUID(int=7)) as trace:
            trace.outcome = "matched"
        row = traced.row
    assert row.event_id == trace.event_id
    assert {"event_id_derived", "session_id_derived"} <= set(row.quality or ())


def test_the_recorder_is_made_at_first_use(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without an instrumentor the settings of the environment count; one recorder is made, whoever asks."""
    TROUBLES.clear()
    monkeypatch.setenv("INTENT_EVENTS_HASH", "plain")
    monkeypatch.setenv("INTENT_EVENTS_PREVIEW", "off")
    set_recorder(None)
    try:
        made = current_recorder()
        assert current_recorder() is made
        kept = made.privacy.record("hello")
    finally:
        set_recorder(None)
    assert (kept.key_id, kept.preview) == (None, None)
    assert "plain SHA-256, which a dictionary of likely utterances can reverse" in caplog.text


def test_two_threads_make_one_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second while the recorder is made takes the one that was made."""
    ready: list[Any] = []

    class Lock:
        def __enter__(self) -> None:
            set_recorder(current.make_recorder(RecordSettings()))
            ready.append(vars(current)["_current"])

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(current, "_lock", Lock())
    set_recorder(None)
    try:
        assert current_recorder() is ready[0]
    finally:
        set_recorder(None)


def test_a_trouble_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The same message is silent for a minute, another is not, and an error is named by its type alone."""
    TROUBLES.clear()
    clock = [100.0]
    monkeypatch.setattr(troubles, "monotonic", lambda: clock[0])
    for clock[0] in (100.0, 100.5, 159.9, 160.0, 160.1):
        troubles.trouble("one")
        troubles.trouble("other", ValueError(UTTERANCE))
    assert [record.getMessage() for record in caplog.records] == ["one", "other (ValueError)"] * 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert {record.name for record in caplog.records} == {"intent_events"}


def test_troubles_are_bounded() -> None:
    """However many different messages there are, few are remembered."""
    TROUBLES.clear()
    for number in range(3_000):
        troubles.trouble(f"message {number}")
    assert len(TROUBLES) <= 1_000
    TROUBLES.clear()
