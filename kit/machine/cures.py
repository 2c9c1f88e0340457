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
from kit.words import Reason, value_names

_MISSING = "cannot open shared object file"
_UNDEFINED = r"undefined symbol: \S*"
_VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
_TOLD_CHARACTERS = 300


@dataclass(frozen=True)
class _Rule:
    """What the code means and the cure are failure_<code> and cure_<code> of the catalogue; {it} there is
    the pattern's group, {plog} where CANN writes its logs."""

    code: str
    pattern: str
    of_device_ids: bool = False
    """Whether the environment's choice of devices may be the cause."""


def _code(*codes: str) -> str:
    """A pattern of the runtime's error codes, in the wordings in which it and its callers print them."""
    return rf"(?i:code|result|failed)[\W_]*(?:is)?[\W_]*(?:{'|'.join(codes)})\b"


_RULES: tuple[_Rule, ...] = (
    # ---- libraries: which one tells whose it is -------------------------------------------------
    _Rule("static_tls", r"([^\s'\"(]+\.so[\w.]*): cannot allocate memory in static TLS block"),
    _Rule("no_driver", rf"lib(?:ascend_hal|dcmi|drv\w*)\.so: {_MISSING}"),
    _Rule("no_nnal", rf"lib(?:atb\w*|asdops\w*|mki\w*|lcal|tbe_adapter)\.so: {_MISSING}"),
    _Rule("torch_library", rf"(lib(?:torch|c10|shm)\w*\.so): {_MISSING}"),
    _Rule("system_library", rf"(lib[\w+-]+\.so\.[\d.]+): {_MISSING}"),
    _Rule("no_cann_library", rf"(lib[\w+-]+\.so): {_MISSING}"),
    _Rule("old_libc", r"version `(GLIBC\w*_[\d.]+|CXXABI_[\d.]+)' not found"),
    _Rule("nnal_abi", rf"{_UNDEFINED}(?:3atb|3Mki|6AsdOps)"),
    _Rule("torch_npu_abi", rf"libtorch_npu\.so: {_UNDEFINED}(?:2at|3c10|5torch)"),
    _Rule("built_for_other", rf"([^\s/]+\.so): {_UNDEFINED}(?:7c10_npu|9torch_npu|6at_npu)"),
    _Rule("old_cann", r"(?:undefined symbol:|Failed to find function) (?:acl|Hccl|rt[A-Z])\w*"),
    _Rule("mixed_versions", _UNDEFINED),
    # ---- the environment of CANN ----------------------------------------------------------------
    _Rule("partly_set", r"ASCEND_(?:HOME|OPP)_PATH\b"),
    _Rule("shadowed", r"No module named '(torch_npu\.\w+)"),
    _Rule("no_cann_python", r"No module named '(tbe|te|acl|auto_tune|hccl)\b"),
    _Rule("compiler_import", r"Failed to import Python module \[([^\]]{1,120})"),
    _Rule("compiler_start", rf"{_code('500001')}|\[Init\]\[Env\]init env failed"),
    # ---- devices: is it there, is it free, does it start ----------------------------------------
    _Rule("card_held", r"ret is -8020|because the device is used"),
    _Rule("driver_unreached", r"ret is -8005"),
    _Rule("no_permission", r"/dev/(?:davinci\w*|devmm_svm|hisi_hdc)\W.{0,60}[Pp]ermission denied"),
    _Rule("absurd_size", r"Tried to allocate more than \d+ ?EB"),
    _Rule("device_memory", rf"NPU out of memory|EL0004|{_code('207001')}"),
    _Rule("cuda_memory", r"CUDA out of memory"),
    _Rule(
        "no_such_npu",
        rf"{_code('107001', '207004')}|(?i:invalid device ?id)|Set visible device failed",
        of_device_ids=True,
    ),
    _Rule("not_started", rf"{_code('507033')}|Failed to start the device", of_device_ids=True),
    _Rule("chip_unknown", _code("507008")),
    _Rule("card_fails", _code("507010", "507054")),
    _Rule("unsupported_chip", r"(?i:unsupported soc version)"),
    _Rule("forked", r"Cannot re-initialize NPU in forked subprocess"),
    # ---- operators ------------------------------------------------------------------------------
    _Rule("no_kernel", _code("561103", "561112")),
    _Rule("no_operator", r"not in libopapi\.so"),
    _Rule("no_dtype", r"not implemented for DT_\w+"),
    _Rule("bad_arguments", rf"{_code('161002')}|EZ1001"),
    _Rule(
        "operator_failed",
        _code("50701[4-8]", "50703[4-6]", "50704[2-5]", "50704[89]", "507050")
        + r"|aicore exception|aicpu exception|ai(?:v|c)ec(?:tor)? error|(?:aicore|vector core) execution "
        r"is abnormal",
    ),
)
_OF_NPU = re.compile(r"NPU function error|NPU error|torch_npu|HCCL|\bERR\d{5}\b|\bE[A-Z]\d{4}\b")


