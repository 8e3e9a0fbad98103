# SPDX-License-Identifier: Apache-2.0
"""Who may send: bearer tokens of a file, each with the services and scopes that it may send records of.

The file has a token a line, several of them so that they can be rotated, and is read anew when it changes::

    # comment
    5f0c…   service.name=shop,bank  scope=book-1
    77aa…
"""

import hmac
import os
import re
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from intent_events.errors import SettingsError
from intent_events.instrument.troubles import trouble
from intent_events.settings import MIN_KEY

_VARIABLE: Final = "INTENT_EVENTS_SINK_TOKENS"
_LOOK_EVERY_S: Final = 1.0
_LIMITS: Final = ("service.name", "scope")
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class Sender(NamedTuple):
    """What a sender may send.

    Attributes:
        services: values of ``service.name``; None for any.
        scopes: values of ``intent.scope``; None for any.
    """

    services: frozenset[str] | None = None
    scopes: frozenset[str] | None = None

    def allows(self, service_name: str | None, scope: object) -> bool:
        """Whether a record of this service and this ``intent.scope``, which may be anything, may be sent."""
        return (self.services is None or service_name in self.services) and (
            self.scopes is None or (isinstance(scope, str) and scope in self.scopes)
        )


class Access:
    """Tells senders by their tokens; without a file everybody may send everything.

    Tokens are kept and compared as digests, all of them each time, so that neither a dump of the memory nor the time of
    an answer tells one.
    """

    def __init__(self, file: Path | None) -> None:
        """Read the tokens.

        Args:
            file: where they are; None when none are asked for.

        Raises:
            SettingsError: the file cannot be used; nothing of it is quoted.
        """
        self._file = file
        self._seen: tuple[int, ...] = ()
        self._look_at = 0.0
        self._senders: dict[bytes, Sender] = {}
        if file is not None:
            self._seen = _state_of(file)
            self._senders = read_tokens(file)
            self._look_at = monotonic() + _LOOK_EVERY_S

    def sender_of(self, authorization: str | None) -> Sender | None:
        """Who sends; None when that is nobody we know.

        Args:
            authorization: the header of that name.
        """
        if self._file is None:
            return Sender()
        self._read_again(self._file)
        scheme, _, token = (authorization or "").strip().partition(" ")
        digest = _digest(token.strip())
        found: Sender | None = None
        for known, sender in self._senders.items():
            if hmac.compare_digest(known, digest):
                found = sender
        return found if scheme.lower() == "bearer" else None

    def _read_again(self, file: Path) -> None:
        """Read the file when it has changed; one that cannot be read leaves the tokens as they were."""
        now = monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY_S
        try:
            state = _state_of(file)
            if state != self._seen:
                self._senders = read_tokens(file)
                self._seen = state
        except SettingsError as error:  # it is being replaced, or somebody made a mistake in it
            trouble(f"intent-events: {error}. The tokens that were read before stay in force")


def read_tokens(file: Path) -> dict[bytes, Sender]:
    """Senders of a file, by the digest of their token.

    Raises:
        SettingsError: it cannot be read, or a line of it is of another form; its number is said, and nothing of it.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:  # not there, not readable, or not text
        raise SettingsError(
            f"{_VARIABLE} names {file}, which cannot be read ({type(error).__name__}): "
            "give a file that this process may read"
        ) from None
    senders: dict[bytes, Sender] = {}
    for number, line in enumerate(lines, 1):
        token, *limits = line.partition("#")[0].split() or [""]
        if not token:
            continue
        if len(token) < MIN_KEY or not _TOKEN.fullmatch(token):
            raise SettingsError(
                f"{_VARIABLE}: line {number} of {file} has no token of at least {MIN_KEY} letters, digits or -._~+/"
            )
        senders[_digest(token)] = _sender(limits, f"{_VARIABLE}: line {number} of {file}")
    if not senders:
        raise SettingsError(f"{_VARIABLE} names {file}, which holds no token: put one into it, one a line")
    return senders


def _sender(limits: list[str], where: str) -> Sender:
    given: dict[str, frozenset[str]] = {}
    for limit in limits:
        name, equals, values = limit.partition("=")
        listed = frozenset(value for value in values.split(",") if value)
        if name not in _LIMITS or not equals or not listed or name in given:
            raise SettingsError(f"{where}: write service.name=a,b or scope=a,b after the token, each once")
        given[name] = listed
    return Sender(given.get("service.name"), given.get("scope"))


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _state_of(file: Path) -> tuple[int, ...]:
    try:
        state = os.stat(file)  # noqa: PTH116 - of what a link points to, as secrets are mounted
    except OSError:  # it is being replaced: looked at again in a moment
        return ()
    return state.st_mtime_ns, state.st_size, state.st_ino
