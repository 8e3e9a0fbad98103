# SPDX-License-Identifier: Apache-2.0
"""How ``retain`` and ``erase`` tell what they did, or would do."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from intent_events.cli.formats import Column, Kind, Sheet, count
from intent_events.store.removal import Erased, Step

_DOES: Final = {"drop": "drop the partition", "delete": "delete its old rows", "keep": "keep: newer rows are in it too"}
_TABLES: Final = ("intent_events", "chat_events", "intent_outcomes", "dead_letters")


def edge_of(steps: Iterable[Step]) -> datetime:
    """The moment before which rows go."""
    return next(step.until for step in steps if step.step == "delete" and step.until is not None)


def gone_in(steps: Iterable[Step]) -> int:
    """How many rows go."""
    return sum(step.n for step in steps if step.step != "keep")


def sheet_of(steps: Sequence[Step]) -> Sheet:
    """What is done with each partition and table that holds old rows, or is dropped."""
    shown = [step for step in steps if step.n or step.step == "drop"]
    return Sheet(
        title="Retention",
        of=f"{_n(gone_in(steps), 'row')} from before {edge_of(steps):%Y-%m-%d}",
        columns=(Column("table or partition"), Column("what"), Column("old rows", Kind.COUNT)),
        rows=tuple((step.part, _DOES[step.step], step.n) for step in shown),
    )


def steps_as_json(steps: Sequence[Step], *, act: bool) -> dict[str, Any]:
    """The same for programs."""
    return {
        "done": act,
        "before": edge_of(steps).isoformat(),
        "rows": gone_in(steps),
        "steps": [
            {
                "table": step.relation,
                "part": step.part,
                "step": step.step,
                "since": step.since and step.since.isoformat(),
                "until": step.until and step.until.isoformat(),
                "rows": step.n,
            }
            for step in steps
        ],
    }


def counts_of(erased: Erased) -> dict[str, int]:
    """Rows by table."""
    return {name: getattr(erased, name) for name in _TABLES}


def erased_lines(erased: Erased, spooled: int | None, *, act: bool) -> Iterator[tuple[str, str]]:
    """What was erased, or would be: lines with their styles.

    Args:
        erased: rows of the tables.
        spooled: records of the spool; None when there was none to look at.
        act: whether it was done.
    """
    yield "bold", "Erased:" if act else "Dry run, nothing was changed. Would erase:"
    for name, n in counts_of(erased).items():
        yield "" if n else "dim", f"  {count(n):>10}  agent.{name}"
    if spooled is None:
        yield "dim", f"  {'-':>10}  spool: there is none here"
    else:
        yield "" if spooled else "dim", f"  {count(spooled):>10}  spool of this host"


def _n(n: int, what: str) -> str:
    return f"{count(n)} {what}{'' if n == 1 else 's'}"
