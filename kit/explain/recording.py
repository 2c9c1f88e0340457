"""inference.py --localize: one more forward on the device, and what every module call took and gave.

With it compare_accuracy.py --localize can find the first bad module on a machine without the device. The
tensors go to the disk as they come; no more than one call is held in memory.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile

import msgspec
import torch
from torch import Tensor, nn

from kit.devices import Device
from kit.errors import Fault, words_of
from kit.evidence.logs import MODULE_CALLS, Logs
from kit.evidence.types.run import RecordedCalls
from kit.explain.frames import Frame, watched
from kit.explain.recorded_call import CALLS, RecordedCall, exchange
from kit.models.adapter import Adapter
from kit.storage.tensor_stream import TensorStream
from kit.words import Reason

# Their list stands in the file's header, which readers hold in memory.
_MOST_CALLS = 50_000
# Of the disk, for whatever else is going on there.
_SPARE_BYTES = 64 << 20

log = logging.getLogger("kit")


def record_calls(
    adapter: Adapter,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    device: Device,
    logs: Logs,
    *,
    dtype: torch.dtype,
    most_mib: int,
) -> RecordedCalls:
    """Watch one forward on the device and write module_calls.safetensors, of at most `most_mib` MiB of
    tensors. Where that breaks off, for whatever reason, there is no file, and the reason is told."""
    try:
        most = _room(logs.folder, most_mib << 20)
        with logs.in_place(MODULE_CALLS) as target, TemporaryFile(dir=logs.folder) as scratch:
            recorder = _Recorder(TensorStream(scratch, most), dtype)
            with torch.no_grad(), watched(model, recorder.ended):
                device.synchronize()
                adapter.forward(model, inputs)
            return recorder.written(target, most)
    except Exception as error:  # the run is measured, and its record must not be lost for this
        log.debug("recording the module calls broke off", exc_info=error)
        return RecordedCalls(
            sha256=None,
            recorded=0,
            left_out=0,
            reason=Reason("calls_not_recorded", error=_said(error)),
        )


class _Recorder:
    """Takes the calls of one forward. What breaks off is kept for later, for a model may catch errors."""

    def __init__(self, stream: TensorStream, dtype: torch.dtype) -> None:
        self._stream, self._dtype = stream, dtype
        self._calls: list[RecordedCall] = []
        self._left_out = 0
        self._broke: Exception | None = None

    def ended(self, frame: Frame) -> None:
        """Keep the call, if there is room for it."""
        try:
            if self._broke is None and not self._kept(frame):
                self._left_out += 1
        except Exception as error:
            self._broke = error
        frame.forget()

    def written(self, target: Path, most: int) -> RecordedCalls:
        """Write the file. Raises what broke off meanwhile, and OSError."""
        if self._broke is not None:
            raise self._broke
        calls = msgspec.json.encode(self._calls).decode("utf-8")
        return RecordedCalls(
            sha256=self._stream.write(target, {CALLS: calls}),
            recorded=len(self._calls),
            left_out=self._left_out,
            reason=Reason("calls_left_out", most=most >> 20) if self._left_out else None,
        )

    def _kept(self, frame: Frame) -> bool:
        if len(self._calls) == _MOST_CALLS:
            return False
        tensors: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            tensors.append(self._narrowed(tensor))
            return tensor

        try:
            form = exchange(frame, keep)
            names = self._stream.add(tensors)
        except ValueError:  # a sparse tensor, or an object that may hold any
            return False
        if names is not None:
            self._calls.append(RecordedCall(frame.name, frame.number, form, names))
        return names is not None

    def _narrowed(self, tensor: Tensor) -> Tensor:
        """As a file can hold it: complex numbers as pairs, and what was watched in float32 for the sake
        of the CPU in the dtype of the run, where that is all it says."""
        if tensor.is_complex():
            return torch.view_as_real(tensor.resolve_conj())
        if tensor.dtype != torch.float32 or tensor.layout != torch.strided:
            return tensor
        narrow = tensor.to(self._dtype)
        return narrow if torch.equal(narrow.float(), tensor) else tensor


def _room(folder: Path, most: int) -> int:
    """Bytes that the tensors may take: on the disk they stand twice for a moment."""
    free = shutil.disk_usage(folder).free
    room = min(most, (free - _SPARE_BYTES) // 2)
    if room <= 0:
        raise Fault(f"{free >> 20} MiB are free on the disk")
    return room


def _said(error: Exception) -> str:
    """What went wrong, without folders of this machine."""
    if isinstance(error, Fault) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    text = words_of(error).partition("\n")[0][:200]
    return text if isinstance(error, (Fault, OSError)) else f"{type(error).__name__}: {text}"
