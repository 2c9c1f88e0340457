"""inference.py beside a plain script: wall time, peak memory, reported latency; --help's start.

Runs the two in turn, PAIRS times, on the same local weights file (random, made once), and prints the
median of the pair ratios with their spread. Nothing else should run on the machine meanwhile.

    python benchmarks/overhead.py [--pairs 7] [--model flan_t5_small] [--results FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PLAIN_NAMES = {"flan_t5_small": "t5", "vit_tiny_patch16_224": "vit"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--model", choices=PLAIN_NAMES, action="append")
    parser.add_argument("--results", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    # Heavy imports stay in another process: a child's peak memory counts what its parent had.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as elsewhere:
        measured = measure_all(options.model or list(PLAIN_NAMES), options.pairs, elsewhere)
        hardware = elsewhere.submit(describe_hardware).result()
    figures = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "hardware": hardware, **measured}
    tell(figures, options.results)


def tell(figures: dict[str, Any], results: Path | None) -> None:
    """Print the figures, and keep them where `results` names a file."""
    text = json.dumps(figures, indent=2)
    print(text)
    if results:
        results.write_text(text + "\n")


def measure_all(models: list[str], pairs: int, elsewhere: ProcessPoolExecutor) -> dict[str, Any]:
    """Everything, by name."""
    figures: dict[str, Any] = {"help_seconds": round(help_seconds(), 3), "pairs": pairs}
    for model in models:
        with tempfile.TemporaryDirectory() as scratch:
            elsewhere.submit(prepare, model, Path(scratch)).result()
            figures[model] = compare(model, Path(scratch), pairs)
    return figures


def help_seconds() -> float:
    """Median wall time of `inference.py --help`."""
    return statistics.median(
        measure([sys.executable, "inference.py", "--help"])[0] for _ in range(9)
    )


def compare(model: str, scratch: Path, pairs: int) -> dict[str, object]:
    """Median pair ratios (kit / plain) for one model; the latency's from benchmarks/latency.py."""
    plain_command = [sys.executable, "benchmarks/plain.py", PLAIN_NAMES[model], str(scratch)]
    kit_command = [sys.executable, "inference.py", "--model", model, "--offline"]
    kit_command += [
        "--weights",
        str(scratch / "model.safetensors"),
        "--logs",
        str(scratch / "logs"),
        *("--warmup", "3", "--iterations", "20"),  # as many as plain.py
    ]
    rows = []
    for _ in range(pairs + 1):  # the first pair only warms the disk cache
        plain_wall, plain_peak, _ = measure(plain_command)
        kit_wall, kit_peak, _ = measure(kit_command)
        rows.append({"wall": kit_wall / plain_wall, "peak_memory": kit_peak / plain_peak})
        print(f"{model}: plain {plain_wall:.2f} s, kit {kit_wall:.2f} s", file=sys.stderr)
    _, _, latency = measure([sys.executable, "benchmarks/latency.py", model])
    ratios = {
        name: {
            "median_ratio": round(statistics.median(row[name] for row in rows[1:]), 4),
            "ratios": [round(row[name], 4) for row in rows[1:]],
        }
        for name in rows[0]
    }
    return {**ratios, "latency": json.loads(latency)}


def prepare(model: str, scratch: Path) -> None:
    """A folder with the model's config and random weights under the published names."""
    from safetensors.torch import save_file

    from kit.models.known import load_adapter
    from kit.weights.checkpoint import published_tensors
    from kit.weights.random_init import random_state_dict

    adapter = load_adapter(model)
    for file in adapter.place.glob("*.*"):
        shutil.copy(file, scratch)
    like = published_tensors(adapter.build(), adapter.tied)
    save_file(random_state_dict(like, 0), scratch / "model.safetensors", metadata={"format": "pt"})


def measure(command: list[str]) -> tuple[float, int, str]:
    """Wall seconds, peak resident KiB and stdout of a command that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return wall, usage.ru_maxrss, text


def describe_hardware() -> str:
    """Processor, cores, and the versions that matter."""
    import torch
    import transformers

    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )


if __name__ == "__main__":
    main()
