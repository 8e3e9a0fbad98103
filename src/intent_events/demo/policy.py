# SPDX-License-Identifier: Apache-2.0
"""PolicyGate: which doors an actor may use. It knows roles and entrypoints; what a verb means is SemReg's business."""

from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from typing import Final

from intent_events.demo.context import Context
from intent_events.demo.files import Strict, bundled, read_json
from intent_events.demo.registry import Verb
from intent_events.demo.semreg import Denial

ENTRYPOINT_NOT_PERMITTED: Final = "entrypoint_not_permitted"
"""Reason: this role may not come in here."""

DSL_NOT_PERMITTED: Final = "dsl_not_permitted"
"""Reason: this role may not write DSL, or not here."""

CONFIRMATION_NOT_PERMITTED: Final = "confirmation_not_permitted"
"""Reason: the verb is dangerous, and this role may not confirm dangerous verbs."""


class PolicyGate(Strict):
    """Who may come in where, who may write DSL, and who may confirm dangerous verbs.

    Attributes:
        entrypoints: entrypoints by role; a role that is not listed may use none.
        dsl_roles: roles that may write DSL themselves.
        dsl_entrypoints: entrypoints that take DSL.
        confirming_roles: roles that may confirm dangerous verbs.
    """

    entrypoints: Mapping[str, tuple[str, ...]]
    dsl_roles: tuple[str, ...]
    dsl_entrypoints: tuple[str, ...]
    confirming_roles: tuple[str, ...]

    def admits(self, ctx: Context) -> bool:
        """Whether the actor may use this entrypoint."""
        return ctx.entrypoint in self.entrypoints.get(ctx.actor_role, ())

    def admits_dsl(self, ctx: Context) -> bool:
        """Whether the actor may write DSL here."""
        return self.admits(ctx) and ctx.actor_role in self.dsl_roles and ctx.entrypoint in self.dsl_entrypoints

    def refusals(self, verbs: Iterable[Verb], ctx: Context) -> tuple[Denial, ...]:
        """Which of some verbs the gate does not let through, and why."""
        if not self.admits(ctx):
            return tuple(Denial(verb.verb, ENTRYPOINT_NOT_PERMITTED) for verb in verbs)
        if ctx.actor_role in self.confirming_roles:
            return ()
        return tuple(Denial(verb.verb, CONFIRMATION_NOT_PERMITTED) for verb in verbs if verb.danger)


def load_gate(file: Traversable | None = None) -> PolicyGate:
    """Read a gate.

    Args:
        file: JSON of the gate; the bundled one when None.

    Raises:
        SettingsError: the file cannot be read or is no gate.
    """
    return read_json(PolicyGate, bundled("policy.json") if file is None else file)
