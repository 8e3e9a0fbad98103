# SPDX-License-Identifier: Apache-2.0
"""Scopes: the books of business that a conversation can work in, and how people ask for one."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from re import IGNORECASE
from re import compile as pattern
from typing import Final

from intent_events.demo.files import Strict, bundled, read_json

_LONGEST_SWITCH: Final = 200
_SWITCH: Final = pattern(
    r"^\W*(?:please |can you |could you |let's |now )*"
    r"(?:(?:switch|change|move|jump|go)(?: me| us)?(?: over| back)? to|set (?:the |my )?scope to|work (?:on|in) "
    r"|(?:change|switch) (?:the |my )?scope to|i(?:'d like| want) to work (?:on|in))\s*"
    r"(?P<name>.+?)(?: (?:please|now|for a bit|next))*[.!?]*$",
    IGNORECASE,
)
_WORD: Final = pattern(r"[a-z0-9]+")
_FILLERS: Final = "the a an all of our my book scope client group"


class Scope(Strict):
    """A book of business.

    Attributes:
        id: what is recorded; never a name.
        name: what people call it.
        aliases: other words for it.
    """

    id: str
    name: str
    aliases: tuple[str, ...] = ()


class Scopes(Strict):
    """Every book of business."""

    scopes: tuple[Scope, ...]

    def find(self, name: str) -> tuple[Scope, ...]:
        """Scopes that a name may mean: all of its words belong to the scope; a full name wins over a part of one."""
        wanted = _words(name)
        if not wanted:
            return ()
        hits = [scope for scope in self.scopes if wanted <= _words(" ".join((scope.name, *scope.aliases)))]
        full = [scope for scope in hits if any(wanted == _words(label) for label in (scope.name, *scope.aliases))]
        return tuple(full or hits)


def wanted_scope(utterance: str) -> str | None:
    """The name of the scope that somebody wants to switch to, or None when they want something else."""
    match = _SWITCH.match(utterance) if len(utterance) <= _LONGEST_SWITCH else None
    return None if match is None else match["name"]


def mentioned(utterance: str, options: Sequence[Scope]) -> Scope | None:
    """The one option that an answer names by words which no other option has."""
    said = _words(utterance)
    shared = Counter(word for option in options for word in _words(option.name))
    hits = [option for option in options if any(shared[word] == 1 for word in said & _words(option.name))]
    return hits[0] if len(hits) == 1 else None


def load_scopes(file: Traversable | None = None) -> Scopes:
    """Read the catalogue of scopes.

    Args:
        file: JSON of the scopes; the bundled ones when None.

    Raises:
        SettingsError: the file cannot be read or is no catalogue.
    """
    return read_json(Scopes, bundled("scopes.json") if file is None else file)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in _WORD.findall(text.lower())).difference(_FILLERS.split())
