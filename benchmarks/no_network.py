"""How long both scripts take without a network: connections refused, and packets dropped.

The hub is a port of the loopback: one where nothing listens, and one whose queue of connections is
full, so that the kernel drops every further attempt as a firewall would.

    python benchmarks/no_network.py
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure and print."""
    figures = {"refused": measure("http://127.0.0.1:9")}
    with dropping_port() as port:
        figures["dropped"] = measure(f"http://127.0.0.1:{port}")
    print(json.dumps(figures, indent=2))


def measure(endpoint: str) -> dict[str, float]:
    """Seconds of the weights chain as recorded, and of both scripts together."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {"PATH": os.environ["PATH"], "HOME": scratch, "HF_ENDPOINT": endpoint}
        start = time.perf_counter()
        for script in ("inference.py", "compare_accuracy.py"):
            command = [sys.executable, script, "--logs", f"{scratch}/logs"]
            subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        wall = time.perf_counter() - start
        record = json.loads(Path(scratch, "logs", "run.json").read_text("utf-8"))
    chain = sum(attempt["seconds"] for attempt in record["weights"]["attempts"])
    return {"chain_seconds": round(chain, 2), "both_scripts_seconds": round(wall, 2)}


@contextmanager
def dropping_port() -> Iterator[int]:
    """A listening port that answers nobody: its queue is filled and never accepted from."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        port = server.getsockname()[1]
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        yield port
        for client in waiting:
            client.close()


if __name__ == "__main__":
    main()
