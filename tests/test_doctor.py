"""python -m kit doctor: every broken machine is told of in time, with the cure, and none ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import venv
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SIMULATED_NPU, Kit
from loopback_hub import LoopbackHub
from starting import imported
from test_torch_npu_wheel import Wheel, wheel  # noqa: F401

from kit.doctor import packages
from kit.machine.bounded import run_bounded

BOUND_SECONDS = 10.0
SIMULATED = {"PYTHONPATH": str(SIMULATED_NPU)}


@dataclass
class Diagnosis:
    """What `doctor --json` said."""

    code: int
    verdict: str
    checks: dict[str, dict[str, Any]]
    seconds: float

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.checks[name]

    def words(self, name: str) -> str:
        return f"{self[name]['found']} -> {self[name]['cure']}"


def doctor(kit: Kit, *arguments: str, **environment: str) -> Diagnosis:
    """Run it with --json, and hold what is true of every diagnosis."""
    process = kit.start("doctor", "--json", *arguments, **environment)
    begun = time.monotonic()  # the first to be forked waits for what forks it
    out, err = process.communicate(timeout=60)
    seconds = time.monotonic() - begun
    assert err == ""
    document = json.loads(out, parse_constant=pytest.fail)
    assert set(document) == {"verdict", "checks"}
    for check in document["checks"]:
        assert set(check) == {"name", "state", "found", "cure"}
        assert check["found"] and "Traceback" not in check["found"]
        assert (check["cure"] is None) == (check["state"] == "ok"), check
    states = [check["state"] for check in document["checks"]]
    expected = next((state for state in ("broken", "warning") if state in states), "ok")
    assert document["verdict"] == expected
    assert process.returncode == (3 if expected == "broken" else 0)
    checks = {check["name"]: check for check in document["checks"]}
    assert len(checks) == len(states)
    return Diagnosis(process.returncode, expected, checks, seconds)


def in_time(found: Diagnosis) -> None:
    """The bound, leaving aside what its child imports, which takes long on a busy machine."""
    seconds = found.seconds
    if seconds >= BOUND_SECONDS:
        begun = time.monotonic()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        seconds -= 2 * (time.monotonic() - begun)
    assert seconds < BOUND_SECONDS


def installed(folder: Path, name: str, number: str) -> str:
    """A folder for PYTHONPATH whose metadata say that the package is installed."""
    info = folder / "site" / f"{name}-{number}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return str(info.parent)


def package(folder: Path, name: str, text: str) -> str:
    """A folder for PYTHONPATH with a package of that text."""
    path = folder / "packages" / name / "__init__.py"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return str(path.parent.parent)


def no_torch(folder: Path) -> str:
    """A folder for PYTHONPATH that makes doctor quick, where a test is not about devices."""
    return package(folder, "torch", "raise OSError('libtorch_cpu.so: cannot open')")


# ---- broken machines ---------------------------------------------------------------------------


def test_a_machine_without_an_npu_is_a_warning(kit: Kit) -> None:
    found = doctor(kit)
    in_time(found)
    assert found.code == 0 and found.verdict == "warning"
    assert found["devices"]["state"] == "warning" and "runs on the CPU" in found.words("devices")
    for name in ("system", "Python", "torch, torch_npu", "CANN", "driver", "libraries", "memory"):
        assert found[name]["state"] == "ok", found[name]


@pytest.mark.full  # two imports of the wheel; the simulation gives the same error in the tests below
def test_the_wheel_without_cann(kit: Kit, wheel: Wheel) -> None:  # noqa: F811
    found = doctor(kit, PYTHONPATH=str(wheel.site))
    in_time(found)
    assert found.code == 3
    if "libhccl.so" not in wheel.said:  # it does not even get that far beside this torch
        assert found["torch, torch_npu"]["state"] == "broken"
        assert wheel.said[0] in found.words("torch, torch_npu")
        return
    assert found["torch, torch_npu"]["state"] == "ok"
    assert "libhccl.so" in found.words("devices")
    for name in ("CANN", "devices"):
        assert found[name]["state"] == "broken" and "set_env.sh" in found[name]["cure"]
    assert "libascend_hal.so" in found["driver"]["found"]
    assert "no documented row" in found["version row"]["found"]
    assert "torch_npu==2.12.0" in found["version row"]["cure"]


def test_a_torch_npu_and_a_torchvision_that_do_not_fit_torch(kit: Kit, tmp_path: Path) -> None:
    site = package(tmp_path, "torchvision", "")
    (Path(site) / "torchvision" / "_C.so").write_bytes(b"no library")
    found = doctor(kit, PYTHONPATH=f"{site}:{installed(tmp_path, 'torch_npu', '2.9.0')}")
    in_time(found)
    assert found.code == 3
    words = found.words("torch, torch_npu")
    assert f"torch_npu 2.9.0 does not match torch {version('torch')}" in words
    assert "torch==2.9.0" in words and "torch_npu==2.9.0" in words
    assert "for CANN 8.5.0: " in words and "CANN 8.5.0" in found.words("version row")
    assert found["torchvision"]["state"] == "warning"  # its compiled operators do not load
    assert "pip install" in found["torchvision"]["cure"]


def test_no_device_behind_torch_npu(kit: Kit) -> None:
    found = doctor(kit, SIM_NPU_DEVICES="0", ASCEND_RT_VISIBLE_DEVICES="", **SIMULATED)
    in_time(found)
    assert found.code == 3
    assert "sees no NPU" in found.words("devices") and "npu-smi" in found["devices"]["cure"]
    assert "ASCEND_RT_VISIBLE_DEVICES" in found["devices"]["cure"]


@pytest.mark.full  # test_devices.py has a shorter one
def test_an_allocation_that_hangs(kit: Kit) -> None:
    found = doctor(kit, SIM_NPU_HANG="1", SIM_NPU_DEVICES="2", **SIMULATED)
    in_time(found)
    assert found.code == 3
    for name in ("npu:0", "npu:1"):
        assert found[name]["state"] == "broken" and "did nothing for 4 s" in found[name]["found"]
        assert "npu-smi info" in found[name]["cure"]
    assert found["disk"]["state"] == "ok"


@pytest.mark.full
def test_the_users_own_bound_on_an_allocation(kit: Kit) -> None:
    found = doctor(kit, SIM_NPU_HANG="1", KIT_PROBE_SECONDS="1", **SIMULATED)
    assert "did not return within 1 s" in found["npu:0"]["found"]
    process = kit.start("doctor", KIT_PROBE_SECONDS="soon")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "KIT_PROBE_SECONDS='soon'" in err


# Into every descriptor that is open, that of the findings among them.
GARBAGE = """
import os
for number in range(3, 64):
    try:
        os.write(number, b'\\xff\\n[1]\\n5\\n{"name": 1}\\n{\\n')
    except OSError:
        pass
