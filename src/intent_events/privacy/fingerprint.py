# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of text: equal texts meet, and nobody without the key can guess them back."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from unicodedata import normalize as unicode_form

if TYPE_CHECKING:
    from hashlib import _Hash as HASH  # pyright: ignore[reportPrivateUsage] - the only name of that type

_BLOCK: Final = 64
_PIECE: Final = 256


@dataclass(frozen=True, slots=True)
class HashKey:
    """A secret that fingerprints are made with.

    Attributes:
        key_id: public name of the key, stored beside each fingerprint.
        secret: the key itself, at least 16 bytes; never shown.
    """

    key_id: str
    secret: bytes = field(repr=False)


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


def _begin(secret: bytes) -> "tuple[HASH, HASH]":
    block = (sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def normalize(text: str) -> str:
    """The form in which texts are compared: compatibility form, case folded, white space collapsed and trimmed."""
    if text.isascii():
        return " ".join(text.lower().split())
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
