# SPDX-License-Identifier: Apache-2.0
"""The report: what happened to the utterances of a window, each figure with what it is a share of."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from intent_events.review.report_model import (
    Beyond,
    ClarifyVerb,
    FailureMode,
    FollowUp,
    LeftOut,
    MacroDeny,
    MissingArg,
    PromptVersion,
    QualityFlag,
    Rates,
    Report,
    RowT,
    Section,
    SemRegDeny,
    SemRegOverride,
    VerbCount,
)
from intent_events.review.windows import Window
from intent_events.semconv import Outcome, OutcomeKind
from intent_events.store.read import NONE, SEEN, Figures, ReportQuery, read_report

FINE: Final = frozenset({Outcome.MATCHED, Outcome.SCOPE_RESOLVED, Outcome.AWAITING_CONFIRMATION})
"""Outcomes that got the user on; every other one is a failure mode."""

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "matched": frozenset({Outcome.MATCHED}),
    "clarify": frozenset({Outcome.CLARIFY_VERB, Outcome.CLARIFY_ARGS}),
    "no_match": frozenset({Outcome.NO_MATCH}),
    "denied": frozenset({Outcome.NO_ALLOWED_VERBS, Outcome.DIRECT_DSL_DENIED}),
    "error": frozenset({Outcome.ERROR}),
}
"""Which outcomes each rate sums; ``other`` is the rest, so the rates of a report add up to one."""

_KNOWN: Final = frozenset(outcome.value for outcome in Outcome)


async def report(
    dsn: str,
    window: Window,
    *,
    scope: str | None = None,
    synthetic: bool = False,
    top: int = 10,
    timeout_s: float = 30.0,
) -> Report:
    """Read a report.

    Args:
        dsn: address of the database.
        window: which utterances, by the time they began.
        scope: only those of this tenant or book of business.
        synthetic: count test, demo and canary traffic too.
        top: rows that a section may have, at least 1.
        timeout_s: seconds that reading may take.

    Raises:
        SettingsError: the address of the database cannot be used.
        UnavailableError: the question could not be asked; the text names the remedy.
    """
    query = ReportQuery(
        since=window.since,
        until=window.until,
        scope=scope,
        synthetic=synthetic,
        top=top,
        fine=sorted(FINE),
        timeout_s=timeout_s,
    )
    return report_of(query, await read_report(dsn, query))


def report_of(query: ReportQuery, sections: Mapping[str, Figures]) -> Report:
    """Make the report of what was read. Pure.

    Args:
        query: what was asked for.
        sections: the answer, by section.
    """
    outcomes = _labels(sections, "outcomes")
    n = sum(outcomes.values())
    synthetic = _single(sections, "of_synthetic")

    def section(name: str, of: int, row: type[RowT]) -> Section[RowT]:
        return _section(sections.get(name, NONE), of, row)

    return Report(
        window=Window(since=query.since, until=query.until),
        n=n,
        outcomes=outcomes,
        rates=_rates(outcomes),
        scope=query.scope,
        reader_scopes=tuple(_labels(sections, SEEN)) or None,
        synthetic_included=synthetic if query.synthetic else None,
        left_out=LeftOut(synthetic=0 if query.synthetic else synthetic, orphans=_single(sections, "of_orphans")),
        unknown_outcomes=sum(count for label, count in outcomes.items() if label not in _KNOWN),
        semreg_modes=_labels(sections, "semreg_modes"),
        failure_modes=section("failure_modes", sum(outcomes[label] for label in outcomes.keys() - FINE), FailureMode),
        hottest_verbs=section("hottest_verbs", sections.get("hottest_verbs", NONE).all_n, VerbCount),
        clarify_verbs=section("clarify_verbs", outcomes.get(Outcome.CLARIFY_VERB, 0), ClarifyVerb),
        semreg_denies=section("semreg_denies", _single(sections, "of_semreg_denies"), SemRegDeny),
        semreg_overrides=section("semreg_overrides", _single(sections, "of_semreg_overrides"), SemRegOverride),
        macro_denies=section("macro_denies", _single(sections, "of_macro_denies"), MacroDeny),
        missing_args=section("missing_args", _single(sections, "of_missing_args"), MissingArg),
        prompt_versions=_prompt_versions(sections),
        follow_ups=section("follow_ups", _single(sections, "of_follow_ups"), FollowUp),
        quality=section("quality", n, QualityFlag),
    )


def _section(figures: Figures, of: int, row: type[RowT]) -> Section[RowT]:
    names = [name for name in row.model_fields if name not in {"n", "share"}]
    rows = tuple(
        row.model_validate({**dict(zip(names, keys, strict=True)), "n": n, "share": _share(n, of)})
        for keys, n in figures.rows
    )
    beyond = Beyond(rows=figures.all_rows - len(rows), n=figures.all_n - sum(n for _, n in figures.rows))
    return Section[row](n=of, rows=rows, beyond=beyond)


def _prompt_versions(sections: Mapping[str, Figures]) -> tuple[PromptVersion, ...]:
    ended: dict[str | None, Counter[str]] = {}
    for (version, outcome), n in sections.get("prompt_outcomes", NONE).rows:
        ended.setdefault(version, Counter())[outcome or ""] += n
    followed: Counter[tuple[str | None, ...]] = Counter()
    for keys, n in sections.get("prompt_follow_ups", NONE).rows:
        followed[keys] += n
    versions = [
        PromptVersion(
            prompt_version=version,
            n=outcomes.total(),
            rates=_rates(outcomes),
            picked=followed[version, OutcomeKind.PICKED],
            executed=followed[version, OutcomeKind.EXECUTED],
            execution_failed=followed[version, OutcomeKind.EXECUTION_FAILED],
        )
        for version, outcomes in ended.items()
    ]
    return tuple(sorted(versions, key=lambda row: (-row.n, row.prompt_version is None, row.prompt_version or "")))


def _labels(sections: Mapping[str, Figures], name: str) -> dict[str, int]:
    return {label or "": n for (label,), n in sections.get(name, NONE).rows}


def _single(sections: Mapping[str, Figures], name: str) -> int:
    return sections.get(name, NONE).all_n


def _rates(outcomes: Mapping[str, int]) -> Rates:
    n = sum(outcomes.values())
    sums = {kind: sum(outcomes.get(label, 0) for label in labels) for kind, labels in KINDS.items()}
    shares = {kind: _share(count, n) for kind, count in sums.items()}
    return Rates.model_validate({**shares, "other": _share(n - sum(sums.values()), n)})


def _share(n: int, of: int) -> float | None:
    return n / of if of else None
