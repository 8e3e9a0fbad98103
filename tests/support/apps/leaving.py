# SPDX-License-Identifier: Apache-2.0
"""Records utterances while nobody stores them, says so, and lives on until it is killed.

``python leaving.py FOLDER FIRST COUNT``: the folder of its spool, the number of its first record, and how many.
"""

import sys
from pathlib import Path

from intent_events.settings import DeliverySettings
from intent_events_exporter.processor import IntentEventsSpanProcessor
from support.records import span_view


def main() -> None:
    """Record, say so, and wait."""
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    processor = IntentEventsSpanProcessor(None, folder, settings=DeliverySettings())
    for number in range(first, first + count):
        if not processor.accept(span_view(number)):
            sys.exit("a record was not taken")
    sys.stdout.write("recorded\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
