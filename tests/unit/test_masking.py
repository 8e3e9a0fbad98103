# SPDX-License-Identifier: Apache-2.0
"""Previews show words of the vocabulary and nothing else, at most 80 characters, cut between graphemes."""

from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from intent_events.errors import SettingsError
from intent_events.privacy import (
    PREVIEW_CHARACTERS,
    Masker,
    load_vocabularies,
    load_vocabulary,
    masking,
    shipped_vocabulary,
)
from intent_events.privacy.vocabulary import words_of
from unit.odd_values import ANY_TEXT

MASKER = Masker(shipped_vocabulary())
KINDS = {masking.EMAIL, masking.NUMBER, masking.DATE, masking.ID, masking.NAME}
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FLAG = "\U0001f1e9\U0001f1ea"
TOKENS = st.one_of(
    st.sampled_from(sorted(shipped_vocabulary())),
    st.sampled_from(sorted(shipped_vocabulary())).map(str.title),
    st.sampled_from(
        ["Zebedee", "z.quux@mail.example", "4711", "4.711,00€", "2024-05-01", "DE-4711-x", "\u00b2", "a@b"]
    ),
    st.sampled_from([FAMILY, FLAG, "שלום", "العربية", "नमस्ते", "한국어", "\uff46\uff55ll", "\uff11\uff12", "a\uff20b"]),
    st.sampled_from(["e\u0301tat", "\u202eevil\u202c"]),
    ANY_TEXT,
)
TEXTS = st.lists(st.tuples(TOKENS, st.sampled_from([" ", "  ", "\n", "\u3000", "-", "/", ".", ", "])), max_size=40).map(
    lambda pairs: "".join(token + joint for token, joint in pairs)
)
"""Utterances: words that may be shown among all that may not."""


def graphemes(text: str) -> list[str]:
    """User-perceived characters, by the Unicode tables of another library."""
    return regex.findall(r"\X", text)


