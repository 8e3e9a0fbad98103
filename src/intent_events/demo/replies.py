# SPDX-License-Identifier: Apache-2.0
"""The chat reply, from a versioned prompt pack, so that two ways of asking back can be compared."""

from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from string import Formatter
from typing import Annotated, Final

from pydantic import Field

from intent_events.demo.files import Strict, bundled, read_json
from intent_events.demo.registry import Verb
from intent_events.errors import SettingsError
from intent_events.semconv import Outcome

_FIELDS: Final = frozenset({"action", "verb", "options", "missing", "reason", "scope"})
_OPTION_FIELDS: Final = frozenset({"number", "action", "verb"})
_SPOKEN: Final = frozenset(Outcome) - {Outcome.ERROR}


class PromptPack(Strict):
    """One version of how the orchestrator talks.

    Attributes:
        version: its name, stored with every utterance.
        max_options: how many verbs "did you mean …" offers at most.
        option: how one of them is written: ``{number}``, ``{action}``, ``{verb}``.
        joint: what stands between two of them.
        replies: a template for every outcome but ``error``; fields are ``{action}``, ``{verb}``, ``{options}``,
            ``{missing}``, ``{reason}`` and ``{scope}``.
    """

    version: str
    max_options: Annotated[int, Field(ge=2)]
    option: str
    joint: str
    replies: Mapping[str, str]

    def reply(self, outcome: Outcome, **fields: str) -> str:
        """What to tell the actor.

        Args:
            outcome: how the utterance ended.
            **fields: what the template may speak of; what is not given is left blank.
        """
        return self.replies[outcome].format(**{**dict.fromkeys(_FIELDS, ""), **fields})

    def listed(self, verbs: Sequence[Verb]) -> str:
        """Verbs as numbered options."""
        return self.joint.join(
            self.option.format(number=number, action=action_of(verb), verb=verb.verb)
            for number, verb in enumerate(verbs, start=1)
        )

    def problems(self) -> list[str]:
        """What makes this pack unusable, in words."""
        found = [f"no reply for {outcome}" for outcome in sorted(_SPOKEN - self.replies.keys())]
        found += [f"a reply for {outcome}, which is no outcome" for outcome in sorted(self.replies.keys() - _SPOKEN)]
        for name, template in self.replies.items():
            found += [f"unknown field {{{field}}} in {name}" for field in sorted(_fields(template) - _FIELDS)]
        found += [f"unknown field {{{field}}} in option" for field in sorted(_fields(self.option) - _OPTION_FIELDS)]
        return found


class Prompts(Strict):
    """All versions.

    Attributes:
        default: version to use when nobody asks for one.
        packs: every version there is.
    """

    default: str
    packs: tuple[PromptPack, ...]

    def pack(self, version: str | None) -> PromptPack:
        """One version, or the default.

        Raises:
            SettingsError: there is no such version; the text names those that there are.
        """
        wanted = self.default if version is None else version
        for pack in self.packs:
            if pack.version == wanted:
                return pack
        known = ", ".join(pack.version for pack in self.packs)
        raise SettingsError(f"no such prompt version; use one of {known}, or add it to the prompt packs")


def action_of(verb: Verb) -> str:
    """What a verb does, as the middle of a sentence."""
    text = (verb.description or verb.verb.rpartition(".")[2].replace("-", " ")).rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def load_prompts(file: Traversable | None = None) -> Prompts:
    """Read prompt packs.

    Args:
        file: JSON of the packs; the bundled ones when None.

    Raises:
        SettingsError: the file cannot be read, or a pack lacks a reply or has an unknown field.
    """
    source = bundled("prompts.json") if file is None else file
    prompts = read_json(Prompts, source)
    problems = [f"pack {pack.version}: {problem}" for pack in prompts.packs for problem in pack.problems()]
    if prompts.default not in {pack.version for pack in prompts.packs}:
        problems.append(f"the default {prompts.default} is no pack")
    if problems:
        raise SettingsError(f"{source}: {'; '.join(problems)}; correct these packs")
    return prompts


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
