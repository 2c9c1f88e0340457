"""Known failure texts of Ascend hosts, and what to do about each.

The texts are from torch_npu 2.13.0 and 2.9.0.post2 (read in the wheels or seen by running them); the
order matters: the first pattern that matches explains the failure.
"""

from __future__ import annotations

import re

from kit.errors import CannotRunError, KitError

_SET_ENV = "source /usr/local/Ascend/ascend-toolkit/set_env.sh, then run again"

_CURES: tuple[tuple[str, str], ...] = (
    (
        r"libascend_hal\.so",
        "the Ascend driver is not visible here: install it, or pass it into the container",
    ),
    (r"libhccl\.so|libascendcl\.so|libacl\w*\.so", f"CANN is not on the library path: {_SET_ENV}"),
    (
        r"ASCEND_(HOME|OPP)_PATH",
        f"the CANN environment is only partly set: {_SET_ENV}",
    ),
    (
        r"libtorch_npu\.so: undefined symbol",
        "torch and torch_npu do not match: install the torch_npu whose version is torch's",
    ),
    (
        r"ret is -8020|because the device is used",
        "another process holds the card: stop it (npu-smi info), or choose another --device",
    ),
    (
        r"error code is 107001|Invalid device ID",
        "no such NPU: npu-smi info lists the devices; choose --device npu:N among them",
    ),
    (
        r"NPU out of memory|CUDA out of memory",
        "free the device (npu-smi info shows who holds it) or take --dtype float16",
    ),
    (
        r"error code is 561103|not in libopapi\.so",
        "the kernel package of this chip is missing: install Ascend-cann-kernels for it",
    ),
    (
        r"error code is 161002|EZ1001|not implemented for DT_DOUBLE",
        "the device has no kernel for this dtype: take --dtype float32 or float16",
    ),
    (
        r"error code is 500001|AclSetCompileopt",
        "CANN's compiler lacks Python packages: pip install attrs decorator psutil scipy",
    ),
    (
        r"error code:? ?(?:is )?5070(?:15|18|35)",
        "an operator failed on the device; ASCEND_LAUNCH_BLOCKING=1 names it: run again with that",
    ),
    (
        r"error code is 507008",
        "the device does not start: check its health with npu-smi info, reset or reboot the host",
    ),
    (
        r"Cannot re-initialize NPU in forked subprocess",
        "the NPU was used before a fork: start the run in a process of its own",
    ),
    (
        r"NPU function error",
        "the NPU runtime reports an error: check npu-smi info and the plog files in ~/ascend/log",
    ),
)


def cure_for(text: str) -> str | None:
    """The next step for a known failure text, or None for an unknown one."""
    return next((cure for pattern, cure in _CURES if re.search(pattern, text)), None)


def as_kit_error(error: Exception) -> KitError:
    """Any exception as an error with a next step: known device failures get their cure."""
    if isinstance(error, KitError):
        return error
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        return CannotRunError(
            f"the package {error.name} is not installed: pip install -r requirements.txt (on an Ascend "
            "host requirements-npu.txt)"
        )
    if cure := cure_for(text):
        return CannotRunError(f"{type(error).__name__}: {text[:300]}: {cure}")
    return CannotRunError(
        f"unexpected {type(error).__name__}: {text[:300]}; once a run has begun, the traceback is in its "
        "run_npu.log"
    )
