# SPDX-License-Identifier: Apache-2.0
"""Every setting, its default and its unit; the only module that reads the environment."""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from difflib import get_close_matches
from logging import getLogger
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from intent_events.errors import SettingsError
from intent_events.forms import Bytes, Listed, Paths, Port, Seconds, form_of, seconds

MIN_KEY: Final = 16
"""Characters that a key of fingerprints must have."""

_OURS: Final = "INTENT_EVENT"  # without the S, which is easily left out
_SERVICE: Final = "_SERVICE_HOST"
_LOGGER: Final = getLogger("intent_events")
_told: Final[set[str]] = set()


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Settings from the environment; an empty variable counts as unset.

        Args:
            environment: variables instead of the process's own.

        Raises:
            SettingsError: a variable has a value that cannot be used; the value itself is not repeated.
        """
        settings, problem = cls._read(environment)
        if problem:
            raise SettingsError(problem)
        return settings

    @classmethod
    def usable_from_environment(cls, environment: Mapping[str, str] | None = None) -> tuple[Self, str]:
        """Settings from the environment, with the default for each variable that cannot be used; and which these are.

        A variable of this process whose name is nearly that of what is recorded is logged once: a switch for privacy
        that is misspelt would be off in silence.

        Args:
            environment: variables instead of the process's own.

        Returns:
            The settings, and what is wrong with the environment; an empty text when nothing is.
        """
        if environment is None:
            _tell_misspelt()
        return cls._read(environment)

    @classmethod
    def _read(cls, environment: Mapping[str, str] | None) -> tuple[Self, str]:
        given = os.environ if environment is None else environment  # noqa: TID251 - this is the one place
        names = {name: variable_of(cls, name) for name in cls.model_fields}
        values = {name: given[variable] for name, variable in names.items() if given.get(variable)}
        try:
            return cls.model_validate(values), ""
        except ValidationError as error:  # a value of the wrong form
            wrong = dict.fromkeys(str(item["loc"][0]) for item in error.errors())
        # Not in the words of the error: they speak of items, parsing and validation to whoever typed a variable.
        problem = "; ".join(f"{names[name]}: write {form_of(cls.model_fields[name])}" for name in wrong)
        usable = {name: value for name, value in values.items() if name not in wrong}
        return cls.model_validate(usable), f"these variables cannot be used: {problem}"


def _variable(name: str) -> Any:
    return {"variable": name}


class RecordSettings(_Settings):
    """What is recorded of an utterance, and of which handlers."""

    targets: Listed = Field(
        default=(),
        description="Handlers to wrap, `pkg.mod:Class.method`, separated by commas.",
        json_schema_extra=_variable("INTENT_EVENTS_TARGETS"),
    )
    mapping: Path | None = Field(
        default=None,
        description="TOML file that says where a foreign orchestrator keeps the fields of a trace.",
        json_schema_extra=_variable("INTENT_EVENTS_MAPPING"),
    )
    hash: Literal["keyed", "plain"] = Field(
        default="keyed",
        description="`keyed` fingerprints are HMAC-SHA256; `plain` ones are SHA-256, which a dictionary can reverse.",
        json_schema_extra=_variable("INTENT_EVENTS_HASH"),
    )
    hash_key: SecretStr | None = Field(
        default=None,
        min_length=MIN_KEY,
        description="Key of the fingerprints, at least 16 characters. Without one each process makes its own.",
        json_schema_extra=_variable("INTENT_EVENTS_HASH_KEY"),
    )
    hash_key_file: Path | None = Field(
        default=None,
        description="File that holds the key instead.",
        json_schema_extra=_variable("INTENT_EVENTS_HASH_KEY_FILE"),
    )
    hash_key_id: str = Field(
        default="1",
        max_length=64,
        description="Public name of the key, stored beside each fingerprint.",
        json_schema_extra=_variable("INTENT_EVENTS_HASH_KEY_ID"),
    )
    hash_keyring: Path | None = Field(
        default=None,
        description="TOML file of several keys, each with the time from which it is used; all of them are live.",
        json_schema_extra=_variable("INTENT_EVENTS_HASH_KEYRING"),
    )
    actor: Literal["plain", "pseudonymous", "off"] = Field(
        default="plain",
        description="`plain` records `actor_id` as given, `pseudonymous` a keyed hash of it, `off` nothing.",
        json_schema_extra=_variable("INTENT_EVENTS_ACTOR"),
    )
    preview: Literal["masked", "patterns", "presidio", "off"] = Field(
        default="masked",
        description=(
            "`masked` shows known words only, `patterns` hides values with a form or check digits only, `presidio` "
            "also what its analyzer finds, `off` keeps hashes only."
        ),
        json_schema_extra=_variable("INTENT_EVENTS_PREVIEW"),
    )
    vocabulary: Paths = Field(
        default=(),
        description=(
            "Files of words that previews may show besides the shipped ones, one word or phrase a line, or registries "
            "in JSON lines; separated by commas."
        ),
        json_schema_extra=_variable("INTENT_EVENTS_VOCABULARY"),
    )
    presidio: Path | None = Field(
        default=None,
        description="Configuration file of Presidio's analyzer, for `INTENT_EVENTS_PREVIEW=presidio`.",
        json_schema_extra=_variable("INTENT_EVENTS_PRESIDIO"),
    )
    span_attributes: Listed = Field(
        default=(),
        description="Attributes of your own that your code may set on our spans, separated by commas.",
        json_schema_extra=_variable("INTENT_EVENTS_SPAN_ATTRIBUTES"),
    )
    synthetic: bool = Field(
        default=False,
        description="`true` marks every record of this process as test traffic, which reports leave out.",
        json_schema_extra=_variable("INTENT_EVENTS_SYNTHETIC"),
    )


class DeliverySettings(_Settings):
    """Where rows go, and how long that may take."""

    dsn: SecretStr | None = Field(
        default=None,
        description="Postgres to write to: `postgresql://user@host/database`.",
        json_schema_extra=_variable("INTENT_EVENTS_DSN"),
    )
    dsn_file: Path | None = Field(
        default=None,
        description="File that holds the address instead, for secrets mounted as files.",
        json_schema_extra=_variable("INTENT_EVENTS_DSN_FILE"),
    )
    export_timeout: Seconds = Field(
        default=5.0,
        description="Longest time that one export may block its thread, retries included, such as `5s`.",
        json_schema_extra=_variable("INTENT_EVENTS_EXPORT_TIMEOUT"),
    )
    spool_dir: Path | None = Field(
        default=None,
        description="Folder where records wait for Postgres. Default: `intent-events/spool` in `XDG_STATE_HOME`.",
        json_schema_extra=_variable("INTENT_EVENTS_SPOOL_DIR"),
    )
    spool_max_bytes: Bytes = Field(
        default=1 << 30,
        description="Bytes that all processes together may keep in that folder, such as `1GB`.",
        json_schema_extra=_variable("INTENT_EVENTS_SPOOL_MAX_BYTES"),
    )
    spool_fsync: Literal["none", "interval", "always"] = Field(
        default="none",
        description="`none` survives the death of processes; `interval` (1 s) and `always` survive power loss too.",
        json_schema_extra=_variable("INTENT_EVENTS_SPOOL_FSYNC"),
    )
    connections: Annotated[int, Field(ge=1, le=2)] = Field(
        default=1,
        description="Connections that one process stores a backlog over: 1 or 2.",
        json_schema_extra=_variable("INTENT_EVENTS_CONNECTIONS"),
    )
    flush_interval: Seconds = Field(
        default=0.2,
        description="Longest time that a record waits for others to be stored with it, such as `200ms`.",
        json_schema_extra=_variable("INTENT_EVENTS_FLUSH_INTERVAL"),
    )
    heartbeat: Seconds = Field(
        default=60.0,
        description="How often a process writes down how many records it emitted and dropped, such as `60s`.",
        json_schema_extra=_variable("INTENT_EVENTS_HEARTBEAT"),
    )
    shutdown_timeout: Seconds = Field(
        default=3.0,
        description="Longest time that the end of a process waits for Postgres; what is not stored stays in the spool.",
        json_schema_extra=_variable("INTENT_EVENTS_SHUTDOWN_TIMEOUT"),
    )
    state_home: Path | None = Field(
        default=None,
        description="The system's own: where programs keep their state. Default `~/.local/state`.",
        json_schema_extra=_variable("XDG_STATE_HOME"),
    )
    service_name: str | None = Field(
        default=None,
        description="OpenTelemetry's own: name of the service, for records that no SDK gives one.",
        json_schema_extra=_variable("OTEL_SERVICE_NAME"),
    )
    traces_exporters: Listed = Field(
        default=(),
        description=(
            "OpenTelemetry's own: `intent_events` adds the best-effort door, needless beside the durable one. Name it "
            "last if at all."
        ),
        json_schema_extra=_variable("OTEL_TRACES_EXPORTER"),
    )

    def spool_folder(self) -> Path:
        """Where records wait for Postgres: the folder that is set, or one of this user's own."""
        if self.spool_dir is not None:
            return self.spool_dir
        try:
            home = self.state_home or Path.home() / ".local" / "state"
        except RuntimeError:  # a user without a home, as in a bare container
            return Path(gettempdir()) / f"intent-events-{os.getuid()}" / "spool"
        return home / "intent-events" / "spool"

    def read_dsn(self) -> str | None:
        """The address of Postgres, from the variable or the file; None when neither is set.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.dsn is not None:
            return self.dsn.get_secret_value()
        return None if self.dsn_file is None else read_secret(self.dsn_file, "INTENT_EVENTS_DSN_FILE")


class ScanSettings(_Settings):
    """What ``intent-events scan`` looks for beside personal data."""

    canaries: SecretStr | None = Field(
        default=None,
        description="Canaries of `intent-events scan`, one a line: values that were said on purpose.",
        json_schema_extra=_variable("INTENT_EVENTS_SCAN_CANARIES"),
    )


class SinkSettings(_Settings):
    """Where the sink listens, who may send to it, and what it holds."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Any but a loopback address asks for TLS or tokens.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_HOST"),
    )
    grpc_port: Port = Field(
        default=4317,
        description="Port for OTLP/gRPC; 0 for any that is free.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_GRPC_PORT"),
    )
    http_port: Port = Field(
        default=4318,
        description="Port for OTLP/HTTP, probes and metrics; 0 for any that is free.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_HTTP_PORT"),
    )
    health_port: Annotated[int | None, Field(ge=0, le=65535)] = Field(
        default=None,
        description="Port for probes and metrics alone, without TLS, beside the one for OTLP/HTTP.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_HEALTH_PORT"),
    )
    tls_cert: Path | None = Field(
        default=None,
        description="PEM file of the certificate, with its chain: both ports then speak TLS.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_TLS_CERT"),
    )
    tls_key: Path | None = Field(
        default=None,
        description="PEM file of its key.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_TLS_KEY"),
    )
    tls_client_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities whose certificates senders must have: mutual TLS.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_TLS_CLIENT_CA"),
    )
    tokens: Path | None = Field(
        default=None,
        description="File of the bearer tokens that senders must have, one a line; read anew when it changes.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_TOKENS"),
    )
    max_message: Annotated[Bytes, Field(ge=1 << 10, le=1 << 30)] = Field(
        default=64 << 20,
        description="Bytes that one request may have, as it comes and uncompressed, such as `64MB`.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_MAX_MESSAGE"),
    )
    max_in_flight: Bytes = Field(
        default=256 << 20,
        description="Bytes of requests that are held at once; beyond that senders wait, and are asked to come back.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_MAX_IN_FLIGHT"),
    )
    patience: Seconds = Field(
        default=5.0,
        description="Longest time that a request waits for room before its sender is asked to come back.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_PATIENCE"),
    )
    arrival_timeout: Seconds = Field(
        default=10.0,
        description="Longest time that a request may take to arrive.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_ARRIVAL_TIMEOUT"),
    )
    store_timeout: Seconds = Field(
        default=10.0,
        description="Longest time that connecting to Postgres, and each statement, may take.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_STORE_TIMEOUT"),
    )
    connections: Annotated[int, Field(ge=1, le=8)] = Field(
        default=2,
        description="Connections to Postgres, 1 to 8.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_CONNECTIONS"),
    )
    stop_delay: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=3600)] = Field(
        default=0.0,
        description="How long the sink says that it is not ready before it stops listening, such as `5s`.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_STOP_DELAY"),
    )
    stop_timeout: Seconds = Field(
        default=20.0,
        description="Longest time that requests under way may take to end when the sink stops.",
        json_schema_extra=_variable("INTENT_EVENTS_SINK_STOP_TIMEOUT"),
    )


