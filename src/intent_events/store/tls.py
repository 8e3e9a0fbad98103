# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with TLS on the way to Postgres, said with its remedy."""

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from intent_events.errors import IntentEventsError, SettingsError, UnavailableError

_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_OTHER_HOST: Final = frozenset({62, 64})
_OUTDATED: Final = frozenset({9, 10})
_REFUSED: Final = "rejected SSL upgrade"


def check_files(parameters: Mapping[str, Sequence[str]]) -> None:
    """Refuse an address that names files which cannot be read; a missing one would look like a missing server.

    Raises:
        SettingsError: the text names the parameter, not the file.
    """
    for name in _FILES:
        for path in parameters.get(name, ()):
            if not (Path(path).is_file() and os.access(path, os.R_OK)):
                raise SettingsError(f"INTENT_EVENTS_DSN: the file of {name} cannot be read; give a PEM file")


def problem_of(error: BaseException, place: str, parameters: Mapping[str, Sequence[str]]) -> IntentEventsError | None:
    """What is wrong, when it is TLS.

    Args:
        error: what connecting failed with.
        place: database and host, for people.
        parameters: of the address.
    """
    mode = parameters.get("sslmode", [""])[-1]
    if isinstance(error, ssl.SSLCertVerificationError):
        return UnavailableError(f"{place} is not trusted: {_mistrust(error.verify_code)}")
    if isinstance(error, ssl.SSLError) and error.library == "SSL" and error.reason:
        return UnavailableError(
            f"{place} refused the TLS handshake ({error.reason}); check the TLS versions, sslcert and sslkey"
        )
    if isinstance(error, ssl.SSLError):
        return SettingsError("INTENT_EVENTS_DSN: a file of sslrootcert, sslcert or sslkey is no PEM of that kind")
    if isinstance(error, asyncpg.ClientConfigurationError) and mode.startswith("verify-"):
        return SettingsError(
            f"INTENT_EVENTS_DSN: sslmode={mode} needs the CA that signed the server's certificate; "
            "add sslrootcert=/path/to/ca.pem, or put it into ~/.postgresql/root.crt"
        )
    if isinstance(error, ConnectionError) and _REFUSED in str(error):
        return UnavailableError(
            f"{place} does not speak TLS, which sslmode={mode} asks for; set ssl = on there, or see who answers"
        )
    return None


def _mistrust(code: int) -> str:
    if code in _OTHER_HOST:
        return "its certificate is for another host name; name the host as the certificate does, or see who answers"
    if code in _OUTDATED:
        return "its certificate has expired, or is not valid yet; renew it, or set the clock"
    return "its certificate is not signed by a CA of sslrootcert; name the right CA, or see who answers"
