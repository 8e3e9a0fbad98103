# SPDX-License-Identifier: Apache-2.0
"""A report as sheets and lines for people, and as one tidy table for programs. Pure."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final, NamedTuple

from pydantic import BaseModel

from intent_events.cli.formats import Cell, Column, Kind, Sheet, count, share
from intent_events.review.report_model import Rates, Report, Section

CSV_HEADER: Final = ("section", "rank", "key_1", "key_2", "key_3", "n", "share", "of", "since", "until")
"""Columns of the tidy table: ``share`` is ``n`` over ``of``; keys that a section has not are empty."""

_N: Final = Column("n", Kind.COUNT)
_SHARE: Final = Column("share", Kind.SHARE)
_KEYS: Final = 3
_RATES: Final = {"no_match": "no match", "error": "errors"}


class _Shown(NamedTuple):
    title: str
    of: str
    columns: tuple[Column, ...]
    bar: bool = False


class _Tidy(NamedTuple):
    section: str
    rank: int | None
    keys: tuple[Cell, ...]
    n: int
    of: int | None


_SECTIONS: Final = {
    "failure_modes": _Shown(
        "Top failure modes",
        "{n} that did not get on",
        (Column("outcome"), Column("error"), Column("SemReg")),
        bar=True,
    ),
    "hottest_verbs": _Shown("Hottest verbs", "{n} with a chosen verb", (Column("verb"),), bar=True),
    "clarify_verbs": _Shown(
        "Top clarify verbs",
        "{n} answered with “which verb?”",
        (Column("top candidate", none="(none recorded)"), Column("runner-up")),
    ),
    "semreg_denies": _Shown(
        "SemReg denies",
        "{n} with a denied verb",
        (Column("denied verb"), Column("reason", none="(none given)")),
    ),
    "semreg_overrides": _Shown(
        "SemReg overrides",
        "{n} with a forced verb",
        (Column("forced verb"), Column("chosen instead", none="(no verb)")),
    ),
    "macro_denies": _Shown(
        "Macro denies",
        "{n} whose macro was checked",
        (Column("macro", none="(no verb)"), Column("denied verb")),
    ),
    "missing_args": _Shown(
        "Missing arguments",
        "{n} that lacked any",
        (Column("verb", none="(no verb)"), Column("argument", none="(not named)")),
    ),
    "follow_ups": _Shown("Follow-ups", "{n} that were followed up", (Column("kind"), Column("error")), bar=True),
    "quality": _Shown("Data quality flags", "{n}", (Column("flag"),)),
}


def window_line(report: Report) -> str:
    """The window and the filters of all figures."""
    since, until = report.window.since, report.window.until
    scope = f", scope {report.scope}" if report.scope is not None else ""
    return f"{since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S} UTC ({_length(until - since)}){scope}"


def rates_of(rates: Rates) -> dict[str, str]:
    """How utterances ended: each rate's name and share, in the order of the fields of ``Rates``."""
    return {_RATES.get(name, name): share(value) for name, value in rates}


def caveats(report: Report) -> list[str]:
    """What the figures do not count, and what in them to be wary of."""
    synthetic = (
        f"Left out: {_utterances(report.left_out.synthetic, 'synthetic ')} (--synthetic counts them)."
        if report.synthetic_included is None
        else f"Counted too: {_utterances(report.synthetic_included, 'synthetic ')}."
    )
    seen = report.reader_scopes
    return [
        *([] if seen is None else [f"Left out: all but what this reader may see, which is of {', '.join(seen)}."]),
        synthetic,
        f"Left out: follow-ups of {_utterances(report.left_out.orphans)} without a row (yet).",
        f"Counted as other: {_utterances(report.unknown_outcomes)} whose outcome is not in the contract.",
    ]


def sheets_of(report: Report) -> list[Sheet]:
    """The report's sections, the most telling first."""
    labels = (
        _labels(report, "outcomes", "Outcomes", "outcome"),
        _labels(report, "semreg_modes", "SemReg modes", "mode"),
    )
    sections = {key: _section_sheet(report, key) for key in _SECTIONS}
    return [
        labels[0],
        *(sections[key] for key in ("failure_modes", "hottest_verbs", "clarify_verbs")),
        labels[1],
        *(sections[key] for key in ("semreg_denies", "semreg_overrides", "macro_denies", "missing_args")),
        _prompt_sheet(report),
        *(sections[key] for key in ("follow_ups", "quality")),
    ]


