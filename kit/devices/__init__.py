"""Devices: npu, cuda, cpu. Choosing one, which proves it, and saying why it was taken.

An explicit device that cannot be used is an error; `auto` prefers npu, then cuda, then cpu, and keeps the
reason for each that it passed over.
"""

from __future__ import annotations

import re

from kit.devices.cpu import CpuDevice
from kit.devices.cuda import CudaDevice
from kit.devices.device import Device, Unavailable, explained, probe_seconds
from kit.devices.npu import NpuDevice, ask_for_exact_gelu, forbid_autoload, visible_npus
from kit.devices.precision import PRECISIONS, Precision
from kit.errors import CannotRunError, UsageError
from kit.words import Reason

__all__ = [
    "PRECISIONS",
    "Device",
    "Precision",
    "check_device_name",
    "forbid_autoload",
    "probe_seconds",
    "select_device",
    "visible_devices",
]

_BACKENDS: dict[str, type[Device]] = {"npu": NpuDevice, "cuda": CudaDevice, "cpu": CpuDevice}
_NAME = re.compile(r"auto|cpu|(npu|cuda)(:[0-9]{1,4})?")


def check_device_name(requested: str) -> str:
    """`requested` if it reads auto, cpu, npu[:N] or cuda[:N]; raises UsageError otherwise."""
    if not _NAME.fullmatch(requested):
        raise UsageError(Reason("no_device_name", given=repr(requested)), Reason("give_device"))
    return requested


def select_device(requested: str, precision: str = "default") -> Device:
    """The device for `--device`, proven by an allocation, with `reason` saying why it was taken.

    Imports torch. Raises UsageError for a malformed name and CannotRunError, with the cure, for an
    explicit device that cannot be used.
    """
    kind, _, index = check_device_name(requested).partition(":")
    forbid_autoload()
    if precision == "strict":
        ask_for_exact_gelu()
    if kind == "auto":
        return _first_usable()
    try:
        device = _open(kind, int(index or 0))
    except Unavailable as error:
        cure = Reason("or_auto", cure=error.cure) if error.cure else Reason("take_auto")
        why = Reason("cannot_be_used", device=requested, why=error.reason)
        raise CannotRunError(why, cure) from error
    return device


def visible_devices() -> list[str]:
    """The names of all NPUs, else of all GPUs, none of them proven; empty where there is neither.

    Imports torch. Raises CannotRunError, with the cure, for a torch_npu that is there and of no use.
    """
    forbid_autoload()
    try:
        npus = visible_npus()
    except Exception as error:  # as in _open: the runtime's own classes are among them
        found = explained(error, "npu")
        raise CannotRunError(found.what, found.cure) from error
    if npus:
        return [f"npu:{index}" for index in range(npus)]
    import torch

    usable = torch.version.cuda is not None and torch.cuda.is_available()
    return [f"cuda:{index}" for index in range(torch.cuda.device_count() if usable else 0)]


def _open(kind: str, index: int) -> Device:
    """The device, or Unavailable for whatever its runtime raises."""
    try:
        return _BACKENDS[kind](index)
    except (Unavailable, UsageError):
        raise
    except Exception as error:  # every runtime has its own classes
        raise explained(error, kind) from error


def _no_kind(kind: str, error: Unavailable) -> Reason:
    if error.cure is None:
        return Reason("no_kind", kind=kind, why=error.reason)
    return Reason("no_kind_but", kind=kind, why=error.reason, cure=error.cure)


def _first_usable() -> Device:
    passed_over: list[Reason] = []
    for kind in ("npu", "cuda"):
        try:
            device = _open(kind, 0)
        except Unavailable as error:
            passed_over.append(_no_kind(kind, error))
            continue
        first = Reason("first_of", count=device.count, kind=kind)
        device.reason = Reason("several", all=[*passed_over, first])
        return device
    device = CpuDevice(0)
    device.reason = Reason("several", all=passed_over)
    return device
