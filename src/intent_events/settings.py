# SPDX-License-Identifier: Apache-2.0
"""Every setting, its default and its unit; the only module that reads the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from intent_events.errors import SettingsError

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_CENTURY_S: Final = 36_525 * 86_400
_SIZES: Final = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE: Final = re.compile(r"(\d+) ?(B|KB|MB|GB|)")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(value: object) -> object:
    """Seconds that a duration such as ``30s``, ``15m`` or ``7d`` spells; other values pass to the next check."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNITS[match[2]]
    return value


def size(value: object) -> object:
    """Bytes that a size such as ``64MB`` or ``2GB`` spells (powers of 1024); other values pass to the next check."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip().upper())):
        return int(match[1]) * _SIZES[match[2]]
    return value


def _listed(value: object) -> object:
    if isinstance(value, str):
        return tuple(item for item in re.split(r"[,\s]+", value) if item)
    return value


def _paths(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return (value,) if isinstance(value, Path) else value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=_CENTURY_S, allow_inf_nan=False)]
Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_paths)]
Bytes = Annotated[int, BeforeValidator(size), Field(gt=0, le=1 << 50)]
Port = Annotated[int, Field(ge=0, le=65535)]


MIN_KEY: Final = 16
"""Characters that a key of fingerprints must have."""


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
        settings, problem = cls.usable_from_environment(environment)
        if problem:
            raise SettingsError(problem)
        return settings

    @classmethod
    def usable_from_environment(cls, environment: Mapping[str, str] | None = None) -> tuple[Self, str]:
        """Settings from the environment, with the default for each variable that cannot be used; and which these are.

        Args:
            environment: variables instead of the process's own.

        Returns:
            The settings, and what is wrong with the environment; an empty text when nothing is.
        """
        given = os.environ if environment is None else environment  # noqa: TID251 - this is the one place
        names = {name: variable_of(cls, name) for name in cls.model_fields}
        values = {name: given[variable] for name, variable in names.items() if given.get(variable)}
        try:
            return cls.model_validate(values), ""
        except ValidationError as error:  # a value of the wrong form
            wrong = {str(item["loc"][0]): item["msg"] for item in error.errors()}
        problem = "; ".join(f"{names[name]}: {why}" for name, why in wrong.items())
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
    health_port: Port | None = Field(
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
