# SPDX-License-Identifier: Apache-2.0
"""The recorder of this process: made from the settings at first use, or by the instrumentor."""

from secrets import token_bytes, token_hex
from threading import Lock
from typing import Final

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer

from intent_events.errors import SettingsError
from intent_events.instrument.recorder import SCOPE_NAME, Recorder
from intent_events.instrument.troubles import trouble
from intent_events.privacy import Fingerprinter, HashKey, Masker, Privacy, load_vocabulary, shipped_vocabulary
from intent_events.settings import MIN_KEY, RecordSettings, read_secret
from intent_events.trace import IntentTrace, active_recording
from intent_events.version import __version__

_lock: Final = Lock()
_current: Recorder | None = None


def current_recorder() -> Recorder:
    """The recorder of this process."""
    global _current  # noqa: PLW0603 - one recorder a process is what the instrumentor sets and everybody uses
    if _current is None:
        with _lock:
            if _current is None:
                _current = make_recorder(settings_or_defaults())
    return _current


def set_recorder(recorder: Recorder | None) -> None:
    """Use this recorder from now on; None makes the next use read the settings anew."""
    global _current  # noqa: PLW0603 - see current_recorder
    _current = recorder


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
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Recorder:
    """A recorder for these settings; a file that cannot be read is logged, and nothing of a text is shown for it.

    Args:
        settings: what is kept of a text.
        vocabulary: words that previews may show besides those of the settings.
        tracer_provider: makes the tracer; None takes the global one.
        meter_provider: makes the metrics; None takes the global one.
    """
    try:
        privacy = make_privacy(settings, vocabulary)
    except SettingsError as error:  # a key or vocabulary file cannot be read
        trouble(f"intent-events: {error}. Previews are off and fingerprints use a key of this process")
        privacy = Privacy(Fingerprinter(_own_key()), Masker(()), previews=False)
    return Recorder(
        privacy,
        synthetic=settings.synthetic,
        tracer=get_tracer(SCOPE_NAME, __version__, tracer_provider),
        meter=get_meter(SCOPE_NAME, __version__, meter_provider),
    )


def make_privacy(settings: RecordSettings, vocabulary: frozenset[str] = frozenset()) -> Privacy:
    """Privacy rules of these settings.

    Args:
        settings: which key, whether previews.
        vocabulary: words that previews may show besides those of the settings.

    Raises:
        SettingsError: the key or the vocabulary file cannot be read.
    """
    words = shipped_vocabulary() | vocabulary
    if settings.vocabulary is not None:
        words |= load_vocabulary(settings.vocabulary)
    return Privacy(Fingerprinter(_hash_key(settings)), Masker(words), previews=settings.preview == "masked")


def _hash_key(settings: RecordSettings) -> HashKey | None:
    if settings.hash == "plain":
        trouble(
            "intent-events: fingerprints are plain SHA-256, which a dictionary of likely utterances can reverse: "
            "set INTENT_EVENTS_HASH_KEY and INTENT_EVENTS_HASH=keyed"
        )
        return None
    if settings.hash_key is not None:
        return HashKey(settings.hash_key_id, settings.hash_key.get_secret_value().encode())
    if settings.hash_key_file is not None:
        secret = read_secret(settings.hash_key_file, "INTENT_EVENTS_HASH_KEY_FILE")
        if len(secret) < MIN_KEY:
            raise SettingsError(
                f"INTENT_EVENTS_HASH_KEY_FILE names {settings.hash_key_file}, whose key is too short: "
                f"put at least {MIN_KEY} characters into it"
            )
        return HashKey(settings.hash_key_id, secret.encode())
    trouble(
        "intent-events: no INTENT_EVENTS_HASH_KEY, so this process made a key of its own: "
        "its fingerprints do not meet those of other processes"
    )
    return _own_key()


def _own_key() -> HashKey:
    return HashKey(f"process-{token_hex(4)}", token_bytes(32))
