# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the spool."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from intent_events_exporter.spool import Spool
from support.spool_process import spools


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a spool, which is not there yet."""
    return tmp_path / "state" / "spool"


@pytest.fixture
def new_spool(folder: Path) -> Iterator[Callable[..., Spool]]:
    """Makes spools in it, closed at the end."""
    with spools(folder) as make:
        yield make


@pytest.fixture
def spool(new_spool: Callable[..., Spool]) -> Spool:
    """One of them."""
    return new_spool()
