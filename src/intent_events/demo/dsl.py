# SPDX-License-Identifier: Apache-2.0
"""The DSL: s-expressions of one verb and its arguments, ``(cbu.assign-role :entity "…" :role "custodian")``."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from re import DOTALL, fullmatch
from re import compile as pattern
from typing import Final, NamedTuple

from intent_events.demo.registry import VERB_SHAPE

_TOKEN: Final = pattern(
    r"\s*(?:(?P<mark>[()])|(?P<keyword>:[\w-]+)|(?P<string>\"(?:\\.|[^\"\\])*\")|(?P<word>[^\s()\":]+))", DOTALL
)
_ESCAPED: Final = pattern(r"\\(.)", DOTALL)


class DslSyntaxError(ValueError):
    """A text is no call of the DSL.

    Attributes:
        position: where, in characters from 0. The message never quotes the text.
    """

    def __init__(self, expected: str, position: int) -> None:
        """Say what was expected and where.

        Args:
            expected: what should have stood there.
            position: where, in characters from 0.
        """
        super().__init__(f"expected {expected} at character {position}")
        self.position = position


class Call(NamedTuple):
    """One verb with its arguments.

    Attributes:
        verb: fully qualified verb.
        args: values by argument name.
    """

    verb: str
    args: Mapping[str, str]


def looks_like_dsl(text: str) -> bool:
    """Whether somebody wrote DSL rather than a sentence."""
    return text.lstrip().startswith("(")


def generate(calls: Sequence[Call]) -> str:
    """DSL text of one call, or of several in a ``(do …)`` block; the same calls always give the same text.

    Args:
        calls: at least one call.
    """
    texts = [_generate_one(call) for call in calls]
    return texts[0] if len(texts) == 1 else f"(do {' '.join(texts)})"


def dsl_hash(text: str) -> str:
    """SHA-256 of a DSL text, hex."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def parse(text: str) -> Call:
    """The one call that a text spells.

    Raises:
        DslSyntaxError: the text is no single call; the message names the position, never the text.
    """
    tokens = _tokens(text)
    _expect(tokens, 0, "mark", "(")
    verb = _expect(tokens, 1, "word")
    if not fullmatch(VERB_SHAPE, verb):
        raise DslSyntaxError("a fully qualified verb", tokens[1].position)
    args: dict[str, str] = {}
    at = 2
    while tokens[at].kind == "keyword":
        name = tokens[at].text[1:]
        if name in args:
            raise DslSyntaxError("every keyword once", tokens[at].position)
        args[name] = _value(tokens[at + 1])
        at += 2
    _expect(tokens, at, "mark", ")")
    _expect(tokens, at + 1, "end")
    return Call(verb, args)


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at, length = 0, len(text.rstrip())
    while at < length:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise DslSyntaxError("a bracket, a keyword or a value", length - len(text[at:length].lstrip()))
        tokens.append(_Token(match.lastgroup, match.group(match.lastgroup), match.start(match.lastgroup)))
        at = match.end()
    # Two, so that the token after a keyword can be looked at before anybody has seen the end.
    return [*tokens, _Token("end", "", at), _Token("end", "", at)]


def _expect(tokens: list[_Token], at: int, kind: str, text: str | None = None) -> str:
    token = tokens[at]
    if token.kind != kind or text not in {None, token.text}:
        raise DslSyntaxError(f"'{text}'" if text else {"word": "a verb", "end": "the end"}[kind], token.position)
    return token.text


def _value(token: _Token) -> str:
    if token.kind == "string":
        return _ESCAPED.sub(r"\1", token.text[1:-1])
    if token.kind == "word":
        return token.text
    raise DslSyntaxError("a value", token.position)


def _generate_one(call: Call) -> str:
    return "(" + " ".join([call.verb, *(f":{name} {_quoted(value)}" for name, value in call.args.items())]) + ")"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
