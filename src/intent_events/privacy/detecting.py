# SPDX-License-Identifier: Apache-2.0
"""Previews by detection: values that detectors find become their kind; everything else is shown.

For those who want to read more and accept that what no detector knows is shown. Needs ``intent-events[patterns]``.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from intent_events.errors import SettingsError
from intent_events.privacy.entities import EntitySpan, shown_kind
from intent_events.privacy.masking import MASKED_CHARACTERS, Masked, cut
from intent_events.privacy.patterns import Found, Patterns, cleaned

Detector = Callable[[str], Iterable[Found]]
"""Finds values in a text that was cleaned; they may overlap and come in any order."""


class DetectingMasker:
    """Masks what detectors find, and the entities that the orchestrator knows."""

    __slots__ = ("_detectors",)

    def __init__(self, *detectors: Detector) -> None:
        """Mask what these find.

        Args:
            detectors: without any, the patterns of :mod:`intent_events.privacy.patterns`.

        Raises:
            SettingsError: the extra is not installed.
        """
        self._detectors = detectors or (Patterns().find,)

    def mask(self, text: str, entities: Sequence[EntitySpan] = ()) -> Masked:
        """Mask a text; total on any string, and linear in its length.

        Args:
            text: the raw text.
            entities: what of it is known to be a value, and of which kind.
        """
        text = cleaned(_without(text[:MASKED_CHARACTERS], entities))
        found = sorted(each for detector in self._detectors for each in detector(text))
        pieces: list[str] = []
        end = 0
        for start, stop, kind in found:
            if start >= end:
                pieces += (text[end:start], f"<{kind}>")
            end = max(end, stop)
        pieces.append(text[end:])
        words = "".join(pieces).split()
        return Masked(" ".join(words).lower(), cut(" ".join(words)))


def presidio_detector(configuration: Path | None = None) -> Detector:
    """What Presidio's analyzer finds in English text.

    Args:
        configuration: its analyzer configuration file (YAML); None for its default, which wants the model
            ``en_core_web_lg``.

    Raises:
        SettingsError: the extra, the configuration or the model cannot be used.
    """
    try:
        presidio: Any = import_module("presidio_analyzer")
    except ModuleNotFoundError as error:  # the extra is not installed
        raise SettingsError(
            "INTENT_EVENTS_PREVIEW=presidio needs presidio-analyzer: pip install 'intent-events[presidio]'"
        ) from error
    try:
        analyzer: Any = presidio.AnalyzerEngineProvider(analyzer_engine_conf_file=configuration).create_engine()
    except (Exception, SystemExit) as error:  # no such file, no such model: spaCy exits when it cannot download one
        raise SettingsError(
            f"Presidio's analyzer cannot be set up ({type(error).__name__}): name a configuration whose model is "
            "installed in INTENT_EVENTS_PRESIDIO"
        ) from error

    def find(text: str) -> Iterable[Found]:
        return [Found(each.start, each.end, each.entity_type.lower()) for each in analyzer.analyze(text, language="en")]

    return find


_GAP: Final = " "


def _without(text: str, entities: Sequence[EntitySpan]) -> str:
    """The text with the kinds of known entities in their places."""
    pieces: list[str] = []
    end = 0
    for start, stop, kind in entities:
        if start >= end and start < len(text):
            pieces += (text[end:start], _GAP, shown_kind(kind, ()), _GAP)
        end = max(end, stop)
    return "".join((*pieces, text[end:]))
