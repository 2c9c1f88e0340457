"""How many architectures run without code of their own: timm's, one a module and some more, on this CPU.

Each is built by the kit's rule from timm's registry, with random weights and the kit's photograph: two
runs, the reference's two runs, the verdict. Prints one line each and the share; the rows and the reasons
of failures go to --results, anew after each row, so that a run which is ended early leaves what it has.

    python benchmarks/architectures.py [--more 100] [--millions 300] [--results FILE.json]
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
SEED = 0


def main() -> None:
    """Run every architecture that was drawn and print the rows and the share."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--more", type=int, default=100, help="drawn beside one a module")
    parser.add_argument("--millions", type=float, default=300, help="largest size, parameters")
    parser.add_argument("--names", nargs="*", help="these instead")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in options.names or drawn(options.more, options.millions):
        rows.append(measured(name))
        print(json.dumps(rows[-1]), flush=True)
        good = sum(row["verdict"] == "PASS" for row in rows)
        if options.results:
            keep(options.results, rows, good)
    print(f"{good} of {len(rows)} run, repeat and compare")


def keep(results: Path, rows: list[dict[str, Any]], good: int) -> None:
    """Write the rows so far, with the machine and the versions."""
    import timm
    from overhead import describe_hardware

    document = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "hardware": f"{describe_hardware()}, timm {timm.__version__}, one thread",
        "seed": SEED,
        "good": good,
        "of": len(rows),
        "rows": rows,
    }
    results.write_text(json.dumps(document, indent=1) + "\n")


def drawn(more: int, millions: float) -> Iterator[str]:
    """The first small enough architecture of each timm module, in an order shuffled by a fixed seed, then
    `more` of all the others."""
    from kit.models.families.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import timm

    shuffled = timm.list_models()
    random.Random(SEED).shuffle(shuffled)
    taken = []
    for module in timm.list_modules():
        of_module = set(timm.list_models(module=module))
        small = (name for name in shuffled if name in of_module and size(name) <= millions)
        taken += [name for name in (next(small, None),) if name]
    yield from taken
    others = (name for name in shuffled if name not in taken)
    for name in others:
        if more and size(name) <= millions:
            more -= 1
            yield name


def size(name: str) -> float:
    """Parameters in millions; infinite where the kit cannot build it, for the loop to say why."""
    from kit.models.derived import from_timm_registry

    try:
        model = from_timm_registry(name).build()  # type: ignore[union-attr]
    except Exception:
        return 0.0
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def measured(name: str) -> dict[str, Any]:
    """One architecture: build, random weights, both sides twice, the verdict or why there is none."""
    import torch

    from kit.accuracy.comparison import compare
    from kit.accuracy.repeats import compare_runs
    from kit.models.derived import from_timm_registry
    from kit.run.reference import run_references
    from kit.weights.load import load_weights

    begin = time.perf_counter()
    row: dict[str, Any] = {"name": name, "verdict": "FAILED", "reason": None}
    try:
        adapter = from_timm_registry(name)
        assert adapter is not None, "timm's registry does not know it"
        model = adapter.build()
        loaded = load_weights(adapter, model, [], seed=SEED)
        row["parameters"] = loaded.parameters
        inputs = adapter.load_input(None, {}).tensors
        with torch.inference_mode():
            outputs = adapter.forward(model, inputs)
            repeats = compare_runs(outputs, adapter.forward(model, inputs))
        adapter = adapter.with_outputs({key: tuple(value.shape) for key, value in outputs.items()})
        reference = run_references(adapter, model, inputs, "off")
        found = compare(adapter.outputs, reference, outputs, repeats)
        row["outputs"] = {key: list(value.shape) for key, value in outputs.items()}
        row["std"] = {key: float(value.std()) for key, value in outputs.items()}
        row["verdict"] = found.verdict
        reasons = [f"{key}: {why}" for key, each in found.outputs.items() for why in each.reasons]
        row["reason"] = None if found.verdict == "PASS" else "; ".join(reasons) or None
    except Exception as error:  # whatever it is, it is this architecture's row
        row["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    row["seconds"] = round(time.perf_counter() - begin, 1)
    gc.collect()
    return row


if __name__ == "__main__":
    main()
