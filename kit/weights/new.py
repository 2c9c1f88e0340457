"""Write a folder under models/ for a model that runs without one, to be edited.

MODEL is a hub id, a name of timm's, or a folder that save_pretrained or timm wrote. What a rule derived
stands in models/NAME/model.toml beside the config, ready for what only a person knows: the sha256 of the
published files, the licence, a better name.

    python -m kit new timm/resnet18.a1_in1k
    python -m kit new ./folder --name my_model
"""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections.abc import Sequence

from kit.entry import parser_of
from kit.errors import UsageError
from kit.models.adapter import Adapter
from kit.models.declaration import CONFIG, DECLARATION, ModelInfo
from kit.models.known import MODELS_ROOT
from kit.weights.caches import is_commit
from kit.weights.endpoints import mirror_list
from kit.weights.find_model import find_model

log = logging.getLogger("kit")


def main(arguments: Sequence[str]) -> int:
    """Find the model, write its folder. Returns 0; raises KitError."""
    options = _parse(arguments)
    adapter = find_model(
        options.model, offline=options.offline, mirrors=mirror_list([]), log=log.info
    )
    if adapter.folder is not None:
        raise UsageError(
            f"{options.model} has a folder already: models/{adapter.folder.name}",
            "edit what is there",
        )
    if adapter.info.hub_id and not is_commit(adapter.info.revision):
        raise UsageError(
            f"which commit of {adapter.info.hub_id} is meant is not known",
            "run it again with a network",
        )
    folder = MODELS_ROOT / (options.name or _folder_name(adapter))
    try:
        folder.mkdir()
        (folder / CONFIG).write_bytes(adapter.files[CONFIG])
        (folder / DECLARATION).write_text(declaration_text(adapter.info), "utf-8")
    except FileExistsError:
        raise UsageError(f"{folder} is there already", "pass another --name") from None
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror})", "make models/ writable"
        ) from error
    log.info(f"{folder / DECLARATION}: edit it, then python inference.py --model {folder.name}")
    return 0


def declaration_text(info: ModelInfo) -> str:
    """The model.toml of a declaration; what nothing says stands there as a comment."""
    lines = [f"# {info.task}"]
    fields = "family name hub_id revision vendor task pipeline_tag library license architecture"
    for name in fields.split():
        value = getattr(info, name)
        lines.append(f"{name} = {json.dumps(value)}" if value is not None else f'# {name} = ""')
    lines.append(f"companions = {json.dumps(info.companions)}")
    lines += ["", "[published]", f'# "{info.weights}" = "the sha256 of the published file"']
    return "\n".join(lines) + "\n"


def _folder_name(adapter: Adapter) -> str:
    """The model's own name without owner and tag, spelled as a Python name."""
    last = adapter.info.name.rpartition("/")[2].partition(".")[0].lower()
    return re.sub(r"\W+", "_", last).strip("_") or "model"


def _name(text: str) -> str:
    """An argparse type: the name of a folder under models/."""
    if not re.fullmatch(r"[a-z0-9_]+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give small letters, digits and _")
    return text


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit new")
    parser.add_argument("model", metavar="MODEL", help="a hub id, a name of timm's, or a folder")
    parser.add_argument(
        "--name", type=_name, metavar="NAME", help="of the folder (default: the model's own)"
    )
    parser.add_argument("--offline", action="store_true", help="make no network request")
    return parser.parse_args(arguments)
