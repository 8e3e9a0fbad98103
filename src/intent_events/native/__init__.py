# SPDX-License-Identifier: Apache-2.0
"""The two inner loops in C, where they could be built; None elsewhere, where the Python code does the same, slower."""

try:
    from intent_events.native import _native
except ImportError:  # there was no compiler when it was installed, or it was built for another interpreter
    pack_rows = plain_attributes = None
else:
    pack_rows, plain_attributes = _native.pack_rows, _native.plain_attributes

__all__ = ["pack_rows", "plain_attributes"]
