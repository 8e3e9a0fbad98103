# SPDX-License-Identifier: Apache-2.0
"""Settings are read from the environment alone, and an error names the variable and never shows its value."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.errors import SettingsError
from intent_events.instrument.current import make_privacy
from intent_events.settings import (
    SETTINGS,
    DeliverySettings,
    RecordSettings,
    SinkSettings,
    read_secret,
    strangers,
    variable_of,
)

KEY = "0123456789abcdef"
VARIABLES = {variable_of(kind, name): (kind, name) for kind in SETTINGS for name in kind.model_fields}


def test_defaults() -> None:
    """Without variables, and with empty ones, the defaults count."""
    assert RecordSettings.from_environment({}) == RecordSettings()
    assert DeliverySettings.from_environment(dict.fromkeys(VARIABLES, "")) == DeliverySettings()
    assert RecordSettings(targets=("a:b",)).targets == ("a:b",)
    assert RecordSettings().targets == ()
    assert DeliverySettings().export_timeout == 5.0


def test_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the process's own variables are read."""
    monkeypatch.setenv("INTENT_EVENTS_TARGETS", "a:b")
    assert RecordSettings.from_environment().targets == ("a:b",)


def test_every_variable() -> None:
    """Each setting is read from its variable, in its own form."""
    record = RecordSettings.from_environment(
        {
            "INTENT_EVENTS_TARGETS": " a:b, c:D.e\n f:g ,",
            "INTENT_EVENTS_MAPPING": "mapping.toml",
            "INTENT_EVENTS_HASH": "plain",
            "INTENT_EVENTS_HASH_KEY": KEY,
            "INTENT_EVENTS_HASH_KEY_FILE": "key",
            "INTENT_EVENTS_HASH_KEY_ID": "k-1",
            "INTENT_EVENTS_PREVIEW": "off",
            "INTENT_EVENTS_VOCABULARY": "words.txt, registry.jsonl",
            "INTENT_EVENTS_SYNTHETIC": "true",
            "INTENT_EVENTS_UNKNOWN": "is nobody's business",
        }
    )
    assert record.targets == ("a:b", "c:D.e", "f:g")
    assert (record.mapping, record.vocabulary) == (Path("mapping.toml"), (Path("words.txt"), Path("registry.jsonl")))
    assert (record.hash, record.preview, record.synthetic, record.hash_key_id) == ("plain", "off", True, "k-1")
    delivery = DeliverySettings.from_environment(
        {
            "INTENT_EVENTS_DSN": "postgresql://user:secret@host/db",
            "INTENT_EVENTS_EXPORT_TIMEOUT": "250ms",
            "OTEL_TRACES_EXPORTER": "otlp,intent_events",
        }
    )
    assert (delivery.export_timeout, delivery.traces_exporters) == (0.25, ("otlp", "intent_events"))
    assert delivery.read_dsn() == "postgresql://user:secret@host/db"
    assert "secret" not in f"{delivery!r} {delivery}"
    assert KEY not in f"{record!r} {record}"


WRONG = {
    "INTENT_EVENTS_HASH": "zebedee",
    "INTENT_EVENTS_HASH_KEY": "zebedee",
    "INTENT_EVENTS_HASH_KEY_ID": "zebedee" * 10,
    "INTENT_EVENTS_PREVIEW": "zebedee",
    "INTENT_EVENTS_SYNTHETIC": "zebedee",
    "INTENT_EVENTS_EXPORT_TIMEOUT": "zebedee",
}


@pytest.mark.parametrize("variable", WRONG)
def test_a_value_that_cannot_be_used(variable: str) -> None:
    """The error names the variable and what it may be; the value itself is nowhere, not even in what caused it."""
    kind, _ = VARIABLES[variable]
    with pytest.raises(SettingsError, match=f"these variables cannot be used: {variable}: ") as caught:
        kind.from_environment({variable: WRONG[variable]})
    assert "zebedee" not in f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.__context__}"


