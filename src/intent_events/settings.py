# SPDX-License-Identifier: Apache-2.0
"""Every setting, its default and its unit; the only module that reads the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from intent_events.errors import SettingsError

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_CENTURY_S: Final = 36_525 * 86_400
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(value: object) -> object:
    """Seconds that a duration such as ``30s``, ``15m`` or ``7d`` spells; other values pass to the next check."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNITS[match[2]]
    return value


def _listed(value: object) -> object:
    if isinstance(value, str):
        return tuple(item for item in re.split(r"[,\s]+", value) if item)
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=_CENTURY_S, allow_inf_nan=False)]
Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


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
        given = os.environ if environment is None else environment  # noqa: TID251 - this is the one place
        names = {name: variable_of(cls, name) for name in cls.model_fields}
        values = {name: given[variable] for name, variable in names.items() if given.get(variable)}
        try:
            return cls.model_validate(values)
        except ValidationError as error:  # a value of the wrong form
            wrong = "; ".join(f"{names[str(item['loc'][0])]}: {item['msg']}" for item in error.errors())
            raise SettingsError(f"these variables cannot be used: {wrong}") from None


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
    preview: Literal["masked", "off"] = Field(
        default="masked",
        description="`masked` keeps a preview of known words, at most 80 characters; `off` keeps hashes only.",
        json_schema_extra=_variable("INTENT_EVENTS_PREVIEW"),
    )
    vocabulary: Path | None = Field(
        default=None,
        description="File of words that previews may show besides the shipped ones, one word or phrase a line.",
        json_schema_extra=_variable("INTENT_EVENTS_VOCABULARY"),
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
    traces_exporters: Listed = Field(
        default=(),
        description="OpenTelemetry's own: when it names `intent_events`, the SDK makes our exporter and we make none.",
        json_schema_extra=_variable("OTEL_TRACES_EXPORTER"),
    )

    def read_dsn(self) -> str | None:
        """The address of Postgres, from the variable or the file; None when neither is set.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.dsn is not None:
            return self.dsn.get_secret_value()
        return None if self.dsn_file is None else read_secret(self.dsn_file, "INTENT_EVENTS_DSN_FILE")


SETTINGS: Final = (RecordSettings, DeliverySettings)
"""Every class of settings, for the documentation and its tests."""


def variable_of(settings: type[BaseModel], name: str) -> str:
    """Environment variable of a setting."""
    extra = cast("dict[str, str]", settings.model_fields[name].json_schema_extra)
    return extra["variable"]


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
