# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from typing import Any

def plain_attributes(
    fields: tuple[tuple[bytes, str, Any], ...], bounds: tuple[int, int, int, int], values: tuple[Any, ...]
) -> dict[str, Any] | None: ...
def pack_rows(
    plan: tuple[bytes, tuple[tuple[bytes, bytes], ...], int, int, int, int, int],
    rows: tuple[tuple[Any, ...], ...],
    scores: tuple[bytes, ...],
) -> Sequence[bytes | None]: ...
