# SPDX-License-Identifier: Apache-2.0
"""What may be kept of a text: fingerprints and, unless switched off, a masked preview."""

from collections.abc import Sequence
from typing import NamedTuple

from intent_events.privacy.actors import Actors
from intent_events.privacy.entities import EntitySpan
from intent_events.privacy.fingerprint import Fingerprinters, normalize
from intent_events.privacy.keys import KeyRing
from intent_events.privacy.masking import Masking


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
    """Turns raw text into what may be kept of it.

    Attributes:
        actors: gives the recorded form of whoever speaks; None records them as given.
    """

    __slots__ = ("_fingerprinters", "_masking", "_only", "_previews", "actors")

    def __init__(
        self, ring: KeyRing | None, masking: Masking, *, previews: bool = True, actors: Actors | None = None
    ) -> None:
        """Keep fingerprints made with one and previews masked by the other.

        Args:
            ring: keys of the hashes; None makes plain SHA-256.
            masking: decides which words may be shown.
            previews: False keeps hashes only.
            actors: gives the recorded form of whoever speaks; None records them as given.
        """
        self._fingerprinters = Fingerprinters(ring)
        self._only = self._fingerprinters.each[0] if len(self._fingerprinters.each) == 1 else None
        self._masking = masking
        self._previews = previews
        self.actors = actors

    def record(self, text: str, at_ns: int = 0, entities: Sequence[EntitySpan] = ()) -> TextRecord:
        """What may be kept of one text; linear in its length and never raises on any string.

        Args:
            text: the raw text.
            at_ns: when it was said, nanoseconds since 1970: it says which key makes the fingerprints.
            entities: what of it is known to be a value.
        """
        fingerprinter = self._only or self._fingerprinters.at(at_ns)
        masked, normal = self._masking.mask(text, entities), normalize(text)
        text_hash = fingerprinter.fingerprint(normal)
        template_hash = text_hash if masked.template == normal else fingerprinter.fingerprint(masked.template)
        return TextRecord(text_hash, fingerprinter.key_id, template_hash, masked.preview if self._previews else None)

    def every_record(self, text: str) -> list[TextRecord]:
        """What is kept of a text under each live key, the oldest first: whatever a store may have of it."""
        masked, normal = self._masking.mask(text), normalize(text)
        return [
            TextRecord(each.fingerprint(normal), each.key_id, each.fingerprint(masked.template), masked.preview)
            for each in self._fingerprinters.each
        ]
