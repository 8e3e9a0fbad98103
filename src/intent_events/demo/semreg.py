# SPDX-License-Identifier: Apache-2.0
"""SemReg, the policy registry: an immutable, versioned snapshot of who may do what, when, and about what."""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from intent_events.demo.context import Context
from intent_events.demo.files import Strict, bundled, read_json
from intent_events.semconv import SemRegMode

PHASE_FROZEN: Final = "phase_frozen"
"""Reason: nothing is allowed in this phase."""

SEMREG_UNAVAILABLE: Final = "semreg_unavailable"
"""Reason: the registry did not answer, and this verb needs its answer."""


class Denial(NamedTuple):
    """A verb that is not allowed.

    Attributes:
        verb: fully qualified verb.
        reason: code of the reason, never a sentence.
        instead: the verb that policy offers in its place, if any.
    """

    verb: str
    reason: str
    instead: str | None = None


class Ruling(NamedTuple):
    """What policy says about some verbs.

    Attributes:
        mode: what the registry did.
        denials: the verbs that are not allowed, in the order they were asked about.
        snapshot_id: version of the snapshot that was asked; None when it could not be asked.
    """

    mode: SemRegMode
    denials: tuple[Denial, ...]
    snapshot_id: str | None

    @property
    def denied(self) -> dict[str, Denial]:
        """Denials by verb."""
        return {denial.verb: denial for denial in self.denials}


class Rule(Strict):
    """Denies verbs where all of its conditions hold; a condition that is not given always holds.

    Attributes:
        id: name of the rule.
        verbs: patterns of verbs (``fee.*``).
        reason: code of the reason.
        roles: only for these roles.
        except_roles: not for these roles.
        subjects: only when the conversation is about one of these kinds.
        phases: only in these phases.
        except_phases: not in these phases.
        instead: verb to offer in place of the denied one.
    """

    id: str
    verbs: tuple[str, ...]
    reason: str
    roles: tuple[str, ...] | None = None
    except_roles: tuple[str, ...] = ()
    subjects: tuple[str, ...] | None = None
    phases: tuple[str, ...] | None = None
    except_phases: tuple[str, ...] = ()
    instead: str | None = None

    def covers(self, ctx: Context) -> bool:
        """Whether the rule speaks about this context at all."""
        return (
            (self.roles is None or ctx.actor_role in self.roles)
            and ctx.actor_role not in self.except_roles
            and (self.subjects is None or (ctx.subject_ref_type or "none") in self.subjects)
            and (self.phases is None or ctx.phase in self.phases)
            and ctx.phase not in self.except_phases
        )


class Snapshot(Strict):
    """One published version of the policy.

    Attributes:
        name: name of the version.
        rules: denials; the first one that applies gives the reason.
        frozen_phases: phases in which nothing is allowed.
        fail_open_entrypoints: where work goes on when the registry does not answer.
        allowed_without_registry: patterns of verbs that need no answer of the registry.
    """

    name: str
    rules: tuple[Rule, ...]
    frozen_phases: tuple[str, ...] = ()
    fail_open_entrypoints: tuple[str, ...] = ()
    allowed_without_registry: tuple[str, ...] = ()


class SemReg:
    """Answers from one snapshot."""

    __slots__ = ("_snapshot", "snapshot_id")

    def __init__(self, snapshot: Snapshot) -> None:
        """Answer from this snapshot.

        Args:
            snapshot: the policy; its id is its name and a hash of its content.
        """
        content = json.dumps(snapshot.model_dump(mode="json"), sort_keys=True)
        self._snapshot = snapshot
        self.snapshot_id = f"{snapshot.name}-{sha256(content.encode()).hexdigest()[:8]}"

    def mode(self, ctx: Context) -> SemRegMode:
        """What the registry does in a context, whatever the verb."""
        if not ctx.semreg_reachable:
            fails_open = ctx.entrypoint in self._snapshot.fail_open_entrypoints
            return SemRegMode.FAIL_OPEN if fails_open else SemRegMode.UNAVAILABLE
        return SemRegMode.DENY_ALL if ctx.phase in self._snapshot.frozen_phases else SemRegMode.APPLIED

    def judge(self, verbs: Sequence[str], ctx: Context) -> Ruling:
        """Which of some verbs are denied, and why.

        Args:
            verbs: fully qualified verbs.
            ctx: who asks, about what, in which phase.
        """
        mode = self.mode(ctx)
        denials: list[Denial] = []
        if mode is SemRegMode.DENY_ALL:
            denials = [Denial(verb, PHASE_FROZEN) for verb in verbs]
        elif mode is SemRegMode.UNAVAILABLE:
            free = self._snapshot.allowed_without_registry
            denials = [Denial(verb, SEMREG_UNAVAILABLE) for verb in verbs if not _matches(verb, free)]
        elif mode is SemRegMode.APPLIED:
            rules = [rule for rule in self._snapshot.rules if rule.covers(ctx)]
            for verb in verbs:
                rule = next((rule for rule in rules if _matches(verb, rule.verbs)), None)
                if rule is not None:
                    denials.append(Denial(verb, rule.reason, rule.instead))
        return Ruling(mode, tuple(denials), self.snapshot_id if ctx.semreg_reachable else None)


def _matches(verb: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(verb, pattern) for pattern in patterns)


def load_semreg(file: Traversable | None = None) -> SemReg:
    """Read a snapshot.

    Args:
        file: JSON of the snapshot; the bundled one when None.

    Raises:
        SettingsError: the file cannot be read or is no snapshot.
    """
    return SemReg(read_json(Snapshot, bundled("semreg.json") if file is None else file))
