# SPDX-License-Identifier: Apache-2.0
"""TLS and mutual TLS of both ports, from files that may be replaced while the sink runs."""

import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc

from intent_events.errors import SettingsError

_CERTIFICATE: Final = "INTENT_EVENTS_SINK_TLS_CERT"
_KEY: Final = "INTENT_EVENTS_SINK_TLS_KEY"
_CLIENT_CA: Final = "INTENT_EVENTS_SINK_TLS_CLIENT_CA"


class TlsFiles(NamedTuple):
    """Files in PEM.

    Attributes:
        certificate: of the sink, with its chain.
        key: of the certificate.
        client_ca: whose certificates senders must have; None when they need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def check(self) -> None:
        """See that they can be used.

        Raises:
            SettingsError: a file cannot be read, is no PEM, or the key is that of another certificate.
        """
        self.http_context()
        self._read()

    def http_context(self) -> ssl.SSLContext:
        """What the HTTP port speaks TLS with; raises as :meth:`check` does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load_into(context)
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:  # not there, not readable, or no PEM
                raise SettingsError(f"{_CLIENT_CA} names {self.client_ca}, which {_why(error)}") from None
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let new connections of this context have the certificate that is there now; raises as :meth:`check` does."""
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:  # not there, not readable, no PEM, or of another certificate
            named = f"{_CERTIFICATE} and {_KEY} name {self.certificate} and {self.key}"
            raise SettingsError(f"{named}, of which one {_why(error)}, or which do not belong together") from None

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """What the gRPC port speaks TLS with; it reads the files anew for each connection once they have changed."""
        seen = self.state()

        def renewed() -> Any:
            nonlocal seen
            state = self.state()
            if state == seen:
                return None  # as they were
            try:
                configuration = self._configuration()
                self.http_context()  # a certificate that is half replaced is not taken
            except SettingsError:  # they are being replaced: the next connection looks again
                return None
            seen = state
            return configuration

        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), renewed, require_client_authentication=self.client_ca is not None
        )

    def state(self) -> tuple[int, ...]:
        """Changes whenever a file is replaced."""
        state: list[int] = []
        for file in (self.certificate, self.key, self.client_ca):
            try:
                found = file.stat() if file is not None else None
            except OSError:  # it is being replaced
                found = None
            state += (0, 0) if found is None else (found.st_mtime_ns, found.st_ino)
        return tuple(state)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, client_ca = self._read()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)

    def _read(self) -> tuple[bytes, bytes, bytes | None]:
        try:
            client_ca = None if self.client_ca is None else self.client_ca.read_bytes()
            return self.certificate.read_bytes(), self.key.read_bytes(), client_ca
        except OSError as error:  # not there, or not readable
            raise SettingsError(f"{_CERTIFICATE}, {_KEY} or {_CLIENT_CA}: a file {_why(error)}") from None


def _why(error: OSError) -> str:
    return "is no PEM" if isinstance(error, ssl.SSLError) else f"cannot be read ({type(error).__name__})"
