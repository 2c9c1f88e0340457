"""A tiny model on the loopback hub, and looking for it: here, or in another process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import COMMIT, safetensors_bytes
from starting import SERVER

from kit.models.declaration import ModelInfo
from kit.weights import progress
from kit.weights.sources import Located, locate

ROOT = Path(__file__).resolve().parent.parent
DATA = safetensors_bytes(1_500_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
WEIGHTS = "model.safetensors"
FILES = {"org/tiny": {WEIGHTS: DATA, "tokenizer.json": b'{"tokens": []}'}}

# Another process's `locate`: prints what it found as JSON; argv is the timeout.
LOCATE = """
import json, sys
from kit.weights.endpoints import mirror_list
from kit.weights.sources import locate
from tiny_hub import info
waits = {"timeout": float(sys.argv[1]), "mirrors": mirror_list()}
located = locate(info(), **waits, log=lambda line: None)
print(json.dumps({
    "found": located.file is not None and str(located.file.path),
    "downloaded": located.downloaded,
    "attempts": [[a.source, a.outcome, a.line, a.seconds] for a in located.attempts],
}))
"""
# The same where names never resolve: a resolver that hangs, as with dropped packets on port 53.
LOCATE_WITHOUT_DNS = "import socket, time; socket.getaddrinfo = lambda *a, **k: time.sleep(60)\n"


def info(**changes: Any) -> ModelInfo:
    """The tiny model of the loopback hub."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "hub_id": "org/tiny",
        "revision": COMMIT,
        "vendor": "org",
        "task": "test",
        "pipeline_tag": "test",
        "library": "none",
        "license": "none",
        "architecture": "none",
        "parameters": 1,
        "tensors": 1,
        # DATA is random: another process is told the hash instead.
        "published": {WEIGHTS: os.environ.get("TEST_SHA256", SHA256)},
    }
    return ModelInfo(**{**fields, **changes})


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, endpoint, token or proxy of the machine's own; the fork server stays."""
    for name in set(os.environ) - {SERVER}:
        if name.startswith(("HF_", "HUGGING", "KIT_", "MODELSCOPE")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


def use_empty_caches(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Empty caches and a clean environment; the Hugging Face cache's root."""
    clean_environment(monkeypatch)
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(folder / "modelscope"))
    return folder / "hub"


def shorten_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, so that faults which are waited out do not make the suite long; not so short that a
    busy machine cannot answer within them."""
    monkeypatch.setattr(progress, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(progress, "STALL_SECONDS", 0.6)
    monkeypatch.setattr(progress, "TRY_SECONDS", 0.8)
    monkeypatch.setattr(progress, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(progress, "MIRROR_ANSWER_SECONDS", 2.0)


def fetch(**options: Any) -> Located:
    """`locate` with a log that nobody reads."""
    model = options.pop("info", None) or info()
    return locate(model, log=options.pop("log", lambda line: None), **options)


def assert_sound(cache: Path) -> None:
    """Every file with a final name is whole; only the kit's own parts are partial."""
    files = [path for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts]
    for path in files:
        assert (
            path.name.endswith(".kit.part")
            or path.read_bytes() in FILES["org/tiny"].values()
            or path.parent.name == "refs"
        )


def start(script: str, *, timeout: float = 60, **environment: str) -> subprocess.Popen[str]:
    """Run `script` in another process with this environment and these caches."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *sys.path])
    changes = {"PYTHONPATH": paths, "TEST_SHA256": SHA256, **environment}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(timeout)],
        env={**os.environ, **changes},
        stdout=subprocess.PIPE,
        text=True,
    )
