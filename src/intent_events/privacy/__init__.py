# SPDX-License-Identifier: Apache-2.0
"""Raw text goes in and never comes out: fingerprints and masked previews."""

from intent_events.privacy.fingerprint import Fingerprinter, HashKey, normalize
from intent_events.privacy.masking import PREVIEW_CHARACTERS, Masker, load_vocabulary, shipped_vocabulary
from intent_events.privacy.redaction import Privacy, TextRecord

__all__ = [
    "PREVIEW_CHARACTERS",
    "Fingerprinter",
    "HashKey",
    "Masker",
    "Privacy",
    "TextRecord",
    "load_vocabulary",
    "normalize",
    "shipped_vocabulary",
]
