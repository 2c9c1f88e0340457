"""The lines of a report: any text file of a sane size, UTF-8 or UTF-16."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from kit.errors import UsageError, words_of
from kit.storage.names import check_regular

# A report is a few kilobytes. What is read is bounded, so that every rule's time is.
MOST_BYTES = 2**20
MOST_COLUMNS = 5_000
_NAME_ONE = "name a report, such as README.md"
_PAGE = re.compile(r"\s*<(?:!doctype\s+html|html)\b", re.I)
_EMBEDDED = re.compile(r"base64,[A-Za-z0-9+/=]+")


def read_lines(path: Path) -> list[str]:
    """The file's lines, in order, full-width signs as the plain ones, embedded images left out. Raises
    UsageError for what is no readable text."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({words_of(error)})", _NAME_ONE) from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path} has more than {MOST_BYTES // 2**20} MiB", _NAME_ONE)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text (byte {error.start})", "save it so") from error
    if "\0" in text:
        raise UsageError(f"{path} has NUL bytes: that is no text", "save it as UTF-8")
    if not text.strip():
        raise UsageError(f"{path} is empty", _NAME_ONE)
    if _PAGE.match(text):
        raise UsageError(
            f"{path} is the source of a web page: what stands together in it is not known",
            "name the Markdown, or save the page's text",
        )
    # Not splitlines(): a form feed or U+2028 would shift the numbers that an editor shows.
    plain = unicodedata.normalize("NFKC", _EMBEDDED.sub("base64,", text))
    lines = re.split(r"\r\n|\r|\n", plain)
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_COLUMNS:
            raise UsageError(
                f"{path}:{number} has {len(line)} characters",
                f"break it into lines of at most {MOST_COLUMNS}",
            )
    return lines
