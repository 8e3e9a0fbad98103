# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of text: equal texts meet, and nobody without the key can guess them back."""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from unicodedata import normalize as unicode_form


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

    __slots__ = ("_secret", "key_id")

    def __init__(self, key: HashKey | None) -> None:
        """Make fingerprints with this key.

        Args:
            key: None makes plain SHA-256, which a dictionary of likely utterances can reverse.
        """
        self._secret = None if key is None else key.secret
        self.key_id = None if key is None else key.key_id

    def fingerprint(self, text: str) -> str:
        """64 hex digits that stand for the text as it is given."""
        data = text.encode("utf-8", "surrogatepass")
        if self._secret is None:
            return sha256(data).hexdigest()
        return hmac.digest(self._secret, data, "sha256").hex()


def normalize(text: str) -> str:
    """The form in which texts are compared: compatibility form, case folded, white space collapsed and trimmed."""
    if not text.isascii():
        text = unicode_form("NFKC", unicode_form("NFKC", text).casefold())
    return " ".join(text.lower().split())
