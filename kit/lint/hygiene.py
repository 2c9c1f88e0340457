"""What no published report should hold: paths of a machine, secrets, versions that do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.lint.finding import Finding, error, note, quoted
from kit.lint.layout import Is
from kit.lint.reader import Report
from kit.lint.stated import headline, lines_of
from kit.machine.private import path_in, secrets_in

_VERSION = re.compile(r"^v?(\d{1,4}\.\d{1,4})")


def machine_path(report: Report) -> Iterator[Finding]:
    """An absolute path of one machine; in a command it is only a note."""
    for line in report.lines:
        if path := path_in(line.raw):
            message = (
                f"{quoted(path)} is a path of one machine; name the file, its source, its sha256"
            )
            kind = note if line.what is Is.CODE else error
            yield kind("machine-path", [line.number], message)


def secret(report: Report) -> Iterator[Finding]:
    """A token or password. It is not repeated."""
    for line in report.lines:
        for what, found in secrets_in(line.raw):
            message = f"{what} ({found[:3]}..., {len(found)} characters)"
            yield error("secret", [line.number], f"{message}; revoke it, then remove it")
            break


def version_mismatch(report: Report) -> Iterator[Finding]:
    """A torch and a torch_npu that do not fit."""
    stated = [*headline(report.of("torch"))[:1], *headline(report.of("torch_npu"))[:1]]
    minors = [found[1] for claim in stated if (found := _VERSION.match(claim.value))]
    if len(minors) == 2:
        torch, npu = stated
        if minors[0] != minors[1]:
            fault = f"and torch_npu {quoted(npu.value)} do not fit"
        elif re.search(r"\+cu\d", torch.value):
            fault = "is built for CUDA: torch_npu aborts beside it"
        else:
            return
        message = f"torch {quoted(torch.value)} {fault}; state what was installed"
        yield error("version-mismatch", lines_of(stated), message)
