# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from intent_events.errors import IntentEventsError, SettingsError
from intent_events.review.windows import Window, parse_duration, parse_instant, window_of

NOW = datetime(2026, 11, 23, 12, 0, 0, 123_000, tzinfo=UTC)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001 - bounds are naive


def instant(text: str) -> datetime:
    return parse_instant(text, NOW, name="--since")


def window(since: str, until: str = "now") -> Window:
    return window_of(since, until, NOW, since_name="--since", until_name="--until")


@given(st.integers(1, 10_000), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]), st.booleans())
def test_a_duration_is_its_number_of_units(n: int, unit: str, space: str, upper: bool) -> None:  # noqa: FBT001 - drawn
    """Every number with one of the five units is that many seconds, whatever its case and the white space around."""
    text = f"{space}{n}{unit.upper() if upper else unit}{space}"
    assert parse_duration(text) == timedelta(seconds=n * UNITS[unit])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "d",
        "-7d",
        "+7d",
        "7.5d",
        "7 d",
        "7d7h",
        "0s",
        "7y",
        "\u0667d",
        "\u00b2d",
        "9" * 30 + "w",
        "9" * 9999 + "d",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    """Other texts, nothing at all, foreign digits and eternities are no durations, and no crash."""
    assert parse_duration(text) is None


@given(st.text())
def test_any_text_is_a_moment_or_a_named_error(text: str) -> None:
    """Whatever is typed gives a moment in UTC and whole milliseconds, or an error that names flag and remedy."""
    try:
        moment = instant(text)
    except SettingsError as error:
        said = str(error)
        moment = None
    else:
        said = "--since: 7d"
    assert said.startswith("--since: ")
    assert "7d" in said
    assert moment is None or (moment.tzinfo is UTC and moment.microsecond % 1000 == 0)


@given(MOMENTS)
def test_a_moment_is_rounded_up_to_the_millisecond(moment: datetime) -> None:
    """A moment of any zone stays itself in UTC, less than a millisecond later: no row changes sides of it."""
    parsed = instant(moment.isoformat())
    assert timedelta() <= parsed - moment < timedelta(milliseconds=1)
    assert parsed.microsecond % 1000 == 0


@given(st.integers(1, 400), st.sampled_from(sorted(UNITS)))
def test_durations_count_back_from_now(n: int, unit: str) -> None:
    """A duration is the moment so long before now."""
    assert instant(f"{n}{unit}") == NOW - timedelta(seconds=n * UNITS[unit])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T09:30", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        ("2026-11-01 09:30:15.5", datetime(2026, 11, 1, 9, 30, 15, 500_000, tzinfo=UTC)),
        ("2026-11-01T09:30Z", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        ("2026-11-01T09:30+02:00", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
    ],
)
def test_dates_and_times(text: str, moment: datetime) -> None:
    """A date is its first moment, a time without a zone is UTC, and a zone is heeded."""
    assert instant(text) == moment


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59:59.999999", "9999999d", "2026-13-01"])
def test_moments_that_no_clock_shows(text: str) -> None:
    """Moments outside of the years 1 to 9999, and dates that no calendar has, are named errors."""
    with pytest.raises(SettingsError, match="--since"):
        instant(text)


def test_a_long_text_is_cut_in_the_error() -> None:
    """The error quotes what was typed, but not pages of it."""
    with pytest.raises(SettingsError) as caught:
        instant("x" * 10_000)
    assert len(str(caught.value)) < 300


def test_a_window_of_a_duration_ends_now() -> None:
    """``7d`` is the seven days up to now."""
    assert window("7d") == Window(since=NOW - timedelta(days=7), until=NOW)


@pytest.mark.parametrize(
    ("since", "until"), [("now", "now"), ("2026-11-02", "2026-11-01"), ("1h", "2h"), ("2027-01-01", "now")]
)
def test_an_empty_window_is_refused(since: str, until: str) -> None:
    """A window that could hold nothing is wrong use, not an empty report."""
    with pytest.raises(IntentEventsError, match=r"--since .* is not before --until"):
        window(since, until)


def test_a_window_needs_zones_and_stays_as_it_is() -> None:
    """Moments without a zone are refused, and a window cannot be changed."""
    with pytest.raises(ValidationError):
        Window.model_validate({"since": datetime(2026, 11, 1), "until": NOW})  # noqa: DTZ001 - what must be refused
    with pytest.raises(ValidationError):
        window("7d").since = NOW
