"""What inference.py is asked: a value, made of a command line or by whoever calls run()."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

from msgspec import UNSET

from kit.devices import PRECISIONS, check_device_name
from kit.devices.precision import Dtype, PrecisionName
from kit.entry import at_least, parser_of, path_given
from kit.evidence.types.asked import Arguments
from kit.models.adapter import Attention
from kit.models.known import model_names
from kit.weights.arguments import DOWNLOAD_SECONDS, add_download_arguments
from kit.weights.endpoints import mirror_list, shown

LOCALIZE_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run; each default has its one home here. `iterations` None is as many timed runs
    as about 5 s allow, `samples` None all of `data`, `localize` (MiB) None no recording."""

    model: str | None = None
    revision: str | None = None
    device: str = "auto"
    weights: Path | None = None
    require_pretrained: bool = False
    offline: bool = False
    mirror: tuple[str, ...] = ()
    download_timeout: float = DOWNLOAD_SECONDS
    input: str | None = None
    data: Path | None = None
    samples: int | None = None
    batch_size: int = 8
    dtype: Dtype = "float32"
    precision: PrecisionName = "default"
    attention: Attention | None = None
    warmup: int = 3
    iterations: int | None = None
    seed: int = 0
    localize: int | None = None
    logs: Path = Path("logs")

    def recorded(self) -> Arguments:
        """The record's section: without folders of this machine and without credentials, since records
        travel."""
        model, value = self.model, self.input
        return Arguments(
            model=Path(model).resolve().name if model and Path(model).is_dir() else model,
            revision=self.revision,
            device=self.device,
            weights=self.weights.absolute().name if self.weights else None,
            require_pretrained=self.require_pretrained,
            offline=self.offline,
            mirrors=[shown(url) for url in mirror_list(self.mirror)],
            download_timeout_seconds=self.download_timeout,
            input=Path(value).name if value and os.path.isfile(value) else value,  # noqa: PTH113
            data=self.data.resolve().name if self.data else None,
            samples=self.samples,
            batch_size=self.batch_size,
            dtype=self.dtype,
            precision=self.precision,
            attention=self.attention,
            warmup=self.warmup,
            iterations=self.iterations,
            seed=self.seed,
            localize=self.localize or UNSET,
        )


def parse_options(documentation: str | None) -> RunOptions:
    """The options of a command line, whose help is `documentation`; ends the process with exit code 2
    where it is wrong."""
    parser: argparse.ArgumentParser = parser_of(documentation)
    parser.set_defaults(**{field.name: field.default for field in fields(RunOptions)})
    parser.add_argument(
        "--model",
        metavar="NAME|HUB_ID|DIR",
        help=f"one of {', '.join(model_names())}; any hub id or timm name; or a folder with config.json",
    )
    parser.add_argument(
        "--revision",
        metavar="REV",
        help="a commit, tag or branch of the model's repository (default: the declared commit, else main)",
    )
    parser.add_argument(
        "--device",
        type=check_device_name,
        metavar="auto|npu:N|cuda:N|cpu",
        help="auto takes an NPU, else a GPU, else the CPU; any other must be there (default: auto)",
    )
    parser.add_argument(
        "--weights",
        type=path_given,
        metavar="PATH",
        help="a safetensors file, or the folder that holds it",
    )
    parser.add_argument(
        "--require-pretrained", action="store_true", help="fail instead of running random weights"
    )
    parser.add_argument("--offline", action="store_true", help="make no network request")
    add_download_arguments(parser)
    parser.add_argument("--input", metavar="VALUE", help="a text, an image file, or a sound (.wav)")
    parser.add_argument(
        "--data",
        type=path_given,
        metavar="DIR|FILE",
        help="run more samples after the input: a folder of images, or a text file, one text a line",
    )
    parser.add_argument(
        "--samples", type=at_least(1), metavar="N", help="the first N of --data (default: all)"
    )
    parser.add_argument(
        "--batch-size",
        type=at_least(1),
        metavar="B",
        help="images in one forward; texts go one at a time (default: %(default)s)",
    )
    parser.add_argument("--dtype", choices=get_args(Dtype), help="default: %(default)s")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="default: the library's flags; strict: full fp32; fast: HF32/TF32 (default: %(default)s)",
    )
    parser.add_argument(
        "--attention",
        choices=get_args(Attention),
        help="of a transformers model (default: what the library chooses)",
    )
    parser.add_argument("--warmup", type=at_least(0), metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--iterations",
        type=at_least(1),
        metavar="N",
        help="timed runs (default: as many as about 5 s allow, at least 20, at most 1000)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), metavar="N", help="of random weights (default: %(default)s)"
    )
    parser.add_argument(
        "--localize",
        type=at_least(1),
        nargs="?",
        const=LOCALIZE_MIB,
        metavar="MIB",
        help="last, record every module call for compare_accuracy.py --localize on another machine, in "
        f"MIB of disk at most ({LOCALIZE_MIB} where left out)",
    )
    parser.add_argument("--logs", type=path_given, metavar="DIR", help="default: %(default)s")
    asked = vars(parser.parse_args())
    return RunOptions(**asked | {"mirror": tuple(asked["mirror"])})
