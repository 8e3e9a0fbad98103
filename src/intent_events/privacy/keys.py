# SPDX-License-Identifier: Apache-2.0
"""The keys of fingerprints: which are live, and which one makes new ones at a given time."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from intent_events.errors import SettingsError


@dataclass(frozen=True, slots=True)
class HashKey:
    """A secret that fingerprints are made with.

    Attributes:
        key_id: public name of the key, stored beside each fingerprint.
        secret: the key itself, at least 16 bytes; never shown.
        since_ns: when its epoch begins, nanoseconds since 1970; it ends where that of the next key begins.
    """

    key_id: str
    secret: bytes = field(repr=False)
    since_ns: int = 0


class KeyRing:
    """Every live key, by the beginning of its epoch. What no live key made cannot be told from anything else."""

    __slots__ = ("_starts", "keys")

    def __init__(self, keys: Iterable[HashKey]) -> None:
        """Hold these keys.

        Args:
            keys: each with an id and an epoch of its own; before the first epoch the first key is used.

        Raises:
            SettingsError: two keys have the same id or the same beginning, or there is none.
        """
        self.keys = tuple(sorted(keys, key=lambda key: key.since_ns))
        self._starts = tuple(key.since_ns for key in self.keys[1:])
        if not self.keys:
            raise SettingsError("a ring of keys has no key: give at least one")
        for what, values in (
            ("the id", [key.key_id for key in self.keys]),
            ("the beginning (since)", [key.since_ns for key in self.keys]),
        ):
            if len(set(values)) < len(values):
                raise SettingsError(f"two keys of fingerprints have {what} in common: give each its own")

    def index_at(self, at_ns: int) -> int:
        """Place of the key whose epoch it is at this time, nanoseconds since 1970."""
        return bisect_right(self._starts, at_ns)
