# SPDX-License-Identifier: Apache-2.0
"""Mapping files: where an orchestrator with other names keeps things, and what is wrong with a file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given

from intent_events import HandlerMapping, IntentTrace, load_mapping, record_utterance
from intent_events.errors import SettingsError
from intent_events.instrument.current import set_recorder
from intent_events.instrument.mapping import ArgumentReader, find_trace
from unit.handlers import returning
from unit.odd_values import ANYTHING, Hostile, HostileDict, HostileList, Unbound
from unit.orchestrators import Start
from unit.traced import SETTINGS, UTTERANCE, Traced, traced_by

WHOLE = """
[arguments]
utterance = "request.body.text"
session_id = "request.conversation"
synthetic = "dry_run"

[result]
trace = "debug.intent"
dsl_hash = "debug.program.sha"
chosen_verb_fqn = "verbs.0"

[outcomes]
OK = "matched"
"Which one?" = "clarify_verb"

[stages]
discover = "orchestrator:Search.run"
"""


def write(folder: Path, text: str) -> Path:
    """A mapping file with this text."""
    path = folder / "mapping.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_mapping_file(tmp_path: Path) -> None:
    """Every table is read, and says what the same says in code."""
    assert load_mapping(write(tmp_path, WHOLE)) == HandlerMapping(
        arguments={
            "utterance": "request.body.text",
            "session_id": "request.conversation",
            "synthetic": "dry_run",
        },
        result={
            "trace": "debug.intent",
            "dsl_hash": "debug.program.sha",
            "chosen_verb_fqn": "verbs.0",
        },
        outcomes={"OK": "matched", "Which one?": "clarify_verb"},
        stages={"discover": "orchestrator:Search.run"},
    )
    assert load_mapping(write(tmp_path, "")) == HandlerMapping()


def test_a_mapping_file_by_its_name(tmp_path: Path) -> None:
    """The path may be a text, as in an example that somebody types."""
    path = write(tmp_path, WHOLE)
    assert load_mapping(str(path)) == load_mapping(path)
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read"):
        load_mapping("nowhere.toml")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[argument]\n", ["table [argument]", "arguments, result, outcomes, stages"]),
        ("arguments = 3\n", ["gives arguments a value", "make it a table"]),
        ("[arguments]\nsesion_id = 'a'\n", ["maps sesion_id in [arguments]", "session_id", "utterance"]),
        ("[arguments]\nevent_id = 'a'\n", ["maps event_id in [arguments]"]),
        ("[result]\nutterance = 'a'\n", ["maps utterance in [result]", "trace"]),
        ("[stages]\nfetch = 'a:b'\n", ["maps fetch in [stages]", "discover"]),
        ("[outcomes]\nOK = 3\n", ["gives OK in [outcomes] no text"]),
        ("[arguments]\nscope = ''\n", ["gives scope in [arguments] no text"]),
        ("[arguments.scope]\na = 1\n", ["gives scope in [arguments] no text"]),
        ("[arguments\n", ["cannot be read (TOMLDecodeError at line 1, column 11): give a readable TOML file"]),
        ("[outcomes]\nOK = 'a'\nZebedee Quux", ["cannot be read (TOMLDecodeError at line 3, column 9)"]),
        ("a = [", ["cannot be read (TOMLDecodeError at end of document)"]),
        ("a = " + "[" * 100_000, ["cannot be read (RecursionError)"]),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_mapping_file(text: str, named: list[str], tmp_path: Path) -> None:
    """The error names the file, the table and the key, and what would be right."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_mapping(path)
    for part in [str(path), *named]:
        assert part in str(caught.value)
    assert "Zebedee" not in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere.toml", ".", "\x00"])
def test_a_mapping_file_that_cannot_be_read(path: str, tmp_path: Path) -> None:
    """A file that is not there, is a folder or can never be is an error of the settings."""
    with pytest.raises(SettingsError, match="cannot be read"):
        load_mapping(tmp_path / path)


