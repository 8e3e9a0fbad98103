# SPDX-License-Identifier: Apache-2.0
"""Figures as a terminal table, Markdown or CSV. What a command shows is a list of sheets; how it looks is here.

Cells come from spans that anybody may have sent: a terminal gets no control characters of theirs, and Markdown gets
them as code.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

Cell = str | int | float | None
"""A text, a count, a share between 0 and 1, or nothing."""

_BAR_CELLS: Final = 12
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_SMALLEST_SHOWN: Final = 0.0005
_NEXT_UNIT: Final = 1024
_UNFOLDED: Final = 100_000
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Format(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


class Kind(StrEnum):
    """What the cells of a column are."""

    TEXT = "text"
    COUNT = "count"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a sheet.

    Attributes:
        title: its heading.
        kind: what its cells are.
        none: what stands where a cell is None.
    """

    title: str
    kind: Kind = Kind.TEXT
    none: str = "—"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table with what it is of.

    Attributes:
        title: its heading.
        of: how many things it is about, and what they are: "12 utterances with a chosen verb".
        columns: its columns.
        rows: one cell a column in each.
        note: one line under the rows, such as what they leave out; may be empty.
        bar: draw the last column, a share, as a bar too (in a terminal).
    """

    title: str
    of: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    bar: bool = False

    @property
    def told(self) -> str:
        """What the rows are of, or that there are none."""
        return f"n = {self.of}" if self.rows else f"none in this window (n = {self.of})"


def count(n: int) -> str:
    """A count for people: ``1,234``."""
    return f"{n:,}"


def share(value: float | None) -> str:
    """A share for people: ``12.3%``; more than nothing is never shown as nothing, less than all never as all."""
    if value is None:
        return "—"
    if 0 < value < _SMALLEST_SHOWN:
        return "<0.1%"
    if 1 - _SMALLEST_SHOWN < value < 1:
        return ">99.9%"
    return f"{value:.1%}"


def size(n: int) -> str:
    """A number of bytes for people, in powers of 1024 as settings have it: ``812 B``, ``1.5 MB``."""
    value, unit = float(n), "B"
    for unit in ("B", "KB", "MB", "GB"):
        if value < _NEXT_UNIT or unit == "GB":
            break
        value /= _NEXT_UNIT
    return f"{n} B" if unit == "B" else f"{value:,.1f} {unit}"


def printable(text: str) -> str:
    """The text without characters that would move a cursor, hide or reorder what follows."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def fit(console: Console, most: int) -> None:
    """Set how wide lines may become: of a terminal at most so many columns; for a pipe or a file, nothing is folded."""
    console.width = min(console.width, most) if console.is_terminal else _UNFOLDED


def as_table(sheet: Sheet, *, bars: bool = True) -> Group:
    """The sheet for a terminal: a heading line, and the rows or one line that says that there are none.

    Args:
        sheet: what to show.
        bars: whether the terminal can show block characters.
    """
    heading = Text.assemble((sheet.title, "bold"), "  ", (sheet.told, "dim"))
    if not sheet.rows:
        return Group(heading)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="dim", show_edge=False)
    for place, column in enumerate(sheet.columns):
        right = column.kind is not Kind.TEXT
        whole = right or _are_ids(row[place] for row in sheet.rows)
        table.add_column(column.title, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    drawn = bars and sheet.bar
    if drawn:
        table.add_column("", no_wrap=True, width=_BAR_CELLS)
    for row in sheet.rows:
        cells = [_terminal_cell(column, cell) for column, cell in zip(sheet.columns, row, strict=True)]
        table.add_row(*cells, *([_bar(row[-1])] if drawn else []))
    return Group(heading, table, *([Text(sheet.note, "dim")] if sheet.note else []))


def as_markdown(sheet: Sheet) -> str:
    """The sheet as a Markdown section that can be pasted into an issue."""
    heading = f"### {sheet.title}\n\n{sheet.told}\n"
    if not sheet.rows:
        return heading
    rule = ["---" if column.kind is Kind.TEXT else "---:" for column in sheet.columns]
    lines = [[column.title.replace("\n", " ") for column in sheet.columns], rule]
    lines += [
        [_markdown_cell(column, cell) for column, cell in zip(sheet.columns, row, strict=True)] for row in sheet.rows
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{heading}\n{table}" + (f"\n{sheet.note}\n" if sheet.note else "")


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """One table of comma-separated values as RFC 4180 has it, with a header line; None is an empty field."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)  # its own line ends: with others, Python 3.11 leaves a lone carriage return unquoted
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def stacked(parts: Sequence[tuple[float | None, str]], width: int) -> Text:
    """Shares that add up to one as one bar of coloured blocks.

    Args:
        parts: each share with its Rich style.
        width: cells of the whole bar.
    """
    bar = Text()
    total = 0.0
    for value, style in parts:
        before, total = total, total + (value or 0)
        bar.append("█" * (round(total * width) - round(before * width)), style)
    return bar


def can_draw(console: Console) -> bool:
    """Whether the console's encoding has block characters."""
    return not console.options.ascii_only


def _are_ids(cells: Iterable[Cell]) -> bool:
    """Whether there is nothing but ids, which are copied as a whole."""
    return all(cell is None or _ID.fullmatch(str(cell)) for cell in cells)


def _terminal_cell(column: Column, cell: Cell) -> Text:
    if cell is None:
        return Text(column.none, "dim")
    if column.kind is Kind.TEXT:
        return Text(printable(str(cell)))
    return Text(_number(column, cell), "bold" if column.kind is Kind.COUNT else "")


def _markdown_cell(column: Column, cell: Cell) -> str:
    if cell is None or cell == "":
        return column.none
    if column.kind is not Kind.TEXT:
        return _number(column, cell)
    text = printable(str(cell)).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _number(column: Column, cell: Cell) -> str:
    if column.kind is Kind.COUNT and isinstance(cell, int):
        return count(cell)
    return share(cell) if isinstance(cell, float) else str(cell)


def _bar(value: Cell) -> Text:
    eighths = round(float(value or 0) * _BAR_CELLS * 8)
    return Text("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip(), "cyan")
