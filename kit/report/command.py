"""Write the report of a run again, from its evidence alone: no model is run, and every figure is measured
again from the saved outputs.

Writes report.md, report.html and plots/ beside the run's summary.json. A run is a folder that
inference.py wrote (logs/, or one of logs/history/), whether or not compare_accuracy.py has judged it.

    python -m kit report
    python -m kit report --logs logs/history/20260101T000000Z-flan_t5_small --lang both
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kit.entry import parser_of, path_given
from kit.errors import KitError, UntrustedError, UsageError
from kit.evidence.logs import PAGE, REPORT, REPORTS, Logs, claim_logs, log
from kit.evidence.remeasured import measuring_again
from kit.machine.cures import as_kit_error
from kit.machine.variables import check_numbers
from kit.words import LANGUAGES


def main(arguments: Sequence[str]) -> int:
    """Write the report. Returns 0; raises KitError where there is no run or it cannot be believed."""
    options = _parse(arguments)
    check_numbers("huggingface_hub")  # whose writer of model cards makes the front matter
    if not options.logs.is_dir():
        raise UsageError(
            f"--logs {options.logs}: there is no such folder", "run inference.py first"
        )
    with claim_logs(options.logs) as logs:
        believe = measuring_again(logs)
        try:
            render_reports(logs, options.lang)
            believe()
        except KitError:  # nobody is shown what was not believed
            discard_reports(logs)
            raise
        log.info(f"report {logs.path(REPORT)} and {logs.path(PAGE)}")
    return 0


def write_reports(logs: Logs, language: str = LANGUAGES[0]) -> None:
    """Write every form of the report and say where; as render_reports."""
    render_reports(logs, language)
    log.info(f"report {logs.path(REPORT)} and {logs.path(PAGE)}")


def render_reports(logs: Logs, language: str = LANGUAGES[0]) -> None:
    """Write every form of the report; no earlier one is left, also where this one cannot be written.

    Raises UsageError where there is no run, UntrustedError where its documents cannot be believed.
    """
    discard_reports(logs)
    # What renders is imported here: without it there is still a verdict, and what measures again beside it
    # begins at once.
    from kit.evidence.reading import read_evidence
    from kit.report.markdown import write_markdown
    from kit.report.page import write_page

    evidence = read_evidence(logs.folder)
    write_page(logs, evidence, "en" if language == "en" else "zh")
    write_markdown(logs, evidence, language)  # shows the plots that the page has drawn


def discard_reports(logs: Logs) -> None:
    """Remove the reports of an earlier verdict."""
    for name in REPORTS:
        logs.discard(name)


@contextmanager
def reported(logs: Logs) -> Iterator[None]:
    """Write the report of what the block leaves behind: a verdict, or INVALID by an UntrustedError,
    which then goes on its way. By any other error nothing has changed, and an earlier report stays."""
    try:
        yield
    except UntrustedError:
        try:
            write_reports(logs)
        except Exception as error:
            log.warning(f"the report could not be written: {as_kit_error(error)}")
        raise
    write_reports(logs)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit report")
    parser.add_argument(
        "--logs",
        type=path_given,
        default=Path("logs"),
        metavar="DIR",
        help="of the run (default: logs)",
    )
    parser.add_argument(
        "--lang",
        choices=(*LANGUAGES, "both"),
        default=LANGUAGES[0],
        help="of the report (default: zh); both: English is report.en.md",
    )
    return parser.parse_args(arguments)
