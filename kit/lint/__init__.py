"""Check a report: blanks, unexpanded text, contradictions, impossible figures, unsupported verdicts.

Reads Markdown, or the text of a published page, in English or Chinese; ours or anybody's. With
--summary, every field that the report states must be what summary.json says. Exit code 0 where no error
was found (notes do not count), 1 where one was, 2 where the file cannot be read.

    python -m kit lint-report README.md
    python -m kit lint-report logs/report.md --summary logs/summary.json
    python -m kit lint-report report.txt --json
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from kit.documented import written
from kit.entry import parser_of
from kit.evidence.documents import read_summary_file
from kit.lint.against_summary import differences
from kit.lint.finding import Finding, Level
from kit.lint.reader import Report
from kit.lint.rules import findings
from kit.lint.text import read_lines

log = logging.getLogger("kit")


def main(arguments: Sequence[str]) -> int:
    """Print what was found, by line. Returns 0 or 1.

    Raises UsageError for a file that is no readable text or a summary that is not there, UntrustedError
    for a summary that is damaged.
    """
    options = _parse(arguments)
    report = Report(read_lines(options.file), options.file)
    found = findings(report)
    if options.summary:
        found += differences(report, written(read_summary_file(options.summary)))
        found.sort(key=lambda finding: finding.lines[0])
    errors = sum(finding.level is Level.ERROR for finding in found)
    if options.json:
        log.info(_document(options.file, found))
    else:
        for finding in found:
            log.info(finding.shown(str(options.file)))
        log.info(f"{errors} errors, {len(found) - errors} notes in {options.file}")
    return 1 if errors else 0


def _document(file: Path, found: Sequence[Finding]) -> str:
    document = {"file": str(file), "findings": [asdict(finding) for finding in found]}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit lint-report")
    parser.add_argument("file", type=Path, metavar="FILE", help="Markdown or plain text")
    parser.add_argument(
        "--summary", type=Path, metavar="SUMMARY", help="the summary.json that the report is about"
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    return parser.parse_args(arguments)
