# SPDX-License-Identifier: Apache-2.0
"""Stages are child spans of their utterance, and nothing without one."""

import asyncio
from typing import Any

import pytest
import wrapt
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import StatusCode, get_current_span

from intent_events import record_utterance, recording, stage
from intent_events.instrument.current import current_recorder
from intent_events.instrument.stages import StageWrapper
from intent_events.select import Skipped, select
from intent_events.semconv import STAGE, Stage
from intent_events_exporter.convert import view_of
from unit.handlers import calling, same
from unit.traced import UTTERANCE, Traced, attributes_of, traced_by


def stages(traced: Traced) -> list[ReadableSpan]:
    """Finished spans of stages."""
    return [span for span in traced.spans if STAGE in attributes_of(span)]


def test_stages_are_children_of_the_utterance(traced: Traced) -> None:
    """Each stage is a span beneath the root; a stage within a stage is beneath that."""
    with recording(UTTERANCE):
        with stage(Stage.DISCOVER):
            pass
        with stage("policy"), stage("my own"):
            pass
    discover, own, policy = stages(traced)
    root = traced.root.context
    assert [span.name for span in (discover, policy, own)] == ["discover", "policy", "my own"]
    assert attributes_of(discover) == {STAGE: "discover"}
    assert type(attributes_of(discover)[STAGE]) is str
    assert discover.parent == policy.parent == root
    assert own.parent == policy.context
    assert select(view_of(discover)) is Skipped.STRANGER


@pytest.mark.parametrize(
    ("error", "marked"),
    [(ValueError(UTTERANCE), True), (KeyboardInterrupt(), False), (asyncio.CancelledError(), False)],
)
def test_an_exception_in_a_stage(error: BaseException, marked: bool, traced: Traced) -> None:  # noqa: FBT001 - a table
    """What a stage raises is raised, the very same; of an error only the type is recorded."""
    with pytest.raises(type(error)) as caught, recording(UTTERANCE), stage("select"):
        raise error
    assert caught.value is error
    (span,) = stages(traced)
    assert not span.events
    assert span.status.description is None
    assert span.status.status_code is (StatusCode.ERROR if marked else StatusCode.UNSET)
    assert attributes_of(span).get("error.type") == ("ValueError" if marked else None)


def test_a_stage_without_an_utterance_is_nothing(traced: Traced) -> None:
    """Outside of an utterance, after its end, and while instrumentation is suppressed, a stage leaves no span."""
    with stage("discover"):
        pass
    with recording(UTTERANCE), suppress_instrumentation(), stage("discover"):
        assert get_current_span().is_recording()
    assert not stages(traced)


async def test_a_stage_in_a_task_that_outlives_its_utterance(traced: Traced) -> None:
    """A stage of an utterance that has ended is none of it any more."""
    go_on = asyncio.Event()

    async def late() -> None:
        await go_on.wait()
        with stage("select"):
            pass

    with recording(UTTERANCE):
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    go_on.set()
    await task
    assert not stages(traced)


def wrapped(function: Any, **kwargs: Any) -> Any:
    """A function as a stage, as the instrumentor wraps it."""
    return wrapt.FunctionWrapper(function, StageWrapper("discover", kwargs.get("active", current_recorder)))


def test_a_function_as_a_stage(traced: Traced) -> None:
    """A wrapped function runs within the span of its stage."""

    def look(word: str) -> tuple[str, Any]:
        return word, get_current_span()

    with recording(UTTERANCE):
        word, span = wrapped(look)("x")
    assert word == "x"
    assert span.get_span_context() == stages(traced)[0].context


def test_a_wrapped_function_without_an_utterance(traced: Traced) -> None:
    """Outside of an utterance a wrapped function is the function."""
    assert wrapped(same)("x") == "x"
    assert not traced.spans


class NoStages(Sampler):
    """A sampler that raises for stages."""

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any) -> SamplingResult:
        """Raise for a stage, and sample everything else."""
        if name == "select":
            raise LookupError(UTTERANCE)
        return ALWAYS_ON.should_sample(parent_context, trace_id, name)

    def get_description(self) -> str:
        """Its name."""
        return "no stages"


def test_a_stage_that_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    """A stage whose span cannot be started runs the same, and the log says so."""
    with traced_by(Traced(sampler=NoStages())) as traced:
        with recording(UTTERANCE), stage("select"):
            assert wrapped(same)("x") == "x"
        assert [span.name for span in traced.spans] == ["discover", "handle_utterance"]
    assert "a stage could not be recorded (LookupError)" in caplog.text


async def test_a_coroutine_function_as_a_stage(traced: Traced) -> None:
    """A wrapped coroutine function runs within the span of its stage, to its end."""

    async def search(word: str) -> tuple[str, Any]:
        await asyncio.to_thread(lambda: None)
        return word, get_current_span()

    with recording(UTTERANCE):
        word, span = await wrapped(search)("x")
    assert word == "x"
    assert span.get_span_context() == stages(traced)[0].context


async def test_a_decorated_coroutine_function_as_a_stage(traced: Traced) -> None:
    """A plain function that returns a coroutine is a stage until the coroutine is done."""

    async def search(word: str) -> tuple[str, Any]:
        await asyncio.to_thread(lambda: None)
        return word, get_current_span()

    with recording(UTTERANCE):
        word, span = await wrapped(calling(search, same))("x")
    assert word == "x"
    assert span.get_span_context() == stages(traced)[0].context
    assert len(stages(traced)) == 1


async def test_a_stage_that_is_switched_off(traced: Traced) -> None:
    """Without a recorder a wrapped function is the function."""

    async def search(word: str) -> str:
        return word

    with recording(UTTERANCE):
        assert wrapped(same, active=lambda: None)("x") == "x"
        assert await wrapped(search, active=lambda: None)("x") == "x"
    assert not stages(traced)


def test_a_wrapped_stage_that_raises(traced: Traced) -> None:
    """What a wrapped function raises is raised, the very same."""
    error = ValueError(UTTERANCE)

    def search() -> None:
        raise error

    with pytest.raises(ValueError, match="assign") as caught, recording(UTTERANCE):
        wrapped(search)()
    assert caught.value is error
    assert attributes_of(stages(traced)[0])["error.type"] == "ValueError"


def test_a_stage_of_a_nested_call(traced: Traced) -> None:
    """A stage of a nested call is a child of the nested call's span."""

    @record_utterance
    def inner(utterance: str) -> None:
        assert utterance
        with stage("select"):
            pass

    calling(inner)(UTTERANCE)
    assert stages(traced)[0].parent == traced.nested[0].context