def test_all_wrong_values_are_named() -> None:
    """Whoever mends settings is told of all at once."""
    with pytest.raises(SettingsError) as caught:
        RecordSettings.from_environment(dict.fromkeys(WRONG, "zebedee"))
    assert {name for name in WRONG if name in str(caught.value)} == set(WRONG) - {
        "INTENT_EVENTS_EXPORT_TIMEOUT",
        "INTENT_EVENTS_HASH_KEY_ID",
    }


@given(st.sampled_from(sorted(VARIABLES)), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_read_or_refused(variable: str, value: str) -> None:
    """Whatever stands in a variable, settings come of it or an error that names it."""
    kind, _ = VARIABLES[variable]
    told = variable
    try:
        kind.from_environment({variable: value})
    except SettingsError as error:
        told = str(error)
    assert variable in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250ms", 0.25), ("30s", 30.0), ("15m", 900.0), ("1.5h", 5400.0), ("7d", 604_800.0), (" 2s ", 2.0)],
)
def test_durations(text: str, expected: float) -> None:
    """Durations are spelled with a unit; numbers in code are seconds."""
    assert DeliverySettings.from_environment({"INTENT_EVENTS_HEARTBEAT": text}).heartbeat == expected
    assert DeliverySettings(heartbeat=expected).heartbeat == expected


@pytest.mark.parametrize(
    "text",
    [
        *("0s", "-1s", "-1", "0", "nan", "inf", "1e999", "5 s", "s", "1y", "9" * 400 + "d", "9999999d"),
        *("3", "2.5", "200", "1min", "1w", "0.0"),
    ],
)
def test_durations_that_cannot_be_waited(text: str) -> None:
    """A time to wait has a unit, is positive, and is short enough that a clock can count it."""
    with pytest.raises(SettingsError, match=r"INTENT_EVENTS_EXPORT_TIMEOUT: write 200ms, 30s or 15m"):
        DeliverySettings.from_environment({"INTENT_EVENTS_EXPORT_TIMEOUT": text})


def test_no_time_at_all() -> None:
    """Zero is the same in every unit, so it needs none, where it is allowed."""
    for text in ("0", "0s", "0ms"):
        assert SinkSettings.from_environment({"INTENT_EVENTS_SINK_STOP_DELAY": text}).stop_delay == 0


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("INTENT_EVENTS_HEARTBEAT", "1min", "write 200ms, 30s or 15m"),
        ("INTENT_EVENTS_SINK_STOP_DELAY", "2h", "write 200ms, 30s or 15m, at most 1h"),
        ("INTENT_EVENTS_SPOOL_MAX_BYTES", "1.5GB", "write 64MB or 1GB"),
        ("INTENT_EVENTS_SPOOL_MAX_BYTES", "0", "write 64MB or 1GB"),
        ("INTENT_EVENTS_SINK_MAX_MESSAGE", "2GB", "write 64MB or 1GB, at least 1KB and at most 1GB"),
        ("INTENT_EVENTS_HASH_KEY", "short", "write at least 16 characters"),
        ("INTENT_EVENTS_HASH_KEY_ID", "x" * 65, "write at most 64 characters"),
        ("INTENT_EVENTS_CONNECTIONS", "many", "write a whole number, at least 1 and at most 2"),
        ("INTENT_EVENTS_CONNECTIONS", "3", "write a whole number, at least 1 and at most 2"),
        ("INTENT_EVENTS_SINK_HEALTH_PORT", "70000", "write a whole number, at least 0 and at most 65535"),
        ("INTENT_EVENTS_SYNTHETIC", "maybe", "write true or false"),
        ("INTENT_EVENTS_PREVIEW", "none", "write masked, patterns, presidio or off"),
    ],
)
def test_what_to_write_instead(variable: str, value: str, says: str) -> None:
    """The error tells the form that this setting has, in our words, and never the value."""
    kind, _ = VARIABLES[variable]
    with pytest.raises(SettingsError) as caught:
        kind.from_environment({variable: value})
    assert str(caught.value) == f"these variables cannot be used: {variable}: {says}"


