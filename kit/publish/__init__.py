"""Write the repository that publishes one model: what anyone needs to run, judge and check it, and no more.

DIR becomes a folder with both scripts byte for byte, this model's folder, what of the kit they import, the
requirements, the tests that any single model passes, and the run in --logs with its report as README.md,
rendered afresh (where there is no run, a README that says so). SHA256SUMS lists every file. Weights,
caches, history and other models stay here; paths in the text logs are shortened; a secret or another
machine's path anywhere ends the export. The same input gives the same bytes. An earlier export in DIR is
replaced if it is as it was written.

    python -m kit export vit_tiny_patch16_224 --to published/vit
    python -m kit export flan_t5_small --to published/flan --logs npu_run --zip
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from kit.entry import parser_of, path_given, quoted
from kit.errors import UsageError, shown
from kit.machine.variables import check_numbers
from kit.models.adapter import Adapter
from kit.models.known import is_misspelt, known_adapter, unknown_model
from kit.publish.contents import collect
from kit.publish.privacy import refuse_private
from kit.publish.published_run import read_run
from kit.publish.readme import commands_in, front_page, kit_pages, relinked
from kit.publish.target import check_target, put_in_place

log = logging.getLogger("kit")


def main(arguments: Sequence[str]) -> int:
    """Collect, check, put in place. Returns 0; raises KitError."""
    options = _parse(arguments)
    check_numbers("huggingface_hub")  # whose writer of model cards makes the front matter
    adapter = _published_model(options.model)
    check_target(options.to, zipped=options.zip)
    pages = kit_pages(adapter.place.name)
    files, foreign = collect(adapter.place.name, commands_in(pages))
    run = read_run(options.logs, adapter)
    files |= run.files
    files |= relinked(pages, files)
    files["README.md"] = front_page(adapter, run, files)
    refuse_private(files)
    put_in_place(files, options.to, archive=adapter.place.name if options.zip else None)
    for name in (*foreign, *run.left_out):
        log.info(f"left out: {name if name.isprintable() else repr(name)}")
    if run.shortened:
        log.info(f"paths were shortened in {', '.join(run.shortened)}")
    log.info(
        f"{options.to}: {len(files)} files, {sum(map(len, files.values()))} bytes, {run.title}"
    )
    return 0


def _published_model(wanted: str) -> Adapter:
    """The model's adapter. Raises UsageError where it has no folder under models/, also where it would run
    without one: a repository has that folder in it."""
    if (adapter := known_adapter(wanted)) is not None:
        return adapter
    if is_misspelt(wanted):
        raise unknown_model(wanted)
    raise UsageError(
        f"{shown(wanted)} has no folder under models/, and only a model that has one is published",
        f"make it with python -m kit new {quoted(wanted)}",
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit export")
    parser.add_argument("model", metavar="MODEL", help="a model of this kit, by any of its names")
    parser.add_argument(
        "--to",
        type=path_given,
        required=True,
        metavar="DIR",
        help="a new folder, or an earlier export",
    )
    parser.add_argument(
        "--logs",
        type=path_given,
        default=Path("logs"),
        metavar="DIR",
        help="of the run to publish; a folder without a run publishes none (default: logs)",
    )
    parser.add_argument("--zip", action="store_true", help="write the archive DIR.zip as well")
    return parser.parse_args(arguments)
