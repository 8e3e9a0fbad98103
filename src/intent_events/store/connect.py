# SPDX-License-Identifier: Apache-2.0
"""Connections, and what it means when Postgres cannot be asked: one line with a remedy, and never a password.

The driver's own errors can quote parts of an address that was typed wrong, and so parts of the password. Their text is
therefore passed on only where it names a missing table or permission, and they are never chained.
"""

import asyncio
import os
import re
import socket
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import asyncpg

from intent_events.errors import IntentEventsError, SettingsError, UnavailableError
from intent_events.store import tls
from intent_events.store.parameters import check_parameters, for_driver

APPLICATION_NAME: Final = "intent-events"
"""How our connections call themselves in ``pg_stat_activity``."""

UNASKABLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a question to Postgres can fail with: the network (time-outs too), the server, the driver."""

_CLOSE_S: Final = 1.0
_SCHEMES: Final = ("postgresql", "postgres")
_CHECK: Final = "check INTENT_EVENTS_DSN"
_WRITE: Final = "write postgresql://user:password@host:5432/database, special characters of the password as %XX"
_ROLES: Final = (
    "use a login that may: intent_writer stores, intent_reviewer reports, intent_owner reconciles and removes "
    "(docs/security.md)"
)
_WHY: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    (
        (
            asyncpg.UndefinedTableError,
            asyncpg.UndefinedColumnError,
            asyncpg.UndefinedFunctionError,
            asyncpg.InvalidSchemaNameError,
        ),
        "{place} is not migrated: {message}; run `intent-events migrate`",
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        f"{{place}}: {{message}}; {_ROLES}, or {_CHECK}",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        "{place} takes no writes (a standby, or a login that only reads); name the primary, and a login that writes",
    ),
    (
        (TimeoutError, asyncpg.QueryCanceledError),
        "{place} gave no answer within {seconds:g} s; ask for less, or allow more time",
    ),
    ((asyncpg.InvalidCatalogNameError,), f"{{place}} does not exist; create it, or {_CHECK}"),
    ((asyncpg.InvalidAuthorizationSpecificationError,), f"{{place}} refused this user or password; {_CHECK}"),
    (
        (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError),
        "{place} is in use by somebody who holds a lock for long; try again when that has ended",
    ),
    ((OSError,), f"no connection to {{place}} ({{kind}}); is it running? Else {_CHECK}"),
    (
        (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError),
        f"{{place}} broke the connection off ({{kind}}); try again, or {_CHECK}",
    ),
)
"""First match wins; only the first two quote the server, which names a table, a column or a schema there."""

_SHOWN: Final = frozenset({"host", "port", "user", "dbname", "database"})
_PASSWORDS: Final = frozenset({"password", "sslpassword"})
_MODES: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_SETTING: Final = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_NOT_TAKEN: Final = (
    asyncpg.UndefinedObjectError,
    asyncpg.CantChangeRuntimeParamError,
    asyncpg.InvalidParameterValueError,
)
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
_UNEXPECTED: Final = "{place} could not answer ({kind}, {code}); see the server's log"


async def connect(dsn: str, *, timeout_s: float, readonly: bool = False) -> asyncpg.Connection:
    """Connect to Postgres.

    The connection prepares no named statements, so it works behind a pooler too.

    Args:
        dsn: ``postgresql://user:password@host:5432/database``; what it leaves out comes from the ``PG*`` variables.
        timeout_s: seconds that connecting may take.
        readonly: let the server refuse every write (``default_transaction_read_only``). A pooler may refuse that
            setting; behind one, begin a ``READ ONLY`` transaction instead.

    Raises:
        SettingsError: the address itself cannot be used.
        UnavailableError: no connection; the text names host, database and remedy, never the password.
    """
    check(dsn)
    settings = {"application_name": APPLICATION_NAME}
    if readonly:
        settings["default_transaction_read_only"] = "on"
    try:
        return await asyncpg.connect(
            for_driver(dsn.strip()), timeout=timeout_s, statement_cache_size=0, server_settings=settings
        )
    except TimeoutError:  # nobody answers at that address, or the server is starting or overrun
        problem = UnavailableError(f"{place_of(dsn)} accepted no connection within {timeout_s:g} s; {_CHECK}")
    except (*UNASKABLE, ValueError) as error:  # no server, user or database; no trust; an address of another form
        problem = _refused(error, dsn, timeout_s)
    # Raised outside of the handlers, so that the driver's error is not even the hidden context of ours.
    raise problem


def _refused(error: BaseException, dsn: str, timeout_s: float) -> IntentEventsError:
    problem = tls.problem_of(error, place_of(dsn), _parameters(dsn))
    if problem is not None:
        return problem
    if isinstance(error, ValueError):  # the driver cannot read the address: an unknown sslmode, a strange escape
        return SettingsError(f"INTENT_EVENTS_DSN cannot be read; {_WRITE}")
    name = _parameter_in(str(error), dsn)
    # A pooler says so in words alone. It may refuse a setting of ours as well, which is not in the address.
    if isinstance(error, _NOT_TAKEN) or (isinstance(error, asyncpg.ProtocolViolationError) and name):
        what = f"the parameter {name}" if name and _may_be_named(dsn) else "a parameter"
        return SettingsError(
            f"INTENT_EVENTS_DSN: {place_of(dsn)} does not take {what} of the address; correct it, or leave it out"
        )
    return unavailable(error, dsn, timeout_s=timeout_s)


async def disconnect(connection: asyncpg.Connection) -> None:
    """Close a connection in bounded time; one that is broken or does not answer is cut."""
    try:
        async with asyncio.timeout(_CLOSE_S):  # asyncpg's own time-out does not cover a cancelled query
            await connection.close()
    except UNASKABLE:  # the network or the server went away before we did
        connection.terminate()


def check(dsn: str) -> None:
    """Refuse an address that is none.

    Raises:
        SettingsError: it is empty, of a foreign scheme, holds an unescaped password, or asks for what the driver cannot
            do; nothing of it is quoted but the name of a parameter that libpq knows.
    """
    if not dsn.strip():
        raise SettingsError(f"INTENT_EVENTS_DSN is not set; {_WRITE}")
    parts = _split(dsn)
    if parts is None or parts.scheme not in _SCHEMES:
        raise SettingsError(f"INTENT_EVENTS_DSN is no postgresql:// address; {_WRITE}")
    # Such an address is read as another host, port or database, which then hold pieces of the password.
    if parts.netloc.count("@") > 1 or "@" in parts.path or parts.fragment or not _ports_are_numbers(parts):
        raise SettingsError(f"INTENT_EVENTS_DSN has an @, :, / or # that is not escaped; {_WRITE}")
    parameters = _parameters(dsn)
    check_parameters(parameters)
    tls.check_files(parameters)


def place_of(dsn: str) -> str:
    """Database and host of an address, for people to read; without user, password and parameters.

    When pieces of an unescaped password may stand where host and database should, nothing is shown.
    """
    return named_place_of(dsn) or "the database of INTENT_EVENTS_DSN"


def named_place_of(dsn: str) -> str | None:
    """The same; None when nothing is shown."""
    parts = _split(dsn)
    if parts is None or not _is_whole(parts) or "@" in parts.query:
        return None
    parameters = parse_qs(parts.query)
    host = unquote(parts.netloc.rpartition("@")[2]) or parameters.get("host", [""])[-1]
    database = unquote(parts.path.lstrip("/")) or parameters.get("dbname", parameters.get("database", [""]))[-1]
    named = f'database "{database}"' if database else "the default database"
    return f"{named} on {host}" if host else named


def shown(dsn: str) -> str:
    """An address as it may be printed: ``***`` stands for its password, and for whatever could be one."""
    parts = _split(dsn)
    if parts is None or not _is_whole(parts):
        return "***"
    user, at, host = parts.netloc.rpartition("@")
    query = "&".join(map(_shown_parameter, parts.query.split("&")))
    name, colon, _ = user.partition(":")
    return parts._replace(netloc=f"{name}{colon and ':***'}{at}{host}", query=query).geturl()


def unavailable(error: BaseException, dsn: str, *, timeout_s: float) -> UnavailableError:
    """Why Postgres could not be asked, with the remedy. Raise it outside of the handler, or ``from None``.

    Args:
        error: one of :data:`UNASKABLE`.
        dsn: where the question went.
        timeout_s: the seconds it had, for the text of a time-out.
    """
    why = next((why for kinds, why in _WHY if isinstance(error, kinds)), _UNEXPECTED)
    message = str(error).partition("\n")[0]
    code = getattr(error, "sqlstate", None) or "no SQLSTATE"
    kind = _system(error) if isinstance(error, OSError) else type(error).__name__
    return UnavailableError(why.format(place=place_of(dsn), message=message, code=code, kind=kind, seconds=timeout_s))


def _system(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "unknown host name"
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _is_whole(parts: SplitResult) -> bool:
    """Whether no piece of a password stands where host, port and database should."""
    stray = parts.netloc.count("@") > 1 or "@" in parts.path or bool(parts.fragment)
    return parts.scheme in _SCHEMES and not stray and _ports_are_numbers(parts)


def _ports_are_numbers(parts: SplitResult) -> bool:
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return all(_HOST.fullmatch(host) for host in hosts)


def _shown_parameter(parameter: str) -> str:
    """A parameter as it may be printed: who knows what somebody has typed under a wrong name."""
    name, equals, value = parameter.partition("=")
    known = name in _SHOWN or (name == "sslmode" and value in _MODES)
    return parameter if known else f"{name if equals else '***'}{equals and '=***'}"


def _parameter_in(message: str, dsn: str) -> str:
    """The parameter of the address that a message of the server's names; nothing when it names none."""
    names = (name for name in _parameters(dsn) if _SETTING.fullmatch(name))
    first = message.partition("\n")[0]
    return next((name for name in names if f'"{name}"' in first or first.endswith(f": {name}")), "")


def _may_be_named(dsn: str) -> bool:
    """Whether no name of a parameter can be a piece of a password that nobody escaped."""
    parts = _split(dsn)
    return parts is not None and "@" not in parts.query and _PASSWORDS.isdisjoint(_parameters(dsn))


def _parameters(dsn: str) -> dict[str, list[str]]:
    parts = _split(dsn)
    return {} if parts is None else parse_qs(parts.query)


def _split(dsn: str) -> SplitResult | None:
    try:
        return urlsplit(dsn.strip())
    except ValueError:  # a bracket without its partner
        return None
