"""Running statistics of BatchNorm that fit a random model's activations.

With a variance of about 1 everywhere, the signal of an image shrinks from layer to layer until the biases
drown it: two photographs then differ by 1% in EfficientNet-lite0's features, by 54% with the statistics
made here. One forward of a synthetic image in fp64 says how large what each BatchNorm is given is; its
running statistics are scaled by that root mean square. The mean of each channel is not taken away: trained
networks keep their biases, and a network whose every channel is centred multiplies each rounding error by
1.2 a layer (Yang et al., A Mean Field Theory of Batch Normalization, 2019).

The bytes are the same on every version: the scale is rounded to three bits, and fp64's own rounding,
which differs between versions, does not reach it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.models.adapter import Adapter
from kit.weights.checkpoint import assign
from kit.weights.random_init import uniform

if TYPE_CHECKING:
    from torch import Tensor, nn

MEAN, VARIANCE = "running_mean", "running_var"
_BITS = 3
# Outside of it, a scale or its square would leave fp32.
_LARGEST_POWER = 50
_FIELDS = 7  # of the synthetic image, each way


def fit_statistics(
    adapter: Adapter, tensors: Mapping[str, Tensor], tied: Mapping[str, str]
) -> dict[str, Tensor]:
    """The running statistics among `tensors` (by name, float32), scaled to what the model of these tensors
    gives them on a synthetic image.

    Where the model does not run in fp64, what was not reached is left out and stays as it is.
    """
    import torch

    # A model of its own: many keep in fp64 what they worked out in fp64.
    model = adapter.build()
    wide = {
        name: each.double() if each.is_floating_point() else each for name, each in tensors.items()
    }
    assign(model, wide, tied)
    model.double()
    layers = {module: name for name, module in _with_statistics(model)}
    fitted: dict[str, Tensor] = {}

    def fit(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        name = layers.pop(module, None)
        scale = _scale_of(arguments[0]) if arguments and name is not None else None
        if scale is None:
            return  # a second call of the layer, or nothing to fit
        for key, by in ((f"{name}{MEAN}", scale), (f"{name}{VARIANCE}", scale * scale)):
            fitted[key] = (tensors[key].double() * by).to(tensors[key].dtype)
            getattr(module, key.rpartition(".")[2]).copy_(fitted[key])

    for module in layers:
        module.register_forward_pre_hook(fit)
    inputs = adapter.load_input(None, {}).tensors
    with suppress(Exception), torch.inference_mode():  # whatever it raises in a dtype not its own
        adapter.forward(model, {name: _synthetic(name, each) for name, each in inputs.items()})
    return fitted


def _with_statistics(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that have running statistics, each with the prefix of its tensors' names."""
    for name, module in model.named_modules():
        if {MEAN, VARIANCE} <= {key for key, each in module._buffers.items() if each is not None}:
            yield f"{name}." if name else "", module


def _scale_of(given: Tensor) -> float | None:
    """The root mean square, rounded to _BITS significant bits; None where there is none to speak of."""
    mean_square = float(given.detach().double().pow(2).mean())
    if not 0 < mean_square < math.inf:
        return None
    mantissa, power = math.frexp(math.sqrt(mean_square))
    if abs(power) > _LARGEST_POWER:
        return None
    return math.ldexp(round(mantissa * 2**_BITS), power - _BITS)


def _synthetic(name: str, like: Tensor) -> Tensor:
    """fp64 in [-1.8, 1.8): fields of one value each with a little noise, as a photograph is smooth and
    has edges; a tensor of integers is left as it is."""
    import torch

    if not like.is_floating_point():
        return like
    shape = tuple(like.shape)
    noise = uniform(f"synthetic/{name}", like.numel()).astype(np.float64).reshape(shape)
    if len(shape) < 2:
        return torch.from_numpy(noise)
    rows, columns = (np.arange(length) * _FIELDS // length for length in shape[-2:])
    fields = uniform(f"fields/{name}", math.prod(shape[:-2]) * _FIELDS**2).astype(np.float64)
    coarse = fields.reshape(*shape[:-2], _FIELDS, _FIELDS)[..., rows[:, None], columns]
    return torch.from_numpy(1.5 * coarse + 0.3 * noise)
