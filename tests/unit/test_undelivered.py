# SPDX-License-Identifier: Apache-2.0
"""Each case has its own line, and where the host has made a door by itself nobody complains."""

from threading import Event

import pytest

from intent_events.instrument import undelivered
from intent_events.instrument.undelivered import Undelivered, no_span, note_door, spans_only

SILENT = {Undelivered.FAILED, Undelivered.CHOSEN}


@pytest.mark.parametrize("why", Undelivered)
def test_every_case_has_a_line(why: Undelivered, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a span there is a line for each case; with one, unless the host was told, has chosen or has a door."""
    monkeypatch.setattr(undelivered, "_has_door", Event())
    assert no_span(why).endswith(why.value)
    line = spans_only(why)
    assert line is None if why in SILENT else why.value in str(line)
    note_door()
    assert spans_only(why) is None
    assert no_span(why).endswith(why.value)
