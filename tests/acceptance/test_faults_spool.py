# SPDX-License-Identifier: Apache-2.0
"""The disk of the spool fails: no request fails with it, and what could not be kept is counted with its reason."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest

from intent_events_exporter.spool.folder import ASIDE
from intent_events_exporter.spool.segment import CURSOR_AT, HEADER_BYTES, parse
from support.hosts import (
    NOWHERE,
    Host,
    accounted,
    all_stored,
    counted,
    drained_by_another,
    handled,
    left_for_anybody,
    reconciled,
    started_family,
)
from support.postgres import Database
from support.proxy import Proxy
from support.waiting import until

pytestmark = pytest.mark.postgres

_NAMESPACE: Final = ("unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--mount")
_SAID: Final = 3000


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Folder of the spool, which the environment names."""
    return tmp_path / "spool"


@pytest.fixture
def proxy(writer_dsn: str) -> Iterator[Proxy]:
    """A network between the host and its database."""
    with Proxy(writer_dsn) as proxy:
        yield proxy


def mounted(folder: Path, options: str) -> list[str]:
    """Command that runs another one where a file system in memory lies on a folder, which nobody else sees."""
    if subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a disk to fill takes the right to mount one: run as root on Linux")
    folder.mkdir()
    script = f'mount -t tmpfs -o {options} spool "$0" && exec "$@"'
    return [*_NAMESPACE, "sh", "-c", script, str(folder)]


@pytest.mark.parametrize(
    ("limit", "reason"), [("disk", "disk_full"), ("size of a file", "disk_full"), ("size of the spool", "spool_full")]
)
def test_no_room(pg: Database, proxy: Proxy, tmp_path: Path, spool: Path, limit: str, reason: str) -> None:
    """Beyond the limit records are dropped and counted, those before it are stored, and then there is room again."""
    under: Sequence[str] = ()
    env: dict[str, str] = {}
    match limit:
        case "disk":
            under = mounted(spool, "size=1m,mode=700")
        case "size of a file":
            under = ["sh", "-c", 'ulimit -f 1000 && exec "$@"', "sh"]
        case _:
            env = {"INTENT_EVENTS_SPOOL_MAX_BYTES": "600KB"}
    proxy.refuse()
    with Host(tmp_path, proxy.dsn, env, under) as host:
        host.say(_SAID)
        kept = sum(handled(host.log).values())
        assert 300 < kept < _SAID
        assert host.report()[f"processor.records:{reason}:dropped"] == _SAID - kept
        proxy.accept()
        assert host.flush()
        assert counted(pg, host.log) == all_stored(_SAID)._replace(stored=kept, dropped=_SAID - kept)
        until(lambda: (host.say(1), list(handled(host.log).values())[-1])[1], "there is room again")
        host.say(100)
        assert host.end("return") == 0
        assert "the spool is full" in host.errors or "the disk of the spool is full" in host.errors
    found = accounted(pg, host.log)
    assert found.stored >= kept + 101
    assert found == all_stored(found.emitted)._replace(stored=found.stored, dropped=found.emitted - found.stored)
    sums = reconciled(pg)
    assert (sums.emitted, sums.stored, sums.dropped) == (found.emitted, found.stored, found.dropped)


@pytest.mark.parametrize("place", ["read-only disk", "below a file", "another user's"])
def test_a_folder_that_cannot_be_used(pg: Database, writer_dsn: str, tmp_path: Path, spool: Path, place: str) -> None:
    """Requests succeed, nothing is said to be durable, and every record is counted as dropped."""
    under: Sequence[str] = ()
    env: dict[str, str] = {}
    match place:
        case "read-only disk":
            under = mounted(spool, "ro")
        case "below a file":
            spool.write_text("no folder")
            env = {"INTENT_EVENTS_SPOOL_DIR": str(spool / "spool")}
        case _:
            if os.geteuid() != 0:
                pytest.skip("a folder of another user takes the right to give one away: run as root")
            spool.mkdir()
            os.chown(spool, 65534, 65534)
    with Host(tmp_path, writer_dsn, env, under) as host:
        host.say(20)
        assert host.report()["processor.records:spool_unwritable:dropped"] == 20
        assert host.end("return") == 0
        assert "INTENT_EVENTS_SPOOL_DIR" in host.errors
    assert accounted(pg, host.log) == all_stored(20)._replace(stored=0, dropped=20)
    sums = reconciled(pg)
    assert (sums.emitted, sums.dropped, sums.missing) == (20, 20, 0)


