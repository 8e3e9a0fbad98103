# SPDX-License-Identifier: Apache-2.0
"""What may be kept of a text: fingerprints and, unless switched off, a masked preview."""

from typing import NamedTuple

from intent_events.privacy.fingerprint import Fingerprinter, normalize
from intent_events.privacy.masking import Masker


class TextRecord(NamedTuple):
    """All that may leave the call of a text.

    Attributes:
        hash: fingerprint of the normalised text.
        key_id: which key made the fingerprints; None means plain SHA-256.
        template_hash: fingerprint of the masked text, equal for texts that differ in values only.
        preview: masked text of at most 80 characters; None when previews are off.
    """

    hash: str
    key_id: str | None
    template_hash: str
    preview: str | None


class Privacy:
    """Turns raw text into what may be kept of it."""

    __slots__ = ("_fingerprinter", "_masker", "_previews")

    def __init__(self, fingerprinter: Fingerprinter, masker: Masker, *, previews: bool = True) -> None:
        """Keep fingerprints made by one and previews masked by the other.

        Args:
            fingerprinter: makes the hashes.
            masker: decides which words may be shown.
            previews: False keeps hashes only.
        """
        self._fingerprinter = fingerprinter
        self._masker = masker
        self._previews = previews

    def record(self, text: str) -> TextRecord:
        """What may be kept of one text; linear in its length and never raises on any string."""
        fingerprint = self._fingerprinter.fingerprint
        masked, normal = self._masker.mask(text), normalize(text)
        text_hash = fingerprint(normal)
        template_hash = text_hash if masked.template == normal else fingerprint(masked.template)
        preview = masked.preview if self._previews else None
        return TextRecord(text_hash, self._fingerprinter.key_id, template_hash, preview)
