# SPDX-License-Identifier: Apache-2.0
"""The inner loops in C, where they could be built; None elsewhere, where the Python code does the same, slower."""

try:
    from intent_events.native._native import mask_words, pack_payload, pack_rows, plain_attributes, spell_uuid
except ImportError:  # there was no compiler when it was installed, or it was built for another version
    mask_words = pack_payload = pack_rows = plain_attributes = spell_uuid = None

__all__ = ["mask_words", "pack_payload", "pack_rows", "plain_attributes", "spell_uuid"]
