# SPDX-License-Identifier: Apache-2.0
"""The instrumentor: wraps handlers of an untouched orchestrator and attaches the delivery of their records."""

from collections.abc import Callable, Collection, Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Final, cast

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import unwrap

from intent_events.errors import SettingsError, TargetError
from intent_events.instrument.current import current_recorder, make_recorder, set_recorder, settings_or_defaults
from intent_events.instrument.mapping import HandlerMapping, load_mapping
from intent_events.instrument.stages import StageWrapper
from intent_events.instrument.troubles import trouble
from intent_events.instrument.wrappers import HandlerWrapper

DELIVERY_GROUP: Final = "intent_events_delivery"
"""Entry point group of what delivers records: callables ``attach(tracer_provider, meter_provider) -> detach``."""

Wrapper = Callable[..., Any]


class IntentEventsInstrumentor(BaseInstrumentor):
    """Records the utterances of an orchestrator without changing it.

    ``instrument(targets=…)`` wraps handlers, each ``pkg.mod:Class.method`` or ``pkg.mod:function``, now or when their
    module is imported. Without targets nothing is wrapped and delivery alone is attached. Keyword arguments:

    * ``targets``: handlers; default ``INTENT_EVENTS_TARGETS``.
    * ``mapping``: a :class:`HandlerMapping` for handlers with other names; default ``INTENT_EVENTS_MAPPING``.
    * ``stages``: stage -> target, wrapped as child spans; default the mapping's.
    * ``vocabulary``: words that previews may show besides the shipped ones.
    * ``settings``: a :class:`RecordSettings`; default the environment.
    * ``tracer_provider``, ``meter_provider``: default the global ones.
    * ``delivery``: False leaves delivery to an exporter that the host sets up by itself.
    """

    _active: bool = False
    _wrapped: list[tuple[object, str]]
    _detach: list[Callable[[], None]]

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing has to be installed: what is wrapped is the host's own code."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        settings = kwargs.get("settings") or settings_or_defaults()
        set_recorder(
            make_recorder(
                settings,
                vocabulary=frozenset(kwargs.get("vocabulary") or ()),
                tracer_provider=kwargs.get("tracer_provider"),
                meter_provider=kwargs.get("meter_provider"),
            )
        )
        self._active = True
        self._wrapped = []
        mapping = kwargs.get("mapping") or _mapping_or_none(settings.mapping) or HandlerMapping()
        targets: Sequence[str] = kwargs.get("targets") or settings.targets
        for target in targets:
            self._wrap(target, HandlerWrapper(self._recorder, mapping))
        for name, target in (kwargs.get("stages") or mapping.stages).items():
            self._wrap(target, StageWrapper(name, self._recorder))
        self._detach = []
        if kwargs.get("delivery", True):
            self._detach = _attach_delivery(kwargs.get("tracer_provider"), kwargs.get("meter_provider"))

    def _uninstrument(self, **_kwargs: Any) -> None:
        self._active = False
        for holder, name in self._wrapped:
            unwrap(holder, name)  # pyright: ignore[reportArgumentType] - it takes a class as well as a module
        self._wrapped = []
        for detach in self._detach:
            detach()
        self._detach = []
        set_recorder(None)

    def _recorder(self) -> Any:
        return current_recorder() if self._active else None

    def _wrap(self, target: str, wrapper: Wrapper) -> None:
        module, _, path = target.partition(":")
        if not module or not path:
            trouble(f"intent-events: the target {target!r} is not of the form pkg.mod:Class.method and is passed over")
            return

        def wrap_now(imported: ModuleType) -> None:
            if not self._active:
                return
            try:
                self._wrapped.append(_wrap_in(imported, path, wrapper))
            except TargetError as error:  # a misspelt target must not break the import of the host's module
                trouble(f"intent-events: {error}")

        wrapt.register_post_import_hook(wrap_now, module)


def _wrap_in(module: ModuleType, path: str, wrapper: Wrapper) -> tuple[object, str]:
    *holders, name = path.split(".")
    holder: object = module
    for part in holders:
        holder = getattr(holder, part, None)
    if not callable(getattr(holder, name, None)):
        raise TargetError(f"the target {module.__name__}:{path} names nothing that can be called: check its spelling")
    wrapt.wrap_function_wrapper(cast("ModuleType", holder), name, wrapper)
    return holder, name


def _mapping_or_none(path: Any) -> HandlerMapping | None:
    try:
        return None if path is None else load_mapping(path)
    except SettingsError as error:  # a mapping that cannot be used: the host must run all the same
        trouble(f"intent-events: {error}. Handlers are read by their usual names")
        return None


def _attach_delivery(tracer_provider: Any, meter_provider: Any) -> list[Callable[[], None]]:
    detach: list[Callable[[], None]] = []
    for point in entry_points(group=DELIVERY_GROUP):
        try:
            detach.append(point.load()(tracer_provider, meter_provider))
        except Exception as error:  # noqa: BLE001 - a delivery that cannot start must not keep the host from running
            trouble("intent-events: delivery could not be attached: see `pip check` and the settings", error)
    return detach
