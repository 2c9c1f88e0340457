"""The latency that inference.py reports beside a plain loop's: one call of each in turn.

The kit's timer and forward (kit.run.timing.time_once, whose mean inference.py reports) and the plain
loop of benchmarks/plain.py, on the same weights in one process, because a shared machine's speed
changes by more than 5% between two processes, and between two seconds. A pair is the mean of 20 calls
of each, after 3 of warm-up.

    python benchmarks/latency.py flan_t5_small [--pairs 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import plain
import torch
from overhead import PLAIN_NAMES, prepare

from kit.devices import select_device
from kit.models.known import load_adapter
from kit.run.placement import move
from kit.run.timing import time_once
from kit.weights.casting import cast_weights
from kit.weights.load import load_weights


def main() -> None:
    """Measure and print one model's ratios as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", choices=PLAIN_NAMES)
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        prepare(options.model, Path(scratch))
        ratios = compare(options.model, Path(scratch), options.pairs)
    figures = {"median_ratio": statistics.median(ratios), "ratios": ratios}
    print(
        json.dumps(json.loads(json.dumps(figures), parse_float=lambda text: round(float(text), 4)))
    )


def compare(model_name: str, folder: Path, pairs: int) -> list[float]:
    """Kit / plain, pair by pair."""
    adapter, device = load_adapter(model_name), select_device("cpu", "default")
    model = adapter.build()
    loaded = load_weights(adapter, model, [folder / "model.safetensors"], seed=0)
    cast = cast_weights(model, torch.float32)
    move(model, loaded.tied, device, cast, loaded.fingerprint)
    inputs = adapter.load_input(None, {}).tensors
    forward, _ = {"t5": plain.load_t5, "vit": plain.load_vit}[PLAIN_NAMES[model_name]](folder)
    ratios = []
    for _ in range(pairs):
        kit_ms, plain_ms = [], []
        with torch.inference_mode():
            for _ in range(plain.WARMUP + plain.ITERATIONS):
                kit_ms.append(time_once(lambda: adapter.forward(model, inputs), device))
                plain_ms.append(plain.time_once(forward))
        ratios.append(sum(kit_ms[plain.WARMUP :]) / sum(plain_ms[plain.WARMUP :]))
    return ratios


if __name__ == "__main__":
    main()