def test_a_folder_that_is_missing(pg: Database, writer_dsn: str, tmp_path: Path) -> None:
    """It is made, with its parents, for this user alone."""
    spool = tmp_path / "some" / "where" / "spool"
    with Host(tmp_path, writer_dsn, {"INTENT_EVENTS_SPOOL_DIR": str(spool)}) as host:
        host.say(20)
        assert stat.S_IMODE(spool.stat().st_mode) == 0o700
        assert host.end("return") == 0
    assert accounted(pg, host.log) == all_stored(20)


def test_a_folder_that_somebody_removes(pg: Database, proxy: Proxy, tmp_path: Path, spool: Path) -> None:
    """What waited there is stored by the process that lives, which makes another folder for what follows."""
    proxy.refuse()
    with Host(tmp_path, proxy.dsn) as host:
        host.say(50)
        shutil.rmtree(spool)
        host.say(50)
        until(lambda: (host.say(1), spool.is_dir())[1], "the folder is made again")
        host.say(50)
        proxy.accept()
        assert host.flush()
        assert host.end("return") == 0
    found = accounted(pg, host.log)
    assert found == all_stored(found.emitted)


def left_behind(folder: Path, spool: Path, n: int) -> Path:
    """Let a host die that has stored nothing; the one segment that it leaves."""
    with Host(folder, NOWHERE) as host:
        host.say(n)
        assert host.end("_exit") == 0
    (segment,) = spool.glob("*/*.spool")
    left_for_anybody(segment)
    return segment


@pytest.mark.parametrize("flips", ["frames", "header", "cursor"])
def test_flipped_bits(pg: Database, writer_dsn: str, tmp_path: Path, spool: Path, flips: str) -> None:
    """A bit that changed between two runs costs the record that it is in, which is kept aside and missed; no other."""
    random = Random(8)  # noqa: S311 - places, no secrets
    segment = left_behind(tmp_path, spool, 300)
    data = bytearray(segment.read_bytes())
    frames = [frame for frame in parse(bytes(data[HEADER_BYTES:]), True) if frame.payload is not None]  # noqa: FBT003 - the whole of it
    assert len(frames) == 300
    broken = 0
    match flips:
        case "frames":
            # Not neighbours, which would be one stretch, and not the last, whose number nobody would miss.
            for frame in frames[5:295:29]:
                data[HEADER_BYTES + random.randrange(frame.start, frame.end)] ^= 1 << random.randrange(8)
                broken += 1
        case "header":
            data[3] ^= 1
        case _:
            data[CURSOR_AT + 2] ^= 1
    segment.write_bytes(data)
    drained_by_another(writer_dsn, spool)
    assert accounted(pg, tmp_path / "host.log") == all_stored(300)._replace(stored=300 - broken, lost=broken)
    assert len(list((spool / ASIDE).glob("*.torn"))) == broken
    sums = reconciled(pg)
    assert (sums.emitted, sums.stored, sums.missing + sums.underway) == (300, 300 - broken, broken)


def test_a_segment_that_was_cut(pg: Database, writer_dsn: str, tmp_path: Path, spool: Path) -> None:
    """A record of which the end is missing is kept aside; all before it are stored."""
    segment = left_behind(tmp_path, spool, 300)
    os.truncate(segment, segment.stat().st_size - 100)
    drained_by_another(writer_dsn, spool)
    assert accounted(pg, tmp_path / "host.log") == all_stored(300)._replace(stored=299, lost=1)
    assert len(list((spool / ASIDE).glob("*.torn"))) == 1


def test_ten_processes_adopt_the_same_orphan(pg: Database, writer_dsn: str, tmp_path: Path, spool: Path) -> None:
    """Each record is stored by exactly one of them, and none meets one that is there already."""
    left_behind(tmp_path, spool, 500)
    with started_family("adopters", tmp_path, writer_dsn) as adopters:
        until(lambda: not list(spool.iterdir()), "nothing is left")
        said, _ = adopters.communicate()
    reports = [json.loads(line) for line in said.splitlines()]
    assert len(reports) == 10
    assert accounted(pg, tmp_path / "host.log") == all_stored(500)
    assert sum(report["drain.records:stored"] for report in reports) == 500
    assert sum(report["drain.records:duplicate"] for report in reports) == 0
