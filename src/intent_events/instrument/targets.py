# SPDX-License-Identifier: Apache-2.0
"""Wraps functions and methods of the host by their names, and takes the wrappers out again."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, cast

import wrapt

from intent_events.errors import TargetError
from intent_events.instrument.troubles import trouble

Wrapper = Callable[..., Any]

_INHERITED: Final = object()


class Targets:
    """What one call of ``instrument()`` wraps, until it is undone.

    Attributes:
        active: False once it is undone: wrappers that could not be taken out pass every call on.
    """

    def __init__(self) -> None:
        self.active = True
        self._undo: list[Callable[[], None]] = []

    def wrap(self, target: str, wrapper: Wrapper) -> None:
        """Wrap a target now, or when its module is imported; one that cannot be wrapped is logged.

        Args:
            target: ``pkg.mod:function`` or ``pkg.mod:Class.method``.
            wrapper: called with the convention of wrapt.
        """
        module, _, path = target.partition(":")
        if not module or not path:
            trouble(f"intent-events: the target {target!r} is not of the form pkg.mod:Class.method and is passed over")
            return

        def wrap_now(imported: ModuleType) -> None:
            if not self.active:
                return
            try:
                self._undo.append(_wrap_in(imported, path, wrapper))
            except TargetError as error:  # a misspelt target must not break the import of the host's module
                trouble(f"intent-events: {error}")
            except Exception as error:  # noqa: BLE001 - a lazy module raises anything, a built-in type cannot be changed
                trouble(f"intent-events: the target {target} cannot be wrapped", error)

        wrapt.register_post_import_hook(wrap_now, module)

    def undo(self) -> None:
        """Put everything back as it was."""
        self.active = False
        while self._undo:
            self._undo.pop()()


def _wrap_in(module: ModuleType, path: str, wrapper: Wrapper) -> Callable[[], None]:
    *holders, name = path.split(".")
    holder: object = module
    for part in holders:
        holder = getattr(holder, part, None)
    if not callable(getattr(holder, name, None)):
        if module.__name__ == "__main__":  # which has not run yet when targets come from the environment
            raise TargetError(
                f"the target __main__:{path} names nothing yet: put @record_utterance on a handler in the script "
                "itself, or move it to a module"
            )
        raise TargetError(f"the target {module.__name__}:{path} names nothing that can be called: check its spelling")
    own = vars(holder).get(name, _INHERITED)
    wrapt.wrap_function_wrapper(cast("ModuleType", holder), name, wrapper)
    wrapped = vars(holder)[name]

    def undo() -> None:
        if vars(holder).get(name) is not wrapped:  # somebody has wrapped or replaced it since
            return
        if own is _INHERITED:
            delattr(holder, name)
        else:
            setattr(holder, name, own)

    return undo
