# SPDX-License-Identifier: Apache-2.0
"""The demo's data files: bundled or of the user's own, with errors that name file, line and remedy."""

import json
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from intent_events.errors import SettingsError

M = TypeVar("M", bound=BaseModel)


class Strict(BaseModel):
    """A frozen model of a data file: unknown fields are refused, and errors never quote the data."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def bundled(name: str) -> Traversable:
    """A data file that is shipped with the demo.

    Args:
        name: file name, as ``registry.jsonl``.
    """
    return files("intent_events.demo").joinpath("data", name)


def read_text(file: Traversable) -> str:
    """The text of a data file.

    Raises:
        SettingsError: the file is missing, not readable or not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        # chained by hand: the original would quote bytes of the file
        raise SettingsError(f"{file}: not UTF-8; save the file as UTF-8") from None
    except OSError as error:  # missing, a folder, or no permission
        raise SettingsError(f"{file}: {error.strerror}; give the path of a file that can be read") from error


def parse(model: type[M], data: object, where: str) -> M:
    """Data as a model.

    Args:
        model: what the data must look like.
        data: parsed JSON.
        where: file, or file and line, for the error.

    Raises:
        SettingsError: the data has not the model's shape; the text names the place and the fields, never a value.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'line'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        # without the chain: a validation error may quote what it refused
        raise SettingsError(f"{where}: {problems}; correct these fields") from None


def read_json(model: type[M], file: Traversable) -> M:
    """A JSON file as one model.

    Raises:
        SettingsError: the file cannot be read, is no JSON or has not the model's shape.
    """
    return parse(model, _loads(read_text(file), str(file)), str(file))


def read_jsonl(model: type[M], file: Traversable) -> Iterator[tuple[str, M]]:
    """A JSONL file as models, each with its place (``file:line``); blank lines are passed over.

    Raises:
        SettingsError: the file cannot be read, or a line is no JSON or has not the model's shape.
    """
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if line.strip():
            where = f"{file}:{number}"
            yield where, parse(model, _loads(line, where), where)


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # without the chain: the original carries the whole text
        raise SettingsError(
            f"{where}: no JSON at line {error.lineno}, column {error.colno} of it; write one JSON object"
        ) from None