raise Exception("no CANN")
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os; os.write(2, b'terminate called\\n'); os.abort()", "SIGABRT"),
        pytest.param("import os; os._exit(7)", "exit code 7", marks=pytest.mark.full),
        ("import ctypes; ctypes.PyDLL(None).sleep(600)", "did nothing for 4 s"),
        pytest.param(
            "print('Warning: ASCEND_HOME_PATH is not set.'); raise Exception('x')",
            "does not load",
            marks=pytest.mark.full,
        ),
        pytest.param("raise SystemExit(1)", "exit code 1", marks=pytest.mark.full),
        pytest.param("import ctypes; ctypes.string_at(0)", "SIGSEGV", marks=pytest.mark.full),
        pytest.param(GARBAGE, "does not load", marks=pytest.mark.full),
        pytest.param("while True: pass", "was not done after 24 s", marks=pytest.mark.full),
    ],
    ids=[
        "abort",
        "exit",
        "hang holding the interpreter",
        "print",
        "SystemExit",
        "segfault",
        "garbage in the pipe",
        "spins",
    ],
)
def test_an_import_that_misbehaves(kit: Kit, tmp_path: Path, text: str, words: str) -> None:
    found = doctor(kit, PYTHONPATH=package(tmp_path, "torch_npu", text))
    if "while" not in text:  # at work, as far as anyone can see: given its whole time
        in_time(found)
    assert found.code == 3
    assert found["devices"]["state"] == "broken" and words in found["devices"]["found"]
    assert found["import torch"]["state"] == "ok"
    assert not list(ROOT.glob("core*"))


