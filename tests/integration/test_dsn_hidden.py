# SPDX-License-Identifier: Apache-2.0
"""Whatever form an address has, and whatever is wrong with it: no command prints its password, nor does any log."""

import asyncio
import traceback
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intent_events.cli.app import COMMANDS
from intent_events.errors import IntentEventsError
from intent_events.store.connect import check, connect, place_of, shown
from support.commands import run
from support.sinks import listening, sink_process

SECRET: Final = "s3cr3tcanary"  # noqa: S105 - what must not be shown
NOWHERE: Final = "127.0.0.1:1"
FORMS: Final = (
    f"postgresql://app:{{}}@{NOWHERE}/db",
    f"postgres://app:{{}}@{NOWHERE}",
    f"  postgresql://:{{}}@{NOWHERE}/db\n",
    f"postgresql://{NOWHERE}/db?user=app&password={{}}",
    f"postgresql://{NOWHERE}/db?user=app&p%61ssword={{}}",
    f"postgresql://{NOWHERE}/db?sslpassword={{}}",
    f"postgresql://{NOWHERE}/db?pasword={{}}",
    f"postgresql://{NOWHERE}/db?sslmode={{}}",
    f"postgresql://app:{{}}@{NOWHERE}/db?sslmode=verify-full&sslrootcert=/no/such.pem",
    f"postgresql://app:{{}}@{NOWHERE},127.0.0.1:2/db",
    "postgresql://app:{}@no-such-host.invalid/db",
    "postgresql://app:{}@/db?host=/no/such/folder",
    "postgresql://app:{}/db",
    "postgresql://app:{}@[::1/db",
    "postgresql://app:x@{}@127.0.0.1:1/db",
    "postgresql://app:x/{}@127.0.0.1:1/db",
    "postgresql://app:x#{}@127.0.0.1:1/db",
    "postgresql://app:x?{}@127.0.0.1:1/db",
    "postgresql+asyncpg://app:{}@127.0.0.1:1/db",
    "mysql://app:{}@127.0.0.1:1/db",
    "host=127.0.0.1 port=1 user=app password={}",
    "host=127.0.0.1 port=1 user=app password='{}' dbname=db sslmode=verify-full",
    "app:{}@127.0.0.1:1/db",
    "{}",
)
"""Addresses by form; some right, some wrong, none of a server."""


def told_of(dsn: str) -> str:
    """Everything that is said of an address, and what trying it raises, with all that hangs on the error."""
    said = [place_of(dsn), shown(dsn)]
    try:
        check(dsn)
        asyncio.run(connect(dsn, timeout_s=2))
    except IntentEventsError as error:  # what is told to people
        return "\n".join([*said, *traceback.format_exception(error)])
    pytest.fail("somebody answers there")


@pytest.mark.parametrize("form", FORMS)
def test_of_each_form(form: str) -> None:
    """A password within whichever form of address is shown by nothing that says something of it."""
    assert SECRET not in told_of(form.format(SECRET))


QUICK: Final = [form for form in FORMS if "no-such-host" not in form]
PASSWORDS: Final = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10).map(
    lambda text: f"pw7{text}7wp"
)


@settings(deadline=None, max_examples=300)
@given(form=st.sampled_from(QUICK), password=PASSWORDS, escaped=st.booleans())
def test_of_any_password(form: str, password: str, *, escaped: bool) -> None:
    """The same for passwords of any characters, escaped as they should be or not."""
    told = told_of(form.format(quote(password, safe="") if escaped else password))
    assert not [piece for piece in ("pw7", "7wp") if piece in told]


ARGUMENTS: Final = {
    "retain": ("--older-than", "90d"),
    "erase": ("--actor", "somebody"),
    "report": ("--timeout", "3s"),
    "reconcile": ("--timeout", "3s"),
    "drain": ("--timeout", "3s"),
    "doctor": ("--timeout", "3s"),
}


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "sink"])
def test_of_each_command(
    command: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], *, by_variable: bool
) -> None:
    """No command prints it, to either stream or to a log, as an argument or as a variable; none calls it fine."""
    # Each takes seconds to look at a whole application, or starts servers: one right and one wrong address suffice.
    forms = (FORMS[0], FORMS[14]) if command in {"doctor", "demo"} else FORMS
    for form in forms:
        dsn = form.format(SECRET)
        more = ARGUMENTS.get(command, ())
        ran = run(command, *more, INTENT_EVENTS_DSN=dsn) if by_variable else run(command, *more, "--dsn", dsn)
        told = [ran.stdout, ran.stderr, caplog.text, *capfd.readouterr()]
        assert not [text for text in told if SECRET in text], f"{command} shows the password of {form}"
        assert command == "drain" or ran.exit_code in {1, 2, 3}


@pytest.mark.parametrize("form", [FORMS[0], FORMS[14]])
def test_of_the_sink(form: str) -> None:
    """Nor does the sink, which runs until it is told to stop: not when it cannot begin, nor while it cannot store."""
    process = sink_process(form.format(SECRET))
    told = ""
    try:
        told = "".join(listening(process).said)
    except AssertionError as refused:  # the address is of the wrong form, so that it does not begin
        told = str(refused)
    finally:
        process.terminate()
        told += "".join(process.communicate(timeout=40))
    assert told
    assert SECRET not in told
