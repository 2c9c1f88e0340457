"""All metrics of two large fp32 outputs: the kit, a bare one-pass numpy loop, Polygraphy.

Each contender runs in a process of its own, on one thread (the last one on two), over the same two
memory-mapped safetensors files of 100 M elements, in turn, ROUNDS times. Prints the seconds, by the
clock and of the processor, the anonymous memory above the process's start, and the medians of the pair
ratios to the bare loop: those of the processor's seconds hold on a busy machine, too.

    pip install -r benchmarks/requirements-metrics.txt
    python benchmarks/metrics.py [--millions 100] [--rounds 3] [--results FILE.json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
CLASSES = 32_000
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SLOW = ("polygraphy",)  # run once


def main() -> None:
    """Measure every contender and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--millions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measure_here(CONTENDERS[options.contender], options.folder)))
        return
    from overhead import describe_hardware

    with tempfile.TemporaryDirectory() as scratch:
        write_pair(Path(scratch), options.millions * 1_000_000 // CLASSES)
        rounds = [
            {
                name: measure_apart(name, scratch)
                for name in CONTENDERS
                if name not in SLOW or not number
            }
            for number in range(options.rounds)
        ]
    figures = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "hardware": describe_hardware()}
    figures |= {"elements": options.millions * 1_000_000, **summarise(rounds)}
    text = json.dumps(figures, indent=2)
    print(text)
    if options.results:
        options.results.write_text(text + "\n")


def summarise(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians by contender, and the ratio to the bare loop of the same round."""
    return {
        name: {
            "seconds": round(statistics.median(r[name]["seconds"] for r in rounds if name in r), 3),
            "processor_seconds": round(
                statistics.median(r[name]["processor_seconds"] for r in rounds if name in r), 3
            ),
            "anonymous_mib": round(max(r[name]["anonymous_mib"] for r in rounds if name in r)),
            "times_the_bare_loop": times_bare(rounds, name, "seconds"),
            "processor_times_the_bare_loop": times_bare(rounds, name, "processor_seconds"),
        }
        for name in CONTENDERS
    }


def times_bare(rounds: list[dict[str, dict[str, float]]], name: str, what: str) -> float:
    """The median ratio to the bare loop of the same round."""
    ratios = [r[name][what] / r["bare loop"][what] for r in rounds if name in r]
    return round(statistics.median(ratios), 3)


def write_pair(folder: Path, rows: int) -> None:
    """Two files of logits [rows, CLASSES]; the device's have a relative error of about 0.1%."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(0)
    reference = torch.randn(rows, CLASSES, generator=random)
    save_file({"x": reference}, folder / "reference.safetensors")
    reference *= torch.randn(rows, CLASSES, generator=random).mul_(1e-3).add_(1)
    save_file({"x": reference}, folder / "device.safetensors")


def measure_apart(name: str, folder: str) -> dict[str, float]:
    """One contender in a fresh process."""
    command = [sys.executable, __file__, "--contender", name, "--folder", folder]
    done = subprocess.run(
        command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {figures['processor_seconds']:.2f} s", file=sys.stderr)
    return figures


def measure_here(contender: Callable[[Any, Any], object], folder: Path) -> dict[str, float]:
    """Seconds of one comparison, and the most anonymous memory that it added (MiB).

    Compilation and imports are over before: a small pair of the same dtype goes first.
    """
    import torch
    from safetensors import safe_open

    from kit.accuracy import walk

    torch.set_num_threads(1)
    walk._LARGE = 1 << 20  # so that the small pair takes the compiled way, too
    contender(torch.randn(40, CLASSES), torch.randn(40, CLASSES))
    pair = []
    for name in ("reference", "device"):
        with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
            pair.append(file.get_tensor("x"))
    before, most, over = anonymous_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.01):
            most = max(most, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, processor_start = time.perf_counter(), time.process_time()
    contender(*pair)
    seconds = time.perf_counter() - start
    processor_seconds = time.process_time() - processor_start
    over.set()
    watcher.join()
    return {
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "anonymous_mib": max(0, most - before) / 2**20,
    }


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon: this benchmark needs Linux")


def bare_loop(reference: Any, device: Any) -> tuple[float, ...]:
    """What anybody would write who knows numpy: one pass over blocks, sums in fp64."""
    import numpy as np

    r_all, d_all = reference.numpy().reshape(-1), device.numpy().reshape(-1)
    largest, at, total, within = -1.0, 0, 0.0, 0
    rr = dd = rd = ee = 0.0
    for start in range(0, len(r_all), 1 << 16):
        r = r_all[start : start + (1 << 16)].astype(np.float64)
        d = d_all[start : start + (1 << 16)].astype(np.float64)
        e = d - r
        rr, dd, rd, ee = rr + r @ r, dd + d @ d, rd + r @ d, ee + e @ e
        np.abs(e, out=e)
        total += e.sum()
        if e[here := int(e.argmax())] > largest:
            largest, at = e[here], start + here
        np.abs(r, out=r)
        r *= 0.01
        within += int(np.count_nonzero(e <= r))
    count = len(r_all)
    cosine = rd / math.sqrt(rr * dd)
    return largest, at, total / count, cosine, math.sqrt(ee / count), within / count


def kit(reference: Any, device: Any, *, ranked: bool, threads: int) -> object:
    """The kit's engine."""
    from kit.accuracy.metrics import measure

    return measure(reference, device, ranked=ranked, threads=threads)


def polygraphy(reference: Any, device: Any) -> object:
    """Polygraphy's comparator with three functions."""
    from polygraphy.comparator import IterationResult
    from polygraphy.comparator import compare as functions
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    pair = (IterationResult({"x": reference.numpy()}), IterationResult({"x": device.numpy()}))
    kinds = ("SimpleCompareFunc", "CosineSimilarityCompareFunc", "PsnrCompareFunc")
    return [getattr(functions, kind)()(*pair) for kind in kinds]


CONTENDERS: dict[str, Callable[[Any, Any], object]] = {
    "bare loop": bare_loop,
    "kit": lambda r, d: kit(r, d, ranked=False, threads=1),
    "kit, two threads": lambda r, d: kit(r, d, ranked=False, threads=2),
    "kit, as logits": lambda r, d: kit(r, d, ranked=True, threads=1),
    "kit, as logits, two threads": lambda r, d: kit(r, d, ranked=True, threads=2),
    "polygraphy": polygraphy,
}

if __name__ == "__main__":
    main()
