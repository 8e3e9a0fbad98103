# SPDX-License-Identifier: Apache-2.0
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_events.errors import SettingsError
from intent_events.store.connect import check, connect, place_of

SECRET = "secret"  # noqa: S105 - what must not be shown
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(lambda text: f"pw{text}wp")


@given(PASSWORDS)
def test_an_escaped_password_is_never_in_the_name_of_the_place(password: str) -> None:
    """Host and database are named, user and password are not, whatever the password is made of."""
    dsn = f"postgresql://someone:{quote(password, safe='')}@db.example:5433/intents?password={quote(password, safe='')}"
    check(dsn)
    assert place_of(dsn) == 'database "intents" on db.example:5433'


@given(PASSWORDS)
def test_pieces_of_an_unescaped_password_are_never_shown(password: str) -> None:
    """An @, / or # that nobody escaped moves the password to where host and database stand: then neither is shown."""
    dsn = f"postgresql://someone:{password}@db.example/intents"
    said = place_of(dsn)
    try:
        check(dsn)
    except SettingsError as error:
        said += str(error)
    assert not any(piece in said for piece in ("pw", "wp"))
    assert "someone" not in said


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql:///intents?host=/run/postgresql", 'database "intents" on /run/postgresql'),
        ("postgresql://localhost", "the default database on localhost"),
        ("postgres://", "the default database"),
        ("postgresql://a@h1:1,h2:2/x%20y", 'database "x y" on h1:1,h2:2'),
        ("postgresql://h/?dbname=intents", 'database "intents" on h'),
        ("postgresql://[::1", "the database of INTENT_EVENTS_DSN"),
    ],
)
def test_places(dsn: str, place: str) -> None:
    """Database and host are named wherever an address keeps them."""
    assert place_of(dsn) == place


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "  ",
        "secret",
        "mysql://u:secret@h/db",
        "postgresql+asyncpg://u:secret@h/db",
        "postgresql://u:secret@[::1/db",
        "postgresql://u:sec@ret@h/db",
        "postgresql://u:1/secret@h/db",
        "postgresql://u:1#secret@h/db",
        "postgresql://u:secret@h:port/db",
        "postgresql://u:1?secret@h/db",
        "postgresql://u:secret@h/db?sslmode=secret",
    ],
)
async def test_an_address_that_cannot_be_used_is_wrong_use(dsn: str) -> None:
    """A malformed address is refused before anything is asked, with the form to write and nothing of the address."""
    with pytest.raises(SettingsError, match=r"INTENT_EVENTS_DSN .* postgresql://user:password@host") as caught:
        await connect(dsn, timeout_s=1)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
