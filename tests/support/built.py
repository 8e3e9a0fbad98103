# SPDX-License-Identifier: Apache-2.0
"""Programs that tests run and ``make`` builds or fetches, in a cache folder outside of the checkout."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from support.postgres import IN_CI

PROJECT: Final = Path(__file__).parents[2]
"""The checkout."""


def built(name: str) -> Path:
    """Path of a program; the test that asks for one which is not built is skipped, and fails in CI.

    Args:
        name: of the program, and of the target that makes it: ``otelcol``, ``rust-emitter``, ``kube-score``,
            ``kustomize``, ``kafka``.
    """
    path = _paths()[name]
    needed(path.is_file(), f"{name} is not built: make {name} (or make tools)")
    return path


@cache
def _paths() -> dict[str, Path]:
    told = subprocess.run(
        ["make", "--silent", "--no-print-directory", "tool-paths"],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return {path.name: path for path in map(Path, told.stdout.splitlines())}


def needed(is_there: bool, reason: str) -> None:  # noqa: FBT001 - the condition is what it is about
    """Skip the test that needs something which is not there; in CI it fails.

    Args:
        is_there: whether it is.
        reason: what is missing, and the command that installs it.
    """
    if is_there:
        return
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
