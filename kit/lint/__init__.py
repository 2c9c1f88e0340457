"""Check anybody's report: blanks, unexpanded text, contradictions, impossible figures, bare verdicts.

Reads Markdown, or the text of a published page, in English or Chinese. Exit code 0 where no error was found
(notes do not count), 1 where one was, 2 where the file cannot be read.

    python -m kit lint-report README.md
    python -m kit lint-report report.txt --json
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from kit.entry import parser_of, path_given
from kit.lint import blanks, disagreements, hygiene, impossible, omissions, support
from kit.lint.finding import Finding, Level
from kit.lint.reader import Report, read_report

# In the order in which findings on one line are told.
RULES: tuple[Callable[[Report], Iterator[Finding]], ...] = (
    blanks.empty_value,
    blanks.unexpanded,
    disagreements.two_values,
    disagreements.contradictions,
    impossible.out_of_range,
    impossible.wrong_order,
    impossible.of_features,
    support.nothing_relative,
    support.verdict_denied,
    support.agreement_denied,
    support.cosine_threshold,
    support.basis_not_stated,
    hygiene.machine_path,
    hygiene.secret,
    hygiene.version_mismatch,
    omissions.omissions,
)

log = logging.getLogger("kit")


def main(arguments: Sequence[str]) -> int:
    """Print what was found, by line. Returns 0 or 1; raises UsageError for a file that is no readable
    text."""
    options = _parse(arguments)
    found = findings(read_report(options.file))
    errors = sum(finding.level is Level.ERROR for finding in found)
    if options.json:
        document = {"file": str(options.file), "findings": [asdict(finding) for finding in found]}
        log.info(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        for finding in found:
            log.info(finding.shown(str(options.file)))
        log.info(f"{errors} errors, {len(found) - errors} notes in {options.file}")
    return 1 if errors else 0


def findings(report: Report) -> list[Finding]:
    """What every rule finds, by line."""
    found = [finding for rule in RULES for finding in rule(report)]
    return sorted(found, key=lambda finding: finding.lines[0])


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit lint-report")
    parser.add_argument("file", type=path_given, metavar="FILE", help="Markdown or plain text")
    parser.add_argument("--json", action="store_true", help="the findings as JSON")
    return parser.parse_args(arguments)
