# SPDX-License-Identifier: Apache-2.0
"""The inner loops in C under the sanitizers of addresses and of undefined behaviour."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from support.built import PROJECT, needed

NATIVE: Final = PROJECT / "src" / "intent_events" / "native"
NAMES: Final = ("native", "native_rows", "native_table", "attributes", "round_trip", "masking", "record")
TESTS: Final = tuple(f"unit/test_{name}.py" for name in NAMES)

# Stands for the extension that was installed; then pytest runs as always.
RUN: Final = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

name, path, *arguments = sys.argv[1:]
spec = spec_from_file_location(name, path)
sys.modules[name] = module = module_from_spec(spec)
spec.loader.exec_module(module)

import pytest
from intent_events import native

assert native.pack_rows is module.pack_rows
sys.exit(pytest.main(arguments))
"""


def libraries() -> Sequence[Path]:
    """Run-time libraries of both sanitizers, as the compiler names them; a bare name when it has none."""
    names = ("libasan.so", "libubsan.so")
    asked = [
        subprocess.run(["cc", f"-print-file-name={name}"], check=True, capture_output=True, text=True) for name in names
    ]
    return [Path(answer.stdout.strip()) for answer in asked]


@pytest.fixture
def sanitized(tmp_path: Path) -> Path:
    """The extension, built to stop at the first fault."""
    found = shutil.which("cc") is not None and all(path.is_absolute() for path in libraries())
    needed(found, "no compiler with sanitizers: apt-get install gcc")
    built = tmp_path / "_native.so"
    sources = sorted(map(str, NATIVE.glob("*.c")))
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    include = sysconfig.get_path("include")
    subprocess.run(
        ["cc", *flags, *strict, "-shared", "-fPIC", "-isystem", include, "-o", str(built), *sources], check=True
    )
    return built


def test_no_fault_is_found(sanitized: Path) -> None:
    """Over the same properties that compare it with the Python code, nothing is read or written beside its place."""
    env = {
        **os.environ,
        "LD_PRELOAD": ":".join(map(str, libraries())),
        # Python itself gives much of its memory back to the system alone; of ours, test_native looks after the leaks.
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
    }
    chosen = ["-q", "-k", "not nothing_is_kept and not without_it", *TESTS]
    command = [sys.executable, "-c", RUN, "intent_events.native._native", str(sanitized), *chosen]
    ran = subprocess.run(
        command, cwd=PROJECT / "tests", env=env, capture_output=True, text=True, check=False, timeout=100
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    assert " passed" in ran.stdout
