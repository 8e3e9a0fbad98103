# SPDX-License-Identifier: Apache-2.0
"""What the shop notes about an utterance, in a class of its own."""

from dataclasses import dataclass, field


@dataclass
class IntentTrace:
    """One utterance, as the shop sees it."""

    outcome: str = "no_match"
    chosen_verb_fqn: str | None = None
    semreg_mode: str = "applied"
    semreg_denied_verbs: list[str] = field(default_factory=list[str])
    verb_candidates_pre: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    verb_candidates_post: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    prompt_version: str = "shop-7"
    telemetry_persisted: bool = True
