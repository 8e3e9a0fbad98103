# SPDX-License-Identifier: Apache-2.0
"""What the orchestrator knows to be a value is masked as its kind, in every mode; what is no span is passed over."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events import HandlerMapping, current_trace, record_utterance, recording
from intent_events.privacy import EntitySpan, Masker, entity_spans, shipped_vocabulary
from intent_events.privacy.detecting import DetectingMasker
from intent_events.privacy.vocabulary import JOINTS, words_of
from unit.odd_values import ANY_TEXT, ANYTHING
from unit.traced import SETTINGS, UTTERANCE, Traced, traced_by

MASKER = Masker(shipped_vocabulary())
SAID = "assign state street as custodian of the fund"


@pytest.mark.parametrize(
    ("spans", "preview"),
    [
        ([(7, 19, "organisation")], "assign <organisation> as custodian of the fund"),
        ([(9, 15, "Organisation")], "assign <organisation> as custodian of the fund"),
        ([(7, 12, "person"), (13, 19, "city")], "assign <person> <city> as custodian of the fund"),
        ([(7, 12, "legal entity")], "assign <legal_entity> as custodian of the fund"),
        ([(7, 19, "zebedee")], "assign <entity> as custodian of the fund"),
        ([(7, 19, "")], "assign <entity> as custodian of the fund"),
        ([(0, 99, "secret")], "<secret>"),
        ([(0, 10, "person"), (7, 19, "company")], "<person> <company> as custodian of the fund"),
        ([(500, 600, "person")], "assign state street as custodian of the fund"),
    ],
)
def test_known_entities_are_masked(spans: list[Any], preview: str) -> None:
    """Every word that a span touches becomes its kind; a kind that could be the value itself is not shown."""
    assert MASKER.mask(SAID, entity_spans(spans)).preview == preview


def test_templates_meet_by_kind() -> None:
    """Utterances with other values of the same kinds have one template."""
    other = MASKER.mask("assign Goldman Sachs as custodian of the fund", entity_spans([(7, 20, "organisation")]))
    assert MASKER.mask(SAID, entity_spans([(7, 19, "organisation")])).template == other.template


def test_detection_leaves_known_entities_out_too() -> None:
    """The other ways to mask a text mask what is known as well."""
    text = "mail Zebedee at a@b.example and zebedee"
    masked = DetectingMasker().mask(text, entity_spans([(5, 12, "person"), (6, 9, "city"), (32, 39, "quux")]))
    assert masked.preview == "mail <person> at <email> and <entity>"


@given(ANYTHING)
def test_anything_may_be_handed_over(given: Any) -> None:
    """Whatever stands there, spans come of it or nothing."""
    assert all(type(span) is EntitySpan for span in entity_spans(given))
    assert all(type(span) is EntitySpan for span in entity_spans([given, (given, given, given), [0, 4, given]]))


SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.sampled_from(["person", "date", "x"])), max_size=6
)


@given(ANY_TEXT, SPANS)
def test_entities_only_hide(text: str, given: list[Any]) -> None:
    """With entities nothing is shown that was hidden without them, but for company that is no longer kept."""
    masked = MASKER.mask(text, entity_spans(given))
    assert not any(letter.isdigit() or letter in "@\uff20" for letter in masked.preview + masked.template)
    shown = {word.strip(".,;:!?") for word in masked.template.split() if not word.startswith("<")}
    known = {word for entry in shipped_vocabulary() for word in words_of(entry)}
    assert all(word in known or set(JOINTS.split(word)) <= known for word in shown)


def test_entities_of_a_recording(traced: Traced) -> None:
    """They may be given at the beginning, or at any time before the end; the raw spans are nowhere."""
    with recording(UTTERANCE, entity_spans=[(7, 19, "person"), (20, 25, "amount")]):
        pass
    with recording(UTTERANCE) as trace:
        trace.entity_spans = [EntitySpan(7, 19, "person"), EntitySpan(20, 25, "amount")]
    assert [row.utterance_preview for row in traced.rows] == ["assign <person> <amount> as custodian"] * 2
    assert len({row.template_hash for row in traced.rows}) == 1
    assert len({row.utterance_hash for row in traced.rows}) == 1


def test_entities_of_a_handler(traced: Traced) -> None:
    """A handler may set them in its trace, and a mapping may find them in its result."""

    @record_utterance
    def one(utterance: str) -> None:
        del utterance
        current_trace().entity_spans = [(7, 19, "person")]

    @record_utterance(mapping=HandlerMapping(result={"entity_spans": ("found",)}))
    def other(utterance: str) -> dict[str, Any]:
        del utterance
        return {"found": [[7, 19, "person"]], "outcome": "matched"}

    one(UTTERANCE)
    other(UTTERANCE)
    assert [row.utterance_preview for row in traced.rows] == ["assign <person> <number> as custodian"] * 2


def test_the_text_is_let_go_at_the_end(traced: Traced) -> None:
    """A recording that has ended holds nothing of what was said, however it ended."""
    held: list[Any] = []

    def fail() -> None:
        with recording(UTTERANCE):
            from intent_events.trace import active_recording  # noqa: PLC0415 - looked at from inside

            held.append(active_recording.get())
            raise ValueError(UTTERANCE)

    with pytest.raises(ValueError, match="Zebedee"):
        fail()
    assert held[0]._utterance is None
    assert traced.row.utterance_preview == "assign <name?> <number> as custodian"


def test_previews_by_patterns() -> None:
    """Under ``patterns`` what has a form is hidden and the rest is shown, as it is asked for."""
    traced = Traced(settings=SETTINGS.model_copy(update={"preview": "patterns"}))
    with traced_by(traced), recording("mail a@b.example to Alice, then call +44 20 7946 0958"):
        pass
    assert traced.row.utterance_preview == "mail <email> to Alice, then call <phone>"