SETTINGS: Final = (RecordSettings, DeliverySettings, ScanSettings, SinkSettings)
"""Every class of settings, for the documentation and its tests."""


def variable_of(settings: type[BaseModel], name: str) -> str:
    """Environment variable of a setting."""
    extra = cast("dict[str, str]", settings.model_fields[name].json_schema_extra)
    return extra["variable"]


def strangers(known: Collection[str] = (), environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that are named like ours and that nothing reads, each with the name that is meant, perhaps, or "".

    Args:
        known: names that something reads, besides the settings: those of the commands' flags.
        environment: variables instead of the process's own; only their names are looked at.
    """
    given = os.environ if environment is None else environment  # noqa: TID251 - this is the one place
    read = {*known, *(variable_of(settings, name) for settings in SETTINGS for name in settings.model_fields)}
    # Only what a line can show: a name may hold anything but "=".
    found = [name for name in given if name.upper().startswith(_OURS) and name not in read and name.isidentifier()]
    # Kubernetes gives every container variables of the services around it, which may be named like ours.
    services = [name.removesuffix(_SERVICE) for name in found if name.endswith(_SERVICE)]
    others = ("INTENT_EVENTS_TEST_", *(f"{service}{tail}" for service in services for tail in ("_SERVICE_", "_PORT")))
    return {
        name: next(iter(get_close_matches(name.upper(), sorted(read), 1, 0.88)), "")
        for name in sorted(found)
        if not name.startswith(others)
    }


def misspelt(name: str, near: str) -> str:
    """What to say of a variable that nothing reads, and of the name that is meant, perhaps, which may be empty."""
    return f"nothing reads {name}" + (f": did you mean {near}?" if near else "")


def _tell_misspelt() -> None:
    # Not of all settings: without the commands at hand INTENT_EVENTS_REPORT_TIMEOUT looks like ..._EXPORT_TIMEOUT.
    variables = {variable_of(RecordSettings, name) for name in RecordSettings.model_fields}
    for name, near in strangers().items():
        if near in variables and name not in _told:
            _told.add(name)
            with suppress(Exception):  # a handler of the host's may raise
                _LOGGER.warning("intent-events: %s", misspelt(name, near))


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process with these variables set, for a process of ours that must see the same."""
    return {**os.environ, **variables}  # noqa: TID251 - this is the one place


def read_secret(path: Path, variable: str) -> str:
    """Text of a file that holds a secret, without the white space around it.

    Args:
        path: the file.
        variable: which variable named it, for the error.

    Raises:
        SettingsError: the file cannot be read or is empty.
    """
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:  # not there, not readable, not text, or a path that no file can have
        raise SettingsError(
            f"{variable} names {path}, which cannot be read ({type(error).__name__}): "
            "give a file that this process may read"
        ) from error
    if not secret:
        raise SettingsError(f"{variable} names {path}, which is empty: put the secret into it")
    return secret
