# SPDX-License-Identifier: Apache-2.0
"""Runs the shop on utterances from standard input: ``python -m shop MODE``.

``chat`` prints how many it handled and how many failed; ``raise`` lets a failure through; ``exit`` ends with code 3.
"""

import asyncio
import sys
from uuid import UUID

from shop.chat import Context, Orchestrator


async def run(utterances: list[str], *, let_through: bool) -> tuple[int, int]:
    """Handle them one after the other; how many there were, and how many failed."""
    orchestrator = Orchestrator()
    failed = 0
    for number, utterance in enumerate(utterances):
        ctx = Context(UUID(int=number % 3 + 1), f"actor-{number % 2}")
        try:
            await orchestrator.handle(utterance, ctx)
        except RuntimeError:
            if let_through:
                raise
            failed += 1
    return len(utterances), failed


def main() -> None:
    """Read, handle, and say how many."""
    mode = sys.argv[1]
    handled, failed = asyncio.run(run(sys.stdin.read().splitlines(), let_through=mode == "raise"))
    sys.stdout.write(f"handled {handled}, of which {failed} failed\n")
    if mode == "exit":
        sys.exit(3)


if __name__ == "__main__":
    main()
