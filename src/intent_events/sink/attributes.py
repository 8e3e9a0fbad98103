# SPDX-License-Identifier: Apache-2.0
"""Attributes of spans that came as protobuf: each piece is decoded once and then known, as far as it recurs.

From span to span most attributes are the same bytes: labels, versions, sessions, lists of candidates. What is another
one in each record is read by hand where it is a short text, which takes a third of the time that the runtime does.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from intent_events import semconv
from intent_events.columns import KEYS
from intent_events.semconv import CANDIDATES_POST, CANDIDATES_PRE, MAX_CANDIDATES, SCORES
from intent_events.sink.frames import AttributeFrame

_MOST: Final = 8192
_LONGEST_KEPT: Final = 512
_LONGEST_TEXT: Final = 0x7F

# Each of these is another one in nearly every record: keeping them would only push out what recurs.
_UNIQUE: Final = frozenset(
    {
        *(semconv.EVENT_ID, semconv.EMITTER_SEQ, semconv.UTTERANCE_HASH, semconv.UTTERANCE_TEMPLATE_HASH),
        *(semconv.UTTERANCE_PREVIEW, semconv.DSL_HASH, semconv.RUN_SHEET_ENTRY_ID, semconv.REPLY_HASH),
        *(semconv.REPLY_PREVIEW, CANDIDATES_PRE + SCORES, CANDIDATES_POST + SCORES),
    }
)
_KEYS: Final = {key.encode(): key for key in KEYS}
_KEY, _VALUE, _TEXT, _INTEGER, _ARRAY = 0x0A, 0x12, 0x0A, 0x18, 0x2A
_OF_PROFILES: Final = "string_value_strindex"
_MORE: Final = 0x80
_DIGITS: Final = 8
_NUMBER_BYTES: Final = 11

Pair = tuple[str, Any]
NONE_OF_OURS: Final[Pair] = ("", None)
"""Stands for an attribute that is none of the contract."""


class _Kept(dict[bytes, Any]):
    """What pieces say; bounded."""

    def keep(self, piece: bytes, decoded: Any) -> Any:
        """Remember what a piece says, unless it is so long that it hardly recurs."""
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _MOST:
                self.clear()
            self[piece] = decoded
        return decoded


class _ShortText(NamedTuple):
    """What a piece that begins so is: its key, where the text begins and ends, and whether it recurs."""

    key: str
    start: int
    end: int
    recurs: bool


class _Attributes(_Kept):
    """Key and value of an attribute by its bytes; for one that is none of the contract :data:`NONE_OF_OURS`.

    Looking one up raises a DecodeError, or a UnicodeDecodeError, when it cannot be decoded.
    """

    def __init__(self) -> None:
        super().__init__()
        self._short_texts: dict[bytes, _ShortText] = {}  # by all that stands before the text

    def __missing__(self, piece: bytes) -> Pair:
        known = self._short_texts.get(piece[: piece[1] + 6]) if len(piece) > 1 else None
        if known is None or len(piece) != known.end:  # something else, or a key and length that come for the first time
            return self._decode(piece)
        pair = known.key, piece[known.start :].decode()
        return self.keep(piece, pair) if known.recurs else pair

    def _decode(self, piece: bytes) -> Pair:
        key = _KEYS.get(piece[2 : piece[1] + 2]) if len(piece) > 1 else None
        read = _BY_HAND.get(key) if key is not None and piece[0] == _KEY else None
        value = None if read is None else read(piece, piece[1] + 2)
        return self._decode_by_runtime(piece) if key is None or value is None else (key, value)

    def _decode_by_runtime(self, piece: bytes) -> Pair:
        item = AttributeFrame.FromString(piece)
        key = item.key
        if key not in KEYS:
            KeyValue.FromString(piece)  # a span is decodable or it is not, whosever the attribute at fault is
            return self.keep(piece, NONE_OF_OURS)
        self._learn(piece, key)
        pair = key, _framed_value(item.value)
        return pair if key in _UNIQUE else self.keep(piece, pair)

    def _learn(self, piece: bytes, key: str) -> None:
        """Know the next text of this key and length by what stands before it."""
        at = piece[1] + 2
        length = len(piece) - at - 4
        head = piece[: at + 4]
        plain = 0 <= length <= _LONGEST_TEXT - 2 and head == bytes(
            (_KEY, len(key), *key.encode(), _VALUE, length + 2, _TEXT, length)
        )
        if plain:  # there are no more of them than keys and lengths
            self._short_texts[head] = _ShortText(key, at + 4, len(piece), key not in _UNIQUE)


class _Items(_Kept):
    """What an item of an array is by its bytes; raises as :class:`_Attributes` does."""

    def __missing__(self, piece: bytes) -> Any:
        value = AnyValue.FromString(piece)
        decoded = value_of(value)
        return self.keep(piece, decoded) if value.HasField("string_value") else decoded


def value_of(value: AnyValue) -> Any:
    """What a value is in Python; None when it is empty."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: value_of(item.value) for item in value.kvlist_value.values}
    return None if kind is None or kind == _OF_PROFILES else getattr(value, kind)


