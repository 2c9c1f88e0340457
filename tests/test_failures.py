"""Every known failure of an Ascend host, raised where the real one is: one line, its cure, exit 3.

The texts are torch_npu's and CANN's own, as the simulated NPU is told to say them.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from ascend_failures import REPORTED, Reported
from conftest import SIMULATED_NPU, SMALL, VIT, Kit, Result

from kit.machine.cures import as_kit_error

NORM = "aten::native_layer_norm"  # 5 of them in a forward of SMALL
SET_ENV = "source /usr/local/Ascend/ascend-toolkit/set_env.sh"
FUNCTION = "torch_npu/csrc/core/npu/NPUFunctions.cpp:96 NPU function error: "


@dataclass(frozen=True)
class Failure:
    """`where` it shows: the import, the first use of the device, or the Nth call of an operator, whose
    failure is told at once or, where it is `late`, to whoever waits for the device next."""

    where: str | int
    text: str
    cure: str
    late: bool = False

    def switches(self) -> dict[str, str]:
        if isinstance(self.where, str):
            return {f"SIM_NPU_{self.where}_ERROR": self.text}
        return {f"SIM_NPU_{'ASYNC' if self.late else 'RAISE'}": f"{NORM}:{self.where}:{self.text}"}


def test_a_file_that_a_library_cannot_open_is_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised:
        tmp_path.read_bytes()  # as PermissionError, an error that any user meets
    known = as_kit_error(raised.value)
    assert known.exit_code == 3 and tmp_path.name in str(known)
    assert str(known).endswith("check its permissions and the disk, then try again")


FAILURES = {
    "no CANN": Failure("IMPORT", "libhccl.so: cannot open shared object file", SET_ENV),
    "no driver": Failure(
        "IMPORT",
        "libascend_hal.so: cannot open shared object file",
        "install the Ascend driver, or pass it into",
    ),
    "half sourced": Failure(
        "IMPORT",
        "Exception: ASCEND_HOME_PATH : /x does not exist. Please run 'source set_env.sh' in the CANN "
        "installation path.",
        SET_ENV,
    ),
    "no operators": Failure(
        "IMPORT", "Exception: ASCEND_OPP_PATH environment variable is not set.", SET_ENV
    ),
    "mismatch": Failure(
        "IMPORT",
        "/site/torch_npu/lib/libtorch_npu.so: undefined symbol: _ZN2at4_ops5addmm",
        "install the torch_npu whose version is torch's",
    ),
    "invalid device": Failure(
        "INIT",
        "Initialize:npu_sys_ctrl.cpp:237 NPU function error: c10_npu::SetDevice(device_id_), error code "
        "is 107001\n[Error]: Invalid device ID.\n        Check whether the device ID is valid.",
        "choose --device npu:N among them",
    ),
    "does not start": Failure(
        "INIT", f"{FUNCTION}aclInit(), error code is 507008", "check its health with npu-smi info"
    ),
    "held": Failure(
        "INIT",
        "dcmi model initialized failed, because the device is used. ret is -8020",
        "another process holds the card",
    ),
    "fork": Failure(
        "INIT",
        "Cannot re-initialize NPU in forked subprocess. To use NPU with multiprocessing, you must use "
        "the 'spawn' start method",
        "start the run in a process of its own",
    ),
    "compiler": Failure(
        "INIT",
        f"{FUNCTION}AclSetCompileopt(aclCompileOpt::ACL_PRECISION_MODE, ...), error code is 500001",
        "pip install attrs decorator psutil scipy",
    ),
    "anything else of the runtime": Failure(
        "INIT", f"{FUNCTION}aclrtGetDevice, error code is 107000", "plog files in ~/ascend/log"
    ),
    "no kernel package": Failure(
        1, "call aclnnLayerNorm failed, error code is 561103", "install Ascend-cann-kernels"
    ),
    "operator unknown to CANN": Failure(
        5,
        "aclnnLayerNorm or aclnnLayerNormGetWorkspaceSize not in libopapi.so, or libopapi.sonot found.",
        "install Ascend-cann-kernels",
    ),
    "dtype": Failure(
        1,
        "call aclnnLayerNorm failed, error code is 161002\n[PID: 1] EZ1001: not implemented for DT_DOUBLE",
        "take --dtype float32 or float16",
    ),
    "fault, met at synchronize": Failure(
        3,
        f"npuSynchronizeDevice:{FUNCTION}AclrtSynchronizeDeviceWithTimeout, error code is 507015",
        "ASCEND_LAUNCH_BLOCKING=1",
        late=True,
    ),
    "fault in the second pass": Failure(
        7, "Run:AsyncTask error code:507018", "ASCEND_LAUNCH_BLOCKING=1", late=True
    ),
    "fault in a timed pass": Failure(
        22, "Run:AsyncTask error code:507035", "ASCEND_LAUNCH_BLOCKING=1", late=True
    ),
    "unknown": Failure(2, "some failure nobody has seen", "the traceback is in its run_npu.log"),
}


def failed(npu: Kit, result: Result, text: str, cure: str) -> None:
    """One line with the cure, exit 3, the raw text in the log, nothing of it on stdout."""
    assert result.code == 3, result.err
    assert cure in result.error
    first, *_ = lines = text.removeprefix("Exception: ").splitlines()
    assert " ".join(first.split())[:60] in result.error
    log = (npu.logs / "run_npu.log").read_text()
    assert all(line in log for line in lines) and "Traceback" in log
    assert first not in result.out.partition("\n")[2] and "error" not in result.out
    assert npu.summary["status"] == "FAILED" and npu.summary["verdict"] == "NOT_COMPARED"
    assert npu.record["error"] == {
        "exit_code": 3,
        "message": result.error.removeprefix("error: "),
    }


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(failure, id=name, marks=pytest.mark.full if number % 6 else ())
        for number, (name, failure) in enumerate(FAILURES.items())
    ],
)
def test_a_failure_names_its_cure(npu: Kit, failure: Failure) -> None:
    result = npu.infer(*SMALL, "--device", "npu:0", **failure.switches())
    failed(npu, result, failure.text, failure.cure)


def runtime_error(text: str) -> RuntimeError:
    """As torch_npu builds it: a line of CANN below the other."""
    return RuntimeError(text.replace("\n", "\n        "))


@pytest.mark.parametrize("reported", REPORTED, ids=lambda reported: reported.source)
def test_what_people_reported_has_the_right_cure_or_none(reported: Reported) -> None:
    message = as_kit_error(runtime_error(reported.text)).message
    assert (reported.cure or "the kit does not know this failure: the plog files in") in message
    assert "\n" not in message and len(message) < 1000


# Three of them; the others in full.
QUICK_REPORTS = (
    "ascend#152",
    "pytorch#37",
    "LlamaFactory#3670",
)


@pytest.mark.parametrize(
    "reported",
    [
        pytest.param(
            reported,
            id=reported.source,
            marks=() if reported.source.endswith(QUICK_REPORTS) else pytest.mark.full,
        )
        for reported in REPORTED
    ],
)
def test_what_people_reported_in_a_run(npu: Kit, reported: Reported) -> None:
    where = 1 if reported.where == "OPERATOR" else reported.where
    failure = Failure(where, reported.text, reported.cure or "the kit does not know this failure")
    result = npu.infer(*SMALL, "--device", "npu:0", **failure.switches())
    failed(npu, result, failure.text, failure.cure)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [("4,1", "which is no ascending list"), ("0,1", "npu:0 is the first of them"), ("", "''")],
)
@pytest.mark.parametrize(
    "how",
    [
        "no such index",
        pytest.param("the runtime refuses it", marks=pytest.mark.full),
        pytest.param("none at all", marks=pytest.mark.full),
    ],
)
def test_the_environments_choice_of_devices_is_named(
    npu: Kit, how: str, chosen: str, said: str
) -> None:
    switches = {
        "no such index": {},
        "the runtime refuses it": {
            "SIM_NPU_INIT_ERROR": f"{FUNCTION}SetDevice, error code is 107001"
        },
        "none at all": {"SIM_NPU_DEVICES": "0"},
    }[how]
    device = "npu:7" if how == "no such index" else "npu:0"
    result = npu.infer(*SMALL, "--device", device, ASCEND_RT_VISIBLE_DEVICES=chosen, **switches)
    assert result.code == 3
    assert f"ASCEND_RT_VISIBLE_DEVICES={chosen}" in result.error or not chosen
    assert "ASCEND_RT_VISIBLE_DEVICES" in result.error and said in result.error


@pytest.mark.parametrize("mebibytes", [10, 24], ids=["moving the weights", "in the forward"])
def test_out_of_memory(npu: Kit, mebibytes: int) -> None:
    result = npu.infer(*VIT, "--device", "npu:0", SIM_NPU_OOM=str(mebibytes << 20))
    failed(npu, result, "NPU out of memory. Tried to allocate", "take --dtype float16")
    where = "run_passes" if mebibytes == 24 else "move("
    assert where in (npu.logs / "run_npu.log").read_text()


# torch is what it is, but says that it was built for CUDA.
CUDA_BUILD = """
import importlib.machinery, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name != "torch.version":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def run_and_change(module):
            run(module)
            module.cuda = "13.0"
        spec.loader.exec_module = run_and_change
        return spec

