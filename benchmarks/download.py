"""The kit's download beside curl followed by sha256sum: wall time, and the memory it takes.

308 MB (flan-t5-small's size, random bytes) come over the loopback from one server process, in turn
by curl and by the kit, PAIRS times in alternating order; every process starts anew and is measured
as a whole, its start included. The kit also syncs the file to the disk, which curl does not.

    python benchmarks/download.py [--pairs 7] [--results FILE.json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
BYTES = 307_867_048
RATIO_LIMIT, MEMORY_LIMIT_MIB = 1.1, 64

SERVE = """
import sys, time
from pathlib import Path
from loopback_hub import LoopbackHub
with LoopbackHub({"org/t5": {"model.safetensors": Path(sys.argv[1]).read_bytes()}}) as hub:
    next(iter(hub.files.values())).etag
    print(hub.url, flush=True)
    time.sleep(3600)
"""
LOCATE = """
import json, re
def kib(field):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
at_start = kib("VmRSS")
import sys
from kit.weights.sources import locate
from kit.weights.model_files import RepositoryFiles
files = RepositoryFiles(hub_id="org/t5", companions=(), published={"model.safetensors": sys.argv[1]})
located = locate(files, log=lambda line: None)
assert located.file is not None, located.pretrained_reason
print(json.dumps({"mib_above_start": (kib("VmHWM") - at_start) / 1024,
                  "chain_seconds": sum(attempt.seconds for attempt in located.attempts)}))
"""


def main() -> None:
    """Measure, print, and end with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--results", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, served(Path(scratch)) as (url, sha256):
        rows = measure_pairs(url, sha256, Path(scratch), options.pairs)
    figures = summary(rows)
    print(json.dumps(figures, indent=2))
    if options.results:
        options.results.write_text(json.dumps(figures, indent=2) + "\n")
    over = figures["median_ratio"] > RATIO_LIMIT or figures["peak_mib"] > MEMORY_LIMIT_MIB
    sys.exit(1 if over else 0)


@contextmanager
def served(scratch: Path) -> Iterator[tuple[str, str]]:
    """A hub in a process of its own; its address and the file's sha256."""
    from loopback_hub import safetensors_bytes

    data = safetensors_bytes(BYTES)
    file = scratch / "served.safetensors"
    file.write_bytes(data)
    command = [sys.executable, "-c", SERVE, str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:2])}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), hashlib.sha256(data).hexdigest()
    finally:
        server.kill()


def measure_pairs(url: str, sha256: str, scratch: Path, pairs: int) -> list[dict[str, float]]:
    """One row a pair; a first pair, which only warms the machine, is left out."""
    rows = []
    for number in range(pairs + 1):
        row: dict[str, float] = {}
        for way in (by_curl, by_kit) if number % 2 else (by_kit, by_curl):
            row |= way(url, sha256, scratch)
        print(f"curl {row['curl']:.2f} s, kit {row['kit']:.2f} s", file=sys.stderr)
        rows.append(row)
    return rows[1:]


def by_curl(url: str, sha256: str, scratch: Path) -> dict[str, float]:
    """Seconds of curl and then sha256sum."""
    address = f"{url}/org/t5/resolve/main/model.safetensors"
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        command = f"curl --silent --fail --output file {address} && sha256sum file"
        start = time.perf_counter()
        said = subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    assert said.stdout.decode().startswith(sha256)
    return {"curl": seconds}


def by_kit(url: str, sha256: str, scratch: Path) -> dict[str, float]:
    """Seconds of a process that downloads into an empty cache, and what it says of itself."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "HF_ENDPOINT": url}
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-c", LOCATE, sha256]
        start = time.perf_counter()
        said = subprocess.run(command, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    return {"kit": seconds, **json.loads(said.stdout)}


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """The figures with what they were measured on."""
    ratios = [row["kit"] / row["curl"] for row in rows]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "bytes": BYTES,
        "pairs": len(rows),
        "median_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "limit_ratio": RATIO_LIMIT,
        "median_seconds": {
            name: round(statistics.median(row[name] for row in rows), 3)
            for name in ("curl", "kit", "chain_seconds")
        },
        "peak_mib": round(max(row["mib_above_start"] for row in rows), 1),
        "limit_mib": MEMORY_LIMIT_MIB,
        "hardware": hardware(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def hardware() -> str:
    """Processor, cores, and the versions that matter."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    curl = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, huggingface_hub {version('huggingface_hub')}, "
        f"{' '.join(curl.split()[:2])}"
    )


if __name__ == "__main__":
    main()
