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
READ_LATER = ("SIM_NPU_", "KIT_", "HF_")
AS_THE_SERVER = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
# The import itself is under test.
COLD = ("SIM_NPU_IMPORT_ERROR",)


def kept_environment() -> dict[str, str]:
    """What every process under test has of this one's environment, and one thread each: the suite runs
    several at once, and torch's threads would only get in their way."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # matplotlib's list of fonts, which it would make anew in every home.
    fonts = str(Path(tempfile.gettempdir()) / "kit-tests-matplotlib")
    return kept | {"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": fonts}


class Forked:
    """A child of the fork server; what subprocess.Popen is to a child of this process."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, hidden: Sequence[str]
    ) -> None:
        self.args = list(argv)
        self.returncode: int | None = None
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
        said = {}

        def read(name: str, stream: IO[str]) -> None:
            with stream:
                said[name] = stream.read()

        streams = {"out": self.stdout, "err": self.stderr}
        readers = [
            threading.Thread(target=read, args=item, daemon=True) for item in streams.items()
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(timeout)
        return said["out"], said["err"]

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


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether a child with this environment finds every library as a new Python would import it."""
    if SERVER not in os.environ or any(name in env for name in COLD):
        return False
    own = kept_environment() | AS_THE_SERVER
    known = {str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "simulated_npu"), *sys.path}
    return all(
        name == "HOME"
        or name.startswith(READ_LATER)
        or own.get(name) == value
        or (name == "PYTHONPATH" and set(value.split(os.pathsep)) <= known)
        for name, value in env.items()
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
