"""What tells of a person or a machine in a text: secrets, and absolute paths.

One list for whoever looks at texts that are published: kit.publish ends an export at them, kit.lint names
them in anybody's report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# The literals, in small letters, one of which a text must hold, and the pattern. To look for a literal
# takes a hundredth of the time, and most texts hold none.
_SECRETS = {
    "a Hugging Face token": (("hf_",), r"\bhf_[A-Za-z0-9]{16,200}"),
    "a GitHub or GitLab token": (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
        r"\b(?:gh[pousr]_|github_pat_|glpat-)[\w-]{16,200}",
    ),
    "an access key": (("akia",), r"\bAKIA[0-9A-Z]{16}\b"),
    "a ModelScope token": (("ms-",), r"\bms-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{14,100}"),
    "an API key": (("sk-",), r"(?<![\w-])sk-(?:[a-z0-9]{2,12}-){0,3}[A-Za-z0-9_]{20,200}"),
    "an Authorization header": (
        ("authorization",),
        r"(?i:\bauthorization\W{1,4}(?:bearer|basic|token)\s{1,4})[\w.+/=-]{6,500}",
    ),
    "a bearer token": (("bearer",), r"(?i:\bbearer\s{1,4})[\w.+/=-]{20,500}"),
    "a password in an address": (
        ("://",),
        r"(?i:\b[a-z][a-z+.-]{1,20}://)[^\s/:@\"'<>]{0,100}:[^\s/@\"'<>]{1,100}@",
    ),
    "a private key": (("private key",), r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"),
}
_SECRET = {what: (literals, re.compile(pattern)) for what, (literals, pattern) in _SECRETS.items()}
# Where a path may begin: not within a word, an address, a relative or an already shortened path.
_BEFORE = r"[\w.~/%+\\-]"
START = rf"(?<!{_BEFORE})"
# The same seen from behind the slash: a pattern that begins with a literal is found much faster.
_SLASH = rf"/(?<!{_BEFORE}/)"
# Places that many machines have are no secret.
_EVERYBODYS = r"(?!(?:usr|proc|sys|dev|etc|lib|lib64|bin|sbin|opt/conda|home/HwHiAiUser/Ascend)/)"
# At least two parts, so that a fraction or a closing tag is none.
_PATHS = {
    ":\\": re.compile(r"(?<!\w)[A-Za-z]:\\+(?:Users|home|[\w.-]{1,100}\\)[^\s\"'<>]{0,1000}"),
    "file:///": re.compile(r"file:/{3}[^\s\"'<>]{1,1000}"),
    "/": re.compile(_SLASH + rf"{_EVERYBODYS}[\w.@%+~-]{{1,200}}(?:/[\w.@%+~-]{{1,200}}){{1,60}}"),
}
_HOME = re.compile(
    _SLASH + rf"{_EVERYBODYS}(?:(?:home|Users)/[^/\s\"':;,)\]]{{1,200}}|root(?![\w.-]))"
)


def secrets_in(text: str) -> Iterator[tuple[str, str]]:
    """What each secret in `text` is, and the secret itself, which nobody may show."""
    for what, pattern in _possible(text):
        for found in pattern.finditer(text):
            yield what, found[0]


def without_secrets(text: str) -> str:
    """`text` with (secret) in the place of each."""
    for _, pattern in _possible(text):
        text = pattern.sub("(secret)", text)
    return text


def _possible(text: str) -> list[tuple[str, re.Pattern[str]]]:
    small = text.lower()
    return [
        (what, pattern)
        for what, (literals, pattern) in _SECRET.items()
        if any(literal in small for literal in literals)
    ]


def path_in(text: str) -> str | None:
    """An absolute path in `text` that tells of a machine."""
    patterns = (*_PATHS.items(), ("/", _HOME))
    found = (pattern.search(text) for literal, pattern in patterns if literal in text)
    return next((match[0] for match in found if match), None)


def without_paths(text: str, short: Callable[[str], str]) -> str:
    """`text` with ~ in the place of each home, and of any other absolute path what `short` makes of it."""
    text = _HOME.sub("~", text)
    for literal, pattern in _PATHS.items():
        if literal in text:
            text = pattern.sub(lambda match: short(match[0]), text)
    return text
