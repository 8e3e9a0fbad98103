# SPDX-License-Identifier: Apache-2.0
"""Orchestrators that know nothing of us, as the modules of a host."""

from collections.abc import Callable

from intent_events import IntentEventsInstrumentor

Make = Callable[..., str]
"""Makes a module that can be imported under the name that is returned."""

Start = Callable[..., IntentEventsInstrumentor]
"""Instruments with the SDK in memory."""

SOURCE = """
import asyncio

class Orchestrator:
    def handle(self, utterance):
        return ("handle", self, utterance)

    @classmethod
    def of_class(cls, utterance):
        return (cls, utterance)

    @staticmethod
    def static(utterance):
        return utterance

    async def answer(self, utterance):
        return await asyncio.to_thread(lambda: self.search(utterance))

    def search(self, utterance):
        return utterance

    class Inner:
        def handle(self, utterance):
            return utterance

class Heir(Orchestrator):
    pass

class Slotted:
    __slots__ = ()

    def handle(self, utterance):
        return utterance

def handle(utterance):
    return utterance

def stream(utterance):
    yield utterance

orchestrator = Orchestrator()
slotted = Slotted()
not_callable = 3
"""
TARGETS = [
    "Orchestrator.handle",
    "Orchestrator.of_class",
    "Orchestrator.static",
    "Orchestrator.answer",
    "Orchestrator.Inner.handle",
    "Heir.search",
    "handle",
    "stream",
    "orchestrator.search",
]
