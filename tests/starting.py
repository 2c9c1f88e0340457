"""Starting a Python under test: forked from a parent that has the libraries, or cold."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SERVER = "KIT_TESTS_FORK_SERVER"
"""Set where one serves: the path of its socket."""
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
# Read by the kit, by the simulation and (again, after the fork) by the hub's library. Whatever else an
# environment has beyond the server's own may be read while a library is imported: that starts cold.
READ_LATER = (
    "SIM_NPU_",
    "TORCH_NPU_",
    "PYTORCH_NPU_",
    "TASK_QUEUE_",
    "ASCEND_",
    "KIT_",
    "HF_",
    "MODELSCOPE_",
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
AS_THE_SERVER = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
# Only says so: nobody reads it.
COLD = "KIT_TESTS_COLD"


def kept_environment() -> dict[str, str]:
    """What every process under test has of this one's environment, and one thread each: the suite runs
    several at once, and torch's threads would only get in their way. No GPU: what a test does not force is
    to be the same on every machine."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


class Forked:
    """A child of the fork server; what subprocess.Popen is to a child of this process."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, hidden: Sequence[str]
    ) -> None:
        self.args = list(argv)
        self.returncode: int | None = None
        self._readers: dict[str, threading.Thread] = {}
        self._said: dict[str, str] = {}
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.connect(os.environ[SERVER])
        request = json.dumps(
            {"argv": self.args, "env": dict(env), "cwd": str(cwd), "hidden": hidden}
        ).encode()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            socket.send_fds(self._server, [request], [nothing.fileno(), out_end, err_end])
        os.close(out_end)
        os.close(err_end)
        self.stdout: IO[str] = os.fdopen(out, encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(err, encoding="utf-8")
        if not (answer := self._server.recv(100)):
            raise RuntimeError("the fork server has ended: KIT_TESTS_COLD=1 does without it")
        self.pid = int(answer)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._server.settimeout(timeout)
            try:
                self.returncode = int(self._server.recv(100))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._server.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        streams = {"out": self.stdout, "err": self.stderr}
        for name, stream in streams.items():
            if name not in self._readers:  # else it goes on after an earlier timeout
                reader = threading.Thread(target=self._read, args=(name, stream), daemon=True)
                self._readers[name] = reader
                reader.start()
        for reader in self._readers.values():
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(timeout)
        return self._said["out"], self._said["err"]

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            self._said[name] = stream.read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[str] | Forked


def start_python(
    *argv: object, env: Mapping[str, str], cwd: Path = ROOT, hidden: Sequence[str] = ()
) -> Process:
    """Start Python with these arguments and this environment: its stdin empty, its output in pipes.

    One that is forked finds no package of those that are `hidden`, as if they were not installed.
    """
    words = [str(argument) for argument in argv]
    if can_fork(env):
        return Forked(words, env, cwd, hidden)
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def imported(
    *arguments: object, env: Mapping[str, str] | None = None
) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """A new Python with these arguments, ended, and the modules that they made it import: without those
    that this machine's Python imports for every program, by the .pth files that packages install."""
    ended, nothing = (
        subprocess.run(
            [sys.executable, "-X", "importtime", *map(str, each)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
        )
        for each in (arguments, ("-c", "pass"))
    )
    modules, always = (
        {line.rpartition("|")[2].strip() for line in each.stderr.splitlines()}
        for each in (ended, nothing)
    )
    return ended, modules - always


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether a child with this environment finds every library as a new Python would import it."""
    if SERVER not in os.environ or COLD in env:
        return False
    own = kept_environment() | AS_THE_SERVER
    return all(
        name == "HOME"
        or name.upper().startswith(READ_LATER)
        or own.get(name) == value
        or (name == "PYTHONPATH" and all(map(_hides_nothing, value.split(os.pathsep))))
        for name, value in env.items()
    )


def _hides_nothing(folder: str) -> bool:
    """Whether a folder of PYTHONPATH is of this process's own path, or has no more than a torch_npu."""
    names = {path.name for path in Path(folder).glob("*")}
    return folder in (*sys.path, str(ROOT), str(ROOT / "tests")) or all(
        name == "torch_npu" or name.endswith(".dist-info") for name in names
    )


def start_fork_server() -> subprocess.Popen[bytes] | None:
    """Start one for this session, whose workers find it by the environment; None where none can be."""
    if not hasattr(os, "fork") or sys.platform != "linux" or os.environ.get("KIT_TESTS_COLD"):
        return None
    folder = Path(tempfile.mkdtemp(prefix="kit-tests-"))
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(64)
        os.environ[SERVER] = path
        with (folder / "said.txt").open("wb") as said:  # libraries may talk while they are imported
            return subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "fork_server.py"), str(listener.fileno())],
                env=kept_environment() | AS_THE_SERVER | {"HOME": str(folder)},
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
            )
