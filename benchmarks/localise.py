"""What --localize costs: one localisation beside two plain forwards on the CPU, in turn, in one process.

The CPU stands for the device (the copy that is watched), so that only the kit's own work is measured: the
reference's forward, the watched one, and every module again, under an NPU's default behaviours where they
fire. A pair is the median of 3 localisations and of 20 forwards. Ends with 1 where the median of the pair
ratios is above the limit.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import torch
from golden import milliseconds
from overhead import describe_hardware, tell
from torch import Tensor, nn

from kit.arithmetic.behaviours import BEHAVIOURS
from kit.explain.localise import localise, running
from kit.models.known import load_adapter
from kit.weights.load import load_weights

RATIO_LIMIT = 4
FORWARDS = 2
DEFAULTS = [BEHAVIOURS[name] for name in ("hf32_conv", "gelu_tanh")]


def main() -> None:
    """Measure, print, and end with 1 where the limit is passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--model", action="append", help="ViT-tiny and MiniLM where left out")
    parser.add_argument("--results", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    models = options.model or ["vit_tiny_patch16_224", "all_minilm_l6_v2"]
    measured = {name: compare(name, options.pairs) for name in models}
    figures = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "hardware": describe_hardware(),
        "threads": torch.get_num_threads(),
        "limit_ratio": RATIO_LIMIT,
        **measured,
    }
    tell(figures, options.results)
    sys.exit(1 if any(row["median_ratio"] > RATIO_LIMIT for row in measured.values()) else 0)


def compare(model_name: str, pairs: int) -> dict[str, Any]:
    """The ratios localisation / two forwards, pair by pair, and the median milliseconds."""
    adapter = load_adapter(model_name)
    model = adapter.build()
    load_weights(adapter, model, (), seed=0)
    watched = copy.deepcopy(model)
    inputs = adapter.load_input(None, {}).tensors

    def plain() -> object:
        with torch.no_grad():
            return adapter.forward(model, inputs)

    def forward(module: nn.Module, given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return adapter.forward(module, given)

    def located() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return localise(
                forward,
                model,
                inputs,
                running(forward, watched, inputs),
                DEFAULTS,
                dtype=torch.float32,
                folder=Path(folder),
            )

    plain(), located()
    rows = []
    for _ in range(pairs):
        forwards = statistics.median(milliseconds(plain) for _ in range(20))
        rows.append(
            (FORWARDS * forwards, statistics.median(milliseconds(located) for _ in range(3)))
        )
    ratios = [localisation / forwards for forwards, localisation in rows]
    return {
        "median_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "two_forwards_ms": round(statistics.median(forwards for forwards, _ in rows), 2),
        "localisation_ms": round(statistics.median(found for _, found in rows), 2),
    }


if __name__ == "__main__":
    main()
