# SPDX-License-Identifier: Apache-2.0
"""Raw text goes in and never comes out: fingerprints and masked previews."""

from intent_events.privacy.actors import ActorMode, Actors, forms_of_actor
from intent_events.privacy.entities import EntitySpan, entity_spans
from intent_events.privacy.files import load_keyring, load_vocabularies, load_vocabulary, read_ring
from intent_events.privacy.fingerprint import Fingerprinter, Fingerprinters, normalize
from intent_events.privacy.keys import HashKey, KeyRing
from intent_events.privacy.masking import PREVIEW_CHARACTERS, Masked, Masker, Masking
from intent_events.privacy.redaction import Privacy, TextRecord
from intent_events.privacy.vocabulary import shipped_vocabulary

__all__ = [
    "PREVIEW_CHARACTERS",
    "ActorMode",
    "Actors",
    "EntitySpan",
    "Fingerprinter",
    "Fingerprinters",
    "HashKey",
    "KeyRing",
    "Masked",
    "Masker",
    "Masking",
    "Privacy",
    "TextRecord",
    "entity_spans",
    "forms_of_actor",
    "load_keyring",
    "load_vocabularies",
    "load_vocabulary",
    "normalize",
    "read_ring",
    "shipped_vocabulary",
]
