# SPDX-License-Identifier: Apache-2.0
"""What foreign code may hand over: any text, any value, and objects that raise or lie when they are looked at."""

import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, Final, NoReturn
from uuid import UUID

import numpy as np
from hypothesis import strategies as st

TOLD: Final = "Zebedee Quux 4711"
"""Text that objects would show if anybody turned them into text."""


class HostileError(RuntimeError):
    """What a hostile object raises; its message is what must never get out."""

    def __init__(self) -> None:
        super().__init__(TOLD)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise HostileError


class Hostile:
    """Raises whatever is asked of it."""

    __str__ = __len__ = __iter__ = __int__ = __index__ = __float__ = __bool__ = __contains__ = _refuse
    __eq__ = __hash__ = __getitem__ = __format__ = __call__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse

    def __repr__(self) -> str:
        return "Hostile()"

    def __getattr__(self, name: str) -> object:
        raise HostileError


class Unbound:
    """Raises when even its class is asked, as an unbound proxy of a web framework does."""

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride, reportImplicitOverride] - the point of it
        raise HostileError

    @__class__.setter
    def __class__(self, value: type) -> None: ...

    def __repr__(self) -> str:
        return "Unbound()"


class HostileText(str):
    """A text whose every method raises."""

    __slots__ = ()
    __str__ = __len__ = __iter__ = __eq__ = __hash__ = __getitem__ = __contains__ = __format__ = _refuse
    __add__ = __lt__ = __le__ = __gt__ = __ge__ = __ne__ = _refuse
    encode = isascii = replace = lower = upper = split = strip = casefold = partition = _refuse  # pyright: ignore[reportAssignmentType] - the point of it

    def __repr__(self) -> str:
        return "HostileText()"


class HostileInt(int):
    """An integer whose every method raises."""

    __str__ = __int__ = __index__ = __float__ = __eq__ = __hash__ = __bool__ = __format__ = __neg__ = _refuse  # pyright: ignore[reportAssignmentType] - the point of it
    __lt__ = __le__ = __gt__ = __ge__ = __ne__ = _refuse

    def __repr__(self) -> str:
        return "HostileInt()"


class HostileFloat(float):
    """A float whose every method raises."""

    __str__ = __int__ = __float__ = __eq__ = __hash__ = __bool__ = __format__ = is_integer = _refuse  # pyright: ignore[reportAssignmentType] - the point of it
    __lt__ = __le__ = __gt__ = __ge__ = __ne__ = _refuse

    def __repr__(self) -> str:
        return "HostileFloat()"


class HostileList(list[Any]):
    """A list that cannot be read."""

    __iter__ = __len__ = __getitem__ = __contains__ = __eq__ = _refuse  # pyright: ignore[reportAssignmentType] - the point of it

    def __repr__(self) -> str:
        return "HostileList()"


class HostileDict(dict[str, Any]):
    """A mapping that cannot be read."""

    __iter__ = __len__ = __getitem__ = __contains__ = __eq__ = get = keys = items = values = _refuse  # pyright: ignore[reportAssignmentType] - the point of it

    def __repr__(self) -> str:
        return "HostileDict()"


class Endless:
    """A collection that says it has three items and never stops."""

    def __len__(self) -> int:
        return 3

    def __contains__(self, item: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return itertools.repeat("more")

    def __repr__(self) -> str:
        return "Endless()"


class LyingList(list[Any]):
    """A list that says it has fewer than no items, or far too many."""

    def __init__(self, items: list[Any], says: int) -> None:
        super().__init__(items)
        self.says = says

    def __len__(self) -> int:
        return self.says

    def __repr__(self) -> str:
        return f"LyingList(says={self.says})"


class Talker:
    """An object whose text is a secret; it becomes no number and no collection."""

    def __str__(self) -> str:
        return TOLD

    def __repr__(self) -> str:
        return "Talker()"


class LyingNumber:
    """An object that calls itself a number and is none."""

    def __int__(self) -> int:
        return TOLD  # pyright: ignore[reportReturnType] - the lie

    def __float__(self) -> float:
        return TOLD  # pyright: ignore[reportReturnType] - the lie

    def __repr__(self) -> str:
        return "LyingNumber()"


class Colour(StrEnum):
    """A label of an orchestrator."""

    RED = "red"
    MATCHED = "matched"


class Level(IntEnum):
    """A numbered label of an orchestrator."""

    LOW = 1


class Shape(Enum):
    """Labels that are neither texts nor numbers."""

    ROUND = "round"
    ODD = (1, 2)


class Guarded(Enum):
    """A label that will not tell its value."""

    ONE = 1

    @property
    def value(self) -> NoReturn:
        """Raises."""
        raise HostileError

    def __repr__(self) -> str:
        return "Guarded.ONE"


_MAKE: Final[tuple[Callable[[], object], ...]] = (
    Hostile,
    lambda: HostileText("text"),
    lambda: HostileInt(7),
    lambda: HostileFloat(0.5),
    lambda: HostileList(["a.b"]),
    lambda: HostileDict(verb="a.b"),
    Endless,
    lambda: LyingList(["a.b"], -3),
    lambda: LyingList(["a.b"], 1 << 62),
    Talker,
    LyingNumber,
    object,
    lambda: Guarded.ONE,
    lambda: iter(["a"]),
    lambda: (item for item in "ab"),
    lambda: len,
    lambda: int,
    lambda: np.array([1.5]),
    lambda: np.array(["a.b", "c.d"]),
    lambda: np.array([[1, 2], [3, 4]]),
    lambda: [HostileText("a.b")],
    lambda: [Hostile(), "a.b"],
    lambda: {"verb": Hostile(), "score": Hostile(), "source": Hostile()},
)

HOSTILE: Final = st.sampled_from(range(len(_MAKE))).map(lambda at: _MAKE[at]())
"""Objects that raise, lie, or are none that anything can be made of."""

ANY_TEXT: Final = st.text(st.characters(exclude_categories=()), max_size=300)
"""Text of any code points, lone surrogates and NUL among them."""

NUMPY: Final = st.one_of(
    st.floats().map(np.float64),
    st.floats(width=32).map(np.float32),
    st.integers(-(1 << 63), (1 << 63) - 1).map(np.int64),
    st.booleans().map(np.bool_),
    st.text(max_size=5).map(np.str_),
)
"""Scalars of numpy."""

HUGE: Final = st.sampled_from([10**400, -(10**400), 1 << 63, -(1 << 63) - 1, 1 << 31])
"""Integers beyond a column and beyond a double."""

LEAVES: Final[st.SearchStrategy[Any]] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    HUGE,
    st.floats(),
    ANY_TEXT,
    st.binary(max_size=8),
    st.uuids(),
    st.uuids().map(lambda value: UUID(int=value.int)).map(str),
    st.sampled_from([Colour.RED, Level.LOW, Shape.ROUND, Shape.ODD]),
    st.just(Decimal("NaN")),
    st.decimals(),
    st.datetimes(),
    NUMPY,
    HOSTILE,
)

ANYTHING: Final[st.SearchStrategy[Any]] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.one_of(st.sampled_from(["verb", "score", "source"]), ANY_TEXT), inner, max_size=4),
        st.sets(ANY_TEXT, max_size=3),
    ),
    max_leaves=12,
)
"""Any value at all, nested."""

WIRE: Final[st.SearchStrategy[Any]] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), HUGE, st.floats(), ANY_TEXT, st.binary(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=25).map(tuple), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=30,
)
"""What an attribute can be once it is on a span."""
