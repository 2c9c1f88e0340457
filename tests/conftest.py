"""Running both scripts as a user would: in a subprocess, in a home of its own, without a network."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from filelock import FileLock
from starting import SERVER, Process, kept_environment, start_fork_server, start_python

from kit.machine.processor import usable_cores

ROOT = Path(__file__).resolve().parent.parent
SIMULATED_NPU = ROOT / "tests" / "simulated_npu"
# In the background of a shell SIGINT is ignored, and every script started from here would ignore it, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
# One thread a process: the suite runs several at once, and torch's threads would only get in their way.
os.environ["OMP_NUM_THREADS"] = "1"

# Port 9 of the loopback: nothing listens there, so the hub is refused at once.
NO_HUB = "http://127.0.0.1:9"
_FORK_SERVER = pytest.StashKey[Any]()
QUICK = ("--offline", "--warmup", "1", "--iterations", "2")
# A ViT of 2 layers, for what any model shows: a quarter of the time of the smallest that is published.
SMALL = ("--model", str(ROOT / "tests" / "small_vit"), *QUICK)
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
    """The two scripts in a scratch folder, which is also home, cache and logs. No package that `hidden`
    names is found."""

    def __init__(self, scratch: Path, simulated: bool = False) -> None:
        self.scratch = scratch
        self.simulated = simulated
        self.hidden: tuple[str, ...] = ()
        self.logs = scratch / "logs"

    def environment(self, **extra: str) -> dict[str, str]:
        """A clean environment: no cache, token, proxy or switch of the machine's own."""
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        environment = kept_environment() | {"HOME": str(home), "HF_ENDPOINT": NO_HUB}
        if self.simulated:
            environment["PYTHONPATH"] = str(SIMULATED_NPU)
        return environment | extra

    def popen(self, script: str, *arguments: object, **environment: str) -> Process:
        """Start a script with --logs on the scratch folder, unless it is among the arguments; so few
        timed runs, because as many as 5 s allow would be most of a test's time."""
        logs = () if "--logs" in arguments else ("--logs", self.logs)
        if script == "inference.py" and "--iterations" not in arguments:
            arguments = (*arguments, *QUICK[-2:])
        variables = self.environment(**environment)
        return start_python(ROOT / script, *arguments, *logs, env=variables, hidden=self.hidden)

    def start(self, *arguments: object, **environment: str) -> Process:
        """Start `python -m kit ...`."""
        variables = self.environment(**environment)
        return start_python("-m", "kit", *arguments, env=variables, hidden=self.hidden)

    def run(self, script: str, *arguments: object, **environment: str) -> Result:
        """Run a script to its end."""
        return ended(self.popen(script, *arguments, **environment))

    def command(self, *arguments: object, **environment: str) -> Result:
        """Run `python -m kit ...` to its end."""
        return ended(self.start(*arguments, **environment))

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


def ended(process: Process, timeout: float = 300) -> Result:
    """Wait for its end."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: some tests wait, for a deadline that is to end something."""
    return (usable_cores() or 1) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run one test in M, always the same ones, of every file: 1/4, say, or 2/4 for the next"
    parser.addoption("--share", default="1/1", metavar="N/M", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    share, of = map(int, config.getoption("--share").split("/"))
    items[:] = [item for item in items if crc32(item.nodeid.encode()) % of == share - 1]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested, and why, on one line."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    told = [f"{count} tests ({reason})" for reason, count in reasons.most_common()]
    if "not full" in terminalreporter.config.option.markexpr:
        told.append("long matrices (pytest -m full)")
    if told:
        terminalreporter.write_line(f"not tested: {'; '.join(told)}")


def pytest_configure(config: pytest.Config) -> None:
    """One fork server for the session, started by whoever starts the workers."""
    if SERVER not in os.environ and not config.option.collectonly:
        config.stash[_FORK_SERVER] = start_fork_server()


def pytest_unconfigure(config: pytest.Config) -> None:
    if (server := config.stash.get(_FORK_SERVER, None)) is not None:
        server.kill()
        server.wait()
        shutil.rmtree(Path(os.environ.pop(SERVER)).parent)


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


@pytest.fixture
def npu(tmp_path: Path) -> Kit:
    """The scripts on a host whose torch_npu is the simulation."""
    return Kit(tmp_path, simulated=True)


class Finished:
    """Runs of random weights that nobody may change, made once a session by the worker that asks first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, model: str, *, simulated: bool = True, compared: bool = True) -> Kit:
        """A run of a model on the simulated NPU or the CPU, perhaps with its comparison."""
        kind = "compared" if compared else "run"
        name = "-".join([Path(model).name, "npu" if simulated else "cpu", kind])
        scratch = self._folder / name
        with FileLock(self._folder / f"{name}.lock"):
            made = scratch.exists()
            scratch.mkdir(exist_ok=True)
            kit = Kit(scratch, simulated)
            if not made and compared:
                before = self(model, simulated=simulated, compared=False)
                shutil.copytree(before.logs, kit.logs)
                assert kit.compare("--explain", "on").code == 0
            elif not made:
                assert kit.infer("--model", model, *QUICK).code == 0
        return kit


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    (shared / "finished").mkdir(exist_ok=True)
    return Finished(shared / "finished")


@pytest.fixture
def vit_run(finished: Finished, npu: Kit) -> Kit:
    """A finished, not yet compared run of SMALL on the simulated NPU, to be tampered with at will."""
    shutil.copytree(finished(SMALL[1], compared=False).logs, npu.logs)
    return npu


@pytest.fixture
def judged_run(finished: Finished, npu: Kit) -> Kit:
    """The same run after compare_accuracy.py, which said PASS."""
    shutil.copytree(finished(SMALL[1]).logs, npu.logs)
    return npu


@pytest.fixture(scope="session")
def weights_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A real safetensors file of a model's published names and shapes, made once a session."""
    made: dict[str, Path] = {}

    def make(model: str) -> Path:
        if model not in made:
            from safetensors.torch import save_file

            from kit.models.derived import from_folder
            from kit.models.known import known_adapter
            from kit.weights.checkpoint import published_tensors
            from kit.weights.random_init import random_state_dict

            adapter = known_adapter(model) or from_folder(Path(model))
            like = published_tensors(adapter.build(), adapter.tied)
            path = tmp_path_factory.mktemp(Path(model).name) / "model.safetensors"
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
