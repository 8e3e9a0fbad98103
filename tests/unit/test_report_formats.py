# SPDX-License-Identifier: Apache-2.0
import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from intent_events.cli.formats import (
    Cell,
    Column,
    Kind,
    Sheet,
    as_csv,
    as_markdown,
    as_table,
    count,
    fit,
    printable,
    share,
    stacked,
)

TEXTS = st.one_of(
    st.none(), st.text(), st.sampled_from(["a|b", "``", "\x1b[2J", "[red]x[/red]", "<b>", "a\nb", "\u202e"])
)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 10**12), st.floats(0, 1)), min_size=1, max_size=5)


def sheet(rows: list[tuple[Cell, ...]], note: str = "") -> Sheet:
    return Sheet(
        title="Things",
        of="3 things that were seen",
        columns=(Column("what", none="(no what)"), Column("why"), Column("n", Kind.COUNT), Column("share", Kind.SHARE)),
        rows=tuple(rows),
        note=note,
        bar=True,
    )


def in_terminal(shown: Sheet, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    console.print(as_table(shown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@given(ROWS)
def test_markdown_tables_are_rectangular(rows: list[tuple[Cell, ...]]) -> None:
    """Whatever the cells hold, every line of the table has a cell for each column, and no cell leaves its code."""
    lines = [line for line in as_markdown(sheet(rows)).split("\n") if line.startswith("|")]
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert len(re.split(r"(?<!\\)\|", line)) == 6
        assert line.isprintable()


@given(ROWS)
def test_csv_gives_back_what_went_in(rows: list[tuple[Cell, ...]]) -> None:
    """The csv module reads every cell back, line breaks and quotes included."""
    read = list(csv.reader(io.StringIO(as_csv(["what", "why", "n", "share"], rows), newline="")))
    assert read[0] == ["what", "why", "n", "share"]
    assert read[1:] == [["" if cell is None else str(cell) for cell in row] for row in rows]


@given(ROWS, st.sampled_from([40, 80, 120]))
def test_a_terminal_gets_no_control_characters(rows: list[tuple[Cell, ...]], width: int) -> None:
    """No cell can move the cursor, start a colour or reorder the line, and no line is wider than the terminal."""
    for line in in_terminal(sheet(rows), width).splitlines():
        assert line.isprintable()
        assert "\u202e" not in line


ID = "6e43dc3d-8a8f-49d8-8659-475e4aa7c744"


@pytest.mark.parametrize("width", [60, 80])
def test_an_id_is_never_folded(width: int) -> None:
    """An id stays whole, so that it can be copied, and what stands beside it is folded instead."""
    rows: list[tuple[Cell, ...]] = [("a preview of what was said " * 4, ID, 1, 0.5), ("short", None, 2, 0.5)]
    shown = in_terminal(sheet(rows), width)
    assert ID in shown
    assert max(map(len, shown.splitlines())) <= width


def test_words_are_folded_like_any_text() -> None:
    """A column with anything but ids in it is folded, so that no long word pushes the others out."""
    rows: list[tuple[Cell, ...]] = [("said", ID, 1, 0.5), ("said", "x" * 200, 1, 0.5)]
    shown = in_terminal(sheet(rows), 60)
    assert max(map(len, shown.splitlines())) <= 60
    assert "x" * 200 in "".join(re.findall("x+", shown))


def test_only_a_terminal_has_a_width() -> None:
    """Lines end where the terminal does, or at the most that a command takes; for a pipe nothing is folded."""
    terminal = Console(file=io.StringIO(), width=80, force_terminal=True)
    fit(terminal, 100)
    assert terminal.width == 80
    fit(terminal, 60)
    assert terminal.width == 60
    for piped in (Console(file=io.StringIO(), width=80), Console(file=io.StringIO())):
        fit(piped, 60)
        piped.print(as_table(sheet([("said " * 100, ID, 1, 0.5)])))
        assert isinstance(piped.file, io.StringIO)
        assert "said " * 99 in piped.file.getvalue()


def test_markup_in_a_cell_is_text() -> None:
    """What looks like Rich markup or HTML is shown as it is."""
    rows: list[tuple[Cell, ...]] = [("[red]x[/red]", "<b>", 1, 0.5)]
    assert "[red]x[/red]" in in_terminal(sheet(rows))
    assert "`<b>`" in as_markdown(sheet(rows))


@given(st.text())
def test_what_is_printable_stays(text: str) -> None:
    """Printable text is not touched, and the rest becomes printable."""
    assert printable(text).isprintable()
    assert not text.isprintable() or printable(text) == text


@pytest.mark.parametrize("render", [in_terminal, as_markdown])
def test_an_empty_section_says_so(render: object) -> None:
    """Without rows a section says "none" and of how many, and shows no empty table."""
    assert callable(render)
    text = str(render(sheet([])))
    assert "Things" in text
    assert "none in this window (n = 3 things that were seen)" in text
    assert "share" not in text


def test_what_a_cell_says_in_place_of_nothing() -> None:
    """A missing value shows what its column says for it, and the note stands under the table."""
    rows: list[tuple[Cell, ...]] = [(None, None, 1, 1.0)]
    for text in (in_terminal(sheet(rows, "and 2 more")), as_markdown(sheet(rows, "and 2 more"))):
        assert "(no what)" in text
        assert "—" in text
        assert text.rstrip().endswith("and 2 more")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0.0, "0.0%"),
        (1e-9, "<0.1%"),
        (0.0005, "0.1%"),
        (0.123, "12.3%"),
        (0.99999, ">99.9%"),
        (1.0, "100.0%"),
    ],
)
def test_shares_never_round_something_to_nothing(value: float | None, text: str) -> None:
    """More than none is not 0%, less than all is not 100%, and no share at all is no number."""
    assert share(value) == text


def test_counts_are_grouped() -> None:
    """Large counts are read at a glance."""
    assert count(1_234_567) == "1,234,567"


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any), st.integers(1, 200))
def test_a_stacked_bar_fills_its_width(parts: list[int], width: int) -> None:
    """Shares that add up to one fill the bar exactly, whatever they are rounded to."""
    shares = [(part / sum(parts), "red") for part in parts]
    assert len(stacked(shares, width)) == width
    assert len(stacked([(None, "red")], width)) == 0
