"""Proof of place: that parameters, buffers and outputs are on the device, and are those bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kit.devices import Device
from kit.errors import UntrustedError
from kit.evidence.types.shared import DeviceProof
from kit.run.fallback import FallbackWatch
from kit.run.passes import Passes
from kit.storage.fingerprint import fingerprint
from kit.weights.casting import Cast
from kit.weights.checkpoint import published_tensors, retie
from kit.words import Reason

if TYPE_CHECKING:
    from torch import nn


def move(
    model: nn.Module, tied: Mapping[str, str], device: Device, cast: Cast, expected: str
) -> str:
    """Move the model to the device, and read its weights back from there.

    `expected` is the fingerprint of the weights as loaded, before the cast. Returns that of the device's
    copy, which a cast makes another one. Raises UntrustedError where it is not what was sent.
    """
    if cast.tensors:
        expected = fingerprint(published_tensors(model, tied))
    if device.kind == "cpu":
        return expected
    model.to(device.spec)
    retie(model, tied)
    on_device = published_tensors(model, tied)
    found = fingerprint({name: tensor.cpu() for name, tensor in on_device.items()})
    if found != expected:
        raise UntrustedError(
            Reason("read_back", device=device.spec, found=found[:12], expected=expected[:12]),
            Reason("check_card_and_driver"),
        )
    return found


def prove_place(
    model: nn.Module,
    passes: Passes,
    device: Device,
    *,
    weights_fingerprint: str,
    fallbacks: FallbackWatch,
) -> DeviceProof:
    """The record's device_proof. Raises UntrustedError where a tensor is somewhere else."""
    parameters = Counter(str(parameter.device) for parameter in model.parameters())
    buffers = Counter(str(buffer.device) for buffer in model.buffers())
    placed = {name: str(output.device) for name, output in passes.outputs.items()}
    later = {str(output.device) for output in (*passes.repeated.values(), *passes.timed.values())}
    elsewhere = (set(parameters) | set(buffers) | set(placed.values()) | later) - {device.spec}
    if elsewhere:
        raise UntrustedError(
            Reason("not_on_device", device=device.spec, elsewhere=", ".join(sorted(elsewhere))),
            Reason("stay_on_device"),
        )
    return DeviceProof(
        simulated=device.simulated,
        parameters=dict(parameters),
        buffers=dict(buffers),
        outputs=placed,
        parameter_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
        weights_fingerprint=weights_fingerprint,
        peak_bytes=device.peak_bytes(),
        fallback_ops=fallbacks.ops,
        fallback_reason=fallbacks.reason,
    )
