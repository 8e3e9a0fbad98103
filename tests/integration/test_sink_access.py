# SPDX-License-Identifier: Apache-2.0
"""Who may send to the sink: tokens, TLS and mutual TLS, on real sockets."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest
import trustme

from intent_events.errors import SettingsError
from intent_events.sink.access import Access, Sender, read_tokens
from support.otlp import request
from support.postgres import Database
from support.records import span_view, utterances
from support.sinks import JSON, RunningSink, sink
from support.stored import stored_rows
from support.waiting import until

OLD: Final = "old-token-0123456789"
NEW: Final = "new-token-0123456789"
SHOP: Final = "shop-token-0123456789"
OK: Final = grpc.StatusCode.OK
UNAUTHENTICATED: Final = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file of tokens."""
    file = tmp_path / "tokens"
    file.write_text(f"# who may send\n{OLD}\n{SHOP} service.name=shop,bank scope=book-1 # theirs\n\n", "utf-8")
    return file


@pytest.fixture
def guarded(pg: Database, tokens: Path) -> Iterator[RunningSink]:
    """A sink that asks for tokens."""
    with sink(pg.dsn, TOKENS=str(tokens), HEALTH_PORT="0") as running:
        yield running


WRONG: Final = ("", "x", OLD[:-1], OLD + "x", OLD.upper(), f"{OLD} {NEW}", "é" * 10)


@pytest.mark.parametrize("token", WRONG)
def test_a_wrong_token(pg: Database, guarded: RunningSink, token: str) -> None:
    """Nothing is stored and nothing is learnt: the answer is the same whatever was sent."""
    sound, nonsense = request([span_view(0)]), b"\xff\xff"
    if token.isascii():
        answers = {
            (answer.code, answer.details) for answer in (guarded.export(b, token=token) for b in (sound, nonsense))
        }
        assert answers == {(UNAUTHENTICATED, "a bearer token that this sink knows is needed")}
    refused = [guarded.post(body, token=token.encode().decode("latin-1")) for body in (sound, nonsense)]
    refused.append(guarded.post(sound, token=token.encode().decode("latin-1"), encoding="br"))
    assert {answer.code for answer in refused} == {401}
    assert {answer.headers["www-authenticate"] for answer in refused} == {"Bearer"}
    assert {answer.status.message for answer in refused} == {"a bearer token that this sink knows is needed"}
    assert guarded.get("/metrics").code == 401
    assert (
        pg.fetchval_now("SELECT (SELECT count(*) FROM agent.intent_events) + (SELECT count(*) FROM agent.dead_letters)")
        == 0
    )


def test_a_token(pg: Database, guarded: RunningSink) -> None:
    """A known token opens both transports; probes ask for none, and metrics on the health port neither."""
    assert guarded.export(request([span_view(0)]), token=OLD).code is OK
    assert guarded.post(request([span_view(1)]), token=OLD).code == 200
    assert guarded.post(b"{}", token=OLD, media_type=JSON).code == 200
    assert (guarded.get("/healthz").code, guarded.get("/readyz").code) == (200, 200)
    assert guarded.get("/metrics", token=OLD).code == 200
    assert guarded.get("/metrics", guarded.health_port).code == 200
    assert guarded.get("/v1/traces", guarded.health_port).code == 404
    assert stored_rows(pg) == utterances(0, 2)


def test_a_token_of_some_services_and_scopes(pg: Database, guarded: RunningSink) -> None:
    """Records of others are refused and not kept; the sender is told how many, and the rest is stored."""
    views = [
        span_view(0, {"intent.scope": "book-1"})._replace(service_name="shop"),
        span_view(1, {"intent.scope": "book-2"})._replace(service_name="shop"),
        span_view(2, {"intent.scope": "book-1"})._replace(service_name="else"),
        span_view(3, {"intent.scope": "book-1"})._replace(service_name="bank"),
    ]
    answer = guarded.export(request(views), token=SHOP)
    assert (answer.code, answer.response.partial_success.rejected_spans) == (OK, 2)
    assert "service or scope" in answer.response.partial_success.error_message
    assert len(stored_rows(pg)) == 2
    assert pg.fetchval_now("SELECT count(*) FROM agent.dead_letters") == 0


def test_tokens_are_rotated(guarded: RunningSink, tokens: Path) -> None:
    """A new token works beside the old one without a restart, and the old one ends; a broken file changes nothing."""
    body = request([span_view(0)])
    assert guarded.export(body, token=NEW).code is UNAUTHENTICATED
    replaced = tokens.with_suffix(".new")
    replaced.write_text(f"{OLD}\n{NEW}\n", "utf-8")
    replaced.rename(tokens)
    until(lambda: guarded.export(body, token=NEW).code is OK, "the new token is known")
    assert guarded.post(body, token=OLD).code == 200
    tokens.write_text(f"{NEW}\n", "utf-8")
    until(lambda: guarded.export(body, token=OLD).code is UNAUTHENTICATED, "the old token is forgotten")
    tokens.write_text("short\n", "utf-8")
    until(lambda: guarded.get("/metrics", token=NEW).code == 200, "a broken file changes nothing")
    tokens.unlink()
    assert guarded.export(body, token=NEW).code is OK
    code, log = guarded.stop()
    assert code == 0
    assert NEW not in log
    assert OLD not in log


