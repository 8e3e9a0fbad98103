# SPDX-License-Identifier: Apache-2.0
"""Selection: from ranked candidates and a ruling of policy to one verb, or to the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from intent_events.columns import Candidate
from intent_events.demo.semreg import Denial, Ruling
from intent_events.semconv import Outcome, SelectionSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When to choose, when to ask back, when to give up; tuned on CLINC150.

    Attributes:
        floor: score below which nothing fits.
        margin: a candidate is as plausible as the best one when it lacks no more than this share of its score.
        limit: how many candidates are looked at.
    """

    floor: float = 0.2
    margin: float = 0.1
    limit: int = 10


class Selection(NamedTuple):
    """What was selected.

    Attributes:
        outcome: ``matched`` as far as selection goes, ``clarify_verb``, ``no_match`` or ``no_allowed_verbs``.
        options: the selected verb alone, or those to ask about; empty when there is none.
        source: who selected, when one verb was.
        denial: why the best candidate is not allowed, when no plausible one is.
    """

    outcome: Outcome
    options: tuple[Candidate, ...] = ()
    source: SelectionSource | None = None
    denial: Denial | None = None


def plausible(candidates: Sequence[Candidate], thresholds: Thresholds) -> list[Candidate]:
    """The candidates that an utterance may well mean: nothing fits, one stands out, or several come close."""
    best = candidates[0].score if candidates else None
    if best is None or best < thresholds.floor:
        return []
    least = best * (1 - thresholds.margin)
    return [candidate for candidate in candidates if candidate.score is not None and candidate.score >= least]


def select(candidates: Sequence[Candidate], ruling: Ruling, thresholds: Thresholds) -> Selection:
    """Select one of the plausible candidates that policy allows.

    A verb that policy denied is never selected, and neither is a far worse candidate in its place: whoever asks for
    something forbidden is told so.

    Args:
        candidates: what discovery found, best first.
        ruling: what policy says about them.
        thresholds: when to choose, ask or give up.
    """
    close = plausible(candidates, thresholds)
    if not close:
        return Selection(Outcome.NO_MATCH)
    allowed = tuple(candidate for candidate in close if candidate.verb not in ruling.denied)
    if not allowed:
        return Selection(Outcome.NO_ALLOWED_VERBS, denial=ruling.denied[close[0].verb])
    if len(allowed) > 1:
        return Selection(Outcome.CLARIFY_VERB, allowed)
    source = SelectionSource.DISCOVERY if len(close) == 1 else SelectionSource.SEMREG
    return Selection(Outcome.MATCHED, allowed, source)
