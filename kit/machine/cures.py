"""Failure texts of Ascend hosts: what each means, and what to do about it.

A rule speaks of a kind of failure; the first that matches explains it, so what names its cause more exactly
stands first. A text that no rule matches is called unknown, never explained by the likeliest guess. The
texts were read in the wheels of torch_npu 2.9 and 2.13 and in public reports
(tests/ascend_failures.py says in which), the codes in CANN's public header of runtime errors. None was
seen on Ascend hardware by this project.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from kit.errors import CannotRunError, KitError, shown, visible
from kit.machine.cann import cann_home

_SOURCE = "source /usr/local/Ascend/ascend-toolkit/set_env.sh"
SET_CANN = f"{_SOURCE}, then run again"
SEE_DRIVER = "install the Ascend driver, or pass it into the container"
FREE_NPU = "free the device (npu-smi info shows who holds it) or take --dtype float16"

_MISSING = "cannot open shared object file"
_UNDEFINED = r"undefined symbol: \S*"
_VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
_TOLD_CHARACTERS = 300


@dataclass(frozen=True)
class _Rule:
    """`means` and `cure` may name the pattern's groups: {0}, {1}."""

    pattern: str
    means: str
    cure: str
    of_device_ids: bool = False
    """Whether the environment's choice of devices may be the cause."""


def _code(*codes: str) -> str:
    """A pattern of the runtime's error codes, in the wordings in which it and its callers print them."""
    return rf"(?i:code|result|failed)[\W_]*(?:is)?[\W_]*(?:{'|'.join(codes)})\b"


