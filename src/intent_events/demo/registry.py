# SPDX-License-Identifier: Apache-2.0
"""The verbs of the DSL: what they are called, how people ask for them, and what they need to know."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources.abc import Traversable
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from intent_events.demo.files import Strict, bundled, read_json, read_jsonl
from intent_events.errors import SettingsError

VERB_SHAPE: Final = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+"
"""Regular expression of a fully qualified verb: ``domain.action``."""

MACRO_DOMAIN: Final = "macro"
"""Domain of the verbs that macros are called by."""

VerbName = Annotated[str, StringConstraints(pattern=f"^{VERB_SHAPE}$")]
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Phrases = Annotated[tuple[Phrase, ...], Field(min_length=1)]

ArgumentType = Literal[
    "name",
    "entity",
    "case",
    "reference",
    "date",
    "amount",
    "percent",
    "currency",
    "country",
    "isin",
    "lei",
    "choice",
    "text",
]


class Argument(Strict):
    """An argument of a verb.

    Attributes:
        name: keyword in the DSL, without the colon.
        type: which kind of value fits; ``entity`` and ``case`` are filled from the subject of the conversation too.
        required: whether the verb cannot be staged without it.
        cues: words that stand before its value (``as``, ``for``), to tell two values of one type apart.
        values: for ``choice``: the values that there are.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
    type: ArgumentType
    required: bool = True
    cues: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


class Verb(Strict):
    """A verb of the DSL, or the name of a macro.

    Attributes:
        verb: fully qualified name.
        domain: what it acts on.
        phrases: how people ask for it.
        description: what it does, in one line.
        args: its arguments, in the order of the DSL.
        phase: the onboarding phase that it belongs to; None when it belongs to all.
        danger: whether it is confirmed before it is staged.
        after: its execution fails unless one of these was executed in the session before.
        expands_to: the verbs of a macro; empty for a plain verb.
    """

    verb: VerbName
    domain: str
    phrases: Phrases
    description: str = ""
    args: tuple[Argument, ...] = ()
    phase: str | None = None
    danger: bool = False
    after: tuple[VerbName, ...] = ()
    expands_to: tuple[VerbName, ...] = ()


class _Macro(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
    phrases: Phrases
    description: str = ""
    expands_to: tuple[VerbName, ...]


class _Macros(Strict):
    macros: tuple[_Macro, ...]


@dataclass(frozen=True)
class Registry:
    """Every verb, macros included, by its fully qualified name."""

    verbs: Mapping[str, Verb]

    @cached_property
    def version(self) -> str:
        """Hash of the content: two registries with the same verbs have the same version, wherever they were read."""
        content = [self.verbs[name].model_dump(mode="json") for name in sorted(self.verbs)]
        return "reg-" + sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Lower-case words of all phrases: a capitalised word among them is no proper name."""
        phrases = (phrase for verb in self.verbs.values() for phrase in verb.phrases)
        return frozenset(word.strip(".,;:!?'\"") for phrase in phrases for word in phrase.lower().split())

    def is_macro(self, verb: str) -> bool:
        """Whether the verb stands for several others."""
        return bool(self.verbs[verb].expands_to)

    def steps(self, verb: str) -> tuple[Verb, ...]:
        """The plain verbs behind a verb: those of a macro, or the verb itself."""
        found = self.verbs[verb]
        return tuple(self.verbs[name] for name in found.expands_to) or (found,)


def load_registry(file: Traversable | None = None, macros: Traversable | None = None) -> Registry:
    """Read a registry: one verb a line; only ``verb``, ``domain`` and ``phrases`` are needed.

    Args:
        file: JSONL of verbs (a :class:`pathlib.Path` will do); the bundled onboarding verbs when None.
        macros: JSON of macros; the bundled ones when neither file is given, none when only ``file`` is.

    Raises:
        SettingsError: a file cannot be read, or a line is wrong; the text names file, line and remedy.
    """
    if file is None:
        file, macros = bundled("registry.jsonl"), macros or bundled("macros.json")
    verbs: dict[str, Verb] = {}
    for where, verb in read_jsonl(Verb, file):
        if verb.verb in verbs:
            raise SettingsError(f"{where}: verb {verb.verb} is there already; keep one of the two lines")
        verbs[verb.verb] = verb
    if not verbs:
        raise SettingsError(f"{file}: no verbs; write one JSON object a line with verb, domain and phrases")
    for verb in verbs.values():
        _require(verbs, verb.after, f"{file}: {verb.verb}")
    if macros is None:
        return Registry(verbs)
    return Registry(verbs | {macro.verb: macro for macro in _read_macros(macros, verbs)})


def _read_macros(file: Traversable, verbs: Mapping[str, Verb]) -> list[Verb]:
    """Macros as verbs: a macro needs every argument of its steps, and is as dangerous as the worst of them."""
    found: list[Verb] = []
    for macro in read_json(_Macros, file).macros:
        _require(verbs, macro.expands_to, f"{file}: macro {macro.name}")
        steps = [verbs[name] for name in macro.expands_to]
        args = {argument.name: argument for step in reversed(steps) for argument in reversed(step.args)}
        found.append(
            Verb(
                verb=f"{MACRO_DOMAIN}.{macro.name}",
                domain=MACRO_DOMAIN,
                phrases=macro.phrases,
                description=macro.description,
                args=tuple(reversed(args.values())),
                danger=any(step.danger for step in steps),
                expands_to=macro.expands_to,
            )
        )
    return found


def _require(verbs: Mapping[str, Verb], names: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(names) - verbs.keys())
    if unknown:
        raise SettingsError(
            f"{where} names unknown verbs {', '.join(unknown)}; correct the names or add the verbs to the registry"
        )
