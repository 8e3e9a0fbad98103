# SPDX-License-Identifier: Apache-2.0
"""A short run of each fuzzer, from seeds that know the tricks; ``-runs`` and time make it a long one."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.postgres import IN_CI

FUZZER = Path(__file__).parents[1] / "fuzz" / "privacy.py"
RUNS = 4_000
SEEDS = (
    "assign Goldman Sachs 4,711 as custodian. Then close it!",
    "call +44 20 7946 0958 or mail a@b.example on 2024-05-01",
    "\uff14\uff17\uff11\uff11 z\u200be\u200bb \u202eevil\u202c 4\u20e3 e\u0301\u0301 \u0661\u0662 \u0430ssign",
    "four seven one one, state street and sons s.a. DE89 3704 0044 0532 0130 00",
)


@pytest.mark.skipif(find_spec("atheris") is None and not IN_CI, reason="atheris is missing: pip install atheris")
def test_fuzzing_of_privacy(tmp_path: Path) -> None:
    """No input of a coverage-guided search gets a digit through, raises, or takes long."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for at, seed in enumerate(SEEDS):
        (corpus / str(at)).write_bytes(b"\x07\x05" + seed.encode("utf-32-le", "surrogatepass"))
        (corpus / f"{at}-utf8").write_bytes(seed.encode())
    command = [sys.executable, str(FUZZER), str(corpus), f"-runs={RUNS}", "-max_len=4096", "-timeout=10", "-seed=4711"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert re.search(rf"Done {RUNS} runs", ended.stderr), ended.stderr[-1000:]
    assert not list(tmp_path.glob("crash-*"))
