# SPDX-License-Identifier: Apache-2.0
"""What an application would find in itself, asked of a process of our own: ``python -m intent_events.cli.probe FD``.

``intent-events doctor`` starts it under ``opentelemetry-instrument``. It imports the targets, writes what it finds as
JSON to the file descriptor, and ends without any goodbye: nothing is exported, stored or said to Postgres.
"""

import gc
import json
import os
import sys
from importlib.util import find_spec
from pkgutil import resolve_name
from types import CellType, FrameType
from typing import Any, Final

from opentelemetry.trace import get_tracer_provider
from wrapt import BoundFunctionWrapper, FunctionWrapper

from intent_events.errors import SettingsError
from intent_events.instrument import IntentEventsInstrumentor
from intent_events.instrument.current import current_recorder, settings_or_defaults
from intent_events.instrument.direct import direct_way
from intent_events.instrument.mapping import load_mapping
from intent_events.instrument.stages import StageWrapper
from intent_events.instrument.wrappers import HandlerWrapper
from intent_events.settings import DeliverySettings, RecordSettings

_OURS: Final = "intent_events"
_MOST_WRAPPERS: Final = 50
_WRAPPERS: Final = (FunctionWrapper, BoundFunctionWrapper, CellType, FrameType, staticmethod, classmethod)


def findings() -> dict[str, Any]:
    """What this process finds in itself, as :class:`intent_events.review.doctor_model.Probed` has it."""
    settings = settings_or_defaults()
    targets = [_target(target, HandlerWrapper) for target in settings.targets]
    targets += [_target(target, StageWrapper) for target in _stages(settings)]
    way = direct_way()
    return {
        "instrumented": IntentEventsInstrumentor().is_instrumented_by_opentelemetry,
        "targets": targets,
        "exporter_installed": find_spec("intent_events_exporter") is not None,
        "attached": way is not None,
        "met_sdk": getattr(way, "met_sdk", False),
        "exporter_named": _OURS in _exporters(),
        **_sdk(),
    }


def _stages(settings: RecordSettings) -> list[str]:
    try:
        return [] if settings.mapping is None else list(load_mapping(settings.mapping).stages.values())
    except SettingsError:  # said among the settings
        return []


def _target(target: str, wrapper: type[Any]) -> dict[str, Any]:
    try:
        found: Any = resolve_name(target)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module of the host's may fail in any way, or end the process
        return {"target": target, "error": f"{type(error).__name__}{_needed(target, error)}"}
    ours = _ours_around(found, wrapper)
    return {"target": target, "wrapped": ours is not None, "kept": "" if ours is None else _kept_by(ours.__wrapped__)}


def _needed(target: str, error: BaseException) -> str:
    """Which module is missing, when it is not the target's own: then the target is spelled right."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if not missing or f"{target.partition(':')[0]}.".startswith(f"{missing}."):
        return ""
    return f" of {missing}"


def _ours_around(found: Any, wrapper: type[Any]) -> Any:
    """Our wrapper among those around a function; others may have come over it. None when it is not there."""
    for _ in range(_MOST_WRAPPERS):
        if isinstance(getattr(found, "_self_wrapper", None), wrapper):
            return found
        found = getattr(found, "__wrapped__", None)
    return None


def _kept_by(handler: Any) -> str:
    """Type of an object that has the handler itself, as a route has that was made before it was wrapped."""
    function = getattr(handler, "__func__", handler)  # a bound method is one more object that has it
    holders: list[object] = [each for each in gc.get_referrers(function) if each is not handler]
    return next((type(each).__name__ for each in holders if not issubclass(type(each), _WRAPPERS)), "")


def _exporters() -> tuple[str, ...]:
    try:
        return DeliverySettings.from_environment().traces_exporters
    except SettingsError:  # said among the settings
        return ()


def _sdk() -> dict[str, Any]:
    try:
        from opentelemetry.sdk.trace import Tracer, TracerProvider  # noqa: PLC0415 - may not be installed

        from intent_events_exporter.sampler import IntentSampler  # noqa: PLC0415 - the same
    except ImportError:  # the core alone, or without the SDK
        return {"sdk": "absent"}
    provider = get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return {"sdk": "absent"}
    if getattr(provider, "_disabled", False):
        return {"sdk": "disabled"}
    tracer = getattr(current_recorder(), "_tracer", None)
    limits = getattr(provider, "_span_limits", None)
    return {
        "sdk": "present",
        "sampler": isinstance(tracer, Tracer) and isinstance(tracer.sampler, IntentSampler),
        "max_attributes": getattr(limits, "max_span_attributes", None),
        "max_length": getattr(limits, "max_span_attribute_length", None),
    }


def main() -> None:
    """Find out, say so, and end at once: what runs in the background must not send or store anything."""
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as out:
        json.dump(findings(), out)
    os._exit(0)


if __name__ == "__main__":
    main()
