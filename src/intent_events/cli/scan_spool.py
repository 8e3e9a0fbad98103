# SPDX-License-Identifier: Apache-2.0
"""What ``intent-events scan`` looks at on this host: records that wait, and every byte of the spool's files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from intent_events.errors import SettingsError, UnavailableError
from intent_events.review.scan import Inspector, look_at_attributes, texts_in_bytes
from intent_events.review.scan_model import Place

RECORDS: Final = "spool"
"""Place of the records that wait, by attribute."""

FILES: Final = "spool files"
"""Place of the files as they are on the disk: what is stored already and not removed yet, and damage set aside."""

_UNREADABLE: Final = "(unreadable)"
_BYTES: Final = "(bytes)"
_CHUNK: Final = 1 << 20
_OVERLAP: Final = 1 << 13
_BYTES_A_CHARACTER: Final = 4


def look_at_spool(inspector: Inspector, folder: Path, *, named: bool) -> Sequence[Place] | None:
    """Look through the spool of this host; nothing in it is changed.

    Args:
        inspector: looks.
        folder: of the spool.
        named: whether it was asked for by name, so that something here must be able to read it.

    Returns:
        What was looked through; None when there is no spool here, or nothing that can read one.

    Raises:
        SettingsError: a spool was named, and nothing here can read one.
        UnavailableError: it cannot be read.
    """
    try:
        from intent_events_exporter.record import decode  # noqa: PLC0415 - another distribution, which may be absent
        from intent_events_exporter.spool import look  # noqa: PLC0415
        from intent_events_exporter.spool.folder import ASIDE  # noqa: PLC0415
    except ImportError:  # the core alone, as on the machine of whoever reviews
        if not named:
            return None
        raise SettingsError(
            "--spool-dir (INTENT_EVENTS_SPOOL_DIR): only intent-events-exporter can read a spool; install it here"
        ) from None
    if not folder.is_dir():
        return None
    try:
        inspector.count(RECORDS, 0)
        for waiting in look(folder):
            try:
                attributes = decode(waiting.payload).attributes
            except ValueError:  # of a newer version, or damaged in a way that its checksum does not tell
                inspector.count(RECORDS, 1)
                inspector.look(RECORDS, _UNREADABLE, texts_in_bytes(waiting.payload))
                continue
            look_at_attributes(inspector, RECORDS, attributes)
        inspector.count(FILES, 0)
        for path in _files_in(folder):
            _look_at_file(inspector, path, damaged=path.parent.name == ASIDE)
    except OSError as error:  # no permission, or a disk that fails
        problem = UnavailableError(f"the spool cannot be read ({type(error).__name__}): run this as the service's user")
    else:
        return [Place(place, None, inspector.read(place), windowed=False) for place in (RECORDS, FILES)]
    raise problem


def _files_in(folder: Path) -> Iterator[Path]:
    next(folder.iterdir(), None)  # a folder that is closed to this user must not look like an empty one
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _look_at_file(inspector: Inspector, path: Path, *, damaged: bool) -> None:
    """Look for canaries in a file; in what was set aside, where no record can be told from another, for all kinds."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # its process has removed it meanwhile
        return
    kinds: set[str] = set()
    overlap = max(_OVERLAP, inspector.canaries.longest * _BYTES_A_CHARACTER)
    with file:
        rest = b""
        while chunk := file.read(_CHUNK):
            data = rest + chunk
            kinds.update(inspector.canaries.in_bytes(data))
            if damaged:
                kinds.update(kind for text in texts_in_bytes(data) for kind in inspector.kinds_in(_BYTES, text))
            rest = data[-overlap:]
    inspector.count(FILES, 1)
    inspector.find(FILES, _BYTES, kinds)
