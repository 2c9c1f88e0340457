"""What fp64 costs: the golden's forward beside the fp32 forward on the CPU, one call of each in turn.

Both have their weights in place, the golden's converted before (kit.arithmetic.fp64), in one process,
because a shared machine's speed changes between two seconds. A pair is the median of 20 calls of each,
after 3 of warm-up. Ends with 1 where the median of the pair ratios is above the limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import torch
from overhead import describe_hardware, tell

from kit.arithmetic.fp64 import float64_only
from kit.models.known import load_adapter, model_names
from kit.weights.load import load_weights

RATIO_LIMIT = 3
WARMUP, CALLS = 3, 20


def main() -> None:
    """Measure, print, and end with 1 where the limit is passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--model", choices=model_names(), action="append")
    parser.add_argument("--results", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    measured = {name: compare(name, options.pairs) for name in options.model or model_names()}
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
    """The ratios fp64 / fp32 of one model's forward, pair by pair, and the median milliseconds."""
    fp32, fp64 = fp32_forward(model_name), fp64_forward(model_name)
    for _ in range(WARMUP):
        fp32(), fp64()
    rows = []
    for _ in range(pairs):
        calls = [(milliseconds(fp32), milliseconds(fp64)) for _ in range(CALLS)]
        rows.append([statistics.median(side) for side in zip(*calls, strict=True)])
    ratios = [golden / reference for reference, golden in rows]
    return {
        "median_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "fp32_ms": round(statistics.median(reference for reference, _ in rows), 2),
        "fp64_ms": round(statistics.median(golden for _, golden in rows), 2),
    }


def fp32_forward(model_name: str) -> Callable[[], object]:
    """The forward of the fp32 reference, on random weights."""
    adapter = load_adapter(model_name)
    model = adapter.build()
    load_weights(adapter, model, (), seed=0)
    inputs = adapter.load_input(None, {}).tensors

    def forward() -> object:
        with torch.inference_mode():
            return adapter.forward(model, inputs)

    return forward


def fp64_forward(model_name: str) -> Callable[[], object]:
    """The forward of the golden, on the same weights in fp64."""
    adapter = load_adapter(model_name)
    model = adapter.build()
    load_weights(adapter, model, (), seed=0)
    model.double()
    inputs = {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in adapter.load_input(None, {}).tensors.items()
    }

    def forward() -> object:
        with float64_only():
            return adapter.forward(model, inputs)

    return forward


def milliseconds(forward: Callable[[], object]) -> float:
    """Of one call."""
    begin = time.perf_counter()
    forward()
    return (time.perf_counter() - begin) * 1e3


if __name__ == "__main__":
    main()