def test_a_mapping_file_of_another_encoding(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are an error of the settings."""
    path = tmp_path / "mapping.toml"
    path.write_bytes(b"[outcomes]\n\xff = 'matched'")
    with pytest.raises(SettingsError, match="UnicodeDecodeError"):
        load_mapping(path)


@pytest.mark.parametrize(
    "tables", [{"arguments": {"sesion_id": ("a",)}}, {"result": {"event_id": ("a",)}}, {"stages": {"fetch": "a:b"}}]
)
def test_a_mapping_in_code_is_checked_too(tables: dict[str, Any]) -> None:
    """A misspelt field in code is said where it stands, instead of losing every record later."""
    with pytest.raises(SettingsError, match=next(iter(next(iter(tables.values()))))):
        HandlerMapping(**tables)


@pytest.mark.parametrize("path", ["q.message", ("q", "message"), ["q", "message"]])
def test_a_path_in_code(path: Any, traced: Traced) -> None:
    """It is written as in a file, or in its parts."""

    @record_utterance(mapping=HandlerMapping(arguments={"utterance": path}, result={"outcome": path}))
    def handle(q: dict[str, str]) -> dict[str, Any]:
        return {"q": {"message": "matched"} if q else {}}

    handle({"message": UTTERANCE})
    assert (traced.row.utterance_preview, traced.row.outcome) == ("assign <name?> <number> as custodian", "matched")


class Request(NamedTuple):
    """A request of a foreign orchestrator."""

    body: dict[str, str]
    conversation: str


def test_a_handler_with_other_names(traced: Traced, tmp_path: Path) -> None:
    """Arguments, result and labels of a foreign orchestrator become those of the contract."""
    result = SimpleNamespace(
        debug={"intent": {"outcome": "OK", "scope": "book-1"}, "program": SimpleNamespace(sha="d")},
        verbs=["a.b", "c.d"],
    )

    @record_utterance(mapping=load_mapping(write(tmp_path, WHOLE)))
    def handle(request: Request, *, dry_run: bool, text: str) -> object:
        assert request
        assert dry_run
        assert text
        return result

    assert handle(Request({"text": UTTERANCE}, "c-1"), dry_run=True, text="another") is result
    row = traced.row
    assert row.utterance_preview == "assign <name?> <number> as custodian"
    assert (row.outcome, row.scope, row.dsl_hash, row.chosen_verb_fqn) == ("matched", "book-1", "d", "a.b")
    assert row.synthetic
    assert "session_id_derived" in (row.quality or ())


@pytest.mark.parametrize(
    ("label", "outcome"), [("OK", "matched"), ("other", "other"), (SimpleNamespace(value="OK"), "matched")]
)
def test_labels_of_another_orchestrator(label: object, outcome: str, traced: Traced) -> None:
    """Labels that the mapping knows become ours, others stay; members of an enum are their values."""
    mapping = HandlerMapping(outcomes={"OK": "matched"})
    handle = returning({"trace": {"outcome": label}}, record_utterance(mapping=mapping))
    handle(UTTERANCE)
    assert traced.row.outcome == outcome


def test_labels_of_a_trace_of_ours(traced: Traced) -> None:
    """The labels of an IntentTrace are mapped as well, and the result may add to it."""
    mapping = HandlerMapping(outcomes={"OK": "matched"}, result={"trace": ("t",), "scope": ("s",), "dsl_hash": ("d",)})
    result = {"t": IntentTrace(outcome="OK", dsl_hash="d"), "s": "book-1"}
    handle = returning(result, record_utterance(mapping=mapping))
    handle(UTTERANCE)
    assert (traced.row.outcome, traced.row.scope, traced.row.dsl_hash) == ("matched", "book-1", "d")


def test_a_result_that_lacks_what_is_mapped(traced: Traced) -> None:
    """Paths that lead nowhere are unknown values."""
    mapping = HandlerMapping(result={"trace": ("a", "b"), "scope": ("c", "7"), "dsl_hash": ("c", "x")})
    handle = returning({"c": [1]}, record_utterance(mapping=mapping))
    handle(UTTERANCE)
    assert (traced.row.outcome, traced.row.scope, traced.row.dsl_hash) == ("unknown", None, None)


def test_labels_of_a_flat_result(traced: Traced) -> None:
    """A result that says nothing but a label of the mapping is a trace."""
    handle = returning({"outcome": "DONE"}, record_utterance(mapping=HandlerMapping(outcomes={"DONE": "matched"})))
    handle(UTTERANCE)
    assert traced.row.outcome == "matched"


def test_the_decorator_reads_the_mapping_of_the_settings(tmp_path: Path) -> None:
    """INTENT_EVENTS_MAPPING counts for handlers that the decorator wraps; a mapping of their own comes first."""
    settings = SETTINGS.model_copy(update={"mapping": write(tmp_path, "[result]\nscope = 'book'\n")})
    with traced_by(Traced(settings=settings)) as traced:
        returning({"book": "one", "shelf": "two"})(UTTERANCE)
        own = HandlerMapping(result={"scope": ("shelf",)})
        returning({"book": "one", "shelf": "two"}, record_utterance(mapping=own))(UTTERANCE)
    assert [row.scope for row in traced.rows] == ["one", "two"]


def test_the_decorator_reads_the_mapping_of_the_instrumentor(traced: Traced, instrumentor: Start) -> None:
    """What instrument() is given counts for handlers that were decorated, and even called, before."""

    @record_utterance
    def handle(utterance: str, said: str, book: str) -> dict[str, str]:
        assert utterance
        assert said
        return {"verdict": "matched", "book": book}

    handle("hello", UTTERANCE, "one")
    arguments = {"utterance": ("said",), "scope": ("book",)}
    made = instrumentor(mapping=HandlerMapping(arguments=arguments, result={"outcome": ("verdict",)}))
    handle("hello", UTTERANCE, "one")
    made.uninstrument()
    set_recorder(traced.recorder)
    handle("hello", UTTERANCE, "one")
    assert [(row.outcome, row.scope) for row in traced.rows] == [
        ("unknown", None),
        ("matched", "one"),
        ("unknown", None),
    ]
    assert traced.rows[1].utterance_preview == "assign <name?> <number> as custodian"


@given(ANYTHING)
def test_find_trace_is_total(result: Any) -> None:
    """Any result is searched without harm."""
    find_trace(result)


class Context:
    """A context of a host."""

    session_id = "s-ctx"
    actor_id = "a-ctx"

    @property
    def scope(self) -> str:
        """Raises."""
        raise LookupError(UTTERANCE)


def read(handler: Any, *args: Any, **kwargs: Any) -> tuple[object, dict[str, Any]]:
    """What is read of a call."""
    return ArgumentReader(handler, HandlerMapping()).read(args, kwargs)


def signed(parameters: str) -> Any:
    """A handler with these parameters."""
    return eval(f"lambda {parameters}: None")  # noqa: S307 - of constants of these tests


@pytest.mark.parametrize("name", ["utterance", "text", "message", "query"])
def test_names_of_the_text(name: str) -> None:
    """The text is found under its usual names, by position and by name."""
    handler = signed(f"session_id, {name}")
    assert read(handler, "s", UTTERANCE) == (UTTERANCE, {"session_id": "s"})
    assert read(handler, session_id="s", **{name: UTTERANCE}) == (UTTERANCE, {"session_id": "s"})


def test_the_first_usual_name_that_is_a_text_wins() -> None:
    """An argument of that name which is no text is not the text."""
    assert read(signed("query, text, utterance"), "q", "t", "u")[0] == "u"
    assert read(signed("query, text, utterance"), "q", "t", object())[0] == "t"
    assert read(signed("utterance"), b"bytes")[0] is None
    assert read(signed("prompt"), UTTERANCE)[0] is None


@pytest.mark.parametrize("name", ["ctx", "context"])
@pytest.mark.parametrize(
    "context", [Context(), {"session_id": "s-ctx", "actor_id": "a-ctx"}], ids=["object", "mapping"]
)
def test_fields_of_a_context(name: str, context: object) -> None:
    """What the arguments do not say is looked for in a context; properties that raise are not there."""
    handler = signed(f"utterance, {name}, actor_id=None")
    assert read(handler, "hi", context) == ("hi", {"session_id": "s-ctx", "actor_id": "a-ctx"})
    assert read(handler, "hi", context, "a-arg") == ("hi", {"session_id": "s-ctx", "actor_id": "a-arg"})


def test_two_contexts() -> None:
    """The first context that knows a field says it."""
    fields = read(signed("ctx, context"), {"scope": "one"}, {"scope": "two", "synthetic": True})[1]
    assert fields == {"scope": "one", "synthetic": True}


def test_defaults_of_a_signature() -> None:
    """What a handler is called with when the caller leaves it out is what it was called with."""

    def handler(utterance: str = "hello", *, entrypoint: str = "repl", scope: str | None = None) -> None: ...

    assert read(handler) == ("hello", {"entrypoint": "repl"})
    assert read(handler, "hi", entrypoint="chat", scope="b") == ("hi", {"entrypoint": "chat", "scope": "b"})


def test_a_handler_without_a_signature(caplog: pytest.LogCaptureFixture) -> None:
    """Named arguments are recorded all the same, and the log says why others are not."""

    class Builtin:
        __signature__ = "none"

        def __call__(self) -> None: ...

    assert read(Builtin(), "by position", utterance=UTTERANCE) == (UTTERANCE, {})
    assert "no signature" in caplog.text


def test_arguments_that_cannot_be_bound() -> None:
    """More arguments than parameters, and any names of keywords, are no reason to fail."""
    assert read(signed("utterance"), "a", "b", "c") == ("a", {})
    assert read(signed("*args, **kwargs"), "a", text="b") == ("b", {})


@pytest.mark.parametrize("make", [Hostile, HostileDict, Unbound, lambda: HostileList(["a"])])
@pytest.mark.parametrize("name", ["utterance", "ctx", "session_id", "synthetic"])
def test_arguments_that_raise_whatever_is_asked(name: str, make: Any, traced: Traced) -> None:
    """An argument that cannot be looked at is handed on as it is, and there is a row."""
    value = make()

    @record_utterance
    def handle(utterance: Any = None, ctx: Any = None, session_id: Any = None, synthetic: Any = None) -> object:
        return {"utterance": utterance, "ctx": ctx, "session_id": session_id, "synthetic": synthetic}[name]

    assert handle(**{name: value}) is value
    assert len(traced.rows) == 1


def test_a_mapped_argument_that_leads_nowhere(traced: Traced) -> None:
    """A path that leads nowhere is an unknown value, and there is a row."""
    mapping = HandlerMapping(arguments={"utterance": ("request", "text"), "session_id": ("request", "3")})
    handle = returning(None, record_utterance(mapping=mapping))
    handle(("a", "b"))
    handle(None)
    handle(Unbound())
    handle(HostileList(["a"]))
    assert [row.utterance_hash for row in traced.rows] == ["unknown"] * 4
