# SPDX-License-Identifier: Apache-2.0
"""Orchestrators that keep what they hear to themselves, and others that do not, as tests of somebody else's project.

``tests/integration/test_proof.py`` runs them: whatever is named ``test_sound_…`` passes, all others fail.
"""

import asyncio
import base64
import logging
import os
import sys
import warnings
from collections.abc import AsyncGenerator, Callable, Generator

import pytest
from opentelemetry import _logs, metrics, trace

from intent_events import IntentEventsInstrumentor, current_trace, record_outcome, record_reply, record_utterance
from intent_events import recording as record
from intent_events.settings import RecordSettings
from intent_events.testing.plugin import Prove

TRACER = trace.get_tracer("brain")
METER = metrics.get_meter("brain")
LOGGER = logging.getLogger("brain")
CALLS = METER.create_counter("brain.calls")
SILENT = METER.create_histogram("brain.silent")


@record_utterance
def handle(utterance: str, session_id: str | None = None) -> str:
    """Handle an utterance and say nothing of it."""
    del utterance, session_id
    trace_ = current_trace()
    trace_.chosen_verb_fqn, trace_.outcome = "cbu.assign-role", "matched"
    with TRACER.start_as_current_span("search") as span:
        span.set_attribute("brain.hits", 3)
        span.add_event("found", {"verb": "cbu.assign-role"})
        CALLS.add(1, {"verb": "cbu.assign-role"})
        LOGGER.debug("searched", stack_info=True)
        print(sys.stdout.encoding, sys.stdout.isatty(), sys.stdout.fileno() >= 0, flush=True)  # noqa: T201 - as hosts do
    return "done"


def other_handle(utterance: str) -> None:
    """Record at a second place."""
    with record(utterance) as trace_:
        trace_.outcome = "matched"


class Plain:
    """An orchestrator that knows nothing of telemetry."""

    def handle(self, utterance: str) -> str:
        """Handle an utterance."""
        return self.answer(utterance)

    def answer(self, utterance: str) -> str:
        """Answer it; some are refused."""
        if "refuse" in utterance:
            raise PermissionError("this verb is not allowed")
        return "done"


class Streams:
    """Handlers of every kind."""

    @record_utterance
    async def ask(self, utterance: str) -> str:
        """Handle as a coroutine."""
        await asyncio.sleep(0)
        return utterance and "done"

    @record_utterance
    async def stream_async(self, utterance: str) -> AsyncGenerator[str]:
        """Handle as an asynchronous generator."""
        yield utterance and "one"
        yield "two"

    @record_utterance
    def stream(self, utterance: str) -> Generator[str]:
        """Handle as a generator."""
        yield utterance and "one"