_RULES: tuple[_Rule, ...] = (
    # ---- libraries: which one tells whose it is -------------------------------------------------
    _Rule(
        r"([^\s'\"(]+\.so[\w.]*): cannot allocate memory in static TLS block",
        "the library came too late for its thread-local memory",
        "export LD_PRELOAD={0}, then run again",
    ),
    _Rule(
        rf"lib(?:ascend_hal|dcmi|drv\w*)\.so: {_MISSING}",
        "the Ascend driver is not visible here",
        SEE_DRIVER,
    ),
    _Rule(
        rf"lib(?:atb\w*|asdops\w*|mki\w*|lcal|tbe_adapter)\.so: {_MISSING}",
        "the environment of NNAL is not set",
        "source /usr/local/Ascend/nnal/atb/set_env.sh (install NNAL where it is missing), then run again",
    ),
    _Rule(
        rf"(lib(?:torch|c10|shm)\w*\.so): {_MISSING}",
        "{0} is of torch or torch_npu, and they are not imported first or not whole",
        "import torch and torch_npu before what asks for it, and where that is so install the same version "
        "again",
    ),
    _Rule(
        rf"(lib[\w+-]+\.so\.[\d.]+): {_MISSING}",
        "{0} is a library of the system, not of CANN",
        "install the system's package that has it, or add its folder to LD_LIBRARY_PATH",
    ),
    _Rule(
        rf"(lib[\w+-]+\.so): {_MISSING}",
        "{0} is not on the library path: the environment of CANN is not set",
        SET_CANN,
    ),
    _Rule(
        r"version `(GLIBC\w*_[\d.]+|CXXABI_[\d.]+)' not found",
        "the C or C++ library that is found first is older than {0}",
        "use a newer system image, or a build that was made for this one",
    ),
    _Rule(
        rf"{_UNDEFINED}(?:3atb|3Mki|6AsdOps)",
        "NNAL does not fit this torch_npu, or was set up for another C++ ABI than torch's",
        "install the NNAL of torch_npu's CANN version and source its set_env.sh once torch is installed",
    ),
    _Rule(
        rf"libtorch_npu\.so: {_UNDEFINED}(?:2at|3c10|5torch)",
        "torch and torch_npu do not match",
        "install the torch_npu whose version is torch's",
    ),
    _Rule(
        rf"([^\s/]+\.so): {_UNDEFINED}(?:7c10_npu|9torch_npu|6at_npu)",
        "{0} was built for another torch_npu",
        "build or install it again beside this torch_npu",
    ),
    _Rule(
        r"(?:undefined symbol:|Failed to find function) (?:acl|Hccl|rt[A-Z])\w*",
        "CANN is older than this torch_npu needs",
        "install the CANN of torch_npu's version row (python -m kit doctor names it)",
    ),
    _Rule(
        _UNDEFINED,
        "two packages were built for other versions of each other",
        "python -m kit doctor shows which versions belong together, and the symbol's name whose it is",
    ),
    # ---- the environment of CANN ----------------------------------------------------------------
    _Rule(r"ASCEND_(?:HOME|OPP)_PATH\b", "the environment of CANN is only partly set", SET_CANN),
    _Rule(
        r"No module named '(torch_npu\.\w+)",
        "a folder torch_npu without its compiled part is found first",
        "run from another folder than torch_npu's sources, and look at PYTHONPATH",
    ),
    _Rule(
        r"No module named '(tbe|te|acl|auto_tune|hccl)\b",
        "the Python packages of CANN are not on PYTHONPATH",
        SET_CANN,
    ),
    _Rule(
        r"Failed to import Python module \[([^\]]{1,120})",
        "CANN's compiler cannot import what it needs ({0})",
        f"make that import work in this Python: install the package that it names, else {_SOURCE}",
    ),
    _Rule(
        rf"{_code('500001')}|\[Init\]\[Env\]init env failed",
        "CANN's compiler does not start, most often because Python packages are missing",
        "pip install attrs decorator psutil scipy (and 'numpy<2' for CANN up to 8.2), else the plog files "
        "in {plog} say why",
    ),
    # ---- devices: is it there, is it free, does it start ----------------------------------------
    _Rule(
        r"ret is -8020|because the device is used",
        "another process holds the card",
        "stop it (npu-smi info), or choose another --device",
    ),
    _Rule(
        r"ret is -8005",
        "npu-smi does not reach the driver",
        "in a container pass in /dev/davinci_manager, /dev/devmm_svm, /dev/hisi_hdc and the driver's "
        "folder, and see that no other container holds the card",
    ),
    _Rule(
        r"/dev/(?:davinci\w*|devmm_svm|hisi_hdc)\W.{0,60}[Pp]ermission denied",
        "this user may not open the NPU",
        "run as a user of the group that owns /dev/davinci* (HwHiAiUser on most hosts)",
    ),
    _Rule(
        r"Tried to allocate more than \d+ ?EB",
        "no memory is that large: a size was computed wrongly",
        "ASCEND_LAUNCH_BLOCKING=1 names the operator: run again with that",
    ),
    _Rule(
        rf"NPU out of memory|EL0004|{_code('207001')}",
        "the memory of the device is used up",
        FREE_NPU,
    ),
    _Rule(
        r"CUDA out of memory",
        "the memory of the device is used up",
        "free the device (nvidia-smi shows who holds it) or take --dtype float16",
    ),
    _Rule(
        rf"{_code('107001', '207004')}|(?i:invalid device ?id)|Set visible device failed",
        "this process sees no such NPU",
        "npu-smi info lists the devices, choose --device npu:N among them",
        of_device_ids=True,
    ),
    _Rule(
        rf"{_code('507033')}|Failed to start the device",
        "the device does not start",
        "npu-smi info shows its health and who holds it, the plog files in {plog} say why it did not",
        of_device_ids=True,
    ),
    _Rule(
        _code("507008"),
        "the runtime cannot tell the chip: the driver is not visible to this process, or does not fit CANN",
        "check its health with npu-smi info as this user (in a container the driver's folder and "
        "/etc/ascend_install.info must be passed in), and that the driver is the one that CANN asks for",
    ),
    _Rule(
        _code("507010", "507054"),
        "the card itself fails",
        "check its health with npu-smi info, reset it or reboot the host",
    ),
    _Rule(
        r"(?i:unsupported soc version)",
        "this torch_npu does not know the chip",
        "install the release that supports it",
    ),
    _Rule(
        r"Cannot re-initialize NPU in forked subprocess",
        "the NPU was used before a fork",
        "start the run in a process of its own",
    ),
    # ---- operators ------------------------------------------------------------------------------
    _Rule(
        _code("561103", "561112"),
        "CANN finds no kernel of this operator",
        "install Ascend-cann-kernels for this chip, of the same version as CANN",
    ),
    _Rule(
        r"not in libopapi\.so",
        "this CANN lacks the operator",
        "install Ascend-cann-kernels for this chip and the CANN of torch_npu's version row (python -m kit "
        "doctor names it)",
    ),
    _Rule(
        r"not implemented for DT_\w+",
        "the device has no kernel for this dtype",
        "take --dtype float32 or float16",
    ),
    _Rule(
        rf"{_code('161002')}|EZ1001",
        "the operator refuses its arguments: a dtype, a shape or a format",
        "run again with --dtype float32, and where that fails, too, the plog files in {plog} say which it "
        "is",
    ),
    _Rule(
        _code("50701[4-8]", "50703[4-6]", "50704[2-5]", "50704[89]", "507050")
        + r"|aicore exception|aicpu exception|ai(?:v|c)ec(?:tor)? error|(?:aicore|vector core) execution "
        r"is abnormal",
        "an operator failed on the device",
        "ASCEND_LAUNCH_BLOCKING=1 names it: run again with that",
    ),
)
_OF_NPU = re.compile(r"NPU function error|NPU error|torch_npu|HCCL|\bERR\d{5}\b|\bE[A-Z]\d{4}\b")