sys.meta_path.insert(0, Finder())
"""


@pytest.fixture
def cuda_build(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH, which makes torch say that it was built for CUDA, and a torch_npu in it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CUDA_BUILD)
    shutil.copytree(SIMULATED_NPU / "torch_npu", tmp_path / "site" / "torch_npu")
    return tmp_path / "site"


def test_a_cuda_build_of_torch_beside_a_native_torch_npu(npu: Kit, cuda_build: Path) -> None:
    """It would abort the process: nothing may import torch_npu there."""
    library = cuda_build / "torch_npu" / "lib" / "libtorch_npu.so"
    library.parent.mkdir()
    library.touch()
    # Were it imported, this would be the error.
    switches = {"SIM_NPU_IMPORT_ERROR": "imported", "PYTHONPATH": str(cuda_build)}
    result = npu.infer(*SMALL, "--device", "npu:0", **switches)
    failed(npu, result, "npu:0 cannot be used: torch", "install the CPU build of the same version")
    assert "is a CUDA build" in result.error


def test_a_cuda_build_of_torch_beside_a_simulation(npu: Kit, cuda_build: Path) -> None:
    """A simulation has no native library that could abort, and PyPI's torch for Linux is a CUDA build."""
    result = npu.infer(*SMALL, "--device", "npu:0", PYTHONPATH=str(cuda_build))
    assert result.code == 0, result.err
    assert npu.record["device"]["simulated"] is True


