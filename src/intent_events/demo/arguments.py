# SPDX-License-Identifier: Apache-2.0
"""Arguments of a verb from what was said: taken when the text shows them, asked for when it does not, never guessed."""

from collections.abc import Iterable, Mapping
from re import escape, search
from typing import Final, NamedTuple

from intent_events.demo.context import Context
from intent_events.demo.registry import Argument, Verb
from intent_events.demo.values import Kind, Value

_NAMES: Final = (Kind.QUOTED, Kind.NAME, Kind.REFERENCE)
_FITTING: Final[Mapping[str, tuple[Kind, ...]]] = {
    "name": (Kind.QUOTED, Kind.NAME),
    "entity": _NAMES,
    "case": (Kind.REFERENCE,),
    "reference": (Kind.REFERENCE,),
    "date": (Kind.DATE,),
    "amount": (Kind.AMOUNT,),
    "percent": (Kind.PERCENT,),
    "currency": (Kind.CURRENCY, Kind.AMOUNT),
    "country": (Kind.COUNTRY,),
    "isin": (Kind.ISIN,),
    "lei": (Kind.LEI,),
    "choice": (),
    "text": (Kind.TEXT, Kind.QUOTED),
}


class Filled(NamedTuple):
    """What is known of a verb's arguments.

    Attributes:
        args: values by the name of the argument, in the verb's order.
        missing: names of the required arguments that nothing was found for.
    """

    args: Mapping[str, str]
    missing: tuple[str, ...]


def fill(
    verb: Verb, utterance: str, values: Iterable[Value], ctx: Context, known: Mapping[str, str] | None = None
) -> Filled:
    """Fill the arguments of a verb.

    Args:
        verb: whose arguments.
        utterance: what was said.
        values: the values in it.
        ctx: whose subject fills an ``entity`` or ``case`` that the utterance does not name.
        known: what earlier turns filled; kept.
    """
    args = dict(known or {})
    free = list(values)
    for argument in verb.args:
        if argument.name not in args:
            found = _of_choice(argument, utterance) if argument.values else _of_values(argument, verb, free)
            found = found or _of_subject(argument, ctx)
            if found:
                args[argument.name] = found
    return Filled(
        {argument.name: args[argument.name] for argument in verb.args if argument.name in args},
        tuple(argument.name for argument in verb.args if argument.required and argument.name not in args),
    )


def fill_from_answer(
    verb: Verb,
    missing: tuple[str, ...],
    utterance: str,
    values: Iterable[Value],
    ctx: Context,
    known: Mapping[str, str],
) -> Filled:
    """Fill the arguments of a verb from the answer to "which …?".

    When a text was asked for, the whole answer is it.

    Args:
        verb: whose arguments.
        missing: names that were asked for.
        utterance: the answer.
        values: the values in it.
        ctx: context of the answer.
        known: what earlier turns filled.
    """
    filled = fill(verb, utterance, values, ctx, known)
    asked = next(argument for argument in verb.args if argument.name == missing[0])
    if filled.missing == missing and asked.type == "text":
        return fill(verb, utterance, (), ctx, {**known, asked.name: utterance.strip()})
    return filled


def _of_values(argument: Argument, verb: Verb, free: list[Value]) -> str | None:
    fitting = [value for value in free if value.kind in _FITTING[argument.type]]
    others = {cue for other in verb.args if other is not argument for cue in other.cues}
    chosen = next((value for value in fitting if value.cue in argument.cues), None) or next(
        (value for value in fitting if value.cue not in others), None
    )
    if chosen is None:
        return None
    free.remove(chosen)
    return chosen.text


def _of_choice(argument: Argument, utterance: str) -> str | None:
    text = utterance.lower()
    return next(
        (
            value
            for value in sorted(argument.values, key=len, reverse=True)
            if search(rf"\b{escape(value.replace('-', ' '))}\b", text.replace("-", " "))
        ),
        None,
    )


def _of_subject(argument: Argument, ctx: Context) -> str | None:
    if argument.type == ctx.subject_ref_type and ctx.subject_ref_id is not None:
        return str(ctx.subject_ref_id)
    return None