def cure_for(text: str) -> Reason | None:
    """What a known failure text means and the next step, as 'meaning: cure'; None for an unknown one."""
    for rule in _RULES:
        if match := re.search(rule.pattern, text):
            group = visible(next(iter(match.groups()), None) or "")
            values = {"it": group, "plog": _plog()}
            return Reason(
                "failure",
                means=Reason(f"failure_{rule.code}", **_of(f"failure_{rule.code}", values)),
                cure=Reason(f"cure_{rule.code}", **_of(f"cure_{rule.code}", values)),
                numbering=renumbering() if rule.of_device_ids else "",
            )
    return None


def _of(code: str, values: dict[str, str]) -> dict[str, str]:
    """Those of `values` that the text has."""
    return {name: values[name] for name in value_names(code)}


def next_step(text: str) -> Reason:
    """The cure for a failure of an NPU; for an unknown one that it is unknown, and where more is told."""
    return cure_for(text) or Reason("failure_of_npu", plog=_plog())


def renumbering() -> str:
    """What the environment does to the numbers of the NPUs, to be appended; empty where it does nothing."""
    value = os.environ.get(_VISIBLE)
    if value is None:
        return ""
    ids = [word.strip() for word in value.split(",")]
    ordered = all(word.isdecimal() for word in ids) and sorted(set(map(int, ids))) == [
        *map(int, ids)
    ]
    wrong = "" if ordered else Reason("no_ascending_list")
    return Reason("renumbered", variable=_VISIBLE, ids=shown(value[:80]), wrong=wrong)


def as_kit_error(error: Exception) -> KitError:
    """Any exception as an error with a next step: known device failures get their cure."""
    if isinstance(error, KitError):
        return error
    text, said = str(error), told(error)
    if cure := cure_for(text):
        return CannotRunError(said, cure)
    if isinstance(error, ModuleNotFoundError):
        return CannotRunError(
            Reason("no_package", name=str(error.name)), Reason("install_requirements")
        )
    if _OF_NPU.search(text):
        return CannotRunError(said, next_step(text))
    if isinstance(error, OSError) and error.filename and not isinstance(error, FileNotFoundError):
        return CannotRunError(said, Reason("check_permissions"))
    logs = Reason("in_logs") if cann_home() is None else Reason("in_logs_and_plog", plog=_plog())
    return CannotRunError(Reason("unexpected", said=said), logs)


def told(error: BaseException) -> str:
    """What was raised, on one bounded line: a runtime's own text may run over pages."""
    return f"{type(error).__name__}: {visible(' '.join(str(error).split()))[:_TOLD_CHARACTERS]}"


def _plog() -> str:
    """Where CANN writes its logs of this process."""
    return shown(os.environ.get("ASCEND_PROCESS_LOG_PATH") or "~/ascend/log")