@given(st.sampled_from(sorted(VARIABLES)), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_words_of_pydantic(variable: str, value: str) -> None:
    """Whatever is wrong with a value, the error says what to write."""
    kind, _ = VARIABLES[variable]
    _, problem = kind.usable_from_environment({variable: value})
    assert problem == "" or problem.startswith(f"these variables cannot be used: {variable}: write ")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("INTENT_EVENTS_PREVIEWS", "INTENT_EVENTS_PREVIEW"),
        ("INTENT_EVENTS_TARGET", "INTENT_EVENTS_TARGETS"),
        ("INTENT_EVENT_DSN", "INTENT_EVENTS_DSN"),
        ("intent_events_dsn", "INTENT_EVENTS_DSN"),
        ("INTENT_EVENTS_HASHKEY", "INTENT_EVENTS_HASH_KEY"),
        ("INTENT_EVENTS_DNS", "INTENT_EVENTS_DSN"),
        ("INTENT_EVENTS_ZEBEDEE", ""),
    ],
)
def test_names_that_nothing_reads(name: str, near: str) -> None:
    """A misspelt name is found, with the one that is meant; a name far from all of ours has none."""
    assert strangers((), {name: "secret", **dict.fromkeys(VARIABLES, "x")}) == {name: near}


def test_names_that_somebody_reads() -> None:
    """Ours, those of the tests, of other programs and of Kubernetes' services are no strangers."""
    others = {
        *("INTENT_EVENTS_TEST_DSN", "INTENT_EVENTS_REPORT_SINCE", "PATH", "INTENT_SINK_ENDPOINT", "OTEL_SDK_DISABLED"),
        *("INTENT_EVENTS_SINK_SERVICE_HOST", "INTENT_EVENTS_SINK_SERVICE_PORT_OTLP_GRPC", "INTENT_EVENTS_SINK_PORT"),
        *("INTENT_EVENTS_SINK_PORT_4317_TCP_ADDR", "XINTENT_EVENTS_DSN"),
        "INTENT_EVENTS_\x1b[2J\nDSN",
    }
    assert strangers({"INTENT_EVENTS_REPORT_SINCE"}, dict.fromkeys([*others, *VARIABLES], "x")) == {}
    assert strangers({"INTENT_EVENTS_REPORT_SINCE"}, {"INTENT_EVENTS_REPORT_SINC": "x"}) == {
        "INTENT_EVENTS_REPORT_SINC": "INTENT_EVENTS_REPORT_SINCE"
    }


def test_misspelt_names_are_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A privacy switch under a misspelt name is told in the log, without its value; commands tell it otherwise."""
    monkeypatch.setattr("intent_events.settings._told", set[str]())
    monkeypatch.setenv("INTENT_EVENTS_PREVIEWS", "zebedee")
    monkeypatch.setenv("INTENT_EVENTS_DNS", "zebedee")
    monkeypatch.setenv("INTENT_EVENTS_REPORT_SINCE", "7d")
    assert RecordSettings.from_environment() == RecordSettings()
    assert caplog.messages == []
    for _ in range(2):
        assert RecordSettings.usable_from_environment() == (RecordSettings(), "")
    line = "intent-events: nothing reads INTENT_EVENTS_PREVIEWS: did you mean INTENT_EVENTS_PREVIEW?"
    assert caplog.messages == [line]
    assert {record.name for record in caplog.records} == {"intent_events"}
    DeliverySettings.usable_from_environment()
    RecordSettings.usable_from_environment({"INTENT_EVENTS_TARGET": "x"})
    assert caplog.messages == [line], "what is recorded, in the process's own environment, and nothing else"


def test_a_secret_in_a_file(tmp_path: Path) -> None:
    """A secret that is mounted as a file is read without the white space around it."""
    path = tmp_path / "dsn"
    path.write_text("\n postgresql://host/db \n")
    assert read_secret(path, "X") == "postgresql://host/db"
    assert DeliverySettings(dsn_file=path).read_dsn() == "postgresql://host/db"
    assert DeliverySettings().read_dsn() is None


@pytest.mark.parametrize(
    ("content", "why"), [(b" \n", "is empty"), (b"\xff", "UnicodeDecodeError"), (None, "FileNotFound")]
)
def test_a_secret_file_that_cannot_be_used(content: bytes | None, why: str, tmp_path: Path) -> None:
    """The error names the variable and the file."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"INTENT_EVENTS_X names {re.escape(str(path))}, which .*{why}"):
        read_secret(path, "INTENT_EVENTS_X")


