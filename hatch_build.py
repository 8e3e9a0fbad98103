# SPDX-License-Identifier: Apache-2.0
"""Builds the inner loops in C where there is a compiler; without one the wheel is pure Python, and slower."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

MODULE = "intent_events.native._native"
NO_BUILD = (CCompilerError, ExecError, PlatformError, OSError)
"""What is raised without a compiler, without the headers of Python, or without a place to write to."""
FLAGS = ["-O2", "-fvisibility=hidden", "-fno-fast-math"]


class NativeBuild(BuildHookInterface[Any]):
    """What hatchling calls before it packs a wheel, be it an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and add what was built to the wheel."""
        del version
        try:
            built = build(Path(self.root))
        except NO_BUILD as error:
            self.app.display_warning(f"intent-events is built without its inner loops in C, and is slower: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(f"/{built.relative_to(self.root).as_posix()}")


def build(root: Path) -> Path:
    """Build the extension where it is imported from.

    Args:
        root: folder of ``pyproject.toml``.

    Returns:
        The file.

    Raises:
        CCompilerError: there is no compiler, or no headers of Python.
        OSError: the folder cannot be written to.
    """
    folder = root / "src" / "intent_events" / "native"
    extension = Extension(MODULE, sorted(map(str, folder.glob("*.c"))), extra_compile_args=FLAGS)
    command = build_ext(Distribution({"name": "intent-events", "ext_modules": [extension]}))
    with TemporaryDirectory(dir=root) as scratch:
        command.build_lib = command.build_temp = scratch
        command.ensure_finalized()
        command.run()
        built = Path(command.get_ext_fullpath(MODULE))
        # At once, for a process may be running what stands there.
        return built.replace(folder / built.name)