# It ignores SIGTERM, and so does its child, which holds the pipes too.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
with open(os.environ["PIDS"], "a") as file:
    print(os.getpid(), file=file)
{then}
"""


@pytest.mark.parametrize(
    "then",
    [
        pytest.param("time.sleep(600)", marks=pytest.mark.full),
        "child and os._exit(0); time.sleep(600)",
    ],
)
def test_no_process_is_left_behind(kit: Kit, tmp_path: Path, then: str) -> None:
    text = STUBBORN.format(then=then)
    pids = tmp_path / "pids"
    found = doctor(kit, PYTHONPATH=package(tmp_path, "torch_npu", text), PIDS=str(pids))
    in_time(found)
    assert found["devices"]["state"] == "broken"
    gone_in_time(pids.read_text().split())


def test_a_child_that_spins_is_ended_with_its_own(tmp_path: Path) -> None:
    """The real bound of doctor is 24 s (the test above that is marked full); here one of 1 s."""
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", STUBBORN.format(then="while True: pass")]
    ended = run_bounded(command, 1.0, patience=0.5, environment={**os.environ, "PIDS": str(pids)})
    assert ended.code is None and not ended.stuck
    gone_in_time(pids.read_text().split())


def gone_in_time(pids: list[str]) -> None:
    """Ended, or at least no more than an entry that nobody has read yet."""
    deadline = time.monotonic() + 10
    waiting = set(pids)
    assert waiting
    while waiting and time.monotonic() < deadline:
        waiting = {pid for pid in waiting if _lives(pid)}
        time.sleep(0.05)
    assert not waiting


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_faults_of_a_device_name_their_cure(kit: Kit) -> None:
    found = doctor(kit, SIM_NPU_SYNC_FAIL="1", **SIMULATED)
    assert found.code == 3 and "ASCEND_LAUNCH_BLOCKING" in found["npu:0"]["cure"]
    assert "507015" in found["npu:0"]["found"] and "--device" not in found["npu:0"]["found"]


@pytest.mark.full
def test_a_fault_of_an_operator_names_its_cure(kit: Kit) -> None:
    found = doctor(kit, SIM_NPU_RAISE="aten::mm:1:error code is 561103", **SIMULATED)
    assert "Ascend-cann-kernels" in found["npu:0"]["cure"]


@pytest.mark.full  # a planted fault in a run: test_faults.py
def test_a_wrong_product_is_broken(kit: Kit) -> None:
    found = doctor(kit, SIM_NPU_FAULT="aten::mm:1", **SIMULATED)
    assert found["npu:0"]["state"] == "broken" and "64.0 is right" in found["npu:0"]["found"]


def test_nothing_is_installed_at_all(kit: Kit, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    command = [tmp_path / "venv" / "bin" / "python", "-m", "kit", "doctor", "--json"]
    process = subprocess.run(
        command, cwd=ROOT, env=kit.environment(), capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 3 and process.stderr == ""
    broken = {
        check["name"]: check
        for check in json.loads(process.stdout)["checks"]
        if check["state"] == "broken"
    }
    assert set(broken) == {"torch, torch_npu", "libraries"}
    assert broken["libraries"]["cure"] == "pip install -r requirements.txt"
    assert "timm" in broken["libraries"]["found"]


def test_a_torch_that_does_not_import(kit: Kit, tmp_path: Path) -> None:
    found = doctor(kit, PYTHONPATH=no_torch(tmp_path))
    assert found.code == 3 and "libtorch_cpu.so" in found["import torch"]["found"]
    assert "devices" not in found.checks


def test_packages_outside_their_ranges(kit: Kit, tmp_path: Path) -> None:
    installed(tmp_path, "timm", "0.9.16")
    found = doctor(
        kit, PYTHONPATH=f"{installed(tmp_path, 'transformers', '6.0.0')}:{no_torch(tmp_path)}"
    )
    assert found["libraries"]["state"] == "warning"
    assert "timm 0.9.16 is not >=1.0.20,<2" in found["libraries"]["found"]
    assert "transformers 6.0.0 is not" in found["libraries"]["found"]
    assert "requirements.txt" in found["libraries"]["cure"]


def test_the_documented_rows_are_the_readme_s() -> None:
    table = re.findall(
        r"^\| (\d+\.\d+)\.0 \| ([\w., ]+) \|$", (ROOT / "docs" / "usage.md").read_text(), re.M
    )
    assert {cann: tuple(npu.split(", ")) for cann, npu in table} == packages._ROWS


# ---- an Ascend host, as far as it can be played ------------------------------------------------


def test_a_good_simulated_npu(kit: Kit) -> None:
    found = doctor(kit, SIM_NPU_DEVICES="2", **SIMULATED)
    assert found.code == 0
    assert found["devices"]["found"] == "2: npu:0, npu:1"
    for name in ("npu:0", "npu:1"):
        words = found[name]["found"]
        assert words.startswith("Simulated NPU") and "32.0 of 32.0 GiB free" in words
        assert found[name]["state"] == "warning"  # a simulation is never a real NPU
    assert "simulation" in found["torch, torch_npu"]["found"]


@pytest.mark.parametrize(
    ("cann", "torch_npu", "state", "words"),
    [
        ("8.5.1", "2.9.0", "ok", "as documented"),
        ("8.5.1", "2.9.0.post1", "ok", "published reports"),
        ("9.0.0", "2.9.0", "warning", "torch_npu==2.9.0.post2"),
        ("9.1.RC1", "2.13.0", "warning", "torch_npu==2.12.0"),
        ("8.0.RC3", "2.9.0", "warning", "is in no row"),
    ],
)
def test_the_documented_rows(
    kit: Kit, tmp_path: Path, cann: str, torch_npu: str, state: str, words: str
) -> None:
    home = tmp_path / "cann"
    info = home / "aarch64-linux" / "ascend_toolkit_install.info"
    info.parent.mkdir(parents=True)
    info.write_text(f"package_name=Ascend-cann-toolkit\nversion={cann}\n")
    (home / "opp").mkdir()
    found = doctor(
        kit,
        "--offline",
        PYTHONPATH=":".join(
            [
                installed(tmp_path, "torch_npu", torch_npu),
                installed(tmp_path / "newest", "torch", "2.99.0"),  # of no documented pair
                no_torch(tmp_path),
            ]
        ),
        ASCEND_HOME_PATH=str(home),
        ASCEND_OPP_PATH=str(home / "opp"),
    )
    assert found["CANN"]["state"] == "ok" and found["CANN"]["found"].startswith(f"{cann} in ")
    assert found["version row"]["state"] == state and words in found.words("version row")


def test_odd_paths_are_findings(kit: Kit, tmp_path: Path) -> None:
    odd = f"/{'x' * 5000}\x1b[31m\udcff\n"
    found = doctor(
        kit, "--offline", PYTHONPATH=no_torch(tmp_path), ASCEND_HOME_PATH=odd, HF_HUB_CACHE=odd
    )
    assert found["CANN"]["state"] == "warning" and "no such folder" in found["CANN"]["found"]
    assert all(len(check["found"]) < 500 for check in found.checks.values())
    assert all(check["found"].isprintable() for check in found.checks.values())


def test_a_partly_sourced_environment(kit: Kit, tmp_path: Path) -> None:
    site = f"{installed(tmp_path, 'torch_npu', '2.9.0')}:{no_torch(tmp_path)}"
    found = doctor(kit, "--offline", PYTHONPATH=site, ASCEND_HOME_PATH=str(tmp_path / "none"))
    assert found["CANN"]["state"] == "broken" and "set_env.sh" in found["CANN"]["cure"]
    found = doctor(kit, "--offline", PYTHONPATH=site, ASCEND_HOME_PATH=str(tmp_path))
    assert "ASCEND_OPP_PATH is not set" in found["CANN"]["found"]


SICK = """
| npu-smi 24.1.rc2                 Version: 24.1.rc2                                             |
+---------------------------+---------------+----------------------------------------------------+
| 0     910B4               | OK            | 86.5        41                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          2836 / 32768         |
| 1     910B4               | Alarm         | 86.5        41                0    / 0             |
"""


@pytest.mark.parametrize(
    ("script", "state", "words"),
    [
        (f"cat <<'E'{SICK.replace('Alarm', 'OK')}E", "ok", "24.1.rc2; 2 cards: 910B4"),
        (f"cat <<'E'{SICK}E", "warning", "2 cards, health Alarm"),
        ("echo 'dcmi model initialized failed, ret is -8020'; exit 1", "warning", "holds the card"),
        (
            "echo 'DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)'; "
            "echo 'dcmi module initialize failed. ret is -8005'",
            "warning",
            "says: dcmi module initialize failed. ret is -8005 -> npu-smi does not reach the driver",
        ),
        ("echo one; echo 'nothing that anybody has seen'", "warning", "says: nothing that anybody"),
        pytest.param("exit 0", "warning", "says: nothing -> unknown", marks=pytest.mark.full),
        pytest.param(
            f"cat <<'E'{SICK.replace('Alarm', 'OK')}E\necho 'hal error, code 4' >&2",
            "warning",
            "says: hal error, code 4",
            marks=pytest.mark.full,
        ),
        ("sleep 600", "broken", "did not return within 4 s"),
        pytest.param(
            "trap '' TERM; sleep 600 & sleep 600",
            "broken",
            "did not return within 4 s",
            marks=pytest.mark.full,
        ),
        pytest.param("yes", "broken", "did not return within 4 s", marks=pytest.mark.full),
    ],
    ids=[
        *(
            "ok",
            "sick",
            "held",
            "exit code 0 all the same",
            "no table",
            "no word",
            "error beside a table",
        ),
        *("hangs", "hangs with a child", "never stops printing"),
    ],
)
def test_npu_smi(kit: Kit, tmp_path: Path, script: str, state: str, words: str) -> None:
    tool = tmp_path / "bin" / "npu-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    found = doctor(
        kit, "--offline", PATH=f"{tool.parent}:{os.environ['PATH']}", PYTHONPATH=no_torch(tmp_path)
    )
    in_time(found)
    assert found["npu-smi"]["state"] == state and words in found.words("npu-smi")


# ---- the network -------------------------------------------------------------------------------


def test_a_hub_that_answers(kit: Kit, tmp_path: Path) -> None:
    with LoopbackHub({}) as hub:
        address = hub.url.replace("//", "//user:secret@")
        found = doctor(kit, HF_ENDPOINT=address, PYTHONPATH=no_torch(tmp_path))
        assert [request.authorization for request in hub.requests] == [None]
    assert found["hub"]["state"] == "ok" and "secret" not in str(found.checks)


def test_offline_makes_no_request(kit: Kit, tmp_path: Path) -> None:
    with LoopbackHub({}) as hub:
        quick = no_torch(tmp_path)
        found = doctor(kit, "--offline", HF_ENDPOINT=hub.url, PYTHONPATH=quick)
        assert "--offline" in found["hub"]["found"]
        found = doctor(kit, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1", PYTHONPATH=quick)
        assert "HF_HUB_OFFLINE" in found["hub"]["found"]
        assert hub.requests == []


def test_a_hub_that_accepts_and_says_nothing(kit: Kit, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"http://127.0.0.1:{server.getsockname()[1]}"
        mirrors = f"{silent}/a {silent}/b"
        quick = no_torch(tmp_path)
        found = doctor(kit, HF_ENDPOINT=silent, KIT_MIRRORS=mirrors, PYTHONPATH=quick)
    in_time(found)
    assert found["hub"]["state"] == "warning"
    assert re.search(r"did not answer for [34]\.\d s", found["hub"]["found"])
    assert "hf-mirror" in found["hub"]["cure"]


def test_a_mirror_that_answers_in_the_hubs_place(kit: Kit, tmp_path: Path) -> None:
    quick = no_torch(tmp_path)
    with LoopbackHub({}) as hub:
        assert doctor(kit, KIT_MIRRORS=hub.url, PYTHONPATH=quick)["hub"]["state"] == "ok"
    assert "KIT_MIRRORS" in doctor(kit, KIT_MIRRORS="ftp://x", PYTHONPATH=quick)["hub"]["cure"]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9", pytest.param("https://hub.invalid", marks=pytest.mark.full)]
)
def test_without_a_network(kit: Kit, tmp_path: Path, address: str) -> None:
    found = doctor(kit, HF_ENDPOINT=address, PYTHONPATH=no_torch(tmp_path))
    in_time(found)
    assert found["hub"]["state"] == "warning"


def test_an_address_that_is_none(kit: Kit, tmp_path: Path) -> None:
    found = doctor(kit, HF_ENDPOINT="file:///etc/passwd", PYTHONPATH=no_torch(tmp_path))
    assert found.code == 3 and "passwd" not in str(found["hub"])


# ---- the command itself ------------------------------------------------------------------------


def test_the_table_for_people(kit: Kit) -> None:
    process = kit.start("doctor", "--offline")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == ""
    lines = out.splitlines()
    assert lines[-1] == "verdict warning"
    heads = [line for line in lines[:-1] if not line.startswith(" ")]
    assert {line.split()[0] for line in heads} <= {"ok", "warning"}
    cures = [line.index("->") for line in lines if line.startswith(" ")]
    column = heads[0].index(f"{os.uname().sysname} {os.uname().release}")
    assert cures and set(cures) == {column}


def test_doctor_itself_imports_nothing_heavy(kit: Kit, tmp_path: Path) -> None:
    env = kit.environment(PYTHONPATH=no_torch(tmp_path))
    _, loaded = imported("-m", "kit", "doctor", "--offline", env=env)
    heavy = {"torch", "numpy", "transformers", "timm", "huggingface_hub", "torchvision"}
    assert "kit.doctor.child" in loaded and not heavy & loaded


def test_wrong_usage(kit: Kit) -> None:
    process = kit.start("doctor", "--jsno")
    process.communicate(timeout=60)
    assert process.returncode == 2


def test_an_interrupted_doctor_leaves_no_child(kit: Kit) -> None:
    process = kit.start("doctor", SIM_NPU_HANG="1", KIT_PROBE_SECONDS="50", **SIMULATED)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    tasks = children.parents[1]
    deadline = time.monotonic() + 30
    child = ""
    while not child and time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # a thread that has just ended
            child = "".join(path.read_text() for path in tasks.glob("*/children")).strip()
        time.sleep(0.05)
    assert child
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err == "interrupted\n"
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
