# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of text: equal texts meet, and nobody without the key can guess them back."""

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from unicodedata import normalize as unicode_form

from intent_events.privacy.keys import HashKey, KeyRing

if TYPE_CHECKING:
    from hashlib import _Hash as HASH  # pyright: ignore[reportPrivateUsage] - the only name of that type

_BLOCK: Final = 64
_PIECE: Final = 256
_FOLDED: Final = 4_096


class Fingerprinter:
    """Makes fingerprints, keyed (HMAC-SHA256) or plain (SHA-256)."""

    __slots__ = ("_begun", "key_id")

    def __init__(self, key: HashKey | None) -> None:
        """Make fingerprints with this key.

        Args:
            key: None makes plain SHA-256, which a dictionary of likely utterances can reverse.
        """
        # HMAC of RFC 2104, begun once and copied for each text: setting up the key costs as much as a short text.
        self._begun = None if key is None else _begin(key.secret)
        self.key_id = None if key is None else key.key_id

    def fingerprint(self, text: str) -> str:
        """64 hex digits that stand for the text as it is given."""
        data = text.encode("utf-8", "surrogatepass")
        if self._begun is None:
            return sha256(data).hexdigest()
        begun_inner, begun_outer = self._begun
        inner, outer = begun_inner.copy(), begun_outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.hexdigest()


class Fingerprinters:
    """Fingerprinters of every live key, and the one whose epoch it is."""

    __slots__ = ("_ring", "each")

    def __init__(self, ring: KeyRing | None) -> None:
        """Make fingerprints with the keys of this ring.

        Args:
            ring: None makes plain SHA-256, which a dictionary of likely utterances can reverse.
        """
        self._ring = ring
        self.each: Final = (Fingerprinter(None),) if ring is None else tuple(map(Fingerprinter, ring.keys))

    def at(self, at_ns: int) -> Fingerprinter:
        """The fingerprinter of a time, nanoseconds since 1970."""
        return self.each[0 if self._ring is None or len(self.each) == 1 else self._ring.index_at(at_ns)]


def _begin(secret: bytes) -> "tuple[HASH, HASH]":
    block = (sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def normalize(text: str) -> str:
    """The form in which texts are compared: compatibility form, case folded, white space collapsed and trimmed.

    Behind 4,096 characters a text that is not ASCII is compared as it is written: no one types that much, and folding
    it would take as long as the rest of the request.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    if len(text) > _FOLDED:
        return normalize(text[:_FOLDED]) + text[_FOLDED:]
    if len(text) > _PIECE:
        text = " ".join("".join(map(_folded, _pieces(word))) for word in text.split())
    else:
        text = _folded(text)
    return " ".join(text.lower().split())


def _folded(text: str) -> str:
    return unicode_form("NFKC", unicode_form("NFKC", text).casefold())


def _pieces(word: str) -> Iterable[str]:
    """Python takes the square of a run of combining marks to put them in order, so no run may be long."""
    return (word[at : at + _PIECE] for at in range(0, len(word), _PIECE))
