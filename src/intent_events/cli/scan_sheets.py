# SPDX-License-Identifier: Apache-2.0
"""A scan as sheets and lines for people, and as one tidy table for programs. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from intent_events.cli.formats import Cell, Column, Kind, Sheet, count, share
from intent_events.review.scan_model import Scan

CSV_HEADER: Final = ("place", "column", "kind", "n", "read", "windowed", "since", "until", "sample")
"""Columns of the tidy table: a row a finding, and one without column and kind for each place that was read."""


def verdict(scan: Scan) -> str:
    """The answer in one sentence."""
    if scan.findings:
        columns = len({(finding.place, finding.column) for finding in scan.findings})
        return f"Found: values in {_n(columns, 'column')} that look like personal data or hold a canary."
    return "Nothing found."


def window_line(scan: Scan) -> str:
    """What of the tables was read."""
    if scan.since is None and scan.until is None:
        window = "everything"
    else:
        window = f"{_moment(scan.since, 'the beginning')} to {_moment(scan.until, 'now')}"
    return window if scan.sample >= 1 else f"{window}, a sample of {share(scan.sample)} of the pages"


def caveats(scan: Scan) -> list[str]:
    """What was looked for, and what was left out."""
    lines = [
        f"Looked for: {', '.join(scan.kinds)}; {_n(scan.canaries, 'canary', 'canaries')}.",
        "Names and addresses have no form that could be looked for: say some as canaries, and look for those.",
        "No spool was looked at: this host has none where it was looked for."
        if scan.spool is None
        else f"The spool of this host was looked at as a whole: {scan.spool}",
    ]
    if scan.since is not None or scan.until is not None:
        whole = [place.place for place in scan.places if not place.windowed and place.columns is not None]
        lines.append(f"Read as a whole, for their rows have no time: {', '.join(whole) or 'nothing'}.")
    return lines


def sheets_of(scan: Scan) -> list[Sheet]:
    """What was found, and what was looked through."""
    return [
        Sheet(
            title="Found",
            of=_n(sum(place.n for place in scan.places), "row, record or file", "rows, records and files"),
            columns=(Column("place"), Column("column"), Column("kind"), Column("n", Kind.COUNT)),
            rows=tuple(scan.findings),
            note="n: rows of which this column has such a value. The values themselves are never shown.",
        ),
        Sheet(
            title="Looked through",
            of=_n(len(scan.places), "place"),
            columns=(Column("place"), Column("columns", Kind.COUNT), Column("read", Kind.COUNT)),
            rows=tuple((place.place, place.columns, place.n) for place in scan.places),
        ),
    ]


def tidy_rows(scan: Scan) -> Iterator[tuple[Cell, ...]]:
    """The whole scan as rows under :data:`CSV_HEADER`."""
    tail = tuple(None if moment is None else moment.isoformat() for moment in (scan.since, scan.until))
    for place in scan.places:
        read = (place.n, str(place.windowed).lower(), *tail, scan.sample)
        yield (place.place, None, None, None, *read)
        for finding in scan.findings:
            if finding.place == place.place:
                yield (*finding, *read)


def _moment(moment: datetime | None, otherwise: str) -> str:
    return otherwise if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _n(n: int, one: str, many: str = "") -> str:
    return f"{count(n)} {one if n == 1 else many or one + 's'}"
