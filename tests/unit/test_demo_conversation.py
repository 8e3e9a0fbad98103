# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from uuid import UUID

import pytest

from intent_events.demo import conversation
from intent_events.demo.conversation import (
    Conversations,
    picked,
    picked_by_words,
    says_cancel,
    says_no,
    says_none,
    says_yes,
)
from intent_events.demo.files import bundled
from intent_events.demo.replies import load_prompts
from intent_events.demo.scopes import load_scopes, mentioned, wanted_scope
from intent_events.errors import SettingsError
from intent_events.semconv import Outcome

SCOPES = load_scopes()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2", 1),
        ("the second one", 1),
        ("Option 3, please", 2),
        ("yes, the first", 0),
        ("I mean the last one", 2),
        ("the former", 0),
        ("4", None),
        ("second thoughts: show the client", None),
        ("", None),
    ],
)
def test_a_pick_by_number(text: str, at: int | None) -> None:
    """An answer that is a number picks that option, if there is one; anything more is no pick."""
    assert picked(text, 3) == at


def test_a_pick_by_words() -> None:
    """An answer picks the option that it shares most words with; a tie picks none."""
    options = [frozenset({"clos", "case"}), frozenset({"clos", "client"})]
    assert picked_by_words(frozenset({"case"}), options) == 0
    assert picked_by_words(frozenset({"clos"}), options) is None
    assert picked_by_words(frozenset(), options) is None


def test_short_answers_are_told_apart() -> None:
    """Yes, no, none and never mind are each recognised, and longer requests that begin alike are not."""
    assert says_yes("Yes, go ahead")
    assert says_yes("okay")
    assert not says_yes("yesterday's file please")
    assert says_no("no, better not")
    assert not says_no("note for the record")
    assert says_none("none of these")
    assert says_cancel("Oh, never mind")
    assert says_cancel("please cancel that")
    assert not says_cancel("cancel the SSI for this market")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("switch to the Alpine funds", ["scope-101"]),
        ("please switch to Harbour", ["scope-102", "scope-103"]),
        ("Let's work on Harbour Property Trust now", ["scope-103"]),
        ("change the scope to the pension scheme", ["scope-107"]),
        ("go to the moon", []),
        ("switch to the funds", ["scope-101", "scope-102"]),
    ],
)
def test_scopes_are_found_by_name(text: str, ids: list[str]) -> None:
    """A wish to switch names a scope in full or in part; a part may fit several, and a whole name wins."""
    name = wanted_scope(text)
    assert name is not None
    assert [scope.id for scope in SCOPES.find(name)] == ids


def test_other_wishes_are_no_switch() -> None:
    """What merely mentions a scope, or is far too long, is no wish to switch."""
    assert wanted_scope("show me the Alpine funds") is None
    assert wanted_scope("switch to " + "!" * 100_000) is None


def test_an_answer_mentions_one_scope() -> None:
    """Of several scopes an answer means the one whose own words it has."""
    options = SCOPES.find("moonlight")
    assert [scope.id for scope in options] == ["scope-104", "scope-105", "scope-106"]
    asia = mentioned("the Asia one", options)
    assert asia is not None
    assert asia.id == "scope-105"
    assert mentioned("moonlight partners", options) is None


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that spoke longest ago is forgotten first."""
    monkeypatch.setattr(conversation, "MAX_SESSIONS", 2)
    sessions = Conversations()
    first = sessions.of(UUID(int=1))
    sessions.of(UUID(int=2))
    assert sessions.of(UUID(int=1)) is first
    sessions.of(UUID(int=3))
    assert sessions.end(UUID(int=2)) is None
    assert sessions.end(UUID(int=1)) is first


def test_every_prompt_version_has_every_reply() -> None:
    """There are at least two versions; each has a reply of its own for every outcome but error."""
    prompts = load_prompts()
    assert len(prompts.packs) >= 2
    for outcome in set(Outcome) - {Outcome.ERROR}:
        replies = {
            pack.reply(outcome, action="wave", verb="a.b", options="x", missing="y", reason="z", scope="s")
            for pack in prompts.packs
        }
        assert len(replies) == len(prompts.packs)
    assert prompts.pack(None).version == prompts.default
    with pytest.raises(SettingsError, match="no such prompt version; use one of plain-1, terse-2, guided-3"):
        prompts.pack("loud-9")


def test_a_broken_prompt_pack_is_named(tmp_path: Path) -> None:
    """A pack without a reply, with an unknown field or without its default is an error that says which."""
    text = bundled("prompts.json").read_text(encoding="utf-8")
    broken = tmp_path / "prompts.json"
    broken.write_text(
        text.replace('"cancelled"', '"canceled"').replace("{missing}", "{lost}").replace('"terse-2",', '"x",', 1)
    )
    with pytest.raises(SettingsError) as caught:
        load_prompts(broken)
    for problem in ("no reply for cancelled", "unknown field {lost} in clarify_args", "the default x is no pack"):
        assert problem in str(caught.value)
