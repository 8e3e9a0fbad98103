# SPDX-License-Identifier: Apache-2.0
"""Files of the demo's data are read line by line, where JSON says that a line ends."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from intent_events.demo.files import read_jsonl

LINE_BREAKS_OF_OTHERS = "\u2028\u2029\x85\x0b\x0c\x1c"
"""What ``str.splitlines`` takes for the end of a line and JSON may hold inside of a text."""


class Said(BaseModel):
    """One line."""

    text: str


@given(st.lists(st.text(st.sampled_from("ab" + LINE_BREAKS_OF_OTHERS))), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_what_is_no_end_of_a_line_in_json_is_none(texts: list[str], end: str) -> None:
    """Any text comes back whole, however its file ends its lines."""
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "said.jsonl"
        file.write_bytes("".join(line + end for line in lines).encode())
        assert [said.text for _, said in read_jsonl(Said, file)] == texts
