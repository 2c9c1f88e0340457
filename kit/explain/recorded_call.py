"""One module call as module_calls.safetensors has it: its tensors, and the form of what they stood in.

The form is a hash: objects of a library's own are never written, nor is anything named that a reader would
have to import. Who reads the file has the same model, whose own call gives the objects; where they are of
the same form, the recorded tensors take the place of theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
from torch import Tensor

from kit.explain.frames import Frame
from kit.explain.values import mapped, plain_text

CALLS = "calls"
"""The key of the calls in the file's metadata."""


class RecordedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Call number `call` of a module: the form of what it took and gave, and the names of its tensors in
    the file, in order."""

    module: str
    call: int
    form: str
    tensors: list[str]


def exchange(frame: Frame, change: Callable[[Tensor], Tensor]) -> str:
    """Put what `change` gives in the place of every tensor that a call took, gave or wrote. Returns the
    form of all else: plain values, kinds and keys, which modules it called; without dtypes and devices,
    which differ between two sides that do the same. Raises ValueError where what it took or gave may hold
    tensors that nobody sees."""
    parts = [repr(inner.key) for inner in frame.inner]

    def changed(tensor: Tensor) -> Tensor:
        parts.append("complex" if tensor.is_complex() else "tensor")
        return change(tensor)

    def tell(plain: object) -> None:
        parts.append(plain_text(plain))

    frame.args = mapped(frame.args, changed, tell)
    # By name: a caller may have them in the order of a file.
    named = {
        name: mapped([name, frame.kwargs[name]], changed, tell) for name in sorted(frame.kwargs)
    }
    frame.kwargs = {name: named[name][1] for name in frame.kwargs}
    frame.output = mapped(frame.output, changed, tell)
    parts.append(repr([*frame.written, frame.in_place, type(frame.raised).__name__]))
    frame.written = {place: changed(tensor) for place, tensor in frame.written.items()}
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:32]
