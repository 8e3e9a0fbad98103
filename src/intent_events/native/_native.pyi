# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

form_2: int

def mask_words(
    words: dict[str, int],
    capitals: frozenset[str],
    word: Callable[[str, bool], tuple[int, str, str] | None],
    kind: Callable[[str], str],
    name: str,
    tokens: list[str],
    /,
) -> tuple[str, str] | None: ...
def plain_attributes(
    fields: tuple[tuple[bytes, str, Any], ...], bounds: tuple[int, int, int, int], values: tuple[Any, ...], /
) -> dict[str, Any] | None: ...
def pack_payload(head: tuple[Any, ...], keys: tuple[str, ...], attributes: Mapping[str, Any], /) -> bytes | None: ...
def pack_rows(
    plan: tuple[int, bytes, tuple[tuple[bytes, bytes, int, int, Any], ...], int, int, int, int, int],
    payloads: tuple[bytes, ...],
    spell: Callable[[list[float]], bytes],
    /,
) -> Sequence[bytes | None]: ...
def spell_uuid(value: UUID, /) -> str: ...
