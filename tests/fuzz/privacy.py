# SPDX-License-Identifier: Apache-2.0
"""Fuzzing of normalising, masking and hashing, led by coverage: ``python tests/fuzz/privacy.py -runs=100000``.

What is asserted of any bytes: nothing raises, no digit and no ``@`` passes, every word that is shown is one of the
vocabulary, and the same text gives the same record. A text that takes long makes libFuzzer stop (``-timeout``).
"""

import sys
from importlib import import_module
from typing import Any

atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["intent_events.privacy"]):
    from intent_events.privacy import EntitySpan, HashKey, KeyRing, Masker, Privacy, normalize, shipped_vocabulary
    from intent_events.privacy.detecting import DetectingMasker
    from intent_events.privacy.patterns import cleaned
    from intent_events.privacy.vocabulary import JOINTS, words_of

MASKER = Masker(shipped_vocabulary())
DETECTING = DetectingMasker()
PRIVACY = Privacy(KeyRing([HashKey("k", bytes(32))]), MASKER)
KNOWN = {word for entry in shipped_vocabulary() for word in words_of(entry)}


class LeakError(AssertionError):
    """Something passed that must not; libFuzzer keeps the input that did it."""


def check(data: bytes) -> None:
    """Check one text."""
    provider = atheris.FuzzedDataProvider(data)
    start, length = provider.ConsumeIntInRange(0, 64), provider.ConsumeIntInRange(1, 32)
    text = provider.ConsumeUnicode(provider.remaining_bytes())
    record = PRIVACY.record(text)
    masked = MASKER.mask(text)
    if record != PRIVACY.record(text) or normalize(normalize(text)) != normalize(text):
        raise LeakError
    for shown in (*masked, *MASKER.mask(text, [EntitySpan(start, start + length, "person")])):
        if any(letter.isnumeric() or letter in "@\uff20\ufe6b" for letter in shown):
            raise LeakError
    for word in masked.template.split():
        if not word.startswith("<") and word not in KNOWN and not set(JOINTS.split(word)) <= KNOWN:
            raise LeakError
    if "@" not in cleaned(text):
        DETECTING.mask(text)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
