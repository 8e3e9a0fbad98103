# SPDX-License-Identifier: Apache-2.0
"""Handles utterances before a fork, in the child, and in the parent afterwards.

Prints one line of JSON for each process: who it is, what its exports answered, and the event ids of its utterances.
With the argument ``busy`` it forks again and again while other threads are in the middle of handling utterances, and
prints how many children came to their end.
"""

import gc
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from intent_events import IntentTrace, current_trace, record_utterance
from intent_events.delivery import settle
from intent_events.instrument.current import set_recorder
from intent_events_exporter import IntentEventsSpanExporter
from support.records import Watched, record_through


@record_utterance
def handle(utterance: str) -> IntentTrace:
    """Handle one utterance."""
    trace = current_trace()
    trace.outcome, trace.scope = "matched", str(len(utterance))
    return trace


@record_utterance
def ask(session_id: str) -> IntentTrace:
    """Handle an utterance of a session that ends in a question."""
    trace = current_trace()
    trace.outcome = "clarify_verb" if session_id else "matched"
    return trace


def sockets() -> set[str]:
    """Sockets that this process holds, by the names that Linux gives them; nothing where there are no such names."""
    held: set[str] = set()
    for number in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the one that lists the others
            held.add(str(number.readlink()))
    return {name for name in held if name.startswith("socket:")}


def fork_while_busy() -> None:
    """Fork in the middle of everything that other threads do."""
    record_through(TracerProvider(shutdown_on_exit=False))
    done = threading.Event()

    def keep_busy() -> None:
        while not done.is_set():
            settle([ask("busy").event_id], committed=True)

    threads = [threading.Thread(target=keep_busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    ended = 0
    for _ in range(40):
        child = os.fork()
        if child == 0:
            signal.alarm(5)  # whoever waits for a lock that nobody holds any more is ended by this
            settle([ask("child").event_id], committed=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended += status == 0
    done.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(f"{ended}\n")


def main() -> None:
    """Fork between utterances; the child ends as its first argument says: ``exit``, or ``_exit``."""
    if sys.argv[1] == "busy":
        fork_while_busy()
        return
    exporter = Watched(IntentEventsSpanExporter(timeout_s=30.0))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
    record_through(provider)
    events: list[str] = []

    def say(utterance: str) -> None:
        events.append(str(handle(utterance).event_id))
        provider.force_flush()

    def report(name: str) -> None:
        results = [result.name for result in exporter.results]
        said = {"name": name, "results": results, "events": events, "inherited": len(inherited & sockets())}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

    inherited: set[str] = set()
    say("before the fork")
    of_parent = sockets()
    child = os.fork()
    if child == 0:
        inherited |= of_parent
        events.clear()
        exporter.results.clear()
        say("in the child")
        gc.collect()
        provider.shutdown()
        report("child")
        if sys.argv[1] == "_exit":
            os._exit(0)
        return
    _, status = os.waitpid(child, 0)
    say("after the fork")
    provider.shutdown()
    set_recorder(None)
    report("parent")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
