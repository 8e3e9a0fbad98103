# SPDX-License-Identifier: Apache-2.0
import inspect
import traceback
from urllib.parse import quote

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st

from intent_events.errors import SettingsError
from intent_events.store.connect import check, connect, place_of
from intent_events.store.parameters import for_driver

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


LEFT_OUT = (
    *("connect_timeout=5", "connect_timeout=", "keepalives=1", "keepalives_idle=30", "keepalives_interval=10"),
    *("keepalives_count=3", "tcp_user_timeout=9", "fallback_application_name=app", "client_encoding=auto"),
    *("sslcompression=0", "sslkeylogfile=/tmp/keys", "gssdelegation=1", "load_balance_hosts=random", "authtype=x"),
    *("max_protocol_version=latest", "min_protocol_version=3.0", "requiressl=0", "sslcertmode=allow", "sslsni=1"),
    *("channel_binding=prefer", "channel_binding=disable", "gssencmode=prefer", "gssencmode=disable", "tty=x"),
)
REFUSED = (
    *("channel_binding=require", "channel_binding=s3cr3t", "gssencmode=require", "requirepeer=s3cr3t", "hostaddr=::1"),
    *("require_auth=scram-sha-256", "scram_client_key=s3cr3t", "scram_server_key=s3cr3t", "servicefile=s3cr3t"),
    *("oauth_issuer=s3cr3t", "oauth_client_id=s3cr3t", "oauth_client_secret=s3cr3t", "oauth_scope=s3cr3t"),
    *("requiressl=1", "ssl=true", "sslcertmode=require", "sslcrldir=s3cr3t", "sslsni=0", "min_protocol_version=3.2"),
)
KEPT = (
    *("host=h", "port=1", "user=u", "password=p", "passfile=f", "dbname=d", "service=s", "sslmode=require"),
    *("sslcert=f", "sslkey=f", "sslrootcert=f", "sslcrl=f", "sslpassword=p", "sslnegotiation=postgres"),
    *("ssl_min_protocol_version=TLSv1.2", "ssl_max_protocol_version=TLSv1.3", "target_session_attrs=any"),
    *("krbsrvname=postgres", "gsslib=gssapi", "options=-c%20geqo=off", "application_name=app", "replication=0"),
    *("search_path=a,b", "x=channel_binding", "Channel_Binding=prefer"),
)


@pytest.mark.parametrize("parameter", LEFT_OUT)
def test_a_parameter_of_libpq_that_changes_nothing_is_left_out(parameter: str) -> None:
    """What libpq does and our driver does not, without a difference to us, is not sent to the server as a setting."""
    check(f"postgresql://u@h/db?{parameter}")
    assert for_driver(f"postgresql://u@h/db?{parameter}") == "postgresql://u@h/db"
    escaped = "%" + f"{ord(parameter[0]):02x}" + parameter[1:]
    dsn = f"postgresql://u@h/db?a=1%26&{parameter}&b=%20&{escaped}"
    assert for_driver(dsn) == "postgresql://u@h/db?a=1%26&b=%20"


@pytest.mark.parametrize("parameter", REFUSED)
def test_a_parameter_of_libpq_that_would_be_lost_is_refused(parameter: str) -> None:
    """An address that asks for what the driver cannot do is not used without it: parameter and remedy are told."""
    name = parameter.partition("=")[0]
    with pytest.raises(SettingsError, match=rf"INTENT_EVENTS_DSN: .* what {name} asks for; \w") as caught:
        check(f"postgresql://u:s3cr3t@h/db?sslmode=prefer&{parameter}&{name}=prefer")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("parameter", KEPT)
def test_every_other_parameter_is_for_the_driver(parameter: str) -> None:
    """What the driver knows stays as it was typed, and so does what may be a setting of the server."""
    assert for_driver(f"postgresql:///db?{parameter}") == f"postgresql:///db?{parameter}"


def test_what_the_driver_knows_is_not_touched() -> None:
    """As soon as the driver can do more, it is not kept from that: it reads nothing of these lists itself."""
    source = inspect.getsource(connect_utils)
    known = {name for name in map(_name, (*LEFT_OUT, *REFUSED, *KEPT)) if f"'{name}' in query" in source}
    assert known >= {"host", "password", "sslmode", "target_session_attrs"}
    assert not known & set(map(_name, (*LEFT_OUT, *REFUSED)))


def _name(parameter: str) -> str:
    return parameter.partition("=")[0]