def uncut(masker: Masker, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the preview would be if it could have any length."""
    with monkeypatch.context() as patched:
        patched.setattr(masking, "PREVIEW_CHARACTERS", 1 << 30)
        return masker.mask(text).preview


def shown_words(preview: str) -> list[str]:
    """Words of a preview that stand for themselves."""
    return [word for word in preview.split(" ") if word and word not in KINDS and word != "…"]


@given(TEXTS)
def test_a_preview_has_at_most_80_characters_and_no_broken_grapheme(text: str) -> None:
    """Its clusters are the first ones of the masked text, each whole; what was left out is an ellipsis."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        check_cut(MASKER, text, monkeypatch)


def check_cut(masker: Masker, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the preview of a text against the whole masked text."""
    preview, whole = masker.mask(text).preview, uncut(masker, text, monkeypatch)
    assert len(preview) <= PREVIEW_CHARACTERS
    if len(whole) <= PREVIEW_CHARACTERS:
        assert preview == whole
        return
    assert preview.endswith("…")
    kept = [cluster.rstrip(" ") for cluster in graphemes(preview[:-1].rstrip(" "))]
    assert kept == [cluster.rstrip(" ") for cluster in graphemes(whole)][: len(kept)]


MARKED = st.text(st.characters(categories=("L", "M", "N", "P", "Zs", "Cf")), max_size=12)


@given(st.lists(MARKED, min_size=1, max_size=30), st.data())
def test_no_vocabulary_breaks_a_grapheme(entries: list[str], data: st.DataObject) -> None:
    """The same holds for words of any script that a host lets through, marks and odd letters among them."""
    words = data.draw(st.lists(st.sampled_from(entries), max_size=60))
    with pytest.MonkeyPatch.context() as monkeypatch:
        check_cut(Masker(entries), " ".join(words), monkeypatch)


@given(TEXTS)
def test_no_digit_and_no_address_passes(text: str) -> None:
    """No digit of any script and no ``@`` is in a preview or template."""
    masked = MASKER.mask(text)
    assert not any(letter.isdigit() or letter in "@\uff20" for letter in masked.preview + masked.template)


@given(TEXTS)
def test_no_word_outside_of_the_vocabulary_passes(text: str) -> None:
    """Every word of a preview is one of the vocabulary, made of such, or the kind of what it stands for."""
    known = {word for entry in shipped_vocabulary() for word in words_of(entry)}
    for word in shown_words(MASKER.mask(text).preview):
        lower = word.rstrip(".,;:!?").lower()
        assert lower in known or set(regex.split(r"[-/_.'\u2019]+", lower)) <= known


@given(st.lists(ANY_TEXT, max_size=10), TEXTS)
def test_no_vocabulary_lets_digits_pass(entries: list[str], text: str) -> None:
    """Whatever a host puts into its vocabulary, digits and addresses stay masked."""
    preview = Masker([*entries, text, "4711", "a@b"]).mask(f"{text} 4711 a@b").preview
    assert not any(letter.isdigit() or letter in "@\uff20" for letter in preview)


@given(ANY_TEXT)
def test_an_empty_vocabulary_shows_kinds_only(text: str) -> None:
    """Without a vocabulary nothing of a text is shown."""
    assert not shown_words(Masker(()).mask(text).preview)


@pytest.mark.parametrize("text", ["x" * 100_000, "the " * 25_000, "e\u0301" * 50_000, FAMILY * 14_000, "the-" * 25_000])
def test_texts_of_100_000_characters(text: str) -> None:
    """A text of any length has a preview of at most 80 characters."""
    assert len(MASKER.mask(text).preview) <= PREVIEW_CHARACTERS


@pytest.mark.parametrize(
    ("text", "preview"),
    [
        ("", ""),
        ("   \n\t ", ""),
        ("assign Goldman Sachs as custodian", "assign <name?> as custodian"),
        ("Assign State Street as custodian.", "Assign <name?> as custodian."),
        ("please REMOVE the KYC case", "please <name?> the KYC case"),
        ("mail zebedee@quux.example now", "mail <email> now"),
        ("pay 4,711.00 by 2024-05-01 at 10:30", "pay <number> by <date> at <date>"),
        ("open case AB-4711", "open case <id>"),
        ("the 1st, 2nd and \uff13rd", "the <number> and <number>"),
        ("who's the (new) owner?", "who's the new owner?"),
        ("start/stop it... Now!", "start/stop it. Now!"),
        (f"thanks {FAMILY} {FLAG}", "thanks <name?>"),
        ("the\u0301 a", "<name?> a"),
        ("\x00 \ud800 the", "<name?> the"),
        ("who said the the the the the the the the the the the the the the the the the the the",
         "who said the the the the the the the the the the the the the the the the the …"),
    ],
)  # fmt: skip
def test_preview_of(text: str, preview: str) -> None:
    """Words are shown, values are their kinds, and equal kinds in a row are one."""
    assert MASKER.mask(text).preview == preview


@pytest.mark.parametrize(
    ("text", "preview"),
    [
        ("is Bank of Zebedee the custodian", "is <name?> the custodian"),
        ("is the bank of zebedee a custodian", "is the bank of <name?> a custodian"),
        ("add zebedee bank and quux", "add <name?>"),
        ("Mark Zebedee called", "<name?> called"),
        ("ask mark zebedee", "ask <name?>"),
        ("mark it as done", "mark it as done"),
        ("Mr. Price said no", "<name?> said no"),
        ("send it to 12 main street, please", "send it to <number> please"),
        ("on 12 march or in march", "on <number> or in march"),
        ("unit 4711 of the fund", "<number> of the fund"),
        ("my pin is four seven one one", "my pin is <number>"),
        ("four-seven-one-one", "<name?>"),
        ("it took two days", "it took two days"),
        ("transfer 5 to 10", "transfer <number> to <number>"),
        ("from Zebedee to Quux", "from <name?> to <name?>"),
        ("zebedee s.a. and quux a/s", "<name?>"),
        ("PLEASE OPEN THE KYC CASE", "<name?> KYC <name?>"),
        ("I think I'm right, I do", "I think I'm right, I do"),
        ("the deFi iPhone", "the <name?>"),
        ("open - close", "open close"),
        ("\uff4f\uff50\uff45\uff4e the \uff23\uff21\uff33\uff25", "open the <name?>"),
        ("\u043epen the c\u0430se", "<name?>"),
        ("o\u200bpen the\u202e case", "<name?> case"),
        ("4\u20e3 7\ufe0f\u20e3 \u2463 \u0664\u0667", "<id> <number>"),
    ],
)
def test_words_in_the_company_of_values(text: str, preview: str) -> None:
    """Words that belong to names, addresses and numbers go with them; the same words by themselves are shown."""
    vocabulary = shipped_vocabulary() | {"bank", "mark", "main street", "march", "unit", "of the", "price"}
    assert Masker(vocabulary).mask(text).preview == preview


def test_a_vocabulary_of_another_language() -> None:
    """Words of any script are shown when a vocabulary has them, however they are composed, and names are not."""
    masker = Masker(["назначить хранителем", "تعيين أمين الحفظ", "Zur Straße", "nommer le dépositaire"])
    assert masker.mask("Назначить Голдман хранителем").preview == "Назначить <name?> хранителем"
    assert masker.mask("تعيين غولدمان أمين الحفظ").preview == "تعيين <name?> أمين الحفظ"
    assert masker.mask("nommer Zebedee le de\u0301positaire").preview == "nommer <name?> le dépositaire"
    assert masker.mask("zur straße").template == "zur straße"


def test_a_registry_is_a_vocabulary(tmp_path: Path) -> None:
    """Phrases and descriptions of a registry in JSON lines are taken, and nothing else of it."""
    path = tmp_path / "registry.jsonl"
    path.write_text(
        '{"verb": "a.zebedee", "phrases": ["Novate the CDS", 7], "description": "moves it"}\n\n'
        '[1]\n{"phrases": "quux"}\n'
    )
    assert load_vocabulary(path) == {"Novate the CDS", "moves it"}
    assert Masker(load_vocabulary(path)).mask("novate the CDS zebedee").preview == "novate the CDS <name?>"
    path.write_text("{")
    with pytest.raises(SettingsError, match=r"registry\.jsonl cannot be read \(JSONDecodeError\)"):
        load_vocabulary(path)
    assert load_vocabularies([]) == frozenset()


def test_a_preview_of_exactly_80_characters_is_not_cut() -> None:
    """The limit itself is allowed."""
    fits, beyond = "the " * 19 + "done", "the " * 19 + "doing"
    assert (len(fits), MASKER.mask(fits).preview) == (80, fits)
    assert MASKER.mask(beyond).preview == "the " * 19 + "…"


def test_only_the_beginning_of_a_long_text_is_masked() -> None:
    """What stands behind the first 4,096 characters is in no template."""
    assert MASKER.mask("a " * 2_048 + "yes").template == MASKER.mask("a " * 2_048 + "no").template
    assert MASKER.mask("a " * 2_000 + "yes").template != MASKER.mask("a " * 2_000 + "no").template


def test_capitals_within_a_sentence_are_a_name() -> None:
    """Names are made of common words: a capital shows a word only at the start of a sentence, or as an acronym."""
    assert MASKER.mask("Open it. Close it, Open it").preview == "Open it. Close it, <name?> it"
    assert MASKER.mask("the NAV of the FUNDS AND INVESTMENTS").preview == "the NAV of the <name?>"


def test_templates_meet_where_previews_differ() -> None:
    """Case and punctuation at the end of a word do not make another template."""
    assert MASKER.mask("Close it!").template == MASKER.mask("close it").template == "close it"


def test_words_of_an_entry() -> None:
    """A phrase stands for its words; what has a digit, an ``@`` or no letter, and what is too long, is left out."""
    assert words_of("Set-Up the e\u0301tat 4711 a@b -- \u0301x 2nd " + "x" * 41) == [
        "set-up",
        "set",
        "up",
        "the",
        "the",
        "état",
        "état",
    ]


def test_the_shipped_vocabulary_holds_no_digits() -> None:
    """It is words without digits, and it is read once."""
    words = shipped_vocabulary()
    assert words is shipped_vocabulary()
    assert {"assign", "custodian", "the", "KYC"} <= words
    assert not any(letter.isdigit() or letter == "@" for entry in words for letter in entry)


def test_a_vocabulary_file(tmp_path: Path) -> None:
    """A line is an entry; comments and empty lines are none."""
    path = tmp_path / "words.txt"
    path.write_text("# ours\nsub fund # two words\n\n  côté  \n", "utf-8")
    assert load_vocabulary(path) == {"sub fund", "côté"}
    assert Masker(load_vocabulary(path)).mask("sub Zebedee CÔTÉ").preview == "sub <name?>"
    assert Masker(load_vocabulary(path)).mask("sub zebedee co\u0302te\u0301").preview == "sub <name?> côté"


def test_a_vocabulary_file_that_is_not_there(tmp_path: Path) -> None:
    """The error names the file and what to give."""
    with pytest.raises(SettingsError, match=r"words\.txt cannot be read \(FileNotFoundError\): give a readable UTF-8"):
        load_vocabulary(tmp_path / "words.txt")


def test_a_vocabulary_file_of_another_encoding(tmp_path: Path) -> None:
    """The error names the file, and shows nothing of what is in it."""
    path = tmp_path / "words.txt"
    path.write_bytes(b"caf\xe9 Zebedee")
    with pytest.raises(SettingsError, match=r"words\.txt cannot be read \(UnicodeDecodeError\)") as caught:
        load_vocabulary(path)
    assert "Zebedee" not in str(caught.value)


def test_a_vocabulary_path_that_no_file_can_have() -> None:
    """A path with NUL is a setting that cannot be used, and no crash."""
    with pytest.raises(SettingsError, match="cannot be read"):
        load_vocabulary(Path("words\x00.txt"))
