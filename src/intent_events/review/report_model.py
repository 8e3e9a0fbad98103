# SPDX-License-Identifier: Apache-2.0
"""The shape of a report. Frozen; ``Report.model_dump_json()`` is the JSON of ``intent-events report --format json``.

In every row of a section ``n`` counts utterances and ``share`` is ``n`` over the ``n`` of the section, from 0 to 1.
"""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from intent_events.review.windows import Window


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Rates(_Frozen):
    """How utterances ended, each a share of all of them between 0 and 1; None when there are none."""

    matched: float | None
    clarify: float | None
    no_match: float | None
    denied: float | None
    error: float | None
    other: float | None


class FailureMode(_Frozen):
    """Utterances that did not get on, by how they ended."""

    outcome: str
    error_code: str | None
    semreg_mode: str | None
    n: int
    share: float


class VerbCount(_Frozen):
    """Utterances for which a verb was chosen."""

    verb: str
    n: int
    share: float


class ClarifyVerb(_Frozen):
    """Utterances that were answered with "which verb?": the two verbs that policy left on top."""

    verb: str | None
    runner_up: str | None
    n: int
    share: float


class SemRegDeny(_Frozen):
    """Utterances for which policy took a verb out of the candidates."""

    verb: str | None
    reason: str | None
    n: int
    share: float


class SemRegOverride(_Frozen):
    """Utterances whose forced verb is not the one that was chosen (None: no verb was)."""

    forced_verb: str
    chosen_verb: str | None
    n: int
    share: float


class MacroDeny(_Frozen):
    """Utterances whose macro expanded to a verb that policy denied."""

    macro: str | None
    verb: str | None
    n: int
    share: float


class MissingArg(_Frozen):
    """Utterances that an argument was missing for (None: a question was asked, but no argument named)."""

    verb: str | None
    argument: str | None
    n: int
    share: float


class FollowUp(_Frozen):
    """Utterances that something was recorded about afterwards."""

    kind: str
    error_code: str | None
    n: int
    share: float


class QualityFlag(_Frozen):
    """Utterances whose record had to be mended."""

    flag: str
    n: int
    share: float


class PromptVersion(_Frozen):
    """One prompt version beside the others: rates of its own ``n``, and how many of them were followed up."""

    prompt_version: str | None
    n: int
    rates: Rates
    picked: int
    executed: int
    execution_failed: int


class Beyond(_Frozen):
    """What a section leaves out because its rows are limited: rows, and the sum of their ``n``."""

    rows: int
    n: int


RowT = TypeVar("RowT", bound=BaseModel)


class Section(_Frozen, Generic[RowT]):
    """Leading figures, most frequent first.

    Attributes:
        n: utterances that the section is about; what ``share`` is a share of. One utterance can be in several rows
            of a section about lists (denied verbs, arguments, flags, follow-ups).
        rows: the leading figures.
        beyond: what is not among them.
    """

    n: int
    rows: tuple[RowT, ...]
    beyond: Beyond


class LeftOut(_Frozen):
    """What the figures do not count.

    Attributes:
        synthetic: synthetic utterances of the window (0 when they were asked for).
        orphans: utterances of the window that follow-ups name and that have no row, or none yet.
    """

    synthetic: int
    orphans: int


class Report(_Frozen):
    """What happened to the utterances of a window.

    Attributes:
        window: the span of time.
        n: utterances counted.
        outcomes: utterances by outcome label, most frequent first; they add up to ``n``.
        rates: the same in shares of ``n``.
        scope: the scope asked for; None means all.
        reader_scopes: the scopes that the reader may see, where those are not all; None means all.
        synthetic_included: how many of ``n`` are synthetic; None when those are left out.
        left_out: what is not counted.
        unknown_outcomes: how many of ``n`` ended in a label that is none of the contract's.
        semreg_modes: utterances by what the policy registry did.
        failure_modes: utterances that did not get on, by how they ended.
        hottest_verbs: of the utterances with a chosen verb.
        clarify_verbs: of the utterances that ended in ``clarify_verb``.
        semreg_denies: of the utterances with a denied verb.
        semreg_overrides: of the utterances with a forced verb.
        macro_denies: of the utterances whose macro was checked against policy.
        missing_args: of the utterances with missing arguments.
        prompt_versions: all of them, most frequent first.
        follow_ups: of the utterances with a follow-up.
        quality: of all utterances.
    """

    window: Window
    n: int
    outcomes: dict[str, int]
    rates: Rates
    scope: str | None
    reader_scopes: tuple[str, ...] | None
    synthetic_included: int | None
    left_out: LeftOut
    unknown_outcomes: int
    semreg_modes: dict[str, int]
    failure_modes: Section[FailureMode]
    hottest_verbs: Section[VerbCount]
    clarify_verbs: Section[ClarifyVerb]
    semreg_denies: Section[SemRegDeny]
    semreg_overrides: Section[SemRegOverride]
    macro_denies: Section[MacroDeny]
    missing_args: Section[MissingArg]
    prompt_versions: tuple[PromptVersion, ...]
    follow_ups: Section[FollowUp]
    quality: Section[QualityFlag]
