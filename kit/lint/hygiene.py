"""What no published report should hold: paths of a machine, secrets, links to nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kit.lint.finding import SECRET, Finding, error, note, quoted
from kit.lint.layout import Is
from kit.lint.reader import Report
from kit.lint.text import MOST_COLUMNS

# Where software is installed on every machine; such a path says nothing of one of them.
_STANDARD = re.compile(r"^/(?:usr|etc|dev|proc|sys|bin|lib|opt/conda|home/HwHiAiUser/Ascend)\b")
_PATH = re.compile(
    r"(?<![\w.:/~-])(?:/(?:opt|home|root|Users|data\d?|mnt|workspace|private|var|tmp|cache|nas|disk\d?)"
    r"/[\w.@+-][\w./@+-]{1,200}|[A-Z]:\\(?:Users|[\w-]{1,40}\\)[\w.\\-]{1,200})"
)
_LINK = re.compile(r"\]\(<?([^()<>\s]{1,300})")
_NAMED = re.compile(r"(?<![\w./:-])((?:logs|results|plots|images|assets)/[\w./-]{1,120}\.\w{1,12})")
_VERSION = re.compile(r"^v?(\d{1,4}\.\d{1,4})")


def machine_path(report: Report) -> Iterator[Finding]:
    """An absolute path of one machine; in a command it is only a note."""
    for line in report.lines:
        paths = [path for path in _PATH.findall(line.raw) if not _STANDARD.match(path)]
        if paths:
            message = f"{quoted(paths[0])} is a path of one machine; name the file, its source, its sha256"
            kind = note if line.what is Is.CODE else error
            yield kind("machine-path", [line.number], message)


def secret(report: Report) -> Iterator[Finding]:
    """A token or password. It is not repeated."""
    for line in report.lines:
        if found := SECRET.search(line.raw):
            message = f"looks like a secret ({found[0][:4]}..., {len(found[0])} characters)"
            yield error("secret", [line.number], f"{message}; revoke it, then remove it")


def version_mismatch(report: Report) -> Iterator[Finding]:
    """A torch and a torch_npu that do not fit."""
    torch = [
        claim for claim in report.of("torch") if not claim.label and _VERSION.match(claim.value)
    ]
    npu = [
        claim for claim in report.of("torch_npu") if not claim.label and _VERSION.match(claim.value)
    ]
    if not torch or not npu:
        return
    lines = [torch[0].line.number, npu[0].line.number]
    what = ""
    if _minor(torch[0].value) != _minor(npu[0].value):
        what = f"and torch_npu {quoted(npu[0].value)} do not fit"
    elif re.search(r"\+cu\d", torch[0].value):
        what = "is built for CUDA: torch_npu aborts beside it"
    if what:
        message = f"torch {quoted(torch[0].value)} {what}; state what was installed"
        yield error("version-mismatch", lines, message)


def _minor(version: str) -> str:
    found = _VERSION.match(version)
    return found[1] if found else ""


def missing_file(report: Report) -> Iterator[Finding]:
    """A link or log that is not there, where the report lies in its repository."""
    roots = _roots(report.path)
    for line in report.lines if roots else ():
        for target in _targets(line.raw):
            if not any(_exists(root / target) for root in roots):
                message = f"{quoted(target)} is not there; add the file, or take the reference out"
                yield note("missing-file", [line.number], message)


def _targets(raw: str) -> list[str]:
    """Relative paths that a line links to or names."""
    named = [*_LINK.findall(raw), *_NAMED.findall(raw)]
    bare = (name.split("#")[0].split("?")[0] for name in named)
    return sorted(
        {name for name in bare if name and not re.match(r"[a-z][\w+.-]*:|/|#", name, re.IGNORECASE)}
    )


def _roots(path: Path) -> list[Path]:
    """The report's folder and its repository's; none where it lies in no repository."""
    folder = path.resolve().parent
    top = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    if top is None and (folder / "inference.py").is_file():
        top = folder
    return [folder, top] if top else []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file can have
        return False


def long_line(report: Report) -> Iterator[Finding]:
    """A line of which only the beginning was read."""
    if report.cut:
        message = f"only its first {MOST_COLUMNS} characters were read; break the line"
        yield note("long-line", report.cut, message)
