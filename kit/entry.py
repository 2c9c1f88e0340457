"""Where both scripts begin and end: arguments, console logging, errors caught once, exit codes."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn, TextIO

from kit.devices import forbid_autoload
from kit.errors import UsageError, shown, visible
from kit.machine.cures import as_kit_error

log = logging.getLogger("kit")


class _Console(logging.Handler):
    """INFO to stdout as it is, warnings to stderr; DEBUG is for the log files only."""

    def __init__(self, stdout: TextIO | None) -> None:
        super().__init__()
        self._stdout = stdout

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            _say(_lines(f"{record.levelname.lower()}: {record.getMessage()}"), sys.stderr)
        elif record.levelno >= logging.INFO:
            _say(_lines(record.getMessage()), self._stdout)


def _lines(text: str) -> str:
    """The text as a terminal may have it: its lines stay, what else would act on one is only shown."""
    return "\n".join(visible(line) for line in text.split("\n"))


class Parser(argparse.ArgumentParser):
    """Its help goes the way of the kit's own lines: what stdout was is with the console."""

    def print_help(self, file: object = None) -> None:
        """As a line of the log, which the console has at stdout."""
        log.info(self.format_help().rstrip("\n"))


def _take_stdout() -> TextIO | None:
    """A copy of stdout for the kit's own lines; stdout itself becomes stderr for everyone else.

    Drivers and libraries print there, from C++ too, and a reader of our lines, perhaps of one JSON
    document, must not find theirs among them. None where the process has no stdout.
    """
    if sys.stdout is None:
        return None
    sys.stdout.flush()
    try:
        ours = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
        os.dup2(2, 1)
    except OSError:  # no such descriptors
        return sys.stdout
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # the process ends without flushing it
    return ours


def _say(line: str, stream: TextIO | None) -> None:
    """Print a line. A console that went away, or cannot show a name, must not fail a good run."""
    if stream is None:
        return
    with suppress(OSError, ValueError):
        encoding = stream.encoding or "utf-8"
        print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def parser_of(documentation: str | None, prog: str | None = None) -> argparse.ArgumentParser:
    """The parser of a script or command whose module's documentation is its help: the first line the
    description, the rest, as it stands, below the options."""
    summary, _, rest = (documentation or "").partition("\n")
    return Parser(
        prog=prog,
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run_script(main: Callable[[], int]) -> NoReturn:
    """Run `main` and end the process with its exit code, or with that of the error it raises.

    Only what is logged comes out at stdout; whatever else is printed there comes out at stderr.
    """
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(_Console(_take_stdout()))
    forbid_autoload()  # what needs no NPU must not end with its driver
    try:
        _check_arguments()
        code = main()
    except Exception as error:
        known = as_kit_error(error)
        _say(f"error: {known}", sys.stderr)
        code = known.exit_code
    # Not sys.exit: a thread that is stuck in a driver or in a resolver must not hold the process.
    os._exit(code)


def tell_result(**values: str | Path | bool | None) -> None:
    """The last line of a script, for other programs: RESULT name=value ..., words as a shell reads them."""
    words = {
        name: str(value) if isinstance(value, (str, Path)) else json.dumps(value)
        for name, value in values.items()
    }
    log.info(f"RESULT {' '.join(f'{name}={quoted(word)}' for name, word in words.items())}")


def quoted(word: str | Path) -> str:
    """A word as a shell reads it, on one line: bash's $'...' where it holds what is not printable."""
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + visible(text.replace("\\", r"\\").replace("'", r"\'")) + "'"


def path_given(text: str) -> Path:
    """An argparse type: a path. Nothing, as an unset variable of a shell gives, would be this folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: name a path, or leave the option out")
    return Path(text)


def at_least(minimum: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `minimum`, which 64 bits hold: more is no seed."""

    def parse(text: str) -> int:
        given = text.strip()
        digits = given.lstrip("+-")
        if not digits.isdecimal() or len(digits) > 19 or not minimum <= int(given) < 2**63:
            raise argparse.ArgumentTypeError(
                f"{text[:40]!r}: give a whole number, at least {minimum}, below 2^63"
            )
        return int(given)

    return parse


def _check_arguments() -> None:
    """Raise UsageError for what is no text, or none in this locale: it could stand in no record."""
    for argument in sys.argv:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError:
            with suppress(UnicodeDecodeError):
                meant, here = os.fsencode(argument).decode("utf-8"), sys.getfilesystemencoding()
                raise UsageError(
                    f"{shown(meant)} is UTF-8, and this locale is {here}", "set PYTHONUTF8=1"
                ) from None
            raise UsageError(f"{argument!r} is no UTF-8", "name it otherwise") from None
