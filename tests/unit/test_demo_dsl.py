# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.demo.dsl import Call, DslSyntaxError, dsl_hash, generate, looks_like_dsl, parse

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
CALLS = st.builds(Call, st.builds("{}.{}".format, NAMES, NAMES), st.dictionaries(NAMES, st.text(max_size=40)))


@given(CALLS)
def test_what_is_generated_can_be_parsed(call: Call) -> None:
    """Any call, with any Unicode text in its values, comes back from its DSL text as it was."""
    assert parse(generate([call])) == call


@given(CALLS, CALLS)
def test_the_hash_is_the_text(one: Call, other: Call) -> None:
    """Two calls have the same hash exactly when they have the same text."""
    texts = generate([one]), generate([other])
    assert (dsl_hash(texts[0]) == dsl_hash(texts[1])) == (texts[0] == texts[1])
    assert len(dsl_hash(texts[0])) == 64


def test_several_calls_make_a_block() -> None:
    """A macro becomes one block of its calls, in order."""
    assert generate([Call("a.b", {"x": 'say "hi"'}), Call("c.d", {})]) == '(do (a.b :x "say \\"hi\\"") (c.d))'


def test_users_may_write_bare_words() -> None:
    """White space is free, and a value without quotes is a value."""
    assert parse(' ( cbu.assign-role :role custodian\n :entity "Moonbase" ) ') == Call(
        "cbu.assign-role", {"role": "custodian", "entity": "Moonbase"}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected '(' at character 0"),
        ("cbu.create", "expected '(' at character 0"),
        ("(", "expected a verb at character 1"),
        ("(create)", "expected a fully qualified verb at character 1"),
        ("(cbu.create", "expected ')' at character 11"),
        ("(cbu.create :name)", "expected a value at character 17"),
        ("(cbu.create :name", "expected a value at character 17"),
        ("(cbu.create :name (a.b))", "expected a value at character 18"),
        ("(cbu.create :name a :name b)", "expected every keyword once at character 20"),
        ("(cbu.create secret)", "expected ')' at character 12"),
        ("(cbu.create) (cbu.close)", "expected the end at character 13"),
        ('(cbu.create :name "secret)', "expected a bracket, a keyword or a value at character 18"),
    ],
)
def test_a_syntax_error_says_where(text: str, message: str) -> None:
    """Whatever is no single call is refused with the position, and nothing of the text is quoted."""
    with pytest.raises(DslSyntaxError) as caught:
        parse(text)
    assert str(caught.value) == message


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Any text is a call or a syntax error, never anything else."""
    try:
        call = parse(text)
    except DslSyntaxError as error:
        position = error.position
    else:
        position = text.index(call.verb)
        assert looks_like_dsl(text)
    assert 0 <= position <= len(text)
