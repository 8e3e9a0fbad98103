# SPDX-License-Identifier: Apache-2.0
"""The instrumentor: wraps handlers of an untouched orchestrator and attaches the delivery of their records."""

from collections.abc import Callable, Collection, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from intent_events.errors import SettingsError
from intent_events.instrument.current import current_recorder, make_recorder, set_recorder, settings_or_defaults
from intent_events.instrument.recorder import Recorder
from intent_events.instrument.stages import StageWrapper
from intent_events.instrument.targets import Targets
from intent_events.instrument.troubles import trouble
from intent_events.instrument.undelivered import Undelivered
from intent_events.instrument.wrappers import HandlerWrapper

DELIVERY_GROUP: Final = "intent_events_delivery"
"""Entry point group of what delivers records: callables ``attach(tracer_provider, meter_provider) -> detach``."""

_KEYWORDS: Final = dict.fromkeys(
    ("targets", "mapping", "stages", "vocabulary", "settings", "tracer_provider", "meter_provider", "delivery")
)
_BY_VARIABLES: Final = "Where records are delivered to is set by INTENT_EVENTS_DSN and its like"


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

    Any other is said in one log line, and without effect.
    """

    _targets: Targets
    _detach: list[Callable[[], None]]

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing has to be installed: what is wrapped is the host's own code."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        unknown = ", ".join(sorted(kwargs.keys() - _KEYWORDS))
        if unknown:
            trouble(f"intent-events: instrument() takes no {unknown}. It takes {', '.join(_KEYWORDS)}. {_BY_VARIABLES}")
        settings = kwargs.get("settings") or settings_or_defaults()
        made = make_recorder(
            settings,
            vocabulary=frozenset(kwargs.get("vocabulary") or ()),
            mapping=kwargs.get("mapping"),
            tracer_provider=kwargs.get("tracer_provider"),
            meter_provider=kwargs.get("meter_provider"),
        )
        set_recorder(made)
        given: Sequence[str] | str = kwargs.get("targets") or settings.targets
        self._targets = targets = Targets()

        def recorder() -> Recorder | None:
            return current_recorder() if targets.active else None

        for target in dict.fromkeys([given] if isinstance(given, str) else given):
            targets.wrap(target, HandlerWrapper(recorder, made.mapping))
        for name, target in (kwargs.get("stages") or made.mapping.stages).items():
            targets.wrap(target, StageWrapper(name, recorder))
        self._detach = []
        if kwargs.get("delivery", True):
            self._detach = _attach_delivery(made, kwargs.get("tracer_provider"), kwargs.get("meter_provider"))

    def _uninstrument(self, **_kwargs: Any) -> None:
        self._targets.undo()
        set_recorder(None)
        while self._detach:
            try:
                self._detach.pop()()
            except Exception as error:  # noqa: BLE001 - a delivery that cannot stop must not keep the others from stopping
                trouble("intent-events: a delivery could not be detached", error)


def _attach_delivery(recorder: Recorder, tracer_provider: Any, meter_provider: Any) -> list[Callable[[], None]]:
    detach: list[Callable[[], None]] = []
    points = entry_points(group=DELIVERY_GROUP)
    if not points:
        recorder.undelivered(Undelivered.NOT_INSTALLED)
    for point in points:
        try:
            detach.append(point.load()(tracer_provider, meter_provider))
        except SettingsError as error:  # a variable or the file that it names cannot be used; the text says which
            trouble(f"intent-events: {error}. Nothing is delivered until that is mended")
            recorder.undelivered(Undelivered.FAILED)
        except Exception as error:  # noqa: BLE001 - a delivery that cannot start must not keep the host from running
            trouble("intent-events: delivery could not be attached: see `pip check` and the settings", error)
            recorder.undelivered(Undelivered.FAILED)
    return detach
