# SPDX-License-Identifier: Apache-2.0
"""What a program says beside its telemetry: log lines of the standard library, warnings, and what it prints."""

import io
import logging
import sys
import traceback
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final, TextIO, cast

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Output:
    """Keeps what is said, as where and text."""

    def __init__(self) -> None:
        self._said: list[tuple[str, str]] = []
        self._records: list[logging.LogRecord] = []

    def said(self) -> Iterator[tuple[str, str]]:
        """Everything that was said, and where."""
        yield from self._said
        for record in self._records:
            yield from _texts_of_record(record)

    @contextmanager
    def kept(self) -> Generator[None]:
        """Keep what is said within the block; it is still said. The root logger lets everything through meanwhile."""
        root, make = logging.getLogger(), logging.getLogRecordFactory()
        level = root.level

        def keep_record(*args: Any, **named: Any) -> logging.LogRecord:
            record = make(*args, **named)
            self._records.append(record)
            return record

        out, err = _Tee(sys.stdout), _Tee(sys.stderr)
        logging.setLogRecordFactory(keep_record)  # which every logger asks, whatever its handlers are
        root.setLevel(1)
        try:
            with warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
                show = warnings.showwarning

                def keep(message: Warning | str, *rest: Any, **named: Any) -> None:
                    self._said.append(("a warning", str(message)))
                    show(message, *rest, **named)

                warnings.showwarning = keep
                yield
        finally:
            root.setLevel(level)
            logging.setLogRecordFactory(make)
            for name, tee in (("stdout", out), ("stderr", err)):
                self._said += [(f"a line of {name}", line) for line in tee.copy.getvalue().splitlines()]


def texts_of_error(error: BaseException) -> Iterator[tuple[str, str]]:
    """What an exception says, with what led to it: its text, its arguments and its notes.

    Args:
        error: the exception.

    Yields:
        The type that says it, and what it says.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        kind = type(one).__name__
        yield kind, "\n".join((str(one), repr(one.args), *getattr(one, "__notes__", ())))
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", one).exceptions


def _texts_of_record(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    line = f'a line of logger "{record.name}" at {record.levelname}'
    yield line, _message_of(record)
    yield "the name of a logger", record.name
    if record.exc_info and record.exc_info[1]:
        yield f"the exception of {line}", "".join(traceback.format_exception(record.exc_info[1]))
    if record.stack_info:
        yield f"the stack of {line}", record.stack_info
    for name, value in vars(record).items():
        if name not in _STANDARD:
            yield f'field "{name}" of {line}', str(value)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit the text, as logging itself tells on stderr
        return f"{record.msg} {record.args!r}"


class _Tee(io.TextIOBase):
    """Writes to where it was written before, and keeps a copy."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.copy = io.StringIO()

    def write(self, text: str, /) -> int:
        self.copy.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - as TextIOWrapper has it
        return self._stream.encoding