@pytest.mark.parametrize("call", [2, 7], ids=["first pass", "second pass"])
def test_an_abort_leaves_its_last_words_and_a_whole_record(npu: Kit, call: int) -> None:
    words = "terminate called after throwing an instance of 'c10::Error'"
    result = npu.infer(*SMALL, SIM_NPU_ABORT=f"{NORM}:{call}:{words}")
    assert result.code == -6
    assert words in (npu.logs / "runtime_stderr.log").read_text()
    assert npu.record["status"] == "INTERRUPTED" and npu.summary["verdict"] == "NOT_COMPARED"
    assert npu.compare().code == 4


def test_comparing_and_judging_need_no_torch_npu(vit_run: Kit, tmp_path: Path) -> None:
    """On the reference's machine a torch_npu may be there that would abort the process."""
    package = tmp_path / "site" / "torch_npu" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("import os\nos.abort()\n")
    path = {"PYTHONPATH": str(package.parent.parent)}
    assert vit_run.compare(**path).code == 0
    saved = [vit_run.logs / f"{name}.safetensors" for name in ("reference", "outputs")]
    assert vit_run.command("judge", *saved, **path).code == 0


@pytest.mark.parametrize("package", ["filelock", "PIL", "timm", "numpy"])
def test_a_package_that_is_not_there(kit: Kit, package: str) -> None:
    kit.hidden = (*kit.hidden, package)
    result = kit.infer(*SMALL)
    assert result.code == 3
    assert f"the package {package} is not installed; enter the virtual" in result.error


def test_stderr_has_one_line_even_where_the_runtime_prints(npu: Kit) -> None:
    result = npu.infer(*SMALL, SIM_NPU_STDOUT="1", SIM_NPU_RAISE=f"{NORM}:1:error code is 561103")
    assert result.code == 3 and "Ascend-cann-kernels" in result.error
    assert not re.search("INFO|Warning: ASCEND", result.out)
