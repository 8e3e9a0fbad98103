# SPDX-License-Identifier: Apache-2.0
"""Handlers of every kind that a host may have, each with the same body, and how a caller runs them to their end."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from inspect import CO_ITERABLE_COROUTINE, isasyncgen, isawaitable, iscoroutine, isgenerator
from types import coroutine
from typing import Any, Final

from intent_events import record_utterance

Body = Callable[[], Any]
"""What a handler does at its end: returns its result or raises."""

Handler = Callable[..., Any]
Wrap = Callable[[Any], Any]
Make = Callable[[Wrap, Body], Handler]
"""Makes a wrapped handler with this body."""


def _sync(wrap: Wrap, body: Body) -> Handler:
    def handle(utterance: str) -> Any:  # noqa: ARG001 - read by its name
        return body()

    return wrap(handle)


def _coroutine(wrap: Wrap, body: Body) -> Handler:
    async def handle(utterance: str) -> Any:  # noqa: ARG001 - read by its name
        return body()

    return wrap(handle)


def _generator(wrap: Wrap, body: Body) -> Handler:
    def handle(utterance: str) -> Iterator[Any]:  # noqa: ARG001 - read by its name
        yield "chunk"
        yield body()

    return wrap(handle)


def _async_generator(wrap: Wrap, body: Body) -> Handler:
    async def handle(utterance: str) -> AsyncIterator[Any]:  # noqa: ARG001 - read by its name
        yield "chunk"
        yield body()

    return wrap(handle)


def _returns(make: Make, *, awaits: bool = False) -> Make:
    """A handler that returns what another of that kind would."""

    def outer(wrap: Wrap, body: Body) -> Handler:
        inner = make(same, body)

        def handle(utterance: str) -> Any:
            return inner(utterance)

        async def handle_async(utterance: str) -> Any:
            return inner(utterance)

        return wrap(handle_async if awaits else handle)

    return outer


def _returns_future(wrap: Wrap, body: Body) -> Handler:
    def handle(utterance: str) -> "Future[Any]":  # noqa: ARG001 - read by its name
        future: Future[Any] = Future()
        try:
            future.set_result(body())
        except BaseException as error:  # noqa: BLE001 - handed over to whoever asks the future
            future.set_exception(error)
        return future

    return wrap(handle)


def _generator_coroutine(wrap: Wrap, body: Body) -> Handler:
    @coroutine
    def handle(utterance: str) -> Generator[Any, Any, Any]:  # noqa: ARG001 - read by its name
        yield
        return body()

    return wrap(handle)


def _method(wrap: Wrap, body: Body) -> Handler:
    class Orchestrator:
        def handle(self, utterance: str) -> Any:
            assert self
            assert utterance
            return body()

    Orchestrator.handle = wrap(Orchestrator.handle)
    return Orchestrator().handle


def _class_method(wrap: Wrap, body: Body) -> Handler:
    class Orchestrator:
        @wrap
        @classmethod
        def handle(cls, utterance: str) -> Any:
            assert cls is Orchestrator
            assert utterance
            return body()

    return Orchestrator.handle


def _static_method(wrap: Wrap, body: Body) -> Handler:
    class Orchestrator:
        @wrap
        @staticmethod
        def handle(utterance: str) -> Any:
            assert utterance
            return body()

    return Orchestrator().handle


def _static_method_inside(wrap: Wrap, body: Body) -> Handler:
    class Orchestrator:
        @staticmethod
        @wrap
        def handle(utterance: str) -> Any:
            assert utterance
            return body()

    return Orchestrator.handle


def _bound_method(wrap: Wrap, body: Body) -> Handler:
    return wrap(_method(same, body))


def _partial(wrap: Wrap, body: Body) -> Handler:
    def handle(ctx: Any, utterance: str) -> Any:
        assert ctx is None
        assert utterance
        return body()

    return wrap(functools.partial(handle, None))


def _callable(wrap: Wrap, body: Body) -> Handler:
    class Handle:
        def __call__(self, utterance: str) -> Any:
            assert utterance
            return body()

    return wrap(Handle())


def _async_callable(wrap: Wrap, body: Body) -> Handler:
    class Handle:
        async def __call__(self, utterance: str) -> Any:
            assert utterance
            return body()

    return wrap(Handle())


def _lambda(wrap: Wrap, body: Body) -> Handler:
    handle: Callable[[str], Any] = lambda utterance: body()  # noqa: ARG005, E731 - read by its name; a lambda by intent
    return wrap(handle)


def _decorated(wrap: Wrap, body: Body) -> Handler:
    """An asynchronous handler behind a decorator that is a plain function."""
    handle = _coroutine(same, body)

    @functools.wraps(handle)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return handle(*args, **kwargs)

    return wrap(decorated)


def returning(value: Any, wrap: Wrap = record_utterance) -> Handler:
    """A handler that returns this."""

    def handle(utterance: Any) -> Any:  # noqa: ARG001 - read by its name
        return value

    return wrap(handle)


def calling(function: Handler, wrap: Wrap = record_utterance) -> Handler:
    """A handler that hands its text on to this."""

    def handle(utterance: Any) -> Any:
        return function(utterance)

    return wrap(handle)


def same(value: Any) -> Any:
    """The value itself."""
    return value


KINDS: Final[dict[str, Make]] = {
    "function": _sync,
    "coroutine function": _coroutine,
    "generator function": _generator,
    "asynchronous generator function": _async_generator,
    "function that returns a coroutine": _returns(_coroutine),
    "function that returns a generator": _returns(_generator),
    "function that returns an asynchronous generator": _returns(_async_generator),
    "function that returns a future": _returns_future,
    "coroutine function that returns a coroutine": _returns(_coroutine, awaits=True),
    "coroutine function that returns a generator": _returns(_generator, awaits=True),
    "coroutine function that returns an asynchronous generator": _returns(_async_generator, awaits=True),
    "coroutine function that returns a future": _returns(_returns_future, awaits=True),
    "generator that is a coroutine": _generator_coroutine,
    "method": _method,
    "class method": _class_method,
    "static method": _static_method,
    "static method wrapped inside": _static_method_inside,
    "bound method": _bound_method,
    "partial": _partial,
    "callable object": _callable,
    "asynchronous callable object": _async_callable,
    "lambda": _lambda,
    "decorated coroutine function": _decorated,
}
"""Every kind of handler."""


def run(result: Any) -> Any:
    """Bring whatever a handler returned to its end without an event loop; the last that it gave."""
    while True:
        work: Any = result
        if iscoroutine(result) or _is_generator_coroutine(result):
            result = by_hand(work)
        elif isasyncgen(result):
            items: list[Any] = []
            try:
                while True:
                    items.append(by_hand(anext(work)))
            except StopAsyncIteration:
                return items[-1]
        elif isgenerator(result):
            return list(work)[-1]
        elif isinstance(result, Future):
            result = work.result()
        else:
            return work


async def run_in_loop(result: Any) -> Any:
    """Bring whatever a handler returned to its end within an event loop; the last that it gave."""
    while True:
        work: Any = result
        if isinstance(result, Future):
            result = await asyncio.wrap_future(work)
        elif isasyncgen(result):
            return [item async for item in work][-1]
        elif isgenerator(result) and not _is_generator_coroutine(result):
            return list(work)[-1]
        elif isawaitable(result):
            result = await work
        else:
            return work


async def _await(awaitable: Any) -> Any:
    return await awaitable


def by_hand(awaitable: Any) -> Any:
    """Run an awaitable that needs no event loop, so that it may raise what would stop one."""
    steps = _await(awaitable)
    try:
        while True:
            steps.send(None)
    except StopIteration as stop:
        return stop.value


def _is_generator_coroutine(result: Any) -> bool:
    return isgenerator(result) and bool(result.gi_code.co_flags & CO_ITERABLE_COROUTINE)
