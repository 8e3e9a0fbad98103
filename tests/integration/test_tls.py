# SPDX-License-Identifier: Apache-2.0
"""The way to Postgres over TLS: ``verify-full`` lets through the right server alone, and says which thing is wrong."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import trustme

from intent_events.demo.postgres import EmbeddedPostgres
from intent_events.errors import SettingsError
from intent_events.store.connect import connect, disconnect
from support.commands import run
from support.postgres import IN_CI, SYSTEM_15, Database, run_apart
from support.waiting import until

pytestmark = pytest.mark.postgres

SECRET: Final = "s3cr3t-canary"  # noqa: S105 - what must not be shown


@dataclass(frozen=True)
class Tls:
    """A server with TLS, beside one without."""

    server: EmbeddedPostgres
    plain: EmbeddedPostgres
    files: Path

    def dsn(self, ca: str = "ca", host: str = "localhost", *, plain: bool = False, more: str = "") -> str:
        """Address that trusts this CA alone."""
        server = self.plain if plain else self.server
        where = f"postgresql://postgres:{SECRET}@{host}:{server.port}/postgres"
        return f"{where}?sslmode=verify-full&sslrootcert={self.files / ca}.pem{more}"

    def present(self, certificate: trustme.LeafCert) -> None:
        """Let the server present this certificate from now on."""
        owner = self.server.data_dir.stat()
        for name, blob in (
            ("server.key", certificate.private_key_pem),
            ("server.crt", certificate.cert_chain_pems[0]),
        ):
            path = self.server.data_dir / name
            blob.write_to_path(path)
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    """A server with TLS and certificates of a CA of its own, which the Postgres of the wheel is built without."""
    if not (SYSTEM_15 / "postgres").is_file():
        reason = f"no Postgres with TLS in {SYSTEM_15}: apt-get install postgresql-15"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    files = tmp_path_factory.mktemp("tls")
    with EmbeddedPostgres(bin_dir=SYSTEM_15, tcp=True) as server, EmbeddedPostgres(tcp=True) as plain:
        found = Tls(server, plain, files)
        authority, other = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(files / "ca.pem")
        other.cert_pem.write_to_path(files / "other.pem")
        (files / "empty.pem").write_text("no certificate")
        found.present(authority.issue_cert("localhost"))
        past = datetime(2020, 1, 1, tzinfo=UTC)
        outdated = authority.issue_cert("localhost", not_before=past, not_after=past + timedelta(days=1))
        outdated.private_key_pem.write_to_path(files / "outdated.key")
        outdated.cert_chain_pems[0].write_to_path(files / "outdated.crt")
        admin = Database(server.dsn())
        admin.execute_now("ALTER SYSTEM SET ssl = on")
        admin.execute_now("ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.3'")
        admin.fetch_now("SELECT pg_reload_conf()")
        until(lambda: admin.fetchval_now("SHOW ssl") == "on", "TLS is on")
        yield found


async def test_the_right_server_over_tls(tls: Tls) -> None:
    """With the right CA and host the connection is made, and is encrypted."""
    connection = await connect(tls.dsn(), timeout_s=10)
    assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    await disconnect(connection)


def test_commands_over_tls(tls: Tls) -> None:
    """Migrating, through SQLAlchemy, and reporting use the address as it is."""
    migrated = run("migrate", "--dsn", tls.dsn())
    assert (migrated.exit_code, migrated.stderr) == (0, "")
    assert run("report", "--dsn", tls.dsn()).exit_code == 0


@pytest.mark.parametrize("command", [("report",), ("migrate",), ("reconcile",), ("retain", "--older-than", "90d")])
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ca": "other"}, "its certificate is not signed by a CA of sslrootcert"),
        ({"host": "127.0.0.1"}, "its certificate is for another host name"),
        ({"plain": True}, "does not speak TLS"),
    ],
    ids=["wrong CA", "wrong host name", "plaintext server"],
)
def test_the_wrong_server(tls: Tls, command: tuple[str, ...], wrong: dict[str, Any], says: str) -> None:
    """Another CA, another name or no TLS: one line that names it, exit 3, no password, and nothing was sent there."""
    ran = run(*command, "--dsn", tls.dsn(**wrong))
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert says in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert SECRET not in ran.stderr


def test_no_common_version(tls: Tls) -> None:
    """A handshake that the server refuses is told apart from a server that is not there."""
    ran = run("report", "--dsn", tls.dsn(more="&ssl_max_protocol_version=TLSv1.2"))
    assert (ran.exit_code, ran.stdout) == (3, "")
    assert "refused the TLS handshake (TLSV1_ALERT_PROTOCOL_VERSION)" in ran.stderr


def test_an_outdated_certificate(tls: Tls) -> None:
    """A certificate that has expired is called that."""
    kept = {name: (tls.server.data_dir / name).read_bytes() for name in ("server.key", "server.crt")}
    admin = Database(tls.server.dsn())

    def put(key: bytes, certificate: bytes) -> None:
        for name, data in (("server.key", key), ("server.crt", certificate)):
            (tls.server.data_dir / name).write_bytes(data)
        admin.fetch_now("SELECT pg_reload_conf()")

    put(*((tls.files / f"outdated.{end}").read_bytes() for end in ("key", "crt")))
    until(lambda: "has expired" in run("report", "--dsn", tls.dsn()).stderr, "it presents the outdated one")
    put(kept["server.key"], kept["server.crt"])
    until(lambda: run("migrate", "--check", "--dsn", tls.dsn()).exit_code in {0, 1}, "it presents the right one again")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("sslmode=verify-full&sslrootcert=/no/such/ca.pem", "the file of sslrootcert cannot be read"),
        ("sslmode=verify-full&sslrootcert=/", "the file of sslrootcert cannot be read"),
        ("sslmode=verify-full&sslrootcert={files}/empty.pem", "is no PEM of that kind"),
        ("sslmode=verify-full", "needs the CA that signed the server's certificate"),
        ("sslmode=verify-full&sslrootcert={files}/ca.pem&sslcert={files}/empty.pem", "is no PEM of that kind"),
        ("sslmode=verify-full&sslkey=/no/such/key.pem", "the file of sslkey cannot be read"),
        ("sslmode=strict", "cannot be read"),
    ],
)
def test_files_of_the_address(tls: Tls, wrong: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the address names and that cannot be used is wrong use: exit 2, and which one it is."""
    monkeypatch.setenv("HOME", str(tls.files))
    dsn = f"postgresql://postgres:{SECRET}@localhost:{tls.server.port}/postgres?{wrong.format(files=tls.files)}"
    ran = run("report", "--dsn", dsn)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert says in ran.stderr
    assert SECRET not in ran.stderr


