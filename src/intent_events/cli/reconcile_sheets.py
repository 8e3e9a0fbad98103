# SPDX-License-Identifier: Apache-2.0
"""A reconciliation as sheets and lines for people, and as one tidy table for programs. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from intent_events.cli.formats import Cell, Column, Kind, Sheet, count
from intent_events.review.ledger_model import Account, Reconciliation, Sums

CSV_HEADER: Final = (
    *("emitter_id", "service_name", "host", "pid", "version", "started_at", "heartbeat_at", "living", "first", "last"),
    *Sums.model_fields,
    *("unnumbered", "spooled_as_of", "dropped_by", "gap_ranges", "gaps", "since", "until"),
)
"""Columns of the tidy table: a row an emitter, fields as in the JSON; reasons as ``a=1 b=2``, gaps as ``5-7 9``."""

SHOWN: Final = 30
"""Processes that are shown to people; those with something missing come first, and the rest is summed up."""

_OTHERS: Final = "among them numbers of records that were dropped or wait where nobody looked: which ones is unknown"
_NAMES: Final = {"underway": "under way"}
_COUNTS: Final = tuple(Column(_NAMES.get(name, name), Kind.COUNT) for name in Sums.model_fields)


def window_line(ledger: Reconciliation) -> str:
    """The window, and when it was looked at."""
    since, until = ledger.window.since, ledger.window.until
    return f"{since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S} UTC, asked at {ledger.asked_at:%H:%M:%S}"


def sums_of(sums: Sums) -> dict[str, str]:
    """Each count by its name."""
    return {_NAMES.get(name, name): count(getattr(sums, name)) for name in Sums.model_fields}


def verdict(ledger: Reconciliation) -> str:
    """The answer in one sentence."""
    missing = ledger.total.missing
    if missing:
        of = sum(1 for account in ledger.emitters if account.missing)
        return f"{_records(missing)} of {_processes(of)} missing."
    if not ledger.total.emitted:
        return "No process recorded anything in this window."
    return f"{_records(ledger.total.emitted)} of {_processes(len(ledger.emitters))}: all accounted for."


def caveats(ledger: Reconciliation) -> list[str]:
    """What the answer rests on, and what in it to be wary of."""
    spool = ledger.spool
    lines = [
        "No spool was looked at: this host has none where it was looked for."
        if spool.host is None
        else f"The spool of this host ({spool.host}): {_records(spool.records)}."
    ]
    if spool.unreadable:
        lines.append(f"In that spool: {_records(spool.unreadable)} that this version cannot read.")
    if ledger.total.underway:
        lines.append(f"Under way: the newest {_records(ledger.total.underway)} of living processes; ask again later.")
    silent = sum(1 for account in ledger.emitters if account.heartbeat_at is None)
    if silent:
        lines.append(f"Without heartbeats: {_processes(silent)}; of these only holes among their rows can be seen.")
    return lines


def sheets_of(ledger: Reconciliation) -> list[Sheet]:
    """What is missing first, then every process, then what was dropped and what waits elsewhere."""
    return [_missing(ledger), _processes_sheet(ledger), _dropped(ledger), _elsewhere(ledger)]


def tidy_rows(ledger: Reconciliation) -> Iterator[tuple[Cell, ...]]:
    """The emitters as rows under :data:`CSV_HEADER`."""
    for account in ledger.emitters:
        told = account.model_dump(mode="json") | {
            "dropped_by": " ".join(f"{reason}={n}" for reason, n in account.dropped_by.items()),
            "gaps": _gaps(account, " "),
            "since": ledger.window.since.isoformat(),
            "until": ledger.window.until.isoformat(),
        }
        yield tuple(told[name] for name in CSV_HEADER)


def _missing(ledger: Reconciliation) -> Sheet:
    short = [account for account in ledger.emitters if account.missing]
    others = any(_has_others(one) for one in short)
    return Sheet(
        title="Missing",
        of=_records(ledger.total.missing),
        columns=(
            Column("emitter_id"),
            Column("host"),
            Column("last heartbeat", none="(none)"),
            Column("numbers that are nowhere"),
            Column("missing", Kind.COUNT),
        ),
        rows=tuple(
            (str(one.emitter_id), one.host, _moment(one), _gaps(one, ", "), one.missing) for one in short[:SHOWN]
        ),
        note=_more(short[SHOWN:]) or (_OTHERS if others else ""),
    )


def _processes_sheet(ledger: Reconciliation) -> Sheet:
    return Sheet(
        title="Processes",
        of=_processes(len(ledger.emitters)),
        columns=(Column("service"), Column("process"), *_COUNTS),
        rows=tuple(
            (one.service_name, _process(one), *(getattr(one, name) for name in Sums.model_fields))
            for one in ledger.emitters[:SHOWN]
        ),
        note=_more(ledger.emitters[SHOWN:]),
    )


def _dropped(ledger: Reconciliation) -> Sheet:
    by_reason: Counter[str] = Counter()
    for account in ledger.emitters:
        by_reason.update(account.dropped_by)
    return Sheet(
        title="Dropped",
        of=_records(ledger.total.dropped),
        columns=(Column("reason"), Column("n", Kind.COUNT)),
        rows=tuple(by_reason.most_common()),
    )


def _elsewhere(ledger: Reconciliation) -> Sheet:
    waiting = [account for account in ledger.emitters if account.spooled_as_of]
    return Sheet(
        title="Spools that were not looked at",
        of=_records(sum(account.spooled for account in waiting)),
        columns=(Column("host"), Column("process"), Column("as of"), Column("spooled", Kind.COUNT)),
        rows=tuple((one.host, _process(one), _moment(one), one.spooled) for one in waiting[:SHOWN]),
        note=_more(waiting[SHOWN:]),
    )


def _process(account: Account) -> str:
    short = str(account.emitter_id)[:8]
    return short if account.pid is None else f"{short} pid {account.pid}"


def _moment(account: Account) -> str | None:
    return None if account.heartbeat_at is None else f"{account.heartbeat_at:%Y-%m-%d %H:%M:%S}"


def _gaps(account: Account, between: str) -> str:
    told = [str(first) if first == last else f"{first}-{last}" for first, last in account.gaps]
    beyond = account.gap_ranges - len(told)
    return between.join([*told, f"+{beyond}"] if beyond else told)


def _has_others(account: Account) -> bool:
    """Whether numbers that are accounted for may be among those that are shown as nowhere."""
    if account.gap_ranges == len(account.gaps):
        return sum(gap.last - gap.first + 1 for gap in account.gaps) > account.missing
    return bool(account.dropped or account.unnumbered or account.spooled_as_of)


def _more(rest: "tuple[Account, ...] | list[Account]") -> str:
    if not rest:
        return ""
    emitted, missing = sum(one.emitted for one in rest), sum(one.missing for one in rest)
    return f"and {_processes(len(rest))} more: {count(emitted)} emitted, {count(missing)} missing"


def _records(n: int) -> str:
    return f"{count(n)} {'record' if n == 1 else 'records'}"


def _processes(n: int) -> str:
    return f"{count(n)} {'process' if n == 1 else 'processes'}"
