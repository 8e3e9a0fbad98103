# SPDX-License-Identifier: Apache-2.0
"""Runs the test applications as processes of their own."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

APPS: Final = Path(__file__).parent / "apps"
"""Folder of the test applications."""

_TESTS: Final = APPS.parents[1]
_TIMEOUT_S: Final = 90.0


def run_app(
    *command: str, env: Mapping[str, str], instrumented: bool = False, says: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python with this command line to its end.

    Args:
        *command: arguments of the interpreter.
        env: variables beside those of this process, whose own OpenTelemetry and Postgres settings the tests clear.
        instrumented: under ``opentelemetry-instrument``, which needs no change of the application.
        says: what it reads from its standard input.
    """
    scripts = Path(sysconfig.get_path("scripts"))
    runner = [str(scripts / "opentelemetry-instrument")] if instrumented else []
    return subprocess.run(
        [*runner, sys.executable, *command],
        env={**os.environ, "PYTHONPATH": f"{APPS}{os.pathsep}{_TESTS}", "PYTHONWARNINGS": "default", **env},
        input=says,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        cwd=APPS,
    )
