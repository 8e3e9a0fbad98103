# SPDX-License-Identifier: Apache-2.0
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from intent_events.cli.report_sheets import CSV_HEADER, caveats, rates_of, sheets_of, tidy_rows, window_line
from intent_events.review.report import FINE, KINDS, report_of
from intent_events.review.report_model import Report
from intent_events.semconv import Outcome
from intent_events.store.read import Figure, Figures, ReportQuery

SINCE = datetime(2026, 11, 16, 12, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=7)


def figures(*rows: tuple[tuple[str | None, ...], int], beyond: tuple[int, int] = (0, 0)) -> Figures:
    n = sum(n for _, n in rows)
    return Figures(tuple(Figure(keys, n) for keys, n in rows), len(rows) + beyond[0], n + beyond[1])


def made(sections: Mapping[str, Figures], *, synthetic: bool = False, scope: str | None = None) -> Report:
    return report_of(ReportQuery(since=SINCE, until=UNTIL, synthetic=synthetic, scope=scope), sections)


def some() -> dict[str, Figures]:
    return {
        "outcomes": figures((("matched",), 6), (("clarify_verb",), 2), (("oddly_new",), 1), (("cancelled",), 1)),
        "failure_modes": figures((("clarify_verb", None, "applied"), 2), beyond=(2, 2)),
        "clarify_verbs": figures(((None, None), 2)),
        "semreg_denies": figures((("a.b", "closed"), 2), (("c.d", None), 2)),
        "of_semreg_denies": figures(((), 3)),
        "of_synthetic": figures(((), 4)),
        "of_orphans": figures(((), 1)),
        "prompt_outcomes": figures((("v1", "matched"), 4), ((None, "matched"), 5), (("v1", "no_match"), 1)),
        "prompt_follow_ups": figures((("v1", "picked"), 2), ((None, "executed"), 1)),
    }


def test_rates_add_up_to_one() -> None:
    """The rates of a report are shares of all its utterances; what has no rate of its own is in ``other``."""
    rates = made(some()).rates
    assert rates.matched == 0.6
    assert rates.other == 0.2
    assert sum(value or 0 for _, value in rates) == pytest.approx(1)
    assert rates_of(rates)["no match"] == "0.0%"


def test_every_outcome_has_one_rate_at_most() -> None:
    """No outcome counts in two rates, and every outcome that is fine is none that a rate calls bad."""
    listed = [label for labels in KINDS.values() for label in labels]
    assert len(listed) == len(set(listed))
    assert set(listed) | FINE <= set(Outcome)
    assert not FINE & set(listed) - {Outcome.MATCHED}


def test_a_section_counts_what_its_rows_leave_out() -> None:
    """Rows beyond the limit are counted and said; shares are of the whole section."""
    made_report = made(some())
    assert made_report.failure_modes.n == 4
    assert made_report.failure_modes.rows[0].share == 0.5
    assert made_report.failure_modes.beyond.model_dump() == {"rows": 2, "n": 2}
    sheets = {sheet.title: sheet for sheet in sheets_of(made_report)}
    assert sheets["Top failure modes"].note == "and 2 more rows, n = 2 together"
    assert sheets["Hottest verbs"].note == ""


def test_nothing_at_all_is_none_and_no_rate() -> None:
    """An empty window gives n = 0, rates that are no numbers, and sections that say none."""
    empty = made({})
    assert empty.n == 0
    assert all(value is None for _, value in empty.rates)
    assert all(sheet.told.startswith("none in this window (n = 0 utterances") for sheet in sheets_of(empty))
    assert not any(row[CSV_HEADER.index("n")] for row in tidy_rows(empty))


def test_prompt_versions_stand_side_by_side() -> None:
    """Each version has its own n, rates and follow-ups; utterances without one are a version too."""
    first, unnamed = made(some()).prompt_versions
    assert (unnamed.prompt_version, unnamed.n, unnamed.executed) == (None, 5, 1)
    assert (first.prompt_version, first.n, first.picked, first.rates.no_match) == ("v1", 5, 2, 0.2)


def test_it_says_what_it_leaves_out() -> None:
    """Synthetic rows, orphans and unknown outcomes are said, also when there are none or they are counted."""
    assert caveats(made(some())) == [
        "Left out: 4 synthetic utterances (--synthetic counts them).",
        "Left out: follow-ups of 1 utterance without a row (yet).",
        "Counted as other: 1 utterance whose outcome is not in the contract.",
    ]
    assert caveats(made({})) == [
        "Left out: 0 synthetic utterances (--synthetic counts them).",
        "Left out: follow-ups of 0 utterances without a row (yet).",
        "Counted as other: 0 utterances whose outcome is not in the contract.",
    ]
    assert caveats(made(some(), synthetic=True))[0] == "Counted too: 4 synthetic utterances."


def test_the_window_is_said_with_its_length_and_scope() -> None:
    """The first line names both ends, the length and the filter of all figures."""
    assert window_line(made({}, scope="emea")) == "2026-11-16 12:00:00 to 2026-11-23 12:00:00 UTC (7d), scope emea"


def test_tidy_rows_have_every_column() -> None:
    """Every row of the tidy table is as long as its header, and its share is n over of."""
    rows = list(tidy_rows(made(some())))
    assert {len(row) for row in rows} == {len(CSV_HEADER)}
    for row in rows:
        named = dict(zip(CSV_HEADER, row, strict=True))
        n, of = named["n"], named["of"]
        assert isinstance(n, int)
        assert named["share"] == (n / of if isinstance(of, int) and of else None)
    assert ("left_out", None, "beyond_top", "failure_modes", None, 2) in [row[:6] for row in rows]
    assert ("prompt_versions", 1, "v1", "no_match", None, 1, 0.2, 5) in [row[:8] for row in rows]


def test_json_begins_with_the_window() -> None:
    """Programs that read the JSON find window, n and outcomes first, and can read it back."""
    text = made(some()).model_dump_json()
    assert text.startswith(
        '{"window":{"since":"2026-11-16T12:00:00Z","until":"2026-11-23T12:00:00Z"},"n":10,"outcomes":{"m'
    )
    assert Report.model_validate_json(text) == made(some())
