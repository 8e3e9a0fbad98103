# SPDX-License-Identifier: Apache-2.0
"""Runs the bank on utterances from standard input: ``python -m bank``."""

import sys

from bank import desk


def main() -> None:
    """Read, handle, and say how many."""
    conversation = desk.Conversation("desk-7", desk.Teller("teller-1"))
    tickets = [desk.ask(conversation, said) for said in sys.stdin.read().splitlines()]
    sys.stdout.write(f"handed out {len(tickets)} tickets\n")


if __name__ == "__main__":
    main()
