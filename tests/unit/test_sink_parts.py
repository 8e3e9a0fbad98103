# SPDX-License-Identifier: Apache-2.0
"""Parts of the sink by themselves: the budget of bytes, refusals, bounds of compression, files of certificates."""

import asyncio
import gzip
from pathlib import Path
from typing import Final

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import get_meter

from intent_events.errors import SettingsError
from intent_events.sink.access import Access
from intent_events.sink.answers import RefusedError, Taken, Why
from intent_events.sink.budget import Budget
from intent_events.sink.committer import Committer
from intent_events.sink.compression import gunzip
from intent_events.sink.metrics import SinkMetrics
from intent_events.sink.service import Limits, Service
from intent_events.sink.transport_security import TlsFiles
from intent_events.store.copy_format import Sealed, seal
from intent_events.store.write import Writer
from support.records import utterance

MB: Final = 1 << 20


def metrics() -> SinkMetrics:
    """Metrics that nobody reads."""
    return SinkMetrics(get_meter("tests"))


async def test_the_budget_is_kept_and_given_in_order() -> None:
    """Never more is held than may be, whoever waits is served in order, and all of it comes back."""
    budget = Budget(10, patience_s=30)
    order: list[int] = []
    most = 0

    async def hold(number: int, n: int) -> None:
        nonlocal most
        with budget.lease() as lease:
            await lease.grow(n)
            order.append(number)
            most = max(most, budget.held)
            await asyncio.sleep(0)
            lease.shrink_to(n // 2)

    async with asyncio.TaskGroup() as together:
        for number in range(50):
            together.create_task(hold(number, 1 + number % 7))
    assert order == list(range(50))
    assert most <= 10
    assert budget.held == 0


async def test_who_waits_in_vain_is_asked_to_come_back() -> None:
    """Beyond the patience a request is refused for now, and those behind it are served."""
    budget = Budget(10, patience_s=0.01)
    with budget.lease() as first:
        await first.grow(8)
        with budget.lease() as second, pytest.raises(RefusedError) as caught:
            await second.grow(5)
        assert caught.value.why is Why.BUSY
        with budget.lease() as third:
            await third.grow(2)
        assert budget.held == 8
    assert budget.held == 0


async def test_who_hangs_up_leaves_nothing_behind() -> None:
    """A request that is given up while it waits, or at the moment of its turn, holds nothing."""
    budget = Budget(10, patience_s=30)

    async def hold() -> None:
        with budget.lease() as lease:
            await lease.grow(6)
            await asyncio.sleep(3600)

    with budget.lease() as first:
        await first.grow(6)
        waiting = [asyncio.create_task(hold()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # while it waits
        await asyncio.sleep(0)
    waiting[1].cancel()  # its turn has come, and it has not run since
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    await asyncio.sleep(0)
    assert budget.held == 6
    waiting[2].cancel()
    await asyncio.gather(waiting[2], return_exceptions=True)
    assert budget.held == 0


async def test_what_is_larger_than_the_budget_goes_alone() -> None:
    """A request that never fits gets through when nobody else holds anything, rather than never."""
    budget = Budget(10, patience_s=0.01)
    with budget.lease() as lease:
        await lease.grow(25)
        assert budget.held == 25
    await budget.room()
    assert budget.held == 0


async def test_a_failure_of_ours_is_answered_as_one_that_passes() -> None:
    """Whatever fails unexpectedly, the sender is asked to come back, and reads nothing of what failed."""
    committer = Committer(lambda: Writer("", door="sink"), 1, metrics())
    service = Service(Access(None), Limits(MB, 1), Budget(MB, patience_s=1), committer, metrics())
    with pytest.raises(RefusedError) as caught, service.refusals("grpc"):
        raise ZeroDivisionError("of the utterance")
    assert caught.value.why is Why.INTERNAL
    assert caught.value.retry_s is not None
    assert "utterance" not in str(caught.value)
    with pytest.raises(asyncio.CancelledError), service.refusals("grpc"):
        raise asyncio.CancelledError


class UnexpectedError(Exception):
    """What nobody expected."""


def _broken() -> Writer:
    raise UnexpectedError


async def test_a_writer_that_cannot_be_made_refuses_for_now() -> None:
    """Records that cannot be written for a reason that nobody expected are asked for again, and the sink goes on."""
    committer = Committer(_broken, 1, metrics())
    running = asyncio.create_task(committer.run())
    for _ in range(2):
        with pytest.raises(RefusedError) as caught:
            await committer.store([seal_of(1)], [])
        assert caught.value.why is Why.INTERNAL
    assert not committer.able
    assert await committer.store([], []) == 0
    committer.stop()
    await running


def seal_of(number: int) -> Sealed:
    """A row as it is written."""
    return seal(utterance(number))


@given(st.binary(max_size=5000), st.integers(1, 3), st.integers(0, 6000))
def test_gzip_within_bounds(data: bytes, members: int, most: int) -> None:
    """A body is uncompressed as a whole, whatever it is made of, or refused when it is more than may come of it."""

    async def run() -> bytes:
        with Budget(MB, patience_s=1).lease() as lease:
            return await gunzip(gzip.compress(data) * members, most, lease)

    if len(data) * members <= most:
        assert asyncio.run(run()) == data * members
    else:
        with pytest.raises(RefusedError) as caught:
            asyncio.run(run())
        assert caught.value.why is Why.TOO_LARGE


def test_answers() -> None:
    """An answer is empty when all is stored; what it says otherwise are counts."""
    assert Taken().response().SerializeToString() == b""
    partial = Taken(dead=2, forbidden=3).response().partial_success
    assert partial.rejected_spans == 5
    assert partial.error_message.startswith("2 could not become rows")


@pytest.mark.parametrize("why", Why, ids=lambda why: why.value.label)
def test_refusals_are_known_to_otlp(why: Why) -> None:
    """Every refusal has codes of the specification, and says when to come back exactly when it is retryable."""
    refusal = RefusedError(why, "x")
    assert why.value.http in ({503} if why.value.retryable else {400, 401, 413, 415})
    assert (refusal.retry_s is not None) == (refusal.retry_info() is not None) == why.value.retryable
    assert (why.value.grpc == 14) == why.value.retryable
    assert len(refusal.status().details) == why.value.retryable


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """Files of a certificate, and of an authority."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")


def test_certificates_that_can_be_used(files: TlsFiles) -> None:
    """A sound set of files is taken, with and without an authority; what changes is seen."""
    files.check()
    files._replace(client_ca=None).check()
    before = files.state()
    files.certificate.write_bytes(files.certificate.read_bytes() + b"\n")
    assert files.state() != before
    files.key.unlink()
    assert files.state() != before


@pytest.mark.parametrize("name", ["certificate", "key", "client_ca"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_certificates_that_cannot_be_used(files: TlsFiles, name: str, content: bytes | None) -> None:
    """A file that is missing, empty or no PEM is named with its variable."""
    file: Path = getattr(files, name)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="INTENT_EVENTS_SINK_TLS_") as caught:
        files.check()
    assert str(file) in str(caught.value)


def test_a_key_of_another_certificate(files: TlsFiles) -> None:
    """So are a certificate and a key that do not belong together."""
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(files.key)
    with pytest.raises(SettingsError, match="belong together"):
        files.check()