FILES: Final = {
    "nothing": ("", "holds no token"),
    "comments alone": ("# x\n\n", "holds no token"),
    "a short token": ("short\n", "line 1"),
    "a token of other characters": (f"{OLD}\n<{'x' * 20}>\n", "line 2"),
    "an unknown limit": (f"{OLD} role=x\n", "write service.name="),
    "an empty limit": (f"{OLD} scope=,\n", "write service.name="),
    "a limit twice": (f"{OLD} scope=a scope=b\n", "write service.name="),
    "no text": (b"\xff\xfe", "cannot be read"),
}


@pytest.mark.parametrize(("content", "said"), FILES.values(), ids=FILES)
def test_files_of_tokens_that_cannot_be_used(tmp_path: Path, content: str | bytes, said: str) -> None:
    """The error says what to mend and where, and nothing of a token."""
    file = tmp_path / "tokens"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SettingsError, match="INTENT_EVENTS_SINK_TOKENS") as caught:
        read_tokens(file)
    assert said in str(caught.value)
    assert OLD not in str(caught.value)
    assert "xxxx" not in str(caught.value)


def test_how_a_token_is_said(tokens: Path) -> None:
    """The scheme is Bearer in any case; without a file nobody is asked."""
    access = Access(tokens)
    assert access.sender_of(f"bearer  {OLD} ") == Sender()
    assert access.sender_of(f"BEARER {SHOP}") == Sender(frozenset({"shop", "bank"}), frozenset({"book-1"}))
    assert [access.sender_of(said) for said in (None, "", "Bearer", f"Basic {OLD}", OLD)] == [None] * 5
    assert Access(None).sender_of(None) == Sender()


class Certificates:
    """Files of an authority of one's own: those of the sink and of a sender."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.sender = self.authority.issue_cert("sender@example.org")
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.issue()

    def issue(self) -> None:
        """Give the sink a new certificate."""
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        for name, blobs in (("key.pem", [issued.private_key_pem]), ("cert.pem", issued.cert_chain_pems)):
            new = self.folder / f"{name}.new"
            new.write_bytes(b"".join(blob.bytes() for blob in blobs))
            os.rename(new, self.folder / name)  # noqa: PTH104 - as secrets are replaced

    def settings(self, *, mutual: bool) -> dict[str, str]:
        """Settings of a sink that has them."""
        found = {"TLS_CERT": str(self.folder / "cert.pem"), "TLS_KEY": str(self.folder / "key.pem")}
        return found | ({"TLS_CLIENT_CA": str(self.folder / "ca.pem")} if mutual else {})

    def context(self, *, known: bool) -> ssl.SSLContext:
        """What a sender over HTTP speaks TLS with."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType] - of another library too
        if known:
            self.sender.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - of another library too
        return context

    def credentials(self, *, known: bool) -> grpc.ChannelCredentials:
        """What a sender over gRPC speaks TLS with."""
        key = self.sender.private_key_pem.bytes() if known else None
        chain = b"".join(blob.bytes() for blob in self.sender.cert_chain_pems) if known else None
        return grpc.ssl_channel_credentials(self.authority.cert_pem.bytes(), key, chain)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Files of an authority of one's own."""
    return Certificates(tmp_path)


def test_tls(pg: Database, certificates: Certificates) -> None:
    """Both ports speak TLS, to any address; plain connections get nowhere; the health port needs no certificate."""
    settings = certificates.settings(mutual=False)
    with sink(pg.dsn, HOST="0.0.0.0", HEALTH_PORT="0", **settings) as running:  # noqa: S104 - it is what is tested
        credentials, context = certificates.credentials(known=False), certificates.context(known=False)
        assert running.export(request([span_view(0)]), credentials=credentials).code is OK
        assert running.post(request([span_view(1)]), tls=context).code == 200
        with pytest.raises(OSError, match=r".*"):
            running.post(request([span_view(2)]))
        assert running.get("/readyz", running.health_port).code == 200
        assert "https" in "".join(running.said)
    assert stored_rows(pg) == utterances(0, 2)


def test_mutual_tls(pg: Database, certificates: Certificates) -> None:
    """Only senders with a certificate of the authority get through."""
    with sink(pg.dsn, HEALTH_PORT="0", **certificates.settings(mutual=True)) as running:
        assert running.export(request([span_view(0)]), credentials=certificates.credentials(known=True)).code is OK
        assert running.post(request([span_view(1)]), tls=certificates.context(known=True)).code == 200
        with pytest.raises(OSError, match=r".*"):
            running.post(request([span_view(2)]), tls=certificates.context(known=False))
        with running.channel(certificates.credentials(known=False)) as channel, pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=1)
    assert stored_rows(pg) == utterances(0, 2)


def test_certificates_are_replaced(pg: Database, certificates: Certificates) -> None:
    """New connections get the certificate that is there; one that is half replaced is not taken."""
    with sink(pg.dsn, HEALTH_PORT="0", **certificates.settings(mutual=True)) as running:
        first = _serial(running.http_port, certificates), _serial(running.grpc_port, certificates)
        (certificates.folder / "cert.pem").write_bytes(b"half")
        assert running.export(request([span_view(0)]), credentials=certificates.credentials(known=True)).code is OK
        certificates.issue()
        for port, before in zip((running.http_port, running.grpc_port), first, strict=True):
            until(lambda port=port, before=before: _serial(port, certificates) != before, "the new one is used")
        assert running.post(request([span_view(1)]), tls=certificates.context(known=True)).code == 200
    assert stored_rows(pg) == utterances(0, 2)


def _serial(port: int, certificates: Certificates) -> bytes:
    import socket  # noqa: PLC0415 - of this function alone

    context = certificates.context(known=True)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""
