# SPDX-License-Identifier: Apache-2.0
"""The recorder of this process: made from the settings at first use, or by the instrumentor."""

from pathlib import Path
from secrets import token_bytes, token_hex
from threading import Lock
from typing import Final

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer

from intent_events.errors import SettingsError
from intent_events.instrument.mapping import HandlerMapping, load_mapping
from intent_events.instrument.recorder import SCOPE_NAME, Recorder
from intent_events.instrument.troubles import trouble
from intent_events.instrument.undelivered import Undelivered
from intent_events.privacy import (
    Actors,
    HashKey,
    KeyRing,
    Masker,
    Masking,
    Privacy,
    load_vocabularies,
    read_ring,
    shipped_vocabulary,
)
from intent_events.privacy.detecting import DetectingMasker, presidio_detector
from intent_events.privacy.patterns import Patterns
from intent_events.settings import RecordSettings
from intent_events.trace import IntentTrace, active_recording
from intent_events.version import __version__

_lock: Final = Lock()
_current: Recorder | None = None
_instrumented = False


def current_recorder() -> Recorder:
    """The recorder of this process."""
    global _current  # noqa: PLW0603 - one recorder a process is what the instrumentor sets and everybody uses
    if _current is None:
        with _lock:
            if _current is None:
                recorder = make_recorder(settings_or_defaults())
                if not _instrumented:  # and never was: who undoes it knows that nothing is delivered
                    recorder.undelivered(Undelivered.NOT_INSTRUMENTED)
                _current = recorder
    return _current


def set_recorder(recorder: Recorder | None) -> None:
    """Use this recorder from now on; None makes the next use read the settings anew."""
    global _current, _instrumented  # noqa: PLW0603 - see current_recorder
    _current = recorder
    _instrumented = True


def current_trace() -> IntentTrace:
    """The trace of the utterance that is being handled in this context.

    Outside of one, a trace that belongs to nothing, so that a handler runs the same without instrumentation.
    """
    recording = active_recording.get()
    return IntentTrace() if recording is None else recording.trace


def settings_or_defaults() -> RecordSettings:
    """Settings from the environment; for a variable that cannot be used the default, and one log line."""
    settings, problem = RecordSettings.usable_from_environment()
    if problem:
        trouble(f"intent-events: {problem}. Using the defaults for these")
    return settings


def make_recorder(
    settings: RecordSettings,
    *,
    vocabulary: frozenset[str] = frozenset(),
    mapping: HandlerMapping | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Recorder:
    """A recorder for these settings; a file that cannot be read is logged, and nothing of a text is shown for it.

    Args:
        settings: what is kept of a text.
        vocabulary: words that previews may show besides those of the settings.
        mapping: where handlers keep things; None reads the file of the settings.
        tracer_provider: makes the tracer; None takes the global one.
        meter_provider: makes the metrics; None takes the global one.
    """
    previews = settings.preview != "off"
    try:
        ring, pseudonyms = _rings(settings)
    except SettingsError as error:  # a key file cannot be used
        trouble(f"intent-events: {error}. Previews are off and fingerprints use a key of this process")
        ring = pseudonyms = KeyRing([_own_key()])
        previews = False
    actors = Actors(settings.actor, pseudonyms)
    try:
        privacy = Privacy(ring, make_masking(settings, vocabulary), previews=previews, actors=actors)
    except SettingsError as error:  # a vocabulary file cannot be read, or an extra is not installed
        trouble(f"intent-events: {error}. Previews are off")
        privacy = Privacy(ring, Masker(()), previews=False, actors=actors)
    return Recorder(
        privacy,
        synthetic=settings.synthetic,
        allowed=frozenset(settings.span_attributes),
        mapping=mapping or _mapping_or_none(settings.mapping),
        tracer=get_tracer(SCOPE_NAME, __version__, tracer_provider),
        meter=get_meter(SCOPE_NAME, __version__, meter_provider),
    )


def _mapping_or_none(path: Path | None) -> HandlerMapping | None:
    try:
        return None if path is None else load_mapping(path)
    except SettingsError as error:  # a mapping that cannot be used: the host must run all the same
        trouble(f"intent-events: {error}. Handlers are read by their usual names")
        return None


def make_privacy(settings: RecordSettings, vocabulary: frozenset[str] = frozenset()) -> Privacy:
    """Privacy rules of these settings.

    Args:
        settings: which keys, which previews, which actors.
        vocabulary: words that previews may show besides those of the settings.

    Raises:
        SettingsError: a key or a vocabulary file cannot be read, or an extra is not installed.
    """
    ring, pseudonyms = _rings(settings)
    actors = Actors(settings.actor, pseudonyms)
    return Privacy(ring, make_masking(settings, vocabulary), previews=settings.preview != "off", actors=actors)


def make_masking(settings: RecordSettings, vocabulary: frozenset[str] = frozenset()) -> Masking:
    """How texts are masked under these settings.

    Raises:
        SettingsError: a vocabulary file cannot be read, or an extra is not installed.
    """
    if settings.preview in {"patterns", "presidio"}:
        patterns = Patterns().find
        if settings.preview == "patterns":
            return DetectingMasker(patterns)
        return DetectingMasker(patterns, presidio_detector(settings.presidio))
    return Masker(shipped_vocabulary() | vocabulary | load_vocabularies(settings.vocabulary))


def _rings(settings: RecordSettings) -> tuple[KeyRing | None, KeyRing]:
    """Keys of the fingerprints, None for plain ones, and keys of the pseudonyms of actors."""
    ring = read_ring(settings)
    if settings.hash == "plain":
        trouble(
            "intent-events: fingerprints are plain SHA-256, which a dictionary of likely utterances can reverse: "
            "set INTENT_EVENTS_HASH_KEY and INTENT_EVENTS_HASH=keyed"
        )
        return None, ring or KeyRing([_own_key()])
    if ring is None:
        trouble(
            "intent-events: no INTENT_EVENTS_HASH_KEY, so this process made a key of its own: "
            "its fingerprints do not meet those of other processes"
        )
        ring = KeyRing([_own_key()])
    return ring, ring


def _own_key() -> HashKey:
    return HashKey(f"process-{token_hex(4)}", token_bytes(32))
