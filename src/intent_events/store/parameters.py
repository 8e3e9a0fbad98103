# SPDX-License-Identifier: Apache-2.0
"""Parameters of an address that libpq knows and asyncpg does not, which sends them to a server that refuses them.

Those that change nothing for us are left out. Those that somebody relies on, and that would be lost without a word, are
refused. All others are for asyncpg, which takes those that it does not know for settings of the server.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote_plus

from intent_events.errors import SettingsError

_WITHOUT_EFFECT: Final = frozenset(
    {
        "connect_timeout",  # each of our connections has a time of its own
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("fallback_application_name", "client_encoding"),  # ours are fixed
        *("sslcompression", "sslkeylogfile", "gssdelegation", "load_balance_hosts", "max_protocol_version"),
        *("authtype", "tty"),  # libpq itself passes over these
    }
)
_HARMLESS: Final[Mapping[str, frozenset[str]]] = {
    "channel_binding": frozenset({"prefer", "disable"}),
    "gssencmode": frozenset({"prefer", "disable"}),
    "min_protocol_version": frozenset({"3.0"}),
    "requiressl": frozenset({"0"}),
    "sslcertmode": frozenset({"allow"}),
    "sslsni": frozenset({"1"}),
}
"""Values that change nothing for us; any other is refused."""

_TRUST: Final = "leave it out, and add sslmode=verify-full so that the server is known by its certificate"
_REMEDIES: Final[Mapping[str, str]] = {
    "channel_binding": _TRUST,
    "gssencmode": "leave it out, and add sslmode=verify-full so that TLS encrypts",
    "hostaddr": "write that address in the place of the host",
    "min_protocol_version": "leave it out: version 3.0 is spoken",
    "oauth_client_id": "leave it out, and give the user a password or a certificate",
    "oauth_client_secret": "leave it out, and give the user a password or a certificate",
    "oauth_issuer": "leave it out, and give the user a password or a certificate",
    "oauth_scope": "leave it out, and give the user a password or a certificate",
    "require_auth": _TRUST,
    "requirepeer": "leave it out, and keep the socket in a folder that only the server's user may write to",
    "requiressl": "write sslmode=require instead",
    "scram_client_key": "leave it out, and give the password",
    "scram_server_key": "leave it out, and give the password",
    "servicefile": "leave it out, and set PGSERVICEFILE",
    "ssl": "write sslmode=require or sslmode=disable instead",
    "sslcertmode": "leave it out: a certificate is shown where sslcert and sslkey name one",
    "sslcrldir": "name one file, by sslcrl",
    "sslsni": "leave it out: the name of the host is always sent",
}
"""What to do about a parameter that has a meaning which would be lost."""


def check_parameters(parameters: Mapping[str, Sequence[str]]) -> None:
    """Refuse an address that asks for what would be left undone.

    Args:
        parameters: of the address.

    Raises:
        SettingsError: the text names the parameter and the remedy, and no value.
    """
    for name, remedy in _REMEDIES.items():
        if not _HARMLESS.get(name, frozenset()).issuperset(parameters.get(name, ())):
            raise SettingsError(f"INTENT_EVENTS_DSN: the driver cannot do what {name} asks for; {remedy}")


def for_driver(dsn: str) -> str:
    """The address without the parameters that change nothing for us; one that :func:`check_parameters` lets pass."""
    place, _, query = dsn.partition("?")
    kept = [parameter for parameter in query.split("&") if not _is_left_out(parameter)]
    return f"{place}?{'&'.join(kept)}" if any(kept) else place


def _is_left_out(parameter: str) -> bool:
    name = unquote_plus(parameter.partition("=")[0])
    return name in _WITHOUT_EFFECT or name in _HARMLESS
