"""Running both scripts as a user would: in a subprocess, in a home of its own, without a network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# In the background of a shell SIGINT is ignored, and every script started from here would ignore it, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# One thread a process: the suite runs several at once, and torch's threads would only get in their way.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
SIMULATED_NPU = ROOT / "tests" / "simulated_npu"
# matplotlib's list of fonts, which it would make anew in every home.
FONTS = Path(tempfile.gettempdir()) / "kit-tests-matplotlib"
# Port 9 of the loopback: nothing listens there, so the hub is refused at once.
NO_HUB = "http://127.0.0.1:9"
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
QUICK = ("--offline", "--warmup", "1", "--iterations", "2")
VIT = ("--model", "vit_tiny_patch16_224", *QUICK)
T5 = ("--model", "flan_t5_small", *QUICK)


@dataclass(frozen=True)
class Result:
    """How a script ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one error line; fails where there is not exactly one."""
        [line] = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in self.err + self.out
        return line


class Kit:
    """The two scripts in a scratch folder, which is also home, cache and logs."""

    def __init__(self, scratch: Path, simulated: bool = False) -> None:
        self.scratch = scratch
        self.simulated = simulated
        self.logs = scratch / "logs"

    def environment(self, **extra: str) -> dict[str, str]:
        """A clean environment: no cache, token, proxy or switch of the machine's own."""
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        environment |= {"HOME": str(home), "HF_ENDPOINT": NO_HUB, "OMP_NUM_THREADS": "1"}
        environment["MPLCONFIGDIR"] = str(FONTS)
        if self.simulated:
            environment["PYTHONPATH"] = str(SIMULATED_NPU)
        return environment | extra

    def popen(self, script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Start a script with --logs on the scratch folder, unless it is among the arguments."""
        logs = () if "--logs" in arguments else ("--logs", self.logs)
        return self._popen(ROOT / script, *arguments, *logs, **environment)

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Start `python -m kit ...`."""
        return self._popen("-m", "kit", *arguments, **environment)

    def _popen(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: object, **environment: str) -> Result:
        """Run a script to its end."""
        return _ended(self.popen(script, *arguments, **environment))

    def command(self, *arguments: object, **environment: str) -> Result:
        """Run `python -m kit ...` to its end."""
        return _ended(self.start(*arguments, **environment))

    def infer(self, *arguments: object, **environment: str) -> Result:
        """inference.py."""
        return self.run("inference.py", *arguments, **environment)

    def compare(self, *arguments: object, **environment: str) -> Result:
        """compare_accuracy.py."""
        return self.run("compare_accuracy.py", *arguments, **environment)

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of logs/, strictly: NaN tokens fail."""
        text = (self.logs / name).read_text("utf-8")

        def refuse(token: str) -> None:
            raise AssertionError(f"{token} in {name}")

        document: dict[str, Any] = json.loads(text, parse_constant=refuse)
        return document

    @property
    def record(self) -> dict[str, Any]:
        """run.json."""
        return self.read("run.json")

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        return self.read("summary.json")


def _ended(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=300)
    return Result(process.returncode, out, err)


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


@pytest.fixture
def npu(tmp_path: Path) -> Kit:
    """The scripts on a host whose torch_npu is the simulation."""
    return Kit(tmp_path, simulated=True)


@pytest.fixture(scope="session")
def _vit_npu_run(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    kit = Kit(tmp_path_factory.mktemp("vit_npu"), simulated=True)
    assert kit.infer(*VIT).code == 0
    return kit


@pytest.fixture
def vit_run(_vit_npu_run: Kit, npu: Kit) -> Kit:
    """A finished, not yet compared run of ViT on the simulated NPU, to be tampered with at will."""
    shutil.copytree(_vit_npu_run.logs, npu.logs)
    return npu


@pytest.fixture(scope="session")
def _vit_judged_run(_vit_npu_run: Kit, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    kit = Kit(tmp_path_factory.mktemp("vit_judged"), simulated=True)
    shutil.copytree(_vit_npu_run.logs, kit.logs)
    assert kit.compare().code == 0
    return kit


@pytest.fixture
def judged_run(_vit_judged_run: Kit, npu: Kit) -> Kit:
    """The same run after compare_accuracy.py, which said PASS."""
    shutil.copytree(_vit_judged_run.logs, npu.logs)
    return npu


@pytest.fixture(scope="session")
def weights_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A real safetensors file of a model's published names and shapes, made once a session."""
    made: dict[str, Path] = {}

    def make(model: str) -> Path:
        if model not in made:
            from safetensors.torch import save_file

            from kit.adapter import load_adapter
            from kit.weights.checkpoint import published_tensors
            from kit.weights.random_init import random_state_dict

            adapter = load_adapter(model)
            like = published_tensors(adapter.build(), adapter.tied)
            path = tmp_path_factory.mktemp(model) / "model.safetensors"
            save_file(random_state_dict(like, 7), path, metadata={"format": "pt"})
            made[model] = path
        return made[model]

    return make


def write_tokenizer(path: Path) -> None:
    """A tokenizer.json that knows the default sentence by its published ids, and little else."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    known = {
        "▁translate": 13959, "▁English": 1566, "▁to": 12, "▁German": 2968, ":": 10, "▁How": 571,
        "▁old": 625, "▁are": 33, "▁you": 25, "?": 58, "</s>": 1,
    }  # fmt: skip
    pieces = {number: piece for piece, number in known.items()}
    vocabulary = [(pieces.get(number, f"<{number}>"), -float(number)) for number in range(32_100)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(path))
