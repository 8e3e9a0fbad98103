# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest

from intent_events.demo.files import bundled
from intent_events.demo.registry import Registry, load_registry
from intent_events.errors import SettingsError

MINIMAL: dict[str, Any] = {"verb": "kettle.boil", "domain": "kettle", "phrases": ["boil the kettle"]}
PRIVATE = "Winged Teapot Ltd"


def written(folder: Path, *lines: object) -> Path:
    file = folder / "registry.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def test_the_bundled_registry_has_the_promised_size(registry: Registry) -> None:
    """At least sixty plain verbs and five macros, each verb with six to twelve phrases and a description."""
    plain = [verb for verb in registry.verbs.values() if not verb.expands_to]
    assert len(plain) >= 60
    assert len(registry.verbs) - len(plain) >= 5
    assert not [verb.verb for verb in registry.verbs.values() if not 6 <= len(verb.phrases) <= 12]
    assert not [verb.verb for verb in registry.verbs.values() if not verb.description]


def test_no_phrase_belongs_to_two_verbs(registry: Registry) -> None:
    """A phrase that two verbs share could never be told apart."""
    phrases = [phrase.lower() for verb in registry.verbs.values() for phrase in verb.phrases]
    assert len(phrases) == len(set(phrases))


def test_a_macro_needs_what_its_steps_need(registry: Registry) -> None:
    """A macro has the arguments of all its steps, once each, and is dangerous when one of them is."""
    macro = registry.verbs["macro.launch-fund"]
    steps = registry.steps(macro.verb)
    assert [step.verb for step in steps] == list(macro.expands_to)
    assert {argument.name for argument in macro.args} == {argument.name for step in steps for argument in step.args}
    assert len(macro.args) == len({argument.name for argument in macro.args})
    assert not macro.danger
    assert registry.verbs["macro.offboard-client"].danger


def test_three_fields_are_enough(tmp_path: Path) -> None:
    """A file whose lines have verb, domain and phrases alone is a registry, and brings no macros along."""
    registry = load_registry(written(tmp_path, MINIMAL, "", {**MINIMAL, "verb": "two-words.and-more"}))
    assert list(registry.verbs) == ["kettle.boil", "two-words.and-more"]
    assert registry.steps("kettle.boil") == (registry.verbs["kettle.boil"],)


def test_the_version_is_the_content(tmp_path: Path) -> None:
    """The order of the lines does not change the version; a phrase does."""
    other = {**MINIMAL, "verb": "kettle.cool"}
    version = load_registry(written(tmp_path, MINIMAL, other)).version
    assert load_registry(written(tmp_path, other, MINIMAL)).version == version
    assert load_registry(written(tmp_path, {**MINIMAL, "phrases": ["hot water"]}, other)).version != version


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"verb": "kettle.boil"', "no JSON"),
        ([PRIVATE], "registry.jsonl:2: line: Input should be"),
        ({"verb": "kettle.cool", "domain": "kettle"}, "phrases: Field required"),
        ({**MINIMAL, "verb": "kettle.cool", "phrases": []}, "phrases: Tuple should have at least 1 item"),
        ({**MINIMAL, "verb": "kettle.cool", "phrases": [" "]}, "phrases.0: String should have at least 1 character"),
        ({**MINIMAL, "verb": PRIVATE}, "verb: String should match pattern"),
        ({**MINIMAL, "verb": "kettle.cool", "phrase": []}, "phrase: Extra inputs are not permitted"),
        ({**MINIMAL, "verb": "kettle.cool", "args": [{"name": "cup", "type": PRIVATE}]}, "args.0.type: Input should"),
        (MINIMAL, "verb kettle.boil is there already; keep one of the two lines"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: object, problem: str) -> None:
    """The error of a wrong line says file, line and what to do, and quotes nothing of the line."""
    file = written(tmp_path, MINIMAL, line)
    with pytest.raises(SettingsError) as caught:
        load_registry(file)
    assert f"{file}:2: " in str(caught.value)
    assert problem in str(caught.value)
    assert PRIVATE not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Missing, empty, a folder, not UTF-8: each error names the file and the remedy."""
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes("é".encode("latin-1"))
    for file, remedy in [
        (tmp_path / "missing.jsonl", "give the path of a file that can be read"),
        (tmp_path, "give the path of a file that can be read"),
        (written(tmp_path, ""), "write one JSON object a line with verb, domain and phrases"),
        (latin, "save the file as UTF-8"),
    ]:
        with pytest.raises(SettingsError, match=remedy) as caught:
            load_registry(file)
        assert str(file) in str(caught.value)


def test_unknown_verbs_are_named(tmp_path: Path) -> None:
    """A macro or a precondition that names a verb which is not there is an error that names both."""
    with pytest.raises(SettingsError, match=r"kettle\.boil names unknown verbs kettle\.fill; correct the names"):
        load_registry(written(tmp_path, {**MINIMAL, "after": ["kettle.fill"]}))
    with pytest.raises(SettingsError, match=r"macro onboard-client names unknown verbs cbu\.create"):
        load_registry(written(tmp_path, MINIMAL), bundled("macros.json"))
