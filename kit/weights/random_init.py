"""A random initialisation that hides no error and is the same bytes on every library version.

Libraries' own initialisations hide errors: layer scales of 1e-6 and zero heads make a wrong block
invisible, and the same seed gives other bytes under another version. Here each tensor comes from a
Philox generator keyed by (seed, name), through integer and exactly rounded operations only, so any
language can make the same bytes again. The running statistics of a BatchNorm are then scaled to what the
model gives it: batch_statistics.py.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Half-width of what is added to a norm's or layer scale's 1, and of a bias around 0: large enough to
# be seen in the output, small enough to keep activations near unit size.
_SPREAD = 0.1


def random_state_dict(like: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """CPU tensors with the names, shapes and dtypes of `like` (meta tensors will do)."""
    return {name: _random_tensor(name, tensor, seed) for name, tensor in like.items()}


def _random_tensor(name: str, like: Tensor, seed: int) -> Tensor:
    import torch

    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)  # counters, index tables
    values = uniform(f"{seed}/{name}", like.numel())
    centre, half_width = _centre_and_half_width(name, tuple(like.shape))
    values *= np.float32(half_width)
    values += np.float32(centre)
    return torch.from_numpy(values).reshape(like.shape).to(like.dtype)


def _centre_and_half_width(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """The uniform distribution of a tensor: variance 1 / fan-in for what multiplies activations."""
    last = name.rpartition(".")[2]
    if len(shape) < 2:
        return (0.0, _SPREAD) if "bias" in last or last == "running_mean" else (1.0, _SPREAD)
    # A weight maps shape[1:] to shape[0]; a bare parameter (class token, position embedding) is
    # itself a row of activations, so only its last dimension counts.
    fan_in = math.prod(shape[1:]) if last == "weight" else shape[-1]
    return 0.0, math.sqrt(3.0 / max(fan_in, 1))


def uniform(key: str, count: int) -> NDArray[np.float32]:
    """`count` float32 in [-1, 1), multiples of 2^-23: exact, so equal on every platform.

    Philox4x64-10 (Salmon et al., SC'11) with the key's sha256 as its 128-bit key; each 64-bit word
    gives two values, low half first, from the top 24 bits of the half.
    """
    digest = hashlib.sha256(key.encode()).digest()
    words = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw((count + 1) // 2)
    bits = words.astype("<u8", copy=False).view("<u4")[:count]
    values = (bits >> np.uint32(8)).astype(np.float32)
    values *= np.float32(2.0**-23)
    values -= np.float32(1.0)
    return values
