# SPDX-License-Identifier: Apache-2.0
"""What the two distributions promise: versions, public names, the form of their files, and what their wheels hold."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import pytest

import intent_events
import intent_events_exporter
from support.built import needed

PROJECT: Final = Path(__file__).parents[2]
LONGEST_MODULE: Final = 500
SPDX: Final = "SPDX-License-Identifier: Apache-2.0"


def sources(*suffixes: str, folders: tuple[str, ...] = ("src", "exporter", "migrations", "tests")) -> Iterator[Path]:
    """Files of ours with these suffixes."""
    for folder in folders:
        for path in sorted((PROJECT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts:
                yield path


def test_every_test_says_what_must_hold() -> None:
    """A test's docstring is the first thing that whoever breaks it reads."""
    silent = [
        f"{path.relative_to(PROJECT)}:{node.lineno} {node.name}"
        for path in sources(".py", folders=("tests",))
        if path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_module_is_too_long() -> None:
    """No module has more than 500 lines."""
    lengths = {
        path.relative_to(PROJECT): len(path.read_text("utf-8").splitlines()) for path in sources(".py", ".c", ".h")
    }
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_every_file_names_its_licence() -> None:
    """Every source file begins with the SPDX line."""
    unnamed = [
        str(path.relative_to(PROJECT))
        for path in sources(".py", ".pyi", ".c", ".h", ".sql", ".toml")
        if path.name != "pyproject.toml" and not path.read_text("utf-8").partition("\n")[0].endswith(SPDX)
    ]
    assert unnamed == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    """Nothing is called utils, helpers or common: such a module has no edge."""
    assert not [
        path for path in sources(".py") if path.stem in {"utils", "util", "helpers", "helper", "common", "misc"}
    ]


def _project(path: str) -> dict[str, Any]:
    return tomllib.loads((PROJECT / path).read_text("utf-8"))["project"]


def test_one_version() -> None:
    """Both distributions, what is installed of them, and the code say the same version; the exporter pins the core."""
    expected = intent_events.__version__
    core, exporter = _project("pyproject.toml"), _project("exporter/pyproject.toml")
    assert {core["version"], exporter["version"], version(core["name"]), version(exporter["name"])} == {expected}
    assert f"intent-events[store]=={expected}" in exporter["dependencies"]


def test_the_public_surface_of_the_core() -> None:
    """``intent_events`` offers these names, each of them there, and no others."""
    assert set(intent_events.__all__) == {
        *("IntentEventsInstrumentor", "IntentTrace", "Candidate", "Outcome", "OutcomeKind", "HandlerMapping"),
        *("record_utterance", "recording", "current_trace", "stage", "record_reply", "record_outcome"),
        *("load_mapping", "__version__"),
    }
    assert all(hasattr(intent_events, name) for name in intent_events.__all__)


def test_the_public_surface_of_the_exporter() -> None:
    """``intent_events_exporter`` offers two doors and the sampler, and no others."""
    names = ["IntentEventsSpanExporter", "IntentEventsSpanProcessor", "IntentSampler"]
    assert intent_events_exporter.__all__ == names


def built_wheels(folder: Path, which: str, *more: str, **environment: str) -> list[Path]:
    """Wheels, built as for a release."""
    uv = shutil.which("uv", path=str(PROJECT / ".tools" / "bin")) or shutil.which("uv")
    needed(uv is not None, "no uv to build the wheels with: run make setup")
    command = [
        *(str(uv), "build", which, *more, "--wheel", "--quiet"),
        *("--python", sys.executable, "--out-dir", str(folder)),
    ]
    env = os.environ | environment
    built = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both wheels."""
    return built_wheels(tmp_path_factory.mktemp("wheels"), "--all-packages")


def test_the_wheels_hold_what_they_need(wheels: list[Path]) -> None:
    """Types, migrations, queries and data are in the wheels; tests and caches are not."""
    held = {wheel.name.partition("-")[0]: set(ZipFile(wheel).namelist()) for wheel in wheels}
    assert set(held) == {"intent_events", "intent_events_exporter"}
    for path in sources(".py", ".sql", ".txt", ".jsonl", ".typed", ".toml", folders=("src",)):
        assert str(path.relative_to(PROJECT / "src")) in held["intent_events"]
    for path in sources(".py", ".sql", folders=("migrations",)):
        assert f"intent_events/store/migrations/{path.relative_to(PROJECT / 'migrations')}" in held["intent_events"]
    for path in sources(".py", ".typed", folders=("exporter/src",)):
        assert str(path.relative_to(PROJECT / "exporter/src")) in held["intent_events_exporter"]
    for names in held.values():
        assert [name for name in names if name.endswith("entry_points.txt")]
        assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "docs"))]
    assert [name for name in held["intent_events"] if name.endswith("licenses/LICENSE")]
    assert not [name for name in held["intent_events"] if name.endswith((".c", ".h"))]


def test_the_wheel_has_the_inner_loops(wheels: list[Path]) -> None:
    """Built where there is a compiler, the wheel is one of its platform and has the extension."""
    needed(shutil.which("cc") is not None, "no compiler for the inner loops: apt-get install gcc")
    (wheel,) = (wheel for wheel in wheels if wheel.name.startswith("intent_events-"))
    assert "-none-any" not in wheel.name
    assert [name for name in ZipFile(wheel).namelist() if name.startswith("intent_events/native/_native.")]


def test_the_image_can_be_built_from_its_context(tmp_path: Path) -> None:
    """What ``.dockerignore`` lets through is enough to build the wheel, and leaves out what a developer built."""
    context = tmp_path / "context"
    context.mkdir()
    lines = (PROJECT / ".dockerignore").read_text("utf-8").split()
    left_out = shutil.ignore_patterns(*(line.removeprefix("**/") for line in lines if line.startswith("**/")))
    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, context / name, ignore=left_out)
        else:
            shutil.copy(PROJECT / name, context)
    (context / "src/intent_events/native/_native.cpython-39-x86_64-linux-gnu.so").touch()
    (wheel,) = built_wheels(tmp_path, str(context), CC="false")
    assert not [name for name in ZipFile(wheel).namelist() if name.endswith(".so")]


def test_without_a_compiler_the_wheel_is_pure(tmp_path: Path) -> None:
    """Where there is none, the wheel is one of every platform and has all the rest."""
    (wheel,) = built_wheels(tmp_path, "--package", "intent-events", CC="false")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith((".so", ".c", ".h"))]
    assert {"intent_events/native/__init__.py", "intent_events/store/quick_seal.py"} <= set(names)


_USE = """
import sys
from importlib.metadata import distributions

import intent_events
from intent_events.privacy import shipped_vocabulary
from intent_events.store.migrate import migration_sql

assert intent_events.__file__.startswith(sys.argv[1]), intent_events.__file__
assert "CREATE TABLE agent.intent_events" in migration_sql()
assert any("the" in entry.split() for entry in shipped_vocabulary())
for distribution in distributions(path=[sys.argv[1]]):
    for point in distribution.entry_points:
        point.load()
        print(point.group, point.name)
"""


def test_the_wheels_work_by_themselves(wheels: list[Path], tmp_path: Path) -> None:
    """Unpacked and put before this tree, the wheels find their data, and every entry point of theirs loads."""
    for wheel in wheels:
        ZipFile(wheel).extractall(tmp_path)
    command = [sys.executable, "-c", _USE, str(tmp_path)]
    ran = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stdout.splitlines()) == {
        "console_scripts intent-events",
        "intent_events_delivery exporter",
        "opentelemetry_environment_variables intent_events",
        "opentelemetry_instrumentor intent_events",
        "opentelemetry_traces_exporter intent_events",
        "pytest11 intent_events",
    }