def test_a_path_that_no_file_can_have() -> None:
    """A path with NUL is a setting that cannot be used, and no crash."""
    with pytest.raises(SettingsError, match="INTENT_EVENTS_X names"):
        read_secret(Path("\x00"), "INTENT_EVENTS_X")


def test_a_hash_key_file(tmp_path: Path) -> None:
    """The key may be in a file, and gives the same fingerprints as in the variable; the variable goes first."""
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    from_file = make_privacy(RecordSettings(hash_key_file=path)).record("hello")
    from_variable = make_privacy(RecordSettings.from_environment({"INTENT_EVENTS_HASH_KEY": KEY})).record("hello")
    assert from_file == from_variable
    both = RecordSettings.from_environment(
        {"INTENT_EVENTS_HASH_KEY": "f" * 16, "INTENT_EVENTS_HASH_KEY_FILE": str(path), "INTENT_EVENTS_HASH_KEY_ID": "2"}
    )
    assert make_privacy(both).record("hello").key_id == "2"
    assert make_privacy(both).record("hello").hash != from_file.hash


def test_a_hash_key_file_that_is_too_short(tmp_path: Path) -> None:
    """A short key is refused from a file as it is from the variable."""
    path = tmp_path / "key"
    path.write_text("zebedee")
    with pytest.raises(SettingsError, match=r"INTENT_EVENTS_HASH_KEY_FILE.*at least 16") as caught:
        make_privacy(RecordSettings(hash_key_file=path))
    assert "zebedee" not in str(caught.value)


def test_a_vocabulary_of_the_settings(tmp_path: Path) -> None:
    """Words of the settings' file are shown besides the shipped ones and the given ones."""
    path = tmp_path / "words"
    path.write_text("zanzibar")
    privacy = make_privacy(RecordSettings(vocabulary=(path,)), frozenset({"spice"}))
    assert privacy.record("the spice of zanzibar and pemba").preview == "the spice of zanzibar and <name?>"


def test_settings_are_frozen_and_named() -> None:
    """Settings do not change, take nothing unknown, and each has a variable and a description of its own."""
    with pytest.raises(ValueError, match="frozen"):
        RecordSettings().synthetic = True  # pyright: ignore[reportAttributeAccessIssue] - the mistake
    with pytest.raises(ValueError, match="forbidden"):
        RecordSettings(sinthetic=True)  # pyright: ignore[reportCallIssue] - the mistake
    fields = [kind.model_fields[name] for kind, name in VARIABLES.values()]
    assert len(VARIABLES) == sum(len(kind.model_fields) for kind in SETTINGS)
    assert all((field.description or "").endswith(".") for field in fields)


def test_what_can_be_used_is_used() -> None:
    """A variable that cannot be used costs its own setting alone: privacy that was asked for stays."""
    environment = {"INTENT_EVENTS_PREVIEW": "off", "INTENT_EVENTS_HASH_KEY": "short", "INTENT_EVENTS_SYNTHETIC": "true"}
    settings, problem = RecordSettings.usable_from_environment(environment)
    assert (settings.preview, settings.synthetic, settings.hash_key) == ("off", True, None)
    assert "INTENT_EVENTS_HASH_KEY" in problem
    assert "short" not in problem.replace("at least 16", "")
    assert RecordSettings.usable_from_environment({})[1] == ""
