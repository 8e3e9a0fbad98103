# SPDX-License-Identifier: Apache-2.0
"""What of a text is left to read after masking."""

from collections.abc import Iterable

from intent_events.privacy import Masking


def share_kept(masking: Masking, texts: Iterable[str]) -> float:
    """Share of the tokens of some texts that a masker shows; those that became a kind count as lost.

    Args:
        masking: how the texts are masked.
        texts: texts without ``<`` of their own.
    """
    tokens = shown = 0
    for text in texts:
        tokens += len(text.split())
        shown += sum(not word.startswith("<") for word in masking.mask(text).template.split())
    return shown / tokens
