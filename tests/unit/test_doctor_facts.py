# SPDX-License-Identifier: Apache-2.0
"""The facts of ``doctor`` that need no process: what a log tells of a failure, and which variables flags have."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.cli.doctor_facts import failure_in, flag_variables, settings_seen
from intent_events.settings import RecordSettings, strangers, variable_of

MISSING = "RuntimeError: Requested component 'otlp_proto_grpc' not found in entry point 'opentelemetry_traces_exporter'"
NO_MODULE = "ModuleNotFoundError: No module named 'shop.numpy'"
FRAMES = """Traceback (most recent call last):
  File "/x/sitecustomize.py", line 1, in <module>
    raise problem
    ^^^^^^^^^^^^^
"""


@pytest.mark.parametrize(
    ("log", "failure"),
    [
        ("", ""),
        ("Overriding of current TracerProvider\nValueError: no traceback, so a line of the host's\n", ""),
        (f"Failed to auto initialize\n{FRAMES}{MISSING}\n", MISSING),
        (f"{FRAMES}KeyError: 'a'\n\nDuring handling, another exception:\n\n{FRAMES}{MISSING}\nnoise\n", MISSING),
        (f"{FRAMES}{NO_MODULE}\n", NO_MODULE),
        (f"{FRAMES}ValueError: postgresql://u:secret@h/d\nmore of it\n", "ValueError"),
        (f"{FRAMES}RuntimeError: Requested component 'se cret' not found\n", "RuntimeError"),
        (f"{FRAMES}a.b.SettingsError\n", "a.b.SettingsError"),
        (f"{FRAMES}secret, without a type\n", ""),
        (FRAMES, ""),
    ],
)
def test_what_a_log_tells_of_a_failure(log: str, failure: str) -> None:
    """The last failure is told with its text only where that holds no value, and with its type alone elsewhere."""
    assert failure_in(log) == failure


@given(
    st.from_regex(r"[A-Za-z]{1,9}: ?", fullmatch=True), st.text(st.characters(exclude_characters="\n\r"), min_size=9)
)
def test_no_text_of_a_failure_is_told(kind: str, text: str) -> None:
    """Whatever an error says, it is not repeated."""
    assert failure_in(f"{FRAMES}{kind}{text}\n") in {kind.partition(":")[0], ""}


def test_every_flag_is_known() -> None:
    """Variables of flags are no strangers, and none is so like a setting that it would be logged as a misspelt one."""
    variables = flag_variables()
    assert {"INTENT_EVENTS_REPORT_SINCE", "INTENT_EVENTS_SINK_HOST", "INTENT_EVENTS_DSN"} <= variables
    environment = dict.fromkeys(variables, "x")
    assert strangers(variables, environment) == {}
    near = {name: near for name, near in strangers((), environment).items() if near}
    recorded = {variable_of(RecordSettings, name) for name in RecordSettings.model_fields}
    assert {name for name in near if near[name] in recorded} == set(), "the log would call these misspelt"


def test_odd_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names that nothing reads, and outcomes that do not exist, are told with what is meant, without a value."""
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[outcomes]\nDONE = "matchd"\nGONE = "zebedee"\nOK = "matched"\n[stages]\nselect = "a:b"\n')
    for name, value in {"PREVIEWS": "zebedee", "ZEBEDEE": "x", "TEST_DSN": "x", "REPORT_SINCE": "7d"}.items():
        monkeypatch.setenv(f"INTENT_EVENTS_{name}", value)
    monkeypatch.setenv("INTENT_EVENTS_MAPPING", str(mapping))
    seen = settings_seen()
    assert seen.problems == []
    assert seen.stages == {"a:b": "select"}
    previews, unknown, done, gone = seen.oddities
    assert previews == "nothing reads INTENT_EVENTS_PREVIEWS: did you mean INTENT_EVENTS_PREVIEW?"
    assert unknown == "nothing reads INTENT_EVENTS_ZEBEDEE"
    assert (
        done == f"the mapping file {mapping} gives DONE in [outcomes] no outcome of the contract: did you mean matched?"
    )
    assert "gives GONE in [outcomes]" in gone
    assert "write one of matched, clarify_verb" in gone
    assert "zebedee" not in "".join(seen.oddities)
