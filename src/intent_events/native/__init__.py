# SPDX-License-Identifier: Apache-2.0
"""The inner loops in C, where they could be built; None elsewhere, where the Python code does the same, slower."""

try:
    from intent_events.native import _native

    form_2 = _native.form_2  # counted on with how the functions are called: a checkout may be newer than what it built
    mask_words, pack_payload, pack_rows = _native.mask_words, _native.pack_payload, _native.pack_rows
    plain_attributes, spell_uuid = _native.plain_attributes, _native.spell_uuid
except (ImportError, AttributeError):  # there was no compiler when it was installed, or it is of another form
    form_2 = mask_words = pack_payload = pack_rows = plain_attributes = spell_uuid = None

__all__ = ["form_2", "mask_words", "pack_payload", "pack_rows", "plain_attributes", "spell_uuid"]