def test_sound_decorator(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        for said in proof.say("assign {} as custodian", "what is the status of {}"):
            handle(said)


def test_sound_targets(intent_events_proof: Prove) -> None:
    with intent_events_proof(f"{__name__}:Plain.handle") as proof:
        brain = Plain()
        proof.run(brain.handle, "assign {} as custodian", "refuse {}")


def test_sound_twice_in_one_process(intent_events_proof: Prove) -> None:
    for _ in range(2):
        with intent_events_proof() as proof:
            proof.run(handle)


def test_sound_every_kind_of_handler(intent_events_proof: Prove) -> None:
    for handler in (Streams().ask, Streams().stream_async, Streams().stream):
        with intent_events_proof() as proof:
            proof.run(handler, "tell {} everything")


async def _within_a_loop(prove: Prove) -> None:
    for handler in (Streams().ask, Streams().stream_async, Streams().stream):
        with prove() as proof:
            await proof.run_async(handler, "tell {} everything")
    with prove() as proof:
        for said in proof.say("tell {}"):
            await Streams().ask(said)


def test_sound_within_an_event_loop(intent_events_proof: Prove) -> None:
    asyncio.run(_within_a_loop(intent_events_proof))


def test_sound_follow_ups(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        for said in proof.say("assign {}"):
            with record(said) as trace_:
                trace_.outcome = "matched"
            record_reply(trace_.event_id or "", f"You said {said}", session_id="a session")
            record_outcome(trace_.event_id or "", "executed")


@pytest.mark.parametrize("preview", ["off", "masked"])
def test_sound_settings(intent_events_proof: Prove, preview: str) -> None:
    settings = RecordSettings.model_validate({"hash_key": "a key of the tests alone", "preview": preview})
    with intent_events_proof(settings=settings, vocabulary=["custodian"]) as proof:
        proof.run(handle)


def test_sound_postgres(intent_events_proof: Prove) -> None:
    with intent_events_proof(dsn=os.environ["PROOF_DSN"]) as proof:
        proof.run(handle)


def test_sound_because_our_span_takes_nothing_else(intent_events_proof: Prove) -> None:
    @record_utterance
    def careless(utterance: str) -> None:
        trace.get_current_span().set_attribute("app.text", utterance)
        trace.get_current_span().record_exception(ValueError(utterance))
        current_trace().scope = utterance

    with intent_events_proof() as proof:
        proof.run(careless, "assign {} as custodian")


def test_sound_failure_of_the_test_itself(intent_events_proof: Prove) -> None:
    with pytest.raises(ZeroDivisionError), intent_events_proof() as proof:
        handle(str(1 / len(list(proof.say("assign {}"))[7:])))


def test_sound_what_was_said_before_does_not_matter(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        said = next(proof.say("assign {}"))
        handle(said)
    TRACER.start_span("later").set_attribute("said", said)
    LOGGER.warning(said)
    with intent_events_proof() as proof:
        proof.run(handle)


def in_attribute(said: str) -> None:
    with TRACER.start_as_current_span("search") as span:
        span.set_attribute("brain.query", said)


def in_list(said: str) -> None:
    TRACER.start_span("search", attributes={"brain.queries": ["", said]}).end()


def in_key(said: str) -> None:
    TRACER.start_span("search", attributes={said: True}).end()


def in_event(said: str) -> None:
    with TRACER.start_as_current_span("search") as span:
        span.add_event("heard", {"text": said})


def in_link(said: str) -> None:
    context = trace.SpanContext(1, 1, is_remote=False)
    TRACER.start_span("search", links=[trace.Link(context, {"text": said})]).end()


def in_span_name(said: str) -> None:
    TRACER.start_span(f"handle {said}").end()


def in_tracer_name(said: str) -> None:
    trace.get_tracer(said).start_span("search").end()


def in_status(said: str) -> None:
    with TRACER.start_as_current_span("search") as span:
        span.set_status(trace.StatusCode.ERROR, said)


def in_recorded_exception(said: str) -> None:
    with TRACER.start_as_current_span("search") as span:
        span.record_exception(ValueError(said))


def in_log_line(said: str) -> None:
    LOGGER.info("heard %s", said)


def in_log_line_that_does_not_fit(said: str) -> None:
    LOGGER.info("heard %d", said)


def in_many_attributes(said: str) -> None:
    for number in range(40):
        TRACER.start_span("search", attributes={f"brain.query.{number}": said}).end()


def in_logged_exception(said: str) -> None:
    try:
        {}[said]
    except KeyError:
        LOGGER.exception("no such verb")


def in_log_field(said: str) -> None:
    LOGGER.debug("heard", extra={"text": said})


def in_logger_without_parent(said: str) -> None:
    logger = logging.getLogger("alone")
    logger.propagate = False
    logger.warning(said)


def in_otlp_log(said: str) -> None:
    _logs.get_logger("brain").emit(_logs.LogRecord(body={"content": said}))


def in_warning(said: str) -> None:
    warnings.warn(said, stacklevel=1)


def on_stdout(said: str) -> None:
    print(said)  # noqa: T201 - what this is about


def on_stderr(said: str) -> None:
    sys.stderr.write(f"{said}\n")


def in_metric(said: str) -> None:
    CALLS.add(1, {"text": said})


def in_metric_name(said: str) -> None:
    METER.create_counter("brain.of", description=said).add(1)


def in_base64(said: str) -> None:
    TRACER.start_span("search", attributes={"brain.query": base64.b64encode(f"q={said}".encode()).decode()}).end()


def in_number(said: str) -> None:
    digits = "".join(filter(str.isdigit, said))
    if digits:
        TRACER.start_span("search", attributes={"brain.number": int(digits)}).end()


def in_candidates(said: str) -> None:
    current_trace().verb_candidates_pre = [(said, 1.0, "lexical")]  # pyright: ignore[reportAttributeAccessIssue] - foreign


LEAKS: dict[str, Callable[[str], None]] = {
    name: leak for name, leak in list(globals().items()) if name.startswith(("in_", "on_"))
}


@pytest.mark.parametrize("leak", LEAKS)
def test_leaks(intent_events_proof: Prove, leak: str) -> None:
    @record_utterance
    def leaking(utterance: str) -> None:
        LEAKS[leak](utterance)

    with intent_events_proof() as proof:
        proof.run(leaking, "assign {} as custodian")


def test_leaks_in_exception(intent_events_proof: Prove) -> None:
    @record_utterance
    def leaking(utterance: str) -> None:
        raise KeyError(utterance)

    with intent_events_proof() as proof:
        proof.run(leaking)


def test_leaks_in_cause_and_notes(intent_events_proof: Prove) -> None:
    @record_utterance
    def leaking(utterance: str) -> None:
        error = RuntimeError("no answer")
        error.add_note(utterance)
        raise ExceptionGroup("several", [error])

    with intent_events_proof() as proof:
        proof.run(leaking)


def test_leaks_in_exception_of_the_test(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        for said in proof.say():
            handle(said)
            raise KeyError(said)


def test_leaks_into_postgres(intent_events_proof: Prove) -> None:
    @record_utterance
    def leaking(utterance: str) -> None:
        in_candidates(utterance)

    with intent_events_proof(dsn=os.environ["PROOF_DSN"]) as proof:
        proof.run(leaking)


def test_records_none(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        for n, said in enumerate(proof.say("assign {}")):
            if n:
                handle(said)


def test_records_two(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        for n, said in enumerate(proof.say("assign {}")):
            handle(said)
            if not n:
                handle(said)


def test_records_from_a_second_place(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        for n, said in enumerate(proof.say("assign {}")):
            (handle if n % 2 else other_handle)(said)


def test_records_by_a_tracer_of_its_own(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        for said in proof.say("assign {}"):
            handle(said)
            TRACER.start_span("mine", attributes={"intent.root": True, "intent.outcome": "matched"}).end()


def test_says_nothing(intent_events_proof: Prove) -> None:
    with intent_events_proof():
        pass


def test_calls_the_handler_wrongly(intent_events_proof: Prove) -> None:
    def two_arguments(utterance: str, session_id: str) -> None:
        del utterance, session_id

    with intent_events_proof() as proof:
        proof.run(record_utterance(two_arguments), "tell {}")  # pyright: ignore[reportArgumentType] - what this is about


def test_says_no_value(intent_events_proof: Prove) -> None:
    with intent_events_proof() as proof:
        list(proof.say("assign somebody"))


def test_instrumented_already(intent_events_proof: Prove) -> None:
    IntentEventsInstrumentor().instrument(delivery=False, skip_dep_check=True)
    try:
        with intent_events_proof():
            pass
    finally:
        IntentEventsInstrumentor().uninstrument()
