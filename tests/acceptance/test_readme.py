# SPDX-License-Identifier: Apache-2.0
"""What README and the quickstart say runs as it is written."""

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.store.revisions import all_revisions
from support.postgres import Database
from support.processes import run_app
from support.records import HASH_KEY

PROJECT: Final = Path(__file__).parents[2]
PAGES: Final = ("README.md", "docs/quickstart.md")
_NO_BACKEND: Final = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
"""For doctor, which tries opentelemetry-instrument: the OTLP exporter over gRPC is not installed with the tests."""

_EXAMPLES: Final = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("sdk", ["", "from opentelemetry.sdk.trace import TracerProvider\n"])
def test_the_example_in_code_stores_its_utterance(pg: Database, writer_dsn: str, tmp_path: Path, sdk: str) -> None:
    """With the variables of README and nothing else, the script leaves one row and no log line, with an SDK too."""
    (example,) = _EXAMPLES
    setup = f"{sdk}from opentelemetry import trace\ntrace.set_tracer_provider(TracerProvider())\n" if sdk else ""
    script = tmp_path / "app.py"
    script.write_text(setup + example, "utf-8")
    ran = run_app(str(script), env={"INTENT_EVENTS_DSN": writer_dsn, "INTENT_EVENTS_HASH_KEY": HASH_KEY})
    assert (ran.returncode, ran.stderr) == (0, "")
    row = pg.fetchval_now("SELECT (outcome, chosen_verb_fqn, utterance_preview)::text FROM agent.intent_events")
    assert row == '(matched,cbu.assign-role,"assign <name?> as custodian")'


@pytest.mark.parametrize("page", PAGES)
def test_the_output_of_migrate_is_that_of_this_version(page: str) -> None:
    """What a page shows of `intent-events migrate` names the newest revision."""
    shown = re.findall(r"migrated from nothing to revision (\w+)", (PROJECT / page).read_text("utf-8"))
    assert shown == [all_revisions()[0]]


def console(page: str) -> list[str]:
    """The commands of each console block of a page, as one script; what they print is left out."""
    blocks = re.findall(r"```console\n(.*?)```", (PROJECT / page).read_text("utf-8"), re.DOTALL)
    return ["\n".join(_commands(block.splitlines())) for block in blocks]


def _commands(lines: list[str]) -> Iterator[str]:
    until = ""
    for line in lines:
        if line.startswith("$ "):
            until = "SQL" if line.endswith("<<'SQL'") else ""
            yield line.removeprefix("$ ")
        elif until:
            yield line
            until = "" if line == until else until


def test_the_quickstart_from_nothing_to_the_first_report() -> None:
    """Its own commands make the tables and two logins; what the one writes, the other reports."""
    scripts = console("docs/quickstart.md")
    (migrates,) = (script for script in scripts if "intent-events migrate" in script)
    (enrolls,) = (script for script in scripts if "agent.enroll" in script)
    (asks,) = (script for script in scripts if "intent-events report" in script)
    says = "python -c 'from intent_events import *\nIntentEventsInstrumentor().instrument()\n"
    says += 'with recording("assign a custodian") as trace:\n    trace.outcome = "matched"\n\''
    with EmbeddedPostgres() as server:
        script = "\n".join([migrates, enrolls, f"export INTENT_EVENTS_DSN={server.dsn(user='app')!r}", says, asks])
        for role, user in (("owner", "postgres"), ("app", "app"), ("me", "me")):
            script = script.replace(f"postgresql://{role}@localhost/telemetry", f"'{server.dsn(user=user)}'")
        path = os.pathsep.join([sysconfig.get_path("scripts"), str(server.bin_dir), os.environ["PATH"]])
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**os.environ, "PATH": path, "INTENT_EVENTS_HASH_KEY": HASH_KEY, "COLUMNS": "120", **_NO_BACKEND},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert re.search(r"matched \| .* \| assign a custodian", ran.stdout)
    assert re.search(r"utterances +matched[^\n]*\n +1 +100", ran.stdout)