def cure_for(text: str) -> str | None:
    """What a known failure text means and the next step, as 'meaning: cure'; None for an unknown one."""
    for rule in _RULES:
        if match := re.search(rule.pattern, text):
            named = [visible(group or "") for group in match.groups()]
            said = f"{rule.means}: {rule.cure}".format(*named, plog=_plog())
            return said + (renumbering() if rule.of_device_ids else "")
    return None


def next_step(text: str) -> str:
    """The cure for a failure of an NPU; for an unknown one that it is unknown, and where more is told."""
    return cure_for(text) or (
        f"the kit does not know this failure: the plog files in {_plog()} tell more, and python -m kit "
        "doctor looks at the whole machine"
    )


def renumbering() -> str:
    """What the environment does to the numbers of the NPUs, to be appended; empty where it does nothing."""
    value = os.environ.get(_VISIBLE)
    if value is None:
        return ""
    ids = [word.strip() for word in value.split(",")]
    ordered = all(word.isdecimal() for word in ids) and sorted(set(map(int, ids))) == [
        *map(int, ids)
    ]
    wrong = "" if ordered else ", which is no ascending list of device ids such as 0,2"
    return (
        f" ({_VISIBLE}={shown(value[:80])}{wrong}: this process sees those cards only, numbered anew, so "
        "that npu:0 is the first of them: correct or unset it)"
    )


def as_kit_error(error: Exception) -> KitError:
    """Any exception as an error with a next step: known device failures get their cure."""
    if isinstance(error, KitError):
        return error
    text, said = str(error), told(error)
    if cure := cure_for(text):
        return CannotRunError(said, cure)
    if isinstance(error, ModuleNotFoundError):
        return CannotRunError(
            f"the package {error.name} is not installed",
            "pip install -r requirements.txt (on an Ascend host requirements-npu.txt)",
        )
    if _OF_NPU.search(text):
        return CannotRunError(said, next_step(text))
    logs = "once a run has begun, the traceback is in its run_npu.log"
    if cann_home() is not None:
        logs += f", and what the NPU's runtime says in the plog files in {_plog()}"
    return CannotRunError(f"unexpected {said}", logs)


def told(error: BaseException) -> str:
    """What was raised, on one bounded line: a runtime's own text may run over pages."""
    return f"{type(error).__name__}: {visible(' '.join(str(error).split()))[:_TOLD_CHARACTERS]}"


def _plog() -> str:
    """Where CANN writes its logs of this process."""
    return shown(os.environ.get("ASCEND_PROCESS_LOG_PATH") or "~/ascend/log")