def tidy_rows(report: Report) -> Iterator[tuple[Cell, ...]]:
    """The whole report as rows under :data:`CSV_HEADER`; ranks begin at 1."""
    window = (report.window.since.isoformat(), report.window.until.isoformat())
    for section, rank, keys, n, of in (*_totals(report), *_section_rows(report), *_version_rows(report)):
        padded = (*keys, *[None] * (_KEYS - len(keys)))
        yield (section, rank, *padded, n, n / of if of else None, of, *window)


def _totals(report: Report) -> Iterator[_Tidy]:
    yield _Tidy("utterances", None, (), report.n, None)
    if report.synthetic_included is not None:
        yield _Tidy("utterances", None, ("synthetic",), report.synthetic_included, report.n)
    yield _Tidy("utterances", None, ("unknown_outcome",), report.unknown_outcomes, report.n)
    yield _Tidy("left_out", None, ("synthetic",), report.left_out.synthetic, None)
    yield _Tidy("left_out", None, ("orphans",), report.left_out.orphans, None)
    for key in _SECTIONS:
        yield _Tidy("left_out", None, ("beyond_top", key), _section(report, key).beyond.n, None)


def _section_rows(report: Report) -> Iterator[_Tidy]:
    for key in ("outcomes", "semreg_modes"):
        for rank, (label, n) in enumerate(_label_counts(report, key).items(), start=1):
            yield _Tidy(key, rank, (label,), n, report.n)
    for key in _SECTIONS:
        section = _section(report, key)
        for rank, figure in enumerate(section.rows, start=1):
            keys, n, _ = _cells(figure)
            yield _Tidy(key, rank, keys, n, section.n)


def _version_rows(report: Report) -> Iterator[_Tidy]:
    for rank, version in enumerate(report.prompt_versions, start=1):
        name, of = version.prompt_version, version.n
        yield _Tidy("prompt_versions", rank, (name, "utterances"), of, report.n)
        for measure, rate in version.rates:
            yield _Tidy("prompt_versions", rank, (name, measure), round((rate or 0) * of), of)
        for measure in ("picked", "executed", "execution_failed"):
            yield _Tidy("prompt_versions", rank, (name, measure), getattr(version, measure), of)


def _section(report: Report, key: str) -> Section[BaseModel]:
    return getattr(report, key)


def _label_counts(report: Report, key: str) -> dict[str, int]:
    return getattr(report, key)


def _cells(figure: BaseModel) -> tuple[tuple[Cell, ...], int, float]:
    *keys, (_, n), (_, of_section) = figure
    return tuple(value for _, value in keys), n, of_section


def _labels(report: Report, key: str, title: str, column: str) -> Sheet:
    return Sheet(
        title=title,
        of=_utterances(report.n),
        columns=(Column(column), _N, _SHARE),
        rows=tuple((label, n, n / report.n) for label, n in _label_counts(report, key).items()),
        bar=True,
    )


def _section_sheet(report: Report, key: str) -> Sheet:
    section, shown = _section(report, key), _SECTIONS[key]
    rows = [_cells(figure) for figure in section.rows]
    beyond = section.beyond
    more = "row" if beyond.rows == 1 else "rows"
    return Sheet(
        title=shown.title,
        of=shown.of.format(n=_utterances(section.n)),
        columns=(*shown.columns, _N, _SHARE),
        rows=tuple((*keys, n, of_section) for keys, n, of_section in rows),
        note=f"and {count(beyond.rows)} more {more}, n = {count(beyond.n)} together" if beyond.rows else "",
        bar=shown.bar,
    )


def _prompt_sheet(report: Report) -> Sheet:
    rates = ("matched", "clarify", "no\nmatch", "errors")
    return Sheet(
        title="Prompt versions",
        of=_utterances(report.n),
        columns=(
            Column("version", none="(none)"),
            _N,
            *(Column(rate, Kind.SHARE) for rate in rates),
            *(Column(kind, Kind.COUNT) for kind in ("picked", "executed", "failed")),
        ),
        rows=tuple(
            (
                version.prompt_version,
                version.n,
                version.rates.matched,
                version.rates.clarify,
                version.rates.no_match,
                version.rates.error,
                version.picked,
                version.executed,
                version.execution_failed,
            )
            for version in report.prompt_versions
        ),
        note="rates: of each version's n; picked, executed, failed: utterances so followed up",
    )


def _utterances(n: int, of_kind: str = "") -> str:
    return f"{count(n)} {of_kind}{'utterance' if n == 1 else 'utterances'}"


def _length(duration: timedelta) -> str:
    parts = {
        "d": duration.days,
        "h": duration.seconds // 3600,
        "m": duration.seconds % 3600 // 60,
        "s": duration.seconds % 60,
    }
    return " ".join(f"{n}{unit}" for unit, n in parts.items() if n) or "under 1s"