async def test_a_certificate_of_the_client_that_is_refused(tls: Tls) -> None:
    """A server that asks for a certificate and gets none that it trusts is told apart from one that is not there."""
    certificate = trustme.CA().issue_cert("somebody@example.com")
    certificate.private_key_pem.write_to_path(tls.files / "mine.key")
    certificate.cert_chain_pems[0].write_to_path(tls.files / "mine.crt")
    dsn = tls.dsn(more=f"&sslcert={tls.files / 'mine.crt'}&sslkey={tls.files / 'mine.key'}")
    connection = await connect(dsn, timeout_s=10)  # it asks for none, so one more does no harm
    await disconnect(connection)
    with pytest.raises(SettingsError, match="is no PEM of that kind"):
        await connect(dsn.replace("mine.key", "outdated.key"), timeout_s=10)


def test_plain_text_is_what_prefer_falls_back_to(tls: Tls) -> None:
    """Why the documentation asks for verify-full: the default connects in plain text, and says nothing."""

    async def encrypted(dsn: str) -> bool:
        connection = await asyncpg.connect(dsn)
        try:
            return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
        finally:
            await connection.close()

    plain = re.sub(r"\?.*", "", tls.dsn(plain=True, host="127.0.0.1"))
    assert not run_apart(encrypted(plain))
