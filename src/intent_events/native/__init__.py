# SPDX-License-Identifier: Apache-2.0
"""The inner loops in C, where they could be built; None elsewhere, where the Python code does the same, slower."""

try:
    from intent_events.native import _native

    mask_words, pack_payload, pack_rows = _native.mask_words, _native.pack_payload, _native.pack_rows
    plain_attributes, spell_uuid = _native.plain_attributes, _native.spell_uuid
except (ImportError, AttributeError):  # there was no compiler when it was installed, or it is of another version
    mask_words = pack_payload = pack_rows = plain_attributes = spell_uuid = None

__all__ = ["mask_words", "pack_payload", "pack_rows", "plain_attributes", "spell_uuid"]
