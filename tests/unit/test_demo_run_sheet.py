# SPDX-License-Identifier: Apache-2.0
from uuid import UUID

import pytest

from intent_events.demo.dsl import Call, dsl_hash
from intent_events.demo.registry import load_registry
from intent_events.demo.run_sheet import UNDO_VERB, Entry, ExecutionError, RunSheet, Status

REGISTRY = load_registry()
SESSION = UUID(int=1)
EVENT = UUID(int=2)
RENAME = Call("cbu.rename", {"cbu": "Night Train", "name": "Day Train"})


@pytest.fixture
def sheet() -> RunSheet:
    return RunSheet(REGISTRY)


def stage(sheet: RunSheet, *calls: Call, session: UUID = SESSION) -> Entry:
    return sheet.stage(session, EVENT, calls)


def failure(sheet: RunSheet, entry: Entry) -> str:
    with pytest.raises(ExecutionError) as caught:
        sheet.execute(entry)
    assert str(caught.value) == caught.value.code
    return caught.value.code


def test_staging_executes_nothing(sheet: RunSheet) -> None:
    """A staged entry has a key, the DSL and its hash, knows its utterance, and waits."""
    entry = stage(sheet, RENAME)
    assert (entry.status, entry.event_id, entry.dsl_hash) == (Status.STAGED, EVENT, dsl_hash(entry.dsl))
    assert stage(sheet, RENAME).entry_id != entry.entry_id
    assert len(sheet.entries(SESSION)) == 2


def test_an_entry_is_executed_once(sheet: RunSheet) -> None:
    """Executing an entry twice is refused."""
    entry = stage(sheet, RENAME)
    assert sheet.execute(entry).entry.status is Status.EXECUTED
    assert failure(sheet, entry) == "not_staged"


def test_the_same_again_is_a_duplicate(sheet: RunSheet) -> None:
    """The same call with the same values is refused in one session, and accepted after an undo or elsewhere."""
    sheet.execute(stage(sheet, RENAME))
    assert failure(sheet, stage(sheet, RENAME)) == "duplicate_entry"
    sheet.execute(stage(sheet, RENAME, session=UUID(int=9)))
    sheet.execute(stage(sheet, Call(UNDO_VERB, {})))
    assert sheet.execute(stage(sheet, RENAME)).undone is None


def test_preconditions(sheet: RunSheet) -> None:
    """A verb that comes after another one fails before it, also within one block."""
    approve, opening = Call("kyc.approve-case", {}), Call("kyc.open-case", {})
    refused = stage(sheet, approve)
    assert failure(sheet, refused) == "precondition_unmet"
    assert refused.status is Status.FAILED
    sheet.execute(stage(sheet, opening, approve))
    sheet.execute(stage(sheet, approve))


def test_a_block_is_executed_whole_or_not_at_all(sheet: RunSheet) -> None:
    """When one call of a block is refused, none counts as done."""
    certify, owner = Call("ubo.certify", {"entity": "x"}), Call("ubo.add-owner", {"owner": "y", "percent": "120%"})
    assert failure(sheet, stage(sheet, owner, certify)) == "value_out_of_range"
    assert failure(sheet, stage(sheet, certify)) == "precondition_unmet"


@pytest.mark.parametrize(
    ("percent", "fits"), [("100%", True), ("101 %", False), ("140 percent", False), ("45 bps", True)]
)
def test_percentages_have_a_limit(sheet: RunSheet, percent: str, fits: bool) -> None:  # noqa: FBT001 - a parameter
    """More than a hundred percent is refused; basis points are hundredths."""
    entry = stage(sheet, Call("fee.set-management-fee", {"percent": percent}))
    if fits:
        sheet.execute(entry)
    else:
        assert failure(sheet, entry) == "value_out_of_range"


def test_undo_takes_back_the_last_step(sheet: RunSheet) -> None:
    """Undo goes back step by step, and fails when nothing is left."""
    first, second = stage(sheet, RENAME), stage(sheet, Call("cbu.show", {}))
    sheet.execute(first)
    sheet.execute(second)
    undone = [sheet.execute(stage(sheet, Call(UNDO_VERB, {}))).undone for _ in range(2)]
    assert undone == [second, first]
    assert first.status is Status.UNDONE
    assert failure(sheet, stage(sheet, Call(UNDO_VERB, {}))) == "nothing_to_undo"


def test_a_session_can_be_forgotten(sheet: RunSheet) -> None:
    """A session that is over leaves nothing behind."""
    stage(sheet, RENAME)
    sheet.forget(SESSION)
    sheet.forget(SESSION)
    assert sheet.entries(SESSION) == ()
