# SPDX-License-Identifier: Apache-2.0
"""The shape of what a scan found. Frozen; its ``model_dump_json()`` is the JSON of ``intent-events scan``."""

from typing import NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Finding(NamedTuple):
    """Values of one kind in one column; never the values.

    Attributes:
        place: a table with its schema, or a part of the spool.
        column: of the table, or an attribute of the records.
        kind: what the values look like, or which canary they hold.
        n: rows or records of which this column has at least one such value.
    """

    place: str
    column: str
    kind: str
    n: int


class Place(NamedTuple):
    """A place that was looked through.

    Attributes:
        place: a table with its schema, or a part of the spool.
        columns: columns of it that can hold texts; None where there are no columns.
        n: rows, records or files that were read.
        windowed: whether only those of the window were read; a place whose rows have no time is read as a whole.
    """

    place: str
    columns: int | None
    n: int
    windowed: bool


class Scan(BaseModel):
    """What a scan looked at and found.

    Attributes:
        since: first moment of the window; None for everything.
        until: first moment after it; None likewise.
        sample: share of the pages of each table that were read.
        kinds: what values were looked for.
        canaries: how many canaries were looked for.
        places: what was looked through.
        spool: the folder of the spool; None when none was looked at.
        findings: what was found, the most frequent first.
    """

    model_config = ConfigDict(frozen=True)

    since: AwareDatetime | None
    until: AwareDatetime | None
    sample: float
    kinds: tuple[str, ...]
    canaries: int
    places: tuple[Place, ...]
    spool: str | None
    findings: tuple[Finding, ...]