def _framed_value(value: Any) -> Any:
    """The same, where the items of an array are bytes still."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_item(piece) for piece in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: _framed_value(item.value) for item in value.kvlist_value.values}
    return None if kind is None or kind == _OF_PROFILES else getattr(value, kind)


def _numbers_at(piece: bytes, at: int) -> tuple[float, ...] | None:
    """An array of numbers; None when it is something else."""
    shape = _SHAPES.get(len(piece) - at)
    if shape is None or not piece.startswith(shape.head, at):
        return None
    numbers = shape.unpack(piece, at + len(shape.head))
    return numbers[1::2] if numbers[::2] == shape.tags else None


def _integer_at(piece: bytes, at: int) -> int | None:
    """A number that is not negative; None when it is something else."""
    digits = piece[at + 3 :]
    if not 0 < len(digits) <= _DIGITS or piece[at : at + 3] != bytes((_VALUE, len(digits) + 1, _INTEGER)):
        return None
    if digits[-1] > _LONGEST_TEXT or min(digits[:-1], default=_MORE) < _MORE:
        return None
    number = 0
    for place, digit in enumerate(digits):
        number |= (digit & _LONGEST_TEXT) << 7 * place
    return number


class _Shape(NamedTuple):
    """A list of so many numbers on the wire.

    Attributes:
        head: what stands before them.
        tags: what stands before each of them.
        unpack: reads tags and numbers, in turns.
    """

    head: bytes
    tags: tuple[bytes, ...]
    unpack: Callable[[bytes, int], tuple[Any, ...]]


def _shape_of(n: int) -> _Shape:
    inner = _varint(n * _NUMBER_BYTES)
    head = bytes((_ARRAY,)) + inner
    whole = bytes((_VALUE,)) + _varint(len(head) + n * _NUMBER_BYTES) + head
    return _Shape(whole, (b"\x0a\x09\x21",) * n, struct.Struct("<" + "3sd" * n).unpack_from)


def _varint(number: int) -> bytes:
    """A length as the wire has it, of at most two bytes."""
    return bytes((number,)) if number < _MORE else bytes((number & _LONGEST_TEXT | _MORE, number >> 7))


_SHAPES: Final = {
    len(shape.head) + n * _NUMBER_BYTES: shape for n in range(MAX_CANDIDATES + 1) if (shape := _shape_of(n))
}
_BY_HAND: Final[dict[str, Callable[[bytes, int], Any]]] = {
    CANDIDATES_PRE + SCORES: _numbers_at,
    CANDIDATES_POST + SCORES: _numbers_at,
    semconv.EMITTER_SEQ: _integer_at,
}

attribute_in: Final = _Attributes().__getitem__
"""Key and value of an attribute by its bytes; see :class:`_Attributes`."""

_item: Final = _Items().__getitem__
