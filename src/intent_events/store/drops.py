# SPDX-License-Identifier: Apache-2.0
"""How the numbers of dropped records stand in a heartbeat beside their counts.

They count as none under names of their own, so that SQL and readers of earlier versions find each count as it was.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

_NUMBERS: Final = re.compile(r"(\S+)((?: [1-9]\d{0,17}(?:-[1-9]\d{0,17})?)+)", re.ASCII)
"""Name under which the numbers of a reason stand beside its count, as in ``spool_full 3-7 12``."""


def spelled(numbers: Mapping[str, Sequence[tuple[int, int]]]) -> dict[str, int]:
    """Numbers of dropped records as names to put beside the counts.

    Args:
        numbers: ranges, first and last, by reason.
    """
    names: dict[str, int] = {}
    for reason, ranges in numbers.items():
        told = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
        if told:
            names[" ".join([reason, *told])] = 0
    return names


def read_dropped(column: str) -> tuple[dict[str, int], dict[str, tuple[tuple[int, int], ...]]]:
    """What a heartbeat says was dropped.

    Args:
        column: ``dropped`` as JSON.

    Returns:
        How many, by reason; and which ones, as far as it says so: ranges, first and last.
    """
    counts: dict[str, int] = {}
    numbers: dict[str, tuple[tuple[int, int], ...]] = {}
    for name, n in msgspec.json.decode(column, type=dict[str, int]).items():
        found = None if n else _NUMBERS.fullmatch(name)
        if found is None:
            counts[name] = n
        else:
            told = [each.partition("-") for each in found[2].split()]
            ranges = ((int(first), int(last or first)) for first, _, last in told)
            numbers[found[1]] = tuple(each for each in ranges if each[0] <= each[1])
    return counts, numbers
